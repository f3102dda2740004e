"""Who may look at trust and change it: administrators, by bearer keys of which only hashes are kept."""

import hashlib
import hmac
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from verifier.api.problems import RequestFault
from verifier.api.wire import RequestError

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

    def authenticate(self, authorizations: Sequence[str]) -> str:
        """The name whose key the one Authorization header carries.

        Every hash is compared, in constant time each: how long it takes tells nothing of any. Not checked: what the
        administrator may do, which is everything. Raises RequestError.
        """
        if not authorizations:
            raise _unauthenticated("This path takes an admin key: Authorization: Bearer KEY.")
        credentials = _CREDENTIALS.fullmatch(authorizations[0]) if len(authorizations) == 1 else None
        if credentials is None:
            raise _unauthenticated("Send one Authorization header: Bearer, one space, and the key.")
        told = hashlib.sha256(credentials[1].encode("ascii")).hexdigest()
        matching = [name for name, key_hash in self.key_hashes.items() if hmac.compare_digest(told, key_hash)]
        if not matching:
            raise _unauthenticated("The admin key is not one of this service.")
        return matching[0]


def _unauthenticated(detail: str) -> RequestError:
    return RequestError(RequestFault.UNAUTHENTICATED, detail)
