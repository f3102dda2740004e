"""A certificate authority that its owner keeps: so that emulators before and after a restart are trusted by one trust.

The directory is a Kubernetes TLS secret as it is mounted: `tls.crt` and `tls.key`, both PEM.
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

CERTIFICATE_FILE: Final = "tls.crt"
KEY_FILE: Final = "tls.key"

_LIMIT_OCTETS: Final = 65_536

_T = TypeVar("_T")


class UnusableAuthorityError(Exception):
    """The directory holds no authority that could sign; the message names the file and the fault."""


def read_authority(directory: Path, *, now: datetime) -> Identity:
    """A self-signed CA that is valid at `now`, with its own key, which was not encrypted.

    Self-signed, so that its certificate is all the trust that a verifier needs. Who may read the files is not checked.
    Raises UnusableAuthorityError.
    """
    certificate_file, key_file = directory / CERTIFICATE_FILE, directory / KEY_FILE
    certificate = _read_certificate(certificate_file)
    key = _read_key(key_file)
    if certificate.public_key() != key.public_key():
        raise UnusableAuthorityError(f"{key_file} is not the key of {certificate_file}")
    if not _may_sign(certificate):
        raise UnusableAuthorityError(f"{certificate_file} is not a certificate of a self-signed CA")
    if not certificate.not_valid_before_utc <= now <= certificate.not_valid_after_utc:
        raise UnusableAuthorityError(f"{certificate_file} is not valid now")
    return Identity(certificate=certificate, key=key)


def _read_certificate(file: Path) -> x509.Certificate:
    certificates = _parse(file, _load_certificates)
    if len(certificates) != 1:
        raise UnusableAuthorityError(f"{file} holds {len(certificates)} certificates, and must hold one")
    return certificates[0]


def _load_certificates(pem: bytes) -> list[x509.Certificate]:
    certificates = x509.load_pem_x509_certificates(pem)
    for certificate in certificates:
        # Read when it is asked for, and no earlier: a key that cannot be is to be the file's fault.
        certificate.public_key()
    return certificates


def _read_key(file: Path) -> PrivateKey:
    key = _parse(file, lambda pem: serialization.load_pem_private_key(pem, password=None))
    if not isinstance(key, rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey):
        raise UnusableAuthorityError(f"{file} is neither an RSA nor an EC key")
    return key


def _parse(file: Path, parse: Callable[[bytes], _T]) -> _T:
    try:
        with file.open("rb") as stream:
            pem = stream.read(_LIMIT_OCTETS + 1)
    except OSError as error:
        raise UnusableAuthorityError(f"{file}: {error.strerror}") from error
    if len(pem) > _LIMIT_OCTETS:
        raise UnusableAuthorityError(f"{file} is larger than {_LIMIT_OCTETS} octets")
    try:
        return parse(pem)
    # TypeError: the key is encrypted.
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise UnusableAuthorityError(f"{file} is not PEM of the right kind, or is encrypted") from error


def _may_sign(certificate: x509.Certificate) -> bool:
    """RFC 5280 4.2.1.9 and 4.2.1.3; and it verifies with its own key."""
    try:
        certificate.verify_directly_issued_by(certificate)
        constraints = certificate.extensions.get_extension_for_class(x509.BasicConstraints).value
        usage = certificate.extensions.get_extension_for_class(x509.KeyUsage).value
    # ValueError: its issuer is another, or an extension does not parse. TypeError: a kind of key that signs nothing.
    except (InvalidSignature, ValueError, TypeError, UnsupportedAlgorithm, x509.ExtensionNotFound):
        return False
    return constraints.ca and usage.key_cert_sign
