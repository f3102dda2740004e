"""The bounds, as numbers: a change of one is a decision about which documents are accepted, and at which cost."""

import pytest

from verifier.core import bounds

BOUNDS = {
    "MAX_EVIDENCE_BYTES": 16_384,
    "MAX_DEPTH": 32,
    "MAX_ELEMENTS": 4_096,
    "MAX_OID_BYTES": 64,
    "MAX_EMBEDDED_CERTIFICATES": 8,
    "MAX_SIGNED_ATTRIBUTES": 32,
    "MAX_ALGORITHM_BYTES": 256,
    "MAX_CERTIFICATE_BYTES": 8_192,
    "MAX_SERIAL_NUMBER_BYTES": 64,
    "MAX_NAME_ATTRIBUTES": 32,
    "MAX_EXTENSIONS": 32,
    "MAX_NAMES": 256,
    "MAX_HOST_NAME_BYTES": 253,
    "MAX_KEY_PURPOSES": 32,
    "MAX_EXTENSION_ELEMENTS": 1_024,
    "MAX_SHOWN_CHARACTERS": 512,
    "MIN_RSA_BITS": 2_048,
    "MAX_RSA_BITS": 8_192,
    "MAX_RSA_EXPONENT_BITS": 33,
    "MAX_JSON_DEPTH": 16,
    "MAX_JSON_VALUES": 256,
    "MAX_NONCE_CHARACTERS": 64,
    "MAX_VM_ID_CHARACTERS": 128,
    "MAX_TOLERATED_ELEMENTS": 512,
    "MAX_TOLERATED_RSA_BITS": 4_096,
    "MAX_TOLERATED_EXPONENT_BITS": 64,
    "SIGNER_CACHE_BYTES": 16_777_216,
    "CERTIFICATE_CACHE_BYTES": 2_097_152,
    "IDENTITY_CACHE_BYTES": 2_097_152,
    "CHAIN_CACHE_BYTES": 4_194_304,
    "PAST_CHAIN_CACHE_BYTES": 65_536,
    "AUTHORITY_CACHE_BYTES": 2_097_152,
    "ISSUING_CACHE_BYTES": 1_048_576,
}


def test_every_bound_is_here() -> None:
    assert {name for name in vars(bounds) if name.isupper() and not name.startswith("_")} == BOUNDS.keys()


@pytest.mark.parametrize("name", BOUNDS)
def test_a_bound_is(name: str) -> None:
    assert getattr(bounds, name) == BOUNDS[name]
