"""Managed identity: which identity of the machine a request selects, and its tokens (Azure page: Managed identity).

The parameters, the answers and the error codes are those of IMDS's OpenAPI description (`IdentityTokenResponse`,
`IdentityErrorResponse`). No service accepts the tokens.
"""

import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from threading import Lock
from typing import Final

from flask import Blueprint, Response, jsonify, request

from verifier.emulator.ascii_case import fold_case
from verifier.emulator.documents import ManagedIdentity, VirtualMachine
from verifier.emulator.rules import Refusal, refuse, refuse_api_version
from verifier.emulator.versions import IDENTITY_INTRODUCED

TOKEN_PATH: Final = "/metadata/identity/oauth2/token"  # noqa: S105 - a path

# The relations of the times in a recorded answer, in tests/data/imds-recordings.
_LIFETIME: Final = timedelta(hours=24)
_BACKDATED: Final = timedelta(minutes=5)
_EXTENDED_LIFETIME: Final = _LIFETIME - timedelta(seconds=1)
_MAX_TOKENS: Final = 1000

#: Parameters that select an identity, and the member of ManagedIdentity that each one names.
_SELECTORS: Final = {
    "client_id": "client_id",
    "object_id": "object_id",
    "msi_res_id": "resource_id",
    # The page on tokens has this name instead.
    "mi_res_id": "resource_id",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Token:
    value: str
    issued: datetime

    def is_valid(self, now: datetime) -> bool:
        return self.issued <= now < self.issued + _LIFETIME


class _TokenCache:
    """One token for each identity and resource, until it expires. Thread-safe."""

    def __init__(self) -> None:
        self._tokens: dict[tuple[str, str], _Token] = {}
        self._lock = Lock()

    def get(self, client_id: str, resource: str, *, now: datetime, is_bypassed: bool) -> _Token:
        with self._lock:
            kept = self._tokens.get((client_id, resource))
            if kept is not None and kept.is_valid(now) and not is_bypassed:
                return kept
            if len(self._tokens) >= _MAX_TOKENS:
                del self._tokens[next(iter(self._tokens))]
            made = _Token(value=f"emulated.{secrets.token_urlsafe(32)}", issued=now)
            self._tokens[client_id, resource] = made
            return made


def create_identity(*, vm: VirtualMachine, now: Callable[[], datetime]) -> Blueprint:
    """Return the routes for the managed identities of `vm`."""
    identity = Blueprint("identity", __name__)
    cache = _TokenCache()

    # Without OPTIONS, which Flask would add: IMDS has only GET.
    @identity.get("/metadata/identity/info", provide_automatic_options=False)
    def info() -> Response | Refusal:
        refusal = refuse_api_version(introduced=IDENTITY_INTRODUCED)
        # All identities of a machine have one tenant. A file can omit it.
        tenants = [one.tenant_id for one in vm.identities if one.tenant_id or one is vm.identity]
        if refusal or not tenants:
            return refusal or refuse(400, "Identity not found")
        return jsonify(tenantId=tenants[0])

    @identity.get(TOKEN_PATH, provide_automatic_options=False)
    def token() -> Response | Refusal:
        return refuse_api_version(introduced=IDENTITY_INTRODUCED) or _answer_token(vm, cache, now())

    return identity


def _answer_token(vm: VirtualMachine, cache: _TokenCache, now: datetime) -> Response | Refusal:
    resource = request.args.get("resource")
    if not resource:
        return refuse(400, "Required query variable 'resource' is missing")
    if request.args.get("bypass_cache", "true") != "true":
        return refuse(400, "The query variable 'bypass_cache' must be 'true' or absent")
    # An empty value selects no identity.
    selectors = {name: value for name in _SELECTORS if (value := request.args.get(name))}
    if len(selectors) > 1:
        return refuse(400, f"The query variables {' and '.join(map(repr, selectors))} are mutually exclusive")
    found = _selected(vm, selectors)
    if not found:
        return refuse(400, "Identity not found")
    if len(found) > 1:
        return refuse(
            400,
            "Multiple user assigned identities exist, please specify the clientId / resourceId of the identity in the "
            "token request",
        )
    client_id = found[0].client_id
    token = cache.get(client_id, resource, now=now, is_bypassed="bypass_cache" in request.args)
    expires = token.issued + _LIFETIME
    echoed = {name: value for name, value in selectors.items() if name != "client_id"}
    return jsonify(
        access_token=token.value,
        client_id=client_id,
        expires_in=f"{(expires - now).total_seconds():.0f}",
        expires_on=f"{expires.timestamp():.0f}",
        ext_expires_in=f"{_EXTENDED_LIFETIME.total_seconds():.0f}",
        not_before=f"{(token.issued - _BACKDATED).timestamp():.0f}",
        resource=resource,
        token_type="Bearer",  # noqa: S106 - the type of a token
        **echoed,
    )


def _selected(vm: VirtualMachine, selectors: Mapping[str, str]) -> tuple[ManagedIdentity, ...]:
    """Return the identities that the request can mean. Without a selector, the system-assigned one comes first."""
    if not selectors:
        return vm.user_identities if vm.identity is None else (vm.identity,)
    ((name, value),) = selectors.items()
    # Azure compares its identifiers without regard to case.
    return tuple(one for one in vm.identities if fold_case(getattr(one, _SELECTORS[name])) == fold_case(value))
