"""Define the issuer of result tokens and the administration of its keys."""

from collections.abc import Mapping
from datetime import timedelta
from enum import StrEnum
from typing import Protocol

from verifier.core.model import LiveResult
from verifier.core.values import dataclass


class TokenAlgorithm(StrEnum):
    """Name the signature algorithms of result tokens (RFC 7518 section 3.1, RFC 8037 section 3.1)."""

    ES256 = "ES256"
    EDDSA = "EdDSA"


#: How long clients may cache the published keys. A key signs only after it has been published for longer than this.
JWKS_LIFETIME = timedelta(seconds=300)


class TokenKeyError(ValueError):
    """Report that the token keys are unusable or that a change of them is refused. The message has no secret."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedKey:
    """Hold the public key as a JWK (RFC 7517), without private members."""

    kid: str
    jwk: Mapping[str, str]


class TokenIssuer(Protocol):
    """Sign attestation results. The keys may change at any time."""

    def issue(self, result: LiveResult, *, tenant: str, jti: str) -> str:
        """Sign the result as a JWT that names `tenant`.

        `jti` must be unique (RFC 7519 section 4.1.7). The audience is the configured one, or the tenant if the settings
        have none. Raises Unavailable if the key cannot sign, for example because its HSM is lost.
        """

    def check(self) -> None:
        """Raise Unavailable if the signing key cannot sign, so that the caller does not use a nonce in vain."""

    def published(self) -> tuple[PublishedKey, ...]:
        """Return every key that may have signed a valid token on this host, the signing key first."""

    def trouble(self) -> str:
        """Return the reason why the configured keys are not in force, or an empty string if they are."""


class TokenKeyAdministration(Protocol):
    """Manage the keys of result tokens. If a method raises TokenKeyError, it has made no change."""

    def generate(self, algorithm: TokenAlgorithm) -> str:
        """Generate and publish a key, and return its kid. It signs only if it is the first key."""

    def add(self, uri: str) -> str:
        """Publish the key of a PKCS#11 URI (RFC 7512), whose private key stays in its token, and return its kid.

        The token has to sign once, so that the public key is known to belong to the private key.
        """

    def published(self) -> tuple[PublishedKey, ...]:
        """Return the published keys, the signing key first."""

    def sign_with(self, kid: str, *, at_once: bool = False) -> None:
        """Sign with this key from now on. The previous keys stay published.

        Refuses while a client may still cache a key set without this key, unless `at_once` is set.
        """

    def retire(self, kid: str, *, at_once: bool = False) -> None:
        """Delete the key. Refuses for the signing key.

        Refuses also while a token that the key signed may still be valid, unless `at_once` is set.
        """
