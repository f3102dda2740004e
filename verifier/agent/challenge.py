"""A challenge: the nonce for IMDS, what it is bound to, and the backend's session that it belongs to."""

from __future__ import annotations

import re
from typing import Final

from verifier.agent.compatibility import dataclass
from verifier.agent.transport import MalformedResponseError, Response

# The nonces that IMDS accepts. Anything else must not reach the query string of IMDS.
NONCE: Final = re.compile(r"[0-9A-Za-z]{1,32}", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class Binding:
    """What a nonce is requested for. Each field narrows what the verifier accepts with this nonce.

    `vm_id`: only a document of this VM. `policy`: only a document that satisfies this policy, too. `jkt`: the result
    token is bound to the key with this thumbprint.
    """

    vm_id: str | None = None
    policy: str | None = None
    jkt: str | None = None

    def fields(self) -> dict[str, object]:
        named = {"vmId": self.vm_id, "policy": self.policy, "jkt": self.jkt}
        return {name: value for name, value in named.items() if value is not None}


@dataclass(frozen=True, slots=True, kw_only=True)
class Challenge:
    """A nonce that IMDS accepts. Only a licensing backend adds a `session`."""

    nonce: str
    session: str | None = None


def read_nonce(response: Response) -> str:
    """Return the issued nonce. Raises `MalformedResponseError` if IMDS would not accept it."""
    nonce = response.json_object().get("nonce")
    if not isinstance(nonce, str) or not NONCE.fullmatch(nonce):
        raise MalformedResponseError("it issued a nonce that IMDS does not accept")
    return nonce
