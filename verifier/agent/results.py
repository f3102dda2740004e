"""An attestation result, as the verifier gave it: what it says, in which forms it is printed, and how long it lasts."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import Enum

from verifier.agent.ends import End, NotAttested
from verifier.agent.transport import Answer, MalformedAnswerError, parse_object

# RFC 7515 3.1: the compact serialization, whose middle is the payload.
_TOKEN = re.compile(r"[0-9A-Za-z_-]+\.(?P<payload>[0-9A-Za-z_-]+)\.[0-9A-Za-z_-]+", re.ASCII)


class Form(Enum):
    """What of a result is printed."""

    CLAIMS = "a line for each claim"
    JSON = "the whole result"
    TOKEN = "the result token alone"  # noqa: S105 - not a password


@dataclass(frozen=True, slots=True, kw_only=True)
class AttestationResult:
    """A verifier's answer that says `verified`, and the claims that it vouches for.

    The result token, where there is one, is not checked: that is for the relying party.
    """

    fields: dict[str, object]
    claims: dict[str, object]

    @classmethod
    def read(cls, answer: Answer) -> AttestationResult:
        """Raises `MalformedAnswerError`: a 200 from something that is no verifier must not pass for a verdict."""
        fields = answer.json_object()
        claims = fields.get("claims")
        if fields.get("verdict") != "verified" or not isinstance(claims, dict):
            raise MalformedAnswerError("the answer is not an attestation result")
        return cls(fields=fields, claims=claims)

    def text(self, form: Form) -> str:
        """Whole lines. Raises `NotAttested` where a token is wanted and none was given."""
        if form is Form.TOKEN:
            return f"{self._token()[0]}\n"
        if form is Form.JSON:
            return json.dumps(self.fields, indent=2) + "\n"
        return "".join(f"{line}\n" for line in _describe_claims(self.claims, prefix=""))

    def lifetime(self, form: Form) -> float | None:
        """How many seconds what is printed lasts from its making on, by the verifier's clock alone: those of the token,
        or of the document. None where that cannot be read. Whether it is true is not checked."""
        if form is Form.TOKEN:
            try:
                payload = parse_object(base64.urlsafe_b64decode(self._token()[1] + "=="))
            except (ValueError, MalformedAnswerError):
                return None
            return _difference(payload.get("exp"), payload.get("iat"))
        return _difference(_moment(self.claims.get("expiresOn")), _moment(self.fields.get("evaluatedAt")))

    def _token(self) -> tuple[str, str]:
        token = self.fields.get("token")
        parts = _TOKEN.fullmatch(token) if isinstance(token, str) else None
        if parts is None:
            raise NotAttested(End.NO_TOKEN, "verified, but the verifier signs no results: there is no token")
        return parts[0], parts["payload"]


def printable(text: str) -> str:
    """One line of plain ASCII, the rest escaped: it comes from elsewhere, and goes to any terminal and any locale."""
    return "".join(c if c.isascii() and c.isprintable() else _escape(c) for c in text)


def _escape(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")


def _describe_claims(claims: Mapping[str, object], *, prefix: str) -> Iterable[str]:
    for name, value in claims.items():
        if isinstance(value, dict):
            yield from _describe_claims(value, prefix=f"{prefix}{name}.")
        else:
            text = value if isinstance(value, str) else json.dumps(value)
            yield f"{printable(prefix + name)}: {printable(text)}"


def _moment(value: object) -> float | None:
    """Seconds since 1970 of an RFC 3339 time in UTC."""
    if not isinstance(value, str) or not value.endswith("Z"):
        return None
    try:
        # Python 3.10 reads no Z.
        return datetime.fromisoformat(f"{value[:-1]}+00:00").timestamp()
    except ValueError:
        return None


def _difference(later: object, earlier: object) -> float | None:
    if isinstance(later, bool) or isinstance(earlier, bool):
        return None
    if not isinstance(later, int | float) or not isinstance(earlier, int | float):
        return None
    seconds = later - earlier
    return float(seconds) if 0 < seconds < float("inf") else None
