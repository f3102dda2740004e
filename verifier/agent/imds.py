"""The IMDS client: one attested document, by the rules of Azure's page."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlencode

from verifier.agent.transport import Answer, Endpoint, MalformedAnswerError, TransportError, exchange, parse_object

DEFAULT_ENDPOINT: Final = Endpoint(scheme="http", host="169.254.169.254", port=None, path="")
DEFAULT_API_VERSION: Final = "2020-09-01"
"""The first that brings every field that documents have today."""

_TIMEOUT_SECONDS: Final = 5.0
_LIMIT_BYTES: Final = 65_536
# Azure page: Rate limiting counts by the second, so a second later there is room again.
_RATE_LIMITED_WAITS: Final = (1.0, 1.0, 2.0, 4.0)
# Azure page: Errors and debugging, "410 Gone: retry after some time for a max of 70 seconds": these are 70 in all.
_GONE_WAITS: Final = (1.0, 2.0, 4.0, 8.0, 15.0, 20.0, 20.0)
_MESSAGE_LIMIT: Final = 200


class ImdsUnavailableError(Exception):
    """IMDS gave no usable answer: not reachable, still limiting or restarting after every retry, or failing (5xx)."""


class ImdsRefusedError(Exception):
    """IMDS refuses this request (4xx), and would again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AttestedDocument:
    """IMDS's answer, untouched: a JSON object with the strings `encoding` and `signature`.

    Nothing about the evidence in it is checked: that is the verifier's task.
    """

    raw: bytes

    def __post_init__(self) -> None:
        fields = self.fields()
        if not isinstance(fields.get("encoding"), str) or not isinstance(fields.get("signature"), str):
            raise MalformedAnswerError("the answer is not an attested document")

    def fields(self) -> dict[str, object]:
        return parse_object(self.raw)


@dataclass(frozen=True, slots=True, kw_only=True)
class ImdsClient:
    """Asks one IMDS; `wait` is given the seconds to let pass before a retry."""

    endpoint: Endpoint = DEFAULT_ENDPOINT
    api_version: str = DEFAULT_API_VERSION
    wait: Callable[[float], None]

    def attested_document(self, nonce: str) -> AttestedDocument:
        """What IMDS answers for this nonce; not checked is whether the document carries it (IMDS may have cached one).

        Retries 429 and 410 a bounded number of times and nothing else. Raises `ImdsUnavailableError`,
        `ImdsRefusedError`.
        """
        waits = {429: iter(_RATE_LIMITED_WAITS), 410: iter(_GONE_WAITS)}
        while True:
            answer = self._ask(nonce)
            if answer.status not in waits:
                return self._read(answer)
            seconds = next(waits[answer.status], None)
            if seconds is None:
                raise ImdsUnavailableError(self._describe_retried(answer.status))
            self.wait(seconds)

    def _ask(self, nonce: str) -> Answer:
        query = urlencode({"api-version": self.api_version, "nonce": nonce})
        try:
            return exchange(
                self.endpoint,
                method="GET",
                path=f"/metadata/attested/document?{query}",
                # Azure page: Security and authentication; and never X-Forwarded-For.
                headers={"Metadata": "true", "Accept": "application/json"},
                timeout=_TIMEOUT_SECONDS,
                limit=_LIMIT_BYTES,
            )
        except TransportError as error:
            raise ImdsUnavailableError(f"IMDS at {error}") from error

    def _read(self, answer: Answer) -> AttestedDocument:
        if 400 <= answer.status < 500:  # noqa: PLR2004 - RFC 9110 15.5: client errors
            raise ImdsRefusedError(f"IMDS at {self.endpoint} answered {answer.status}: {_error_text(answer)}")
        if answer.status != 200:  # noqa: PLR2004 - 200 OK; a redirect lands here too, and is not followed
            raise ImdsUnavailableError(f"IMDS at {self.endpoint} answered {answer.status}: {_error_text(answer)}")
        try:
            return AttestedDocument(raw=answer.body)
        except MalformedAnswerError as error:
            raise ImdsUnavailableError(f"{self.endpoint} does not answer as IMDS does: {error}") from error

    def _describe_retried(self, status: int) -> str:
        if status == 429:  # noqa: PLR2004 - 429 Too Many Requests
            return (
                f"IMDS at {self.endpoint} still answers 429 after {sum(_RATE_LIMITED_WAITS):.0f} s: too many requests"
            )
        return f"IMDS at {self.endpoint} still answers 410 after {sum(_GONE_WAITS):.0f} s: it is being updated"


def _error_text(answer: Answer) -> str:
    """IMDS's own words, where it says any."""
    try:
        error = answer.json_object().get("error")
    except MalformedAnswerError:
        error = None
    return re.sub(r"\s+", " ", error)[:_MESSAGE_LIMIT] if isinstance(error, str) else "no explanation"
