"""The client of a relying party: present a result token with a proof of the key that it is bound to."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Final

from verifier.agent.compatibility import dataclass
from verifier.agent.proof_key import ProofKey
from verifier.agent.results import VerifiedResult
from verifier.agent.service_client import ServiceClient
from verifier.agent.transport import Endpoint, MalformedResponseError

_SUCCESS: Final = range(200, 300)


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """The URL that receives the token. `path` is what follows the endpoint: empty, or a slash."""

    endpoint: Endpoint
    path: str

    @classmethod
    def parse(cls, url: str) -> Target:
        """Parse an http or https URL without query and fragment. Raises ValueError."""
        endpoint = Endpoint.parse(url)
        return cls(endpoint=endpoint, path="/" if url.endswith("/") or not endpoint.path else "")

    def __str__(self) -> str:
        return f"{self.endpoint}{self.path}"


@dataclass(frozen=True, slots=True, kw_only=True)
class RelyingPartyClient:
    """Post tokens to one URL, each with a new proof."""

    service: ServiceClient
    target: Target
    key: ProofKey

    def present(self, result: VerifiedResult) -> VerifiedResult:
        """Present the token and return the result with the relying party's answer. Raises `NotAttested`.

        `Authorization: DPoP TOKEN` and `DPoP: PROOF` (RFC 9449 7.1). The proof has the time of this VM's clock.
        """
        token = result.token()
        proof = self.key.make_proof(token=token, method="POST", url=str(self.target), now=int(time.time()))
        headers = {"Authorization": f"DPoP {token}", "DPoP": proof}
        response = self.service.post(self.target.path, {}, expected=_SUCCESS, headers=headers)
        try:
            return replace(result, answer=response.json_object())
        except MalformedResponseError as error:
            raise self.service.not_this_service(str(error)) from error
