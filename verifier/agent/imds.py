"""The IMDS client: one attested document, by the rules of Azure's page."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlencode

from verifier.agent.budget import Budget
from verifier.agent.ends import End, NotAttested
from verifier.agent.transport import (
    Answer,
    Endpoint,
    MalformedAnswerError,
    TransportError,
    UnreachableError,
    exchange,
    parse_object,
)

DEFAULT_ENDPOINT: Final = Endpoint(scheme="http", host="169.254.169.254", port=None, path="")
DEFAULT_API_VERSION: Final = "2020-09-01"
"""The first that brings every field that documents have today."""

_TIMEOUT_SECONDS: Final = 5.0
_LIMIT_BYTES: Final = 65_536
# How long to wait before each retry, in seconds, where the answer does not say.
_WAITS: Final = {
    # There may be no network yet, where the machine has just started.
    End.IMDS_MISSING: (1, 2),
    # Azure page: Rate limiting counts by the second, so a second later there is room again.
    End.IMDS_LIMITING: (1, 1, 2, 4),
    # Azure page: Errors and debugging, "410 Gone: retry after some time for a max of 70 seconds": these are 70 in all.
    End.IMDS_UPDATING: (1, 2, 4, 8, 15, 20, 20),
    # The same, "500 Service Error: retry after some time".
    End.IMDS_FAILING: (1, 2, 4, 8),
}
_LONGEST_UPDATE_SECONDS: Final = 70
_MESSAGE_LIMIT: Final = 200


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
    """Asks one IMDS, as often and as long as the page and the budget allow."""

    endpoint: Endpoint = DEFAULT_ENDPOINT
    api_version: str = DEFAULT_API_VERSION
    budget: Budget

    def attested_document(self, nonce: str) -> AttestedDocument:
        """What IMDS answers for this nonce; not checked is whether the document carries it (IMDS may have cached one).

        What may pass (429, 410, 5xx, no answer) is retried a bounded number of times, after the seconds of
        Retry-After where there are any; for 410 within 70 s. Raises `NotAttested`, with an end of IMDS or OUT_OF_TIME.
        """
        waits = {end: iter(seconds) for end, seconds in _WAITS.items()}
        updating = 0
        while True:
            try:
                return self._ask(nonce)
            except NotAttested as trouble:
                seconds = _next_wait(trouble, waits)
                if seconds is None:
                    raise
                updating += seconds if trouble.end is End.IMDS_UPDATING else 0
                if updating > _LONGEST_UPDATE_SECONDS or not self.budget.wait(seconds):
                    raise

    def _ask(self, nonce: str) -> AttestedDocument:
        query = urlencode({"api-version": self.api_version, "nonce": nonce})
        try:
            answer = exchange(
                self.endpoint,
                method="GET",
                path=f"/metadata/attested/document?{query}",
                # Azure page: Security and authentication; and never X-Forwarded-For.
                headers={"Metadata": "true", "Accept": "application/json"},
                budget=self.budget,
                seconds=_TIMEOUT_SECONDS,
                limit=_LIMIT_BYTES,
            )
        except UnreachableError as error:
            raise NotAttested(End.IMDS_MISSING, f"no IMDS: {error}: is this an Azure VM?") from error
        except TransportError as error:
            raise NotAttested(End.IMDS_FAILING, f"IMDS at {error}") from error
        return self._read(answer)

    def _read(self, answer: Answer) -> AttestedDocument:
        if answer.status == 200:  # noqa: PLR2004 - 200 OK
            try:
                return AttestedDocument(raw=answer.body)
            except MalformedAnswerError as error:
                raise NotAttested(
                    End.NOT_IMDS, f"{self.endpoint} does not answer as IMDS does: {error}: is this an Azure VM?"
                ) from error
        end, meaning = _judge(answer.status)
        raise NotAttested(
            end,
            f"IMDS at {self.endpoint} {meaning}: it answered {answer.status}, {_error_text(answer)}",
            retry_after=answer.retry_after(),
        )


def _judge(status: int) -> tuple[End, str]:
    """Azure page: Errors and debugging."""
    if status == 429:  # noqa: PLR2004 - RFC 6585 4
        return End.IMDS_LIMITING, "is asked too often"
    if status == 410:  # noqa: PLR2004 - RFC 9110 15.5.11
        return End.IMDS_UPDATING, "is being updated"
    if 400 <= status < 500:  # noqa: PLR2004 - RFC 9110 15.5: client errors
        return End.IMDS_REFUSES, "refuses"
    if status >= 500:  # noqa: PLR2004 - RFC 9110 15.6: server errors
        return End.IMDS_FAILING, "is failing"
    # A redirect too, which is not followed.
    return End.NOT_IMDS, "does not answer as IMDS does"


def _next_wait(trouble: NotAttested, waits: dict[End, Iterator[int]]) -> int | None:
    """None: this is not retried, or not any more."""
    usual = next(waits.get(trouble.end, iter(())), None)
    return usual if usual is None or trouble.retry_after is None else trouble.retry_after


def _error_text(answer: Answer) -> str:
    """IMDS's own words, where it says any."""
    try:
        error = answer.json_object().get("error")
    except MalformedAnswerError:
        error = None
    return re.sub(r"\s+", " ", error)[:_MESSAGE_LIMIT] if isinstance(error, str) else "without an explanation"
