"""Post JSON to a verifier, a licensing backend or a relying party, and map each failure to an exit code."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping
from dataclasses import field
from types import MappingProxyType
from typing import Final

from verifier.agent.budget import Budget
from verifier.agent.compatibility import dataclass
from verifier.agent.exit_codes import ExitCode, NotAttested
from verifier.agent.transport import (
    Endpoint,
    MalformedResponseError,
    Response,
    TransportError,
    UntrustedError,
    exchange,
)

_TIMEOUT_SECONDS: Final = 15.0
_MAX_BYTES: Final = 262_144
# RFC 6750 2.1: b64token.
_KEY: Final = re.compile(r"[0-9A-Za-z._~+/-]+=*", re.ASCII)
# Problem codes about the request, not about the document.
_ACCESS_CODES: Final = frozenset({"unauthenticated", "forbidden"})
_MALFORMED: Final = "malformed-request"
_REQUEST_CODES: Final = frozenset({_MALFORMED, "not-found", "method-not-allowed", "unsupported-media-type"})
# Members of a request for a nonce that are options of the user.
_OPTIONS: Final = frozenset({"vmId", "policy", "jkt"})
# For a problem that does not say whether a retry can succeed.
_TEMPORARY: Final = frozenset({429, 502, 503, 504})
_MEANINGS: Final = {
    ExitCode.REFUSED: "refused",
    ExitCode.REFUSED_RETRYABLE: "refused, but a retry may succeed",
    ExitCode.VERIFIER_RATE_LIMITED: "the {} limits the request rate",
    ExitCode.VERIFIER_UNAVAILABLE: "the {} is unavailable",
    ExitCode.ACCESS_DENIED: "the {} denied access",
    ExitCode.USAGE: "the {} does not accept an option of the agent",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Problem:
    """A problem document (RFC 9457). `retry_after` is in seconds."""

    code: str
    detail: str
    retryable: bool
    retry_after: int | None
    request_id: str

    @classmethod
    def parse(cls, response: Response, *, any_json: bool) -> _Problem:
        """Parse a response. Raises `MalformedResponseError` if it is not a problem with a `code` and a `detail`."""
        is_problem = response.media_type() == "application/problem+json"
        if not is_problem and not any_json:
            raise MalformedResponseError("the response is not a problem document")
        fields = response.json_object()
        if any_json:
            fields = {"detail": fields.get("error"), "retryable": response.status in _TEMPORARY, **fields}
        code, detail, request_id = fields.get("code"), fields.get("detail"), fields.get("requestId")
        if not isinstance(code, str) or not isinstance(detail, str):
            raise MalformedResponseError("the problem document has no code or no detail")
        # Use the seconds of the body if there is no header: a proxy may drop the header.
        seconds, retry_after = fields.get("retryAfterSeconds"), response.retry_after()
        if retry_after is None and type(seconds) is int and seconds >= 0:
            retry_after = seconds
        return cls(
            code=code,
            detail=detail,
            # Only a JSON true: with any other value the refusal is final.
            retryable=fields.get("retryable") is True,
            retry_after=retry_after,
            request_id=request_id if isinstance(request_id, str) else "",
        )

    def exit_code(self, *, has_options: bool) -> ExitCode:
        if self.code in _ACCESS_CODES:
            return ExitCode.ACCESS_DENIED
        if self.code == _MALFORMED and has_options:
            return ExitCode.USAGE
        if self.code in _REQUEST_CODES:
            return ExitCode.NOT_A_VERIFIER
        return ExitCode.REFUSED_RETRYABLE if self.retryable else ExitCode.REFUSED

    def __str__(self) -> str:
        request = f", request {self.request_id}" if self.request_id else ""
        return f"{self.detail} ({self.code}{request})"


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceClient:
    """Send requests to one service, with a bearer token if it requires one. `name` says what the service is.

    `any_json_problem`: a JSON object with `code` and `detail` or `error` is a problem, too. A relying party has its own
    form of errors.
    """

    name: str
    endpoint: Endpoint
    budget: Budget
    any_json_problem: bool = False
    key: str | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        if self.key is not None and not _KEY.fullmatch(self.key):
            raise ValueError("the API key is not a bearer token: use only letters, digits and ._~+/-")

    def post(
        self,
        path: str,
        fields: dict[str, object],
        *,
        expected: Collection[int],
        headers: Mapping[str, str] = MappingProxyType({}),
    ) -> Response:
        """Return the response if it has an expected status. `headers` are sent, too. Raises `NotAttested`."""
        own = {"Accept": "application/json, application/problem+json", "Content-Type": "application/json"}
        if self.key is not None:
            own["Authorization"] = f"Bearer {self.key}"
        try:
            response = exchange(
                self.endpoint,
                method="POST",
                path=path,
                headers={**own, **headers},
                body=json.dumps(fields).encode(),
                budget=self.budget,
                seconds=_TIMEOUT_SECONDS,
                max_bytes=_MAX_BYTES,
            )
        except UntrustedError as error:
            raise NotAttested(ExitCode.NOT_A_VERIFIER, f"the {self.name} at {error}") from error
        except TransportError as error:
            raise NotAttested(ExitCode.VERIFIER_UNREACHABLE, f"the {self.name} at {error}", retryable=True) from error
        if response.status in expected:
            return response
        raise self._failure(response, has_options=not _OPTIONS.isdisjoint(fields))

    def _failure(self, response: Response, *, has_options: bool) -> NotAttested:
        exit_code = None
        if response.status == 429:  # noqa: PLR2004 - RFC 6585 4
            exit_code = ExitCode.VERIFIER_RATE_LIMITED
        elif response.status >= 500 or response.status == 408:  # noqa: PLR2004 - RFC 9110 15.6 and 15.5.9: no verdict
            exit_code = ExitCode.VERIFIER_UNAVAILABLE
        try:
            problem = _Problem.parse(response, any_json=self.any_json_problem)
        except MalformedResponseError:
            returned = f"{self.endpoint} returned status {response.status} without a problem document"
            if exit_code is None:
                return NotAttested(ExitCode.NOT_A_VERIFIER, f"{returned}. Check the URL.")
            # A gateway sends this if it gets no response from the service.
            sentence = f"{_MEANINGS[exit_code].format(self.name)}: {returned}"
            return NotAttested(exit_code, sentence, retryable=True, retry_after=response.retry_after())
        exit_code = exit_code or problem.exit_code(has_options=has_options)
        if exit_code is ExitCode.NOT_A_VERIFIER:
            sentence = f"{self.endpoint} does not support this request: {problem}. Check the URL."
        else:
            sentence = f"{_MEANINGS[exit_code].format(self.name)}: {problem}"
        return NotAttested(
            exit_code, sentence, retryable=problem.retryable, retry_after=problem.retry_after, code=problem.code
        )

    def not_this_service(self, why: str) -> NotAttested:
        """Return the failure of a server that is another one than the service."""
        sentence = f"{self.endpoint} is not a {self.name}: {why}. Check the URL."
        return NotAttested(ExitCode.NOT_A_VERIFIER, sentence)
