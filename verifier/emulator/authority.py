"""A certificate authority in files, so that a verifier's trust stays valid when the emulator restarts.

The directory has the form of a mounted Kubernetes TLS secret: `tls.crt` and `tls.key`, both PEM.
"""

from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Final, TypeVar

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from verifier.emulator.pki import Identity, PrivateKey

_MAX_BYTES: Final = 65_536

_T = TypeVar("_T")


class UnusableAuthorityError(Exception):
    """The directory contains no authority that can sign. The message names the file and the fault."""


def read_authority(directory: Path, *, now: datetime) -> Identity:
    """Read a self-signed CA that is valid at `now`, and its unencrypted key. Raises UnusableAuthorityError.

    It must be self-signed, so that its certificate is all the trust that a verifier needs. Not checked: the permissions
    of the files.
    """
    certificate_file, key_file = directory / "tls.crt", directory / "tls.key"
    certificate = _read_certificate(certificate_file)
    key = _read_key(key_file)
    if certificate.public_key() != key.public_key():
        raise UnusableAuthorityError(f"{key_file} does not match {certificate_file}")
    if not _can_sign(certificate):
        raise UnusableAuthorityError(f"{certificate_file} is not the certificate of a self-signed CA")
    if not certificate.not_valid_before_utc <= now <= certificate.not_valid_after_utc:
        raise UnusableAuthorityError(f"{certificate_file} is expired or not yet valid")
    return Identity(certificate=certificate, key=key)


def _read_certificate(file: Path) -> x509.Certificate:
    certificates = _parse(file, _load_certificates, expected="a PEM certificate")
    if len(certificates) != 1:
        raise UnusableAuthorityError(f"{file} contains {len(certificates)} certificates instead of 1")
    return certificates[0]


def _load_certificates(pem: bytes) -> list[x509.Certificate]:
    certificates = x509.load_pem_x509_certificates(pem)
    for certificate in certificates:
        # The library parses the key lazily. Parse it here, so that the error names the file.
        certificate.public_key()
    return certificates


def _read_key(file: Path) -> PrivateKey:
    key = _parse(
        file, lambda pem: serialization.load_pem_private_key(pem, password=None), expected="an unencrypted PEM key"
    )
    if not isinstance(key, rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey):
        raise UnusableAuthorityError(f"{file} contains neither an RSA nor an EC key")
    return key


def _parse(file: Path, parse: Callable[[bytes], _T], *, expected: str) -> _T:
    try:
        with file.open("rb") as stream:
            pem = stream.read(_MAX_BYTES + 1)
    except OSError as error:
        raise UnusableAuthorityError(f"{file}: {error.strerror}") from error
    if len(pem) > _MAX_BYTES:
        raise UnusableAuthorityError(f"{file} is larger than {_MAX_BYTES} bytes")
    try:
        return parse(pem)
    # TypeError: the key is encrypted.
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise UnusableAuthorityError(f"{file} is not {expected}") from error


def _can_sign(certificate: x509.Certificate) -> bool:
    """Return True for a self-signed CA with keyCertSign (RFC 5280 4.2.1.9 and 4.2.1.3)."""
    try:
        certificate.verify_directly_issued_by(certificate)
        constraints = certificate.extensions.get_extension_for_class(x509.BasicConstraints).value
        usage = certificate.extensions.get_extension_for_class(x509.KeyUsage).value
    # ValueError: another issuer, or a malformed extension. TypeError: a key type that cannot sign.
    except (InvalidSignature, ValueError, TypeError, UnsupportedAlgorithm, x509.ExtensionNotFound):
        return False
    return constraints.ca and usage.key_cert_sign
