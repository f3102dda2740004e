"""The IMDS client: fetches one attested document, by the rules of Azure's page."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final
from urllib.parse import urlencode

from verifier.agent.budget import Budget
from verifier.agent.compatibility import dataclass
from verifier.agent.exit_codes import ExitCode, NotAttested
from verifier.agent.transport import (
    Endpoint,
    MalformedResponseError,
    Response,
    TransportError,
    UnreachableError,
    exchange,
    parse_object,
)

DEFAULT_ENDPOINT: Final = Endpoint(scheme="http", host="169.254.169.254", port=None, path="")
DEFAULT_API_VERSION: Final = "2020-09-01"
"""The first api-version with all fields of today's documents."""

_TIMEOUT_SECONDS: Final = 5.0
_MAX_BYTES: Final = 65_536
RETRY_WAITS: Final = {
    # The network may not be up yet on a machine that has just started.
    ExitCode.IMDS_UNREACHABLE: (1, 2),
    # Azure page, Rate limiting: the limit is per second.
    ExitCode.IMDS_RATE_LIMITED: (1, 1, 2, 4),
    # Azure page, Errors and debugging, "410 Gone: retry after some time for a max of 70 seconds": 70 in total.
    ExitCode.IMDS_UPDATING: (1, 2, 4, 8, 15, 20, 20),
    # Azure page, Errors and debugging, "500 Service Error: retry after some time".
    ExitCode.IMDS_ERROR: (1, 2, 4, 8),
}
"""Seconds to wait before each retry, if the response has no Retry-After."""

_MAX_UPDATE_SECONDS: Final = 70
_MAX_ERROR_TEXT: Final = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class AttestedDocument:
    """The unchanged response of IMDS: a JSON object with the strings `encoding` and `signature`.

    Not checked: the evidence itself. The verifier checks it.
    """

    raw: bytes

    def __post_init__(self) -> None:
        fields = self.fields()
        if not isinstance(fields.get("encoding"), str) or not isinstance(fields.get("signature"), str):
            raise MalformedResponseError("the response is not an attested document")

    def fields(self) -> dict[str, object]:
        return parse_object(self.raw)


@dataclass(frozen=True, slots=True, kw_only=True)
class ImdsClient:
    """Send requests to one IMDS, within the limits of Azure's page and of the budget."""

    budget: Budget
    endpoint: Endpoint = DEFAULT_ENDPOINT
    api_version: str = DEFAULT_API_VERSION

    def attested_document(self, nonce: str) -> AttestedDocument:
        """Fetch a document for `nonce`.

        Temporary failures (429, 410, 5xx, no response) are retried a bounded number of times, after Retry-After if the
        response has it. Retries for 410 wait at most 70 s in total. Raises `NotAttested` with a code about IMDS, or
        TIMEOUT. Not checked: whether the document has this nonce, because IMDS may answer from its cache.
        """
        waits = {code: iter(seconds) for code, seconds in RETRY_WAITS.items()}
        update_seconds = 0
        while True:
            try:
                return self._fetch(nonce)
            except NotAttested as error:
                seconds = _next_wait(error, waits)
                if seconds is None:
                    raise
                update_seconds += seconds if error.exit_code is ExitCode.IMDS_UPDATING else 0
                if update_seconds > _MAX_UPDATE_SECONDS or not self.budget.wait(seconds):
                    raise

    def _fetch(self, nonce: str) -> AttestedDocument:
        query = urlencode({"api-version": self.api_version, "nonce": nonce})
        try:
            response = exchange(
                self.endpoint,
                method="GET",
                path=f"/metadata/attested/document?{query}",
                # Azure page, Security and authentication: Metadata is required and X-Forwarded-For is refused.
                headers={"Metadata": "true", "Accept": "application/json"},
                budget=self.budget,
                seconds=_TIMEOUT_SECONDS,
                max_bytes=_MAX_BYTES,
            )
        except UnreachableError as error:
            raise NotAttested(ExitCode.IMDS_UNREACHABLE, f"cannot reach IMDS: {error}. Is this an Azure VM?") from error
        except TransportError as error:
            raise NotAttested(ExitCode.IMDS_ERROR, f"IMDS at {error}") from error
        return self._parse(response)

    def _parse(self, response: Response) -> AttestedDocument:
        if response.status == 200:  # noqa: PLR2004 - 200 OK
            try:
                return AttestedDocument(raw=response.body)
            except MalformedResponseError as error:
                raise NotAttested(
                    ExitCode.NOT_IMDS, f"{self.endpoint} is not IMDS: {error}. Is this an Azure VM?"
                ) from error
        exit_code, meaning = _classify(response.status)
        raise NotAttested(
            exit_code,
            f"IMDS at {self.endpoint} {meaning}: status {response.status}, {_error_text(response)}",
            retry_after=response.retry_after(),
        )


def _classify(status: int) -> tuple[ExitCode, str]:
    """Return what an error status means (Azure page: Errors and debugging)."""
    if status == 429:  # noqa: PLR2004 - RFC 6585 4
        return ExitCode.IMDS_RATE_LIMITED, "limits the request rate"
    if status == 410:  # noqa: PLR2004 - RFC 9110 15.5.11
        return ExitCode.IMDS_UPDATING, "is being updated"
    if 400 <= status < 500:  # noqa: PLR2004 - RFC 9110 15.5: client errors
        return ExitCode.IMDS_REJECTED, "rejected the request"
    if status >= 500:  # noqa: PLR2004 - RFC 9110 15.6: server errors
        return ExitCode.IMDS_ERROR, "failed"
    return ExitCode.NOT_IMDS, "sent a response that is not from IMDS"


def _next_wait(error: NotAttested, waits: dict[ExitCode, Iterator[int]]) -> int | None:
    """Return the seconds to wait before a retry, or None if no retry is left."""
    default = next(waits.get(error.exit_code, iter(())), None)
    return default if default is None or error.retry_after is None else error.retry_after


def _error_text(response: Response) -> str:
    """Return the text of the error. Some errors are an object with a message and a code."""
    try:
        error = response.json_object().get("error")
    except MalformedResponseError:
        error = None
    if isinstance(error, dict):
        error = error.get("message") or error.get("code")
    return re.sub(r"\s+", " ", error)[:_MAX_ERROR_TEXT] if isinstance(error, str) else "no error text"
