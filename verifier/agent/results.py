"""The result of a verified machine: parse it, render it, and compute how long it is valid."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterable, Mapping
from datetime import datetime
from enum import Enum

from verifier.agent.compatibility import dataclass
from verifier.agent.exit_codes import ExitCode, NotAttested
from verifier.agent.transport import MalformedResponseError, Response, parse_object

# RFC 7515 3.1: the compact serialization, with the payload in the middle.
_TOKEN = re.compile(r"[0-9A-Za-z_-]+\.(?P<payload>[0-9A-Za-z_-]+)\.[0-9A-Za-z_-]+", re.ASCII)


class OutputFormat(Enum):
    """What the agent prints of a result."""

    CLAIMS = "one line per claim"
    JSON = "the whole result"
    TOKEN = "only the result token"  # noqa: S105 - not a password


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifiedResult:
    """A response of the verifier with the verdict `verified`, and the claims in it, or a backend's license.

    `answer` is the answer of the relying party that the token was presented to.
    Not checked: the result token. The relying party verifies it.
    """

    fields: dict[str, object]
    claims: dict[str, object]
    answer: dict[str, object] | None = None

    @classmethod
    def parse(cls, response: Response) -> VerifiedResult:
        """Parse a 200 response. Raises `MalformedResponseError` if it has no claims or no verdict `verified`."""
        fields = response.json_object()
        claims = fields.get("claims")
        if fields.get("verdict") != "verified" or not isinstance(claims, dict):
            raise MalformedResponseError("the response is not an attestation result")
        return cls(fields=fields, claims=claims)

    @classmethod
    def parse_license(cls, response: Response) -> VerifiedResult:
        """Parse a backend's answer. Raises `MalformedResponseError` unless `licensed` is true."""
        fields = response.json_object()
        if fields.get("licensed") is not True:
            raise MalformedResponseError("the response is not a license")
        return cls(fields=fields, claims=fields)

    def render(self, output_format: OutputFormat) -> str:
        """Return the text to print: the relying party's answer in place of the claims, if there is one.

        Raises `NotAttested` if it is the token and the result has none."""
        if output_format is OutputFormat.TOKEN:
            return f"{self.token()}\n"
        if output_format is OutputFormat.JSON:
            return json.dumps(self.fields if self.answer is None else self.answer, indent=2) + "\n"
        claims = self.claims if self.answer is None else self.answer
        return "".join(f"{line}\n" for line in _claim_lines(claims, prefix=""))

    def token(self) -> str:
        """Return the result token. Raises `NotAttested` if the result has none."""
        return self._token()[0]

    def lifetime(self, output_format: OutputFormat) -> float | None:
        """Return how many seconds the printed result is valid, or None if its times cannot be read.

        Both times come from the verifier, so a wrong clock on this machine does not matter: `iat` and `exp` of the
        token, or `evaluatedAt` of the result and `expiresOn` of the document. Not checked: whether they are true.
        """
        if output_format is OutputFormat.TOKEN or self.answer is not None:
            try:
                payload = parse_object(base64.urlsafe_b64decode(self._token()[1] + "=="))
            except (ValueError, MalformedResponseError):
                return None
            return _seconds_between(payload.get("iat"), payload.get("exp"))
        return _seconds_between(_unix_time(self.fields.get("evaluatedAt")), _unix_time(self.claims.get("expiresOn")))

    def _token(self) -> tuple[str, str]:
        """Return the token and its payload, both still encoded."""
        token = self.fields.get("token")
        parts = _TOKEN.fullmatch(token) if isinstance(token, str) else None
        if parts is None:
            raise NotAttested(ExitCode.NO_TOKEN, "verified, but the verifier returned no result token")
        return parts[0], parts["payload"]


def printable(text: str) -> str:
    """Return one line of printable ASCII, with everything else escaped: remote text must not control the terminal."""
    return "".join(c if c.isascii() and c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)


def _claim_lines(claims: Mapping[str, object], *, prefix: str) -> Iterable[str]:
    for name, value in claims.items():
        if isinstance(value, dict):
            yield from _claim_lines(value, prefix=f"{prefix}{name}.")
        else:
            text = value if isinstance(value, str) else json.dumps(value)
            yield f"{printable(prefix + name)}: {printable(text)}"


def _unix_time(value: object) -> float | None:
    """Return the Unix time of an RFC 3339 time in UTC, or None for any other value."""
    if not isinstance(value, str) or not value.endswith("Z"):
        return None
    try:
        # Before Python 3.11 this does not parse Z.
        return datetime.fromisoformat(f"{value[:-1]}+00:00").timestamp()
    except ValueError:
        return None


def _seconds_between(earlier: object, later: object) -> float | None:
    if isinstance(later, bool) or isinstance(earlier, bool):
        return None
    if not isinstance(later, (int, float)) or not isinstance(earlier, (int, float)):
        return None
    seconds = later - earlier
    return float(seconds) if 0 < seconds < float("inf") else None
