"""Name every reason for which a result token is not accepted."""

from enum import StrEnum


class RefusalCode(StrEnum):
    """List the codes of NotVerified. docs/integrate/relying-party.md explains each one."""

    TOKEN_TOO_LARGE = "token-too-large"  # noqa: S105 - a code, as those below
    TOKEN_MALFORMED = "token-malformed"  # noqa: S105
    TOKEN_TYPE_REFUSED = "token-type-refused"  # noqa: S105
    TOKEN_HEADER_REFUSED = "token-header-refused"  # noqa: S105
    ALGORITHM_REFUSED = "algorithm-refused"
    KEY_UNKNOWN = "key-unknown"
    KEYS_UNAVAILABLE = "keys-unavailable"
    SIGNATURE_INVALID = "signature-invalid"
    CLAIMS_INVALID = "claims-invalid"
    PROFILE_MISMATCH = "profile-mismatch"
    ISSUER_MISMATCH = "issuer-mismatch"
    AUDIENCE_MISMATCH = "audience-mismatch"
    TENANT_MISMATCH = "tenant-mismatch"
    TOKEN_EXPIRED = "token-expired"  # noqa: S105
    TOKEN_NOT_YET_VALID = "token-not-yet-valid"  # noqa: S105
    NOT_AFFIRMED = "not-affirmed"
    POLICY_MISSING = "policy-missing"
    CONFIRMATION_UNSUPPORTED = "confirmation-unsupported"
    TOKEN_NOT_BOUND = "token-not-bound"  # noqa: S105
    TOKEN_REPLAYED = "token-replayed"  # noqa: S105
    PROOF_MISSING = "proof-missing"
    PROOF_TOO_LARGE = "proof-too-large"
    PROOF_MALFORMED = "proof-malformed"
    PROOF_TYPE_REFUSED = "proof-type-refused"
    PROOF_HEADER_REFUSED = "proof-header-refused"
    PROOF_ALGORITHM_REFUSED = "proof-algorithm-refused"
    PROOF_KEY_REFUSED = "proof-key-refused"
    PROOF_KEY_MISMATCH = "proof-key-mismatch"
    PROOF_SIGNATURE_INVALID = "proof-signature-invalid"
    PROOF_CLAIMS_INVALID = "proof-claims-invalid"
    PROOF_METHOD_MISMATCH = "proof-method-mismatch"
    PROOF_URL_MISMATCH = "proof-url-mismatch"
    PROOF_TOKEN_MISMATCH = "proof-token-mismatch"  # noqa: S105
    PROOF_EXPIRED = "proof-expired"
    PROOF_NOT_YET_VALID = "proof-not-yet-valid"
    PROOF_REPLAYED = "proof-replayed"
    REPLAY_STORE_UNAVAILABLE = "replay-store-unavailable"

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
