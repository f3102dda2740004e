"""The verifier's client: a nonce, and the verdict on a document."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import Final

from verifier.agent.budget import Budget
from verifier.agent.ends import End, NotAttested
from verifier.agent.imds import AttestedDocument
from verifier.agent.results import AttestationResult
from verifier.agent.transport import (
    Answer,
    Endpoint,
    MalformedAnswerError,
    TransportError,
    UntrustedError,
    exchange,
)

_TIMEOUT_SECONDS: Final = 15.0
_LIMIT_BYTES: Final = 262_144
# What IMDS takes as a nonce; anything else from a verifier must not get into IMDS's query string.
_NONCE: Final = re.compile(r"[0-9A-Za-z]{1,32}", re.ASCII)
# RFC 6750 2.1: b64token.
_KEY: Final = re.compile(r"[0-9A-Za-z._~+/-]+=*", re.ASCII)
# RFC 7638 3: SHA-256, in base64url.
_THUMBPRINT: Final = re.compile(r"[0-9A-Za-z_-]{43}", re.ASCII)
# Codes of problems that are no verdict on a document.
_NOT_ADMITTED: Final = frozenset({"unauthenticated", "forbidden"})
_NOT_UNDERSTOOD: Final = frozenset({"malformed-request", "not-found", "method-not-allowed", "unsupported-media-type"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """What a problem document (RFC 9457) of the verifier says; `retry_after` is seconds."""

    status: int
    code: str
    detail: str
    retryable: bool
    retry_after: int | None
    request_id: str

    @classmethod
    def read(cls, answer: Answer) -> Problem:
        """Raises `MalformedAnswerError` where the answer is no problem document with a `code` and a `detail`."""
        if answer.media_type() != "application/problem+json":
            raise MalformedAnswerError("the answer is not a problem document")
        fields = answer.json_object()
        code, detail, request_id = fields.get("code"), fields.get("detail"), fields.get("requestId")
        if not isinstance(code, str) or not isinstance(detail, str):
            raise MalformedAnswerError("the problem document has no code or detail")
        return cls(
            status=answer.status,
            code=code,
            detail=detail,
            # Only a plain true: a refusal is final unless it says otherwise.
            retryable=fields.get("retryable") is True,
            retry_after=_retry_after(answer, fields),
            request_id=request_id if isinstance(request_id, str) else "",
        )

    def end(self) -> End:
        if self.status == 429:  # noqa: PLR2004 - RFC 6585 4
            return End.RATE_LIMITED
        if self.status >= 500:  # noqa: PLR2004 - RFC 9110 15.6: server errors
            return End.VERIFIER_UNAVAILABLE
        if self.code in _NOT_ADMITTED:
            return End.NOT_ADMITTED
        if self.code in _NOT_UNDERSTOOD:
            return End.NOT_A_VERIFIER
        return End.REFUSED_FOR_NOW if self.retryable else End.REFUSED

    def __str__(self) -> str:
        request = f", request {self.request_id}" if self.request_id else ""
        return f"{self.detail} ({self.code}{request})"


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifierClient:
    """Talks to one verifier, with an API key where it asks for one."""

    endpoint: Endpoint
    key: str | None = field(default=None, repr=False)
    budget: Budget

    def __post_init__(self) -> None:
        if self.key is not None and not _KEY.fullmatch(self.key):
            raise ValueError("the API key is not a bearer token: letters, digits and ._~+/- only")

    def issue_nonce(self, *, jkt: str | None = None) -> str:
        """A fresh nonce, in a form that IMDS takes, and bound to the key with the thumbprint `jkt` if there is one.

        Raises `NotAttested`.
        """
        answer = self._post("/v1/nonces", {} if jkt is None else {"jkt": jkt}, expected=201)
        try:
            nonce = answer.json_object().get("nonce")
        except MalformedAnswerError as error:
            raise self._foreign(str(error)) from error
        if not isinstance(nonce, str) or not _NONCE.fullmatch(nonce):
            raise self._foreign("it issued a nonce that IMDS does not take")
        return nonce

    def appraise(self, document: AttestedDocument, nonce: str) -> AttestationResult:
        """The result for a document that was verified; every other end is `NotAttested`.

        `nonce` is the one that was issued, so that a document with a cached one is told apart.
        """
        answer = self._post("/v1/attestations", {**document.fields(), "nonce": nonce}, expected=200)
        try:
            return AttestationResult.read(answer)
        except MalformedAnswerError as error:
            raise self._foreign(str(error)) from error

    def _post(self, path: str, fields: dict[str, object], *, expected: int) -> Answer:
        headers = {"Accept": "application/json, application/problem+json", "Content-Type": "application/json"}
        if self.key is not None:
            headers["Authorization"] = f"Bearer {self.key}"
        try:
            answer = exchange(
                self.endpoint,
                method="POST",
                path=path,
                headers=headers,
                body=json.dumps(fields).encode(),
                budget=self.budget,
                seconds=_TIMEOUT_SECONDS,
                limit=_LIMIT_BYTES,
            )
        except UntrustedError as error:
            raise NotAttested(End.NOT_A_VERIFIER, f"the verifier at {error}") from error
        except TransportError as error:
            raise NotAttested(End.VERIFIER_UNREACHABLE, f"the verifier at {error}", retryable=True) from error
        if answer.status == expected:
            return answer
        try:
            problem = Problem.read(answer)
        except MalformedAnswerError as error:
            raise self._without_problem(answer) from error
        raise self._tell(problem)

    def _tell(self, problem: Problem) -> NotAttested:
        end = problem.end()
        sentence = {
            End.REFUSED: f"refused: {problem}",
            End.REFUSED_FOR_NOW: f"refused for now: {problem}",
            End.RATE_LIMITED: f"the verifier is asked too often: {problem}",
            End.VERIFIER_UNAVAILABLE: f"the verifier cannot answer now: {problem}",
            End.NOT_ADMITTED: f"the verifier does not let this agent in: {problem}",
            End.NOT_A_VERIFIER: f"{self.endpoint} does not take this agent's requests: {problem}: is the URL right?",
        }[end]
        return NotAttested(end, sentence, retryable=problem.retryable, retry_after=problem.retry_after)

    def _without_problem(self, answer: Answer) -> NotAttested:
        """What stands in front of a verifier answers so where it gets no answer itself."""
        told = f"{self.endpoint} answered {answer.status}, without the problem document of a verifier"
        after = answer.retry_after()
        if answer.status == 429:  # noqa: PLR2004 - RFC 6585 4
            return NotAttested(
                End.RATE_LIMITED, f"the verifier is asked too often: {told}", retryable=True, retry_after=after
            )
        if answer.status >= 500:  # noqa: PLR2004 - RFC 9110 15.6: server errors
            return NotAttested(
                End.VERIFIER_UNAVAILABLE, f"the verifier cannot answer now: {told}", retryable=True, retry_after=after
            )
        return NotAttested(End.NOT_A_VERIFIER, f"{told}: is the URL right?")

    def _foreign(self, why: str) -> NotAttested:
        return NotAttested(
            End.NOT_A_VERIFIER, f"{self.endpoint} does not answer as a verifier does: {why}: is the URL right?"
        )


def is_thumbprint(text: str) -> bool:
    return _THUMBPRINT.fullmatch(text) is not None


def _retry_after(answer: Answer, fields: dict[str, object]) -> int | None:
    """The header's, and where that got lost on the way, the body's."""
    header, body = answer.retry_after(), fields.get("retryAfterSeconds")
    if header is not None:
        return header
    return body if type(body) is int and body >= 0 else None
