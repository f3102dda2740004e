"""The client of the verifier: request a nonce, and post a document for its verdict."""

from __future__ import annotations

from verifier.agent.challenge import Binding, Challenge, read_nonce
from verifier.agent.compatibility import dataclass
from verifier.agent.imds import AttestedDocument
from verifier.agent.results import VerifiedResult
from verifier.agent.service_client import ServiceClient
from verifier.agent.transport import MalformedResponseError


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifierClient:
    """Send requests to one verifier (docs/integrate/http.md)."""

    service: ServiceClient

    def challenge(self, binding: Binding) -> Challenge:
        """Request a nonce that IMDS accepts, and that has the binding. Raises `NotAttested`."""
        response = self.service.post("/v1/nonces", binding.fields(), expected=(201,))
        try:
            return Challenge(nonce=read_nonce(response))
        except MalformedResponseError as error:
            raise self.service.not_this_service(str(error)) from error

    def appraise(self, document: AttestedDocument, challenge: Challenge) -> VerifiedResult:
        """Post the document and return the result. Raises `NotAttested` if the document is not verified.

        With the issued nonce the verifier detects a document that IMDS served from its cache.
        """
        fields = {**document.fields(), "nonce": challenge.nonce}
        response = self.service.post("/v1/attestations", fields, expected=(200,))
        try:
            return VerifiedResult.parse(response)
        except MalformedResponseError as error:
            raise self.service.not_this_service(str(error)) from error
