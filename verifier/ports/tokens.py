"""What signed results need from the outside, as protocols: beside `verifier.ports`, for the keys and the tokens."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import Protocol

from verifier.core.model import LiveResult


class TokenAlgorithm(StrEnum):
    """RFC 7518 section 3.1, RFC 8037 section 3.1: what result tokens are signed with."""

    ES256 = "ES256"
    EDDSA = "EdDSA"


#: How long anybody may keep the published keys. A key signs only once it has been published for longer.
JWKS_LIFETIME = timedelta(seconds=300)


class TokenKeyError(ValueError):
    """The keys of result tokens are not usable, or not to be changed so; one sentence, without anything secret."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedKey:
    """The public half of a key, as RFC 7517 spells it: no private member."""

    kid: str
    jwk: Mapping[str, str]


class TokenIssuer(Protocol):
    """Signs attestation results, with keys that may change at any time."""

    def issue(self, result: LiveResult, *, tenant: str) -> str:
        """Sign the result as a JWT. It names `tenant`, and is for it, or for the audience that the settings name."""

    def published(self) -> tuple[PublishedKey, ...]:
        """Every key whose tokens may be about, on any worker of this host; the one that signs first."""

    def trouble(self) -> str:
        """Why the keys that are there now are not those in force; empty where they are."""


class TokenKeyAdministration(Protocol):
    """The keys of result tokens, to an operator. Every method raises TokenKeyError, and has changed nothing then."""

    def generate(self, algorithm: TokenAlgorithm) -> str:
        """The kid of a new key, which is published from now on. It signs only where it is the first one."""

    def published(self) -> tuple[PublishedKey, ...]:
        """The one that signs first."""

    def sign_with(self, kid: str, *, at_once: bool = False) -> None:
        """The key signs from now on; those before stay published. Unless `at_once`, refuses while somebody may keep
        a key set that is without it."""

    def retire(self, kid: str, *, at_once: bool = False) -> None:
        """The key is gone. Refuses for the one that signs, and, unless `at_once`, while tokens that it signed may
        still be shown."""
