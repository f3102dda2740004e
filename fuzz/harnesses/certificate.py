"""Certificate.read refuses the bytes, or agrees with cryptography on every field, within the bounds."""

import warnings

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa

from verifier.core.bounds import (
    MAX_CERTIFICATE_BYTES,
    MAX_KEY_PURPOSES,
    MAX_NAMES,
    MAX_RSA_EXPONENT_BITS,
    MAX_SERIAL_NUMBER_BYTES,
    MAX_SHOWN_CHARACTERS,
)
from verifier.core.trust.certificates import Certificate, CertificateError


def check(data: bytes) -> bool:
    """Check the property for one input, and return whether it is accepted."""
    # cryptography warns of names that it will refuse one day. The service does not make warnings errors.
    with warnings.catch_warnings(action="ignore"):
        try:
            read = Certificate.read(data)
        except CertificateError:
            return False
        _compare(read, x509.load_der_x509_certificate(data))
    assert read.der == data
    assert len(data) <= MAX_CERTIFICATE_BYTES
    assert len(read.serial_bytes) <= MAX_SERIAL_NUMBER_BYTES
    assert len(read.dns_names) + len(read.unverified_issuer_urls) <= MAX_NAMES
    assert len(read.extended_key_usage or ()) <= MAX_KEY_PURPOSES
    assert max(len(read.subject), len(read.issuer)) <= MAX_SHOWN_CHARACTERS + len("...")
    return True


def _compare(read: Certificate, other: x509.Certificate) -> None:
    assert read.serial_number == other.serial_number
    assert (read.not_before, read.not_after) == (other.not_valid_before_utc, other.not_valid_after_utc)
    assert read.signature_oid == other.signature_algorithm_oid.dotted_string
    if isinstance(read.public_key, rsa.RSAPublicKey):
        assert read.public_key.public_numbers().e.bit_length() <= MAX_RSA_EXPONENT_BITS
