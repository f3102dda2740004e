"""The client of a licensing backend that has the verifier appraise the document (RFC 9334, background check).

docs/integrate/agent.md describes the protocol: a challenge, then the evidence.
"""

from __future__ import annotations

import re
from typing import Final

from verifier.agent.challenge import Binding, Challenge, read_nonce
from verifier.agent.compatibility import dataclass
from verifier.agent.imds import AttestedDocument
from verifier.agent.results import VerifiedResult
from verifier.agent.service_client import ServiceClient
from verifier.agent.transport import MalformedResponseError, Response

_SESSION: Final = re.compile(r"[0-9A-Za-z._~-]{1,256}", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class BackendClient:
    """Send requests to one licensing backend."""

    service: ServiceClient

    def challenge(self, binding: Binding) -> Challenge:
        """Request a session and its nonce. Raises `NotAttested`."""
        response = self.service.post("/challenges", binding.fields(), expected=(201,))
        try:
            return Challenge(nonce=read_nonce(response), session=_read_session(response))
        except MalformedResponseError as error:
            raise self.service.not_this_service(str(error)) from error

    def appraise(self, document: AttestedDocument, challenge: Challenge) -> VerifiedResult:
        """Post the document and return the license. Raises `NotAttested` if the backend does not grant it."""
        response = self.service.post("/licenses", {**document.fields(), "session": challenge.session}, expected=(201,))
        try:
            return VerifiedResult.parse_license(response)
        except MalformedResponseError as error:
            raise self.service.not_this_service(str(error)) from error


def _read_session(response: Response) -> str:
    session = response.json_object().get("session")
    if not isinstance(session, str) or not _SESSION.fullmatch(session):
        raise MalformedResponseError("it issued no session")
    return session
