"""The verifier's client: a nonce, and the verdict on a document."""

import json
import re
from dataclasses import dataclass, field
from typing import Final, Self

from verifier.agent.imds import AttestedDocument
from verifier.agent.transport import Answer, Endpoint, MalformedAnswerError, TransportError, exchange

_TIMEOUT_SECONDS: Final = 15.0
_LIMIT_BYTES: Final = 262_144
# What IMDS takes as a nonce; anything else from a verifier must not get into IMDS's query string.
_NONCE: Final = re.compile(r"[0-9A-Za-z]{1,32}", re.ASCII)
# RFC 6750 2.1: b64token.
_TOKEN: Final = re.compile(r"[0-9A-Za-z._~+/-]+=*", re.ASCII)


class VerifierUnavailableError(Exception):
    """No usable answer came from the verifier: not reachable, or what is there does not answer as one does."""


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
    def read(cls, answer: Answer) -> Self:
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
            retry_after=answer.retry_after(),
            request_id=request_id if isinstance(request_id, str) else "",
        )

    def is_a_refusal(self) -> bool:
        """The verifier judged, or will never judge this; otherwise (429, 5xx) it could not judge now."""
        return self.status != 429 and self.status < 500  # noqa: PLR2004 - RFC 6585 4, RFC 9110 15.6


class ProblemError(Exception):
    """The verifier answered with a problem instead of what was asked for."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.code)
        self.problem = problem


@dataclass(frozen=True, slots=True, kw_only=True)
class AttestationResult:
    """A verifier's answer that says `verified`, and the claims that it vouches for.

    The result token, where there is one, is not checked: that is for the relying party.
    """

    fields: dict[str, object]
    claims: dict[str, object]

    @classmethod
    def read(cls, answer: Answer) -> Self:
        """Raises `MalformedAnswerError`: a 200 from something that is no verifier must not pass for a verdict."""
        fields = answer.json_object()
        claims = fields.get("claims")
        if fields.get("verdict") != "verified" or not isinstance(claims, dict):
            raise MalformedAnswerError("the answer is not an attestation result")
        return cls(fields=fields, claims=claims)


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifierClient:
    """Talks to one verifier, with an API key where it asks for one."""

    endpoint: Endpoint
    token: str | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        if self.token is not None and not _TOKEN.fullmatch(self.token):
            raise ValueError("the API key is not a bearer token: letters, digits and ._~+/- only")

    def issue_nonce(self) -> str:
        """A fresh nonce, in a form that IMDS takes. Raises `ProblemError`, `VerifierUnavailableError`."""
        answer = self._post("/v1/nonces", {}, expected=201)
        try:
            nonce = answer.json_object().get("nonce")
        except MalformedAnswerError as error:
            raise self._foreign(error) from error
        if not isinstance(nonce, str) or not _NONCE.fullmatch(nonce):
            raise VerifierUnavailableError(f"the verifier at {self.endpoint} issued a nonce that IMDS does not take")
        return nonce

    def appraise(self, document: AttestedDocument, nonce: str) -> AttestationResult:
        """The result for a document that was verified; every other end is `ProblemError` or `VerifierUnavailableError`.

        `nonce` is the one that was issued, so that a document with a cached one is told apart.
        """
        answer = self._post("/v1/attestations", {**document.fields(), "nonce": nonce}, expected=200)
        try:
            return AttestationResult.read(answer)
        except MalformedAnswerError as error:
            raise self._foreign(error) from error

    def _post(self, path: str, fields: dict[str, object], *, expected: int) -> Answer:
        headers = {"Accept": "application/json, application/problem+json", "Content-Type": "application/json"}
        if self.token is not None:
            headers["Authorization"] = f"Bearer {self.token}"
        try:
            answer = exchange(
                self.endpoint,
                method="POST",
                path=path,
                headers=headers,
                body=json.dumps(fields).encode(),
                timeout=_TIMEOUT_SECONDS,
                limit=_LIMIT_BYTES,
            )
        except TransportError as error:
            raise VerifierUnavailableError(f"the verifier at {error}") from error
        if answer.status == expected:
            return answer
        try:
            problem = Problem.read(answer)
        except MalformedAnswerError:
            raise VerifierUnavailableError(
                f"{self.endpoint}{path} answered {answer.status}, not as a verifier does: is the URL right?",
            ) from None
        raise ProblemError(problem)

    def _foreign(self, error: MalformedAnswerError) -> VerifierUnavailableError:
        return VerifierUnavailableError(f"{self.endpoint} does not answer as a verifier does: {error}")
