"""Name every reason for which a result token is not accepted."""

from enum import StrEnum


class RefusalCode(StrEnum):
    """List the codes of NotVerified, each with the reason why the token is refused."""

    TOKEN_TOO_LARGE = "token-too-large"  # noqa: S105 - a code
    """It has more than 8 KiB."""
    TOKEN_MALFORMED = "token-malformed"  # noqa: S105 - as above
    """It is not three segments of canonical base64url, or its header is not strict JSON."""
    TOKEN_TYPE_REFUSED = "token-type-refused"  # noqa: S105 - as above
    """`typ` is not `eat+jwt`."""
    TOKEN_HEADER_REFUSED = "token-header-refused"  # noqa: S105 - as above
    """Its header has `crit`, `jku`, `jwk`, `x5u`, `x5c`, `b64`, `zip` or `enc`."""
    ALGORITHM_REFUSED = "algorithm-refused"
    """`alg` is neither ES256 nor EdDSA (Ed25519), or not that of the key."""
    KEY_UNKNOWN = "key-unknown"
    """The verifier does not publish its key."""
    KEYS_UNAVAILABLE = "keys-unavailable"
    """No recent key set is available. Answer 503."""
    SIGNATURE_INVALID = "signature-invalid"
    """The key did not sign it."""
    CLAIMS_INVALID = "claims-invalid"
    """The claims are not strict JSON, or one is missing or has the wrong type."""
    PROFILE_MISMATCH = "profile-mismatch"
    """`eat_profile` is another one."""
    ISSUER_MISMATCH = "issuer-mismatch"
    """`iss` is another verifier."""
    AUDIENCE_MISMATCH = "audience-mismatch"
    """`aud` is another audience, missing or a list."""
    TENANT_MISMATCH = "tenant-mismatch"
    """It was issued to another tenant."""
    TOKEN_EXPIRED = "token-expired"  # noqa: S105 - as above
    """`exp` is more than 60 s ago."""
    TOKEN_NOT_YET_VALID = "token-not-yet-valid"  # noqa: S105 - as above
    """`iat` or `nbf` is more than 60 s ahead."""
    NOT_AFFIRMED = "not-affirmed"
    """`ear_status` is not `affirming`."""
    POLICY_MISSING = "policy-missing"
    """It does not name each of `policies`."""
    CONFIRMATION_UNSUPPORTED = "confirmation-unsupported"
    """`cnf` is not exactly a `jkt`."""
    TOKEN_NOT_BOUND = "token-not-bound"  # noqa: S105 - as above
    """It has no `cnf`, but a proof, or `bound_only` is set."""
    TOKEN_REPLAYED = "token-replayed"  # noqa: S105 - as above
    """It was used before, and `single_use` is set."""
    PROOF_MISSING = "proof-missing"
    """It is bound to a key, and has no proof."""
    PROOF_TOO_LARGE = "proof-too-large"
    """The proof has more than 8 KiB."""
    PROOF_MALFORMED = "proof-malformed"
    """The proof is not three segments, or its header is not strict JSON."""
    PROOF_TYPE_REFUSED = "proof-type-refused"
    """The proof's `typ` is not `dpop+jwt`."""
    PROOF_HEADER_REFUSED = "proof-header-refused"
    """The proof's header has more than `typ`, `alg` and `jwk`."""
    PROOF_ALGORITHM_REFUSED = "proof-algorithm-refused"
    """The proof's `alg` is neither ES256 nor EdDSA, or not that of its key."""
    PROOF_KEY_REFUSED = "proof-key-refused"
    """The proof's `jwk` is not a public P-256 or Ed25519 key, or has another `alg` or `use`."""
    PROOF_KEY_MISMATCH = "proof-key-mismatch"
    """The proof has another key than the token."""
    PROOF_SIGNATURE_INVALID = "proof-signature-invalid"
    """The proof's key did not sign it."""
    PROOF_CLAIMS_INVALID = "proof-claims-invalid"
    """A claim of the proof is missing or has the wrong type, or `jti` has more than 256 bytes."""
    PROOF_METHOD_MISMATCH = "proof-method-mismatch"
    """`htm` is another method."""
    PROOF_URL_MISMATCH = "proof-url-mismatch"
    """`htu` is another URL, or not ASCII."""
    PROOF_TOKEN_MISMATCH = "proof-token-mismatch"  # noqa: S105 - as above
    """`ath` is not the digest of the token."""
    PROOF_EXPIRED = "proof-expired"
    """The proof was made more than 120 s ago."""
    PROOF_NOT_YET_VALID = "proof-not-yet-valid"
    """The proof's `iat` is more than 60 s ahead."""
    PROOF_REPLAYED = "proof-replayed"
    """The proof was used before."""
    REPLAY_STORE_UNAVAILABLE = "replay-store-unavailable"
    """The replay store is down or full. Answer 503."""

    @property
    def is_temporary(self) -> bool:
        """Tell whether the token was not decided on, so that the same token may pass later. Answer 503 then."""
        return self in {RefusalCode.KEYS_UNAVAILABLE, RefusalCode.REPLAY_STORE_UNAVAILABLE}


class NotVerified(Exception):
    """Report that a token is not accepted: `code` for programs, the message for people.

    The message quotes no part of the token or the proof, so it may be logged and returned to the VM.
    """

    def __init__(self, code: RefusalCode, message: str) -> None:
        super().__init__(message)
        self._code = code

    @property
    def code(self) -> RefusalCode:
        return self._code
