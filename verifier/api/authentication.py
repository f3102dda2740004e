"""Authenticate administrators and tenants by API key.

Administrators may read and change trust. Tenants may get nonces and post documents, with two kinds of keys: a backend
key is a secret, an agent key counts as public. The service keeps only hashes of keys, and a key of one kind never
authenticates another.
"""

import hashlib
import hmac
import re
from collections.abc import Mapping, Sequence
from dataclasses import field
from typing import TypeVar

from flask import Request

from verifier.api.json_codec import RequestError
from verifier.api.problems import RequestFault
from verifier.core.policy import Policies
from verifier.core.tenancy import NAME_PATTERN, KeyKind, Tenant
from verifier.core.values import dataclass
from verifier.ports.decisions import NO_TENANT

_Caller = TypeVar("_Caller")

# Generated keys have 256 random bits, so one round of SHA-256 protects them. Passwords would need a slow hash.
_SHA256 = re.compile(r"[0-9a-f]{64}")
_EMPTY = hashlib.sha256(b"").hexdigest()
# No colon, so that no key name looks like an operator on the command line (`cli:NAME`).
_NAME = re.compile(NAME_PATTERN)
# RFC 6750 section 2.1. The scheme is case-insensitive (RFC 9110 section 11.1). No commas, because servers join two
# headers with a comma.
_CREDENTIALS = re.compile(r"(?i:bearer) ([A-Za-z0-9._~+/-]{1,256}={0,2})", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class Administrators:
    """The name of each admin key, with the SHA-256 of the key in lower-case hex."""

    key_hashes: Mapping[str, str] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        for name, key_hash in self.key_hashes.items():
            # The message does not show the name: it may be a key in the wrong place.
            if not _NAME.fullmatch(name):
                raise ValueError("the name of an admin key must be 1 to 64 letters, digits or . _ @ -")
            if not _SHA256.fullmatch(key_hash) or key_hash == _EMPTY:
                raise ValueError(
                    f"the value of admin key {name} must be the SHA-256 of a key, as 64 lower-case hex digits"
                )
        if len(set(self.key_hashes.values())) != len(self.key_hashes):
            raise ValueError("two admin keys have the same hash; give each administrator a key")
        object.__setattr__(self, "key_hashes", dict(self.key_hashes))


@dataclass(frozen=True, slots=True, kw_only=True)
class Tenants:
    """Each tenant, with the SHA-256 of each of its keys in lower-case hex.

    A tenant may have several keys of each kind, so that an operator can rotate them. It needs a backend key, and may
    have no agent key. Without tenants the service is open: every caller is OPEN_TENANT, and the service ignores keys.
    """

    key_hashes: Mapping[Tenant, Sequence[str]] = field(default_factory=dict, repr=False)
    agent_key_hashes: Mapping[Tenant, Sequence[str]] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        kept = {tenant: tuple(hashes) for tenant, hashes in self.key_hashes.items()}
        agents = {tenant: tuple(hashes) for tenant, hashes in self.agent_key_hashes.items()}
        for tenant, hashes in (*kept.items(), *agents.items()):
            if not kept.get(tenant):
                raise ValueError(f"the tenant {tenant.name} has no key; add one or remove the tenant")
            if any(not _SHA256.fullmatch(key_hash) or key_hash == _EMPTY for key_hash in hashes):
                raise ValueError(
                    f"each key of the tenant {tenant.name} must be the SHA-256 of a key, as 64 lower-case hex digits"
                )
        every = [key_hash for keys in (kept, agents) for hashes in keys.values() for key_hash in hashes]
        if len(set(every)) != len(every):
            raise ValueError("two keys of tenants have the same hash; each key must be unique")
        if len({tenant.name for tenant in kept}) != len(kept):
            raise ValueError("two tenants have the same name")
        object.__setattr__(self, "key_hashes", kept)
        object.__setattr__(self, "agent_key_hashes", agents)

    @property
    def are_open(self) -> bool:
        """Return whether callers need no key."""
        return not self.key_hashes

    def policy_of(self, tenant: Tenant) -> str:
        """Return the policy that the tenant has in these settings. Raises RequestError if it is no longer a tenant."""
        if self.are_open:
            return OPEN_TENANT.policy
        policies = [known.policy for known in self.key_hashes if known.name == tenant.name]
        if not policies:
            raise _unauthenticated("The tenant of this key was removed.")
        return policies[0]


#: Every caller of a service without tenants.
OPEN_TENANT = Tenant(name="default")


@dataclass(frozen=True, slots=True, kw_only=True)
class TenantCaller:
    """A tenant, and the kind of key that authenticated the caller as this tenant.

    `key` is the key's name in records: its kind and the start of its hash. It is empty in a service without keys.
    """

    tenant: Tenant
    kind: KeyKind
    key: str = field(default="", compare=False, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Callers:
    """Hold who may call the service, and the policies that the tenants' names refer to.

    All are from one snapshot of the settings. Authentication takes a time that does not depend on which hash matches.
    """

    administrators: Administrators = field(default_factory=Administrators)
    tenants: Tenants = field(default_factory=Tenants)
    policies: Policies = field(default_factory=Policies)
    # Each known hash, with the caller whose key has it. Made once, because every request compares all hashes.
    _admin_keys: tuple[tuple[str, str], ...] = field(init=False, repr=False, compare=False)
    _tenant_keys: tuple[tuple[str, TenantCaller], ...] = field(init=False, repr=False, compare=False)
    # DEFAULT, and each policy that no tenant has.
    _shared: Policies = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        administrators = ((known, name) for name, known in self.administrators.key_hashes.items())
        kinds = ((KeyKind.BACKEND, self.tenants.key_hashes), (KeyKind.AGENT, self.tenants.agent_key_hashes))
        callers = (
            (known, TenantCaller(tenant=tenant, kind=kind, key=_name_in_records(kind, known)))
            for kind, key_hashes in kinds
            for tenant, hashes in key_hashes.items()
            for known in hashes
        )
        object.__setattr__(self, "_admin_keys", tuple(administrators))
        object.__setattr__(self, "_tenant_keys", tuple(callers))
        owned = {tenant.policy for tenant in self.tenants.key_hashes}
        object.__setattr__(self, "_shared", self.policies.without(owned))

    def policies_of(self, tenant: Tenant) -> tuple[str, Policies]:
        """Return the name of the tenant's policy, and the policies that its callers may name.

        Those are its own, DEFAULT, and each that no tenant has. The policy of another tenant may hold its customers'
        machines, and a caller that could name it would learn from the answers what it allows. Raises RequestError if
        these settings do not have the tenant.
        """
        own = self.tenants.policy_of(tenant)
        if own in self._shared.rules or own not in self.policies.rules:
            return own, self._shared
        # Made for each request: made for each tenant, they would take memory for all pairs of tenant and policy.
        return own, Policies({**self._shared.rules, own: self.policies.rules[own]})

    def authenticate_administrator(self, authorization: str | None) -> str:
        """Return the name of the admin key in the Authorization header.

        Raises RequestError, with its own message for a key of a tenant. Not checked: permissions, because every
        administrator may do everything.
        """
        name, caller = self._find(authorization)
        if name is not None:
            return name
        sent = "an agent key" if caller and caller.kind is KeyKind.AGENT else "a backend key"
        raise _refusal(f"This endpoint needs an admin key; you sent {sent}." if caller else "")

    def authenticate_tenant(self, authorization: str | None) -> TenantCaller:
        """Return the tenant whose key the Authorization header carries, and the kind of the key.

        Raises RequestError, with its own message for an admin key.
        """
        if self.tenants.are_open:
            return TenantCaller(tenant=OPEN_TENANT, kind=KeyKind.BACKEND)
        name, caller = self._find(authorization)
        if caller is not None:
            return caller
        raise _refusal("This endpoint needs a backend key or an agent key; you sent an admin key." if name else "")

    def authenticate_reader(self, authorization: str | None) -> Tenant | None:
        """Return the tenant whose decisions the caller may see, or None for an administrator, who sees all.

        A service without tenants shows them to administrators alone, because every caller of it is the same tenant.
        Raises RequestError, with its own message for an agent key.
        """
        name, caller = self._find(authorization)
        if name is not None:
            return None
        if caller is None:
            raise _refusal("")
        if caller.kind is KeyKind.AGENT:
            raise _refusal("This endpoint needs a backend key or an admin key; you sent an agent key.")
        return caller.tenant

    def authenticate_inspector(self, authorization: str | None) -> Tenant | None:
        """Do the same as `authenticate_reader`. In a service without tenants, every caller is OPEN_TENANT."""
        return OPEN_TENANT if self.tenants.are_open else self.authenticate_reader(authorization)

    def know(self, authorization: str | None) -> bool:
        """Return whether the Authorization header carries a secret key: an admin key or a backend key."""
        try:
            name, caller = self._find(authorization)
        except RequestError:
            return False
        return name is not None or (caller is not None and caller.kind is KeyKind.BACKEND)

    def identify(self, authorization: str | None) -> tuple[str, str]:
        """Return the names in records of the tenant and of the key that the Authorization header carries.

        The tenant is NO_TENANT without a valid key of a tenant, and the key is empty without a valid key.
        """
        try:
            name, caller = self._find(authorization)
        except RequestError:
            name = caller = None
        if name is not None:
            return NO_TENANT, _name_in_records("admin", self.administrators.key_hashes[name])
        if caller is not None:
            return caller.tenant.name, caller.key
        return (OPEN_TENANT.name if self.tenants.are_open else NO_TENANT), ""

    def _find(self, authorization: str | None) -> tuple[str | None, TenantCaller | None]:
        key_hash = _read_key(authorization)
        return _match(key_hash, self._admin_keys), _match(key_hash, self._tenant_keys)


def authorization_of(asked: Request) -> str | None:
    """Return the Authorization header of the request, or None without one. A repeated header has a comma."""
    # The same as headers.getlist, which copies the names of all headers.
    return asked.environ.get("HTTP_AUTHORIZATION")


def _name_in_records(kind: str, key_hash: str) -> str:
    # Eight digits tell the keys of a service apart, and help no one to guess a key of 256 random bits.
    return f"{kind}:{key_hash[:8]}"


def _match(key_hash: str, callers: Sequence[tuple[str, _Caller]]) -> _Caller | None:
    """Return the caller with this key hash. Compares all hashes, each in constant time."""
    matching = [caller for known, caller in callers if hmac.compare_digest(key_hash, known)]
    return matching[0] if matching else None


def _read_key(authorization: str | None) -> str:
    """Return the SHA-256 of the key in the Authorization header. Raises RequestError, also if the header is None."""
    if authorization is None:
        raise _unauthenticated("This endpoint needs an API key. Send the header Authorization: Bearer KEY.")
    credentials = _CREDENTIALS.fullmatch(authorization)
    if credentials is None:
        raise _unauthenticated(
            "The Authorization header is malformed or repeated. Send it once, as Authorization: Bearer KEY."
        )
    return hashlib.sha256(credentials[1].encode("ascii")).hexdigest()


def _refusal(forbidden: str) -> RequestError:
    """Return the error for a key of the other kind, or for an unknown key if `forbidden` is empty."""
    if forbidden:
        return RequestError(RequestFault.FORBIDDEN, forbidden)
    return _unauthenticated("Unknown API key. Check the key, or ask the operator of the service to add it.")


def _unauthenticated(detail: str) -> RequestError:
    # RFC 9110 section 11.6.1.
    return RequestError(RequestFault.UNAUTHENTICATED, detail, headers={"WWW-Authenticate": "Bearer"})
