"""Who calls: administrators, who may look at trust and change it, and tenants, for whom documents are appraised. Both
by bearer keys of which only hashes are kept; a key of the one kind opens nothing of the other."""

import hashlib
import hmac
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from verifier.api.json_codec import RequestError
from verifier.api.problems import RequestFault
from verifier.core.tenancy import Tenant

# Keys have 256 bits of chance, so one round of SHA-256 hides them; nothing that a person chose belongs here.
_SHA256 = re.compile(r"[0-9a-f]{64}")
_EMPTY = hashlib.sha256(b"").hexdigest()
# No colon: no key is named like who works on the command line (`cli:NAME`).
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,63}")
# RFC 6750 section 2.1; the scheme is case-insensitive (RFC 9110 section 11.1). No comma is a part of it: two headers,
# which servers join with one, do not pass as one.
_CREDENTIALS = re.compile(r"(?i:bearer) ([A-Za-z0-9._~+/-]{1,256}={0,2})", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class Administrators:
    """Names, each with the lower-case hex SHA-256 of its key. Without any, nobody is one."""

    key_hashes: Mapping[str, str] = field(repr=False)

    def __post_init__(self) -> None:
        for name, key_hash in self.key_hashes.items():
            if not _NAME.fullmatch(name):
                raise ValueError("the name of an admin key is 1 to 64 letters, digits or . _ @ -")
            if not _SHA256.fullmatch(key_hash) or key_hash == _EMPTY:
                raise ValueError(f"the admin key {name} is not the SHA-256 of a key, in 64 lower-case hex digits")
        if len(set(self.key_hashes.values())) != len(self.key_hashes):
            raise ValueError("two admin keys are the same, so that nobody could say whose it is")
        object.__setattr__(self, "key_hashes", dict(self.key_hashes))

    def authenticate(self, authorizations: Sequence[str], *, tenants: "Tenants | None" = None) -> str:
        """The name whose key the one Authorization header carries.

        Every hash is compared, in constant time each: how long it takes tells nothing of any. Not checked: what the
        administrator may do, which is everything. Raises RequestError, which says so where the key is a tenant's.
        """
        told = _read_key(authorizations)
        name = self.find(told)
        other = tenants.find(told) if tenants is not None else None
        if name is not None:
            return name
        if other is not None:
            raise RequestError(RequestFault.FORBIDDEN, "This path takes an admin key, and the key is not one.")
        raise _unauthenticated("The key is not one of this service.")

    def find(self, told: str) -> str | None:
        """The name of the key with this hash."""
        matching = [name for name, key_hash in self.key_hashes.items() if hmac.compare_digest(told, key_hash)]
        return matching[0] if matching else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Tenants:
    """Tenants, each with the lower-case hex SHA-256 of each of its keys: several, so that one can follow another.

    Without any, the service is open: whoever reaches it is OPEN_TENANT, and no key is looked at.
    """

    key_hashes: Mapping[Tenant, Sequence[str]] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        kept = {tenant: tuple(hashes) for tenant, hashes in self.key_hashes.items()}
        for tenant, hashes in kept.items():
            if not hashes:
                raise ValueError(f"the tenant {tenant.name} has no key, so that nobody could be it")
            if any(not _SHA256.fullmatch(key_hash) or key_hash == _EMPTY for key_hash in hashes):
                raise ValueError(
                    f"a key of the tenant {tenant.name} is not the SHA-256 of a key, in 64 lower-case hex digits"
                )
        every = [key_hash for hashes in kept.values() for key_hash in hashes]
        if len(set(every)) != len(every):
            raise ValueError("two keys of tenants are the same, so that nobody could say whose it is")
        if len({tenant.name for tenant in kept}) != len(kept):
            raise ValueError("two tenants have one name")
        object.__setattr__(self, "key_hashes", kept)

    @property
    def are_open(self) -> bool:
        """Whether no key is asked for."""
        return not self.key_hashes

    def authenticate(self, authorizations: Sequence[str], *, administrators: Administrators) -> Tenant:
        """The tenant whose key the one Authorization header carries; compared as those of administrators are.

        Raises RequestError, which says so where the key is an administrator's.
        """
        if self.are_open:
            return OPEN_TENANT
        told = _read_key(authorizations)
        tenant = self.find(told)
        other = administrators.find(told)
        if tenant is not None:
            return tenant
        if other is not None:
            raise RequestError(RequestFault.FORBIDDEN, "This path takes a tenant's key, and the key is not one.")
        raise _unauthenticated("The key is not one of this service.")

    def find(self, told: str) -> Tenant | None:
        """The tenant of the key with this hash."""
        matching = [
            tenant
            for tenant, hashes in self.key_hashes.items()
            for key_hash in hashes
            if hmac.compare_digest(told, key_hash)
        ]
        return matching[0] if matching else None


#: Whoever calls a service that has no tenants.
OPEN_TENANT = Tenant(name="default")


def _read_key(authorizations: Sequence[str]) -> str:
    """The SHA-256 of the key that the one Authorization header carries. Raises RequestError."""
    if not authorizations:
        raise _unauthenticated("This path takes a key: Authorization: Bearer KEY.")
    credentials = _CREDENTIALS.fullmatch(authorizations[0]) if len(authorizations) == 1 else None
    if credentials is None:
        raise _unauthenticated("Send one Authorization header: Bearer, one space, and the key.")
    return hashlib.sha256(credentials[1].encode("ascii")).hexdigest()


def _unauthenticated(detail: str) -> RequestError:
    return RequestError(RequestFault.UNAUTHENTICATED, detail)
