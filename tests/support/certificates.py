"""Make certificates with one fault that libraries avoid."""

import hashlib
from collections.abc import Sequence
from typing import Final

from asn1crypto import core, parser
from asn1crypto import x509 as asn1_x509
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.x509.oid import ExtensionOID, NameOID
from support.documents import around, der, shared_pki

from verifier.emulator import pki

#: DigestInfo without the digest (RFC 8017 section 9.2, notes 1). Libraries no longer sign with broken digests.
_DIGEST_INFO: Final = {
    "md5": bytes.fromhex("3020300c06082a864886f70d020505000410"),
    "sha1": bytes.fromhex("3021300906052b0e03021a05000414"),
    "sha256": bytes.fromhex("3031300d060960864801650304020105000420"),
}
_SIGNED_WITH: Final = {"md5": "md5_rsa", "sha1": "sha1_rsa", "sha256": "sha256_rsa"}


def sign_rsa(data: bytes, key: pki.PrivateKey, digest: str) -> bytes:
    """Sign with RSASSA-PKCS1-v1_5 (RFC 8017 section 8.2) and any digest, also a broken one."""
    if not isinstance(key, rsa.RSAPrivateKey):
        raise TypeError("not an RSA key")
    numbers = key.private_numbers()
    modulus = numbers.public_numbers.n
    size = (modulus.bit_length() + 7) // 8
    info = _DIGEST_INFO[digest] + hashlib.new(digest, data).digest()
    padded = b"\x00\x01" + b"\xff" * (size - len(info) - 3) + b"\x00" + info
    return pow(int.from_bytes(padded), numbers.d, modulus).to_bytes(size)


def make_names(*common_names: str) -> x509.Name:
    """Make a subject with these common names, and an organisation, because it must not be empty (RFC 5280 4.1.2.6)."""
    organisation = x509.NameAttribute(NameOID.ORGANIZATION_NAME, pki.ORGANISATION)
    return x509.Name([organisation, *(x509.NameAttribute(NameOID.COMMON_NAME, name) for name in common_names)])


def make_signer(
    *,
    issuer: pki.Identity | None = None,
    common_names: Sequence[str] | None = ("metadata.azure.com",),
    names: Sequence[str] = ("eastus.metadata.azure.com", "metadata.azure.com"),
    key: pki.PrivateKey | None = None,
    validity: pki.Validity | None = None,
    extensions: Sequence[x509.ExtensionType] = (),
    without: Sequence[x509.ObjectIdentifier] = (),
    issuer_key: pki.PrivateKey | None = None,
) -> pki.Identity:
    """Make a signer under `issuer`, by default the issuing CA of the shared PKI.

    `extensions` replace the usual ones of their kind, and those of `without` are left out. `issuer_key` signs in place
    of the issuer's own key. If `common_names` is None, the subject is empty. If it is empty, the subject has only an
    organisation.
    """
    authority = issuer or shared_pki().issuing_ca
    own = key or shared_pki().signer.key
    usual = pki.signer_extensions(
        names=names,
        public_key=own.public_key(),
        issuer_public_key=authority.key.public_key(),
        issuer_urls=(),
    )
    certificate = pki.issue(
        subject=x509.Name([]) if common_names is None else make_names(*common_names),
        public_key=own.public_key(),
        issuer_name=authority.certificate.subject,
        issuer_key=issuer_key or authority.key,
        validity=validity or around(),
        extensions=replaced(usual, extensions=extensions, without=without),
        signing_hash=SHA256(),
    )
    return pki.Identity(certificate=certificate, key=own)


def make_authority(
    *,
    issuer: pki.Identity,
    name: str,
    key: pki.PrivateKey,
    validity: pki.Validity | None = None,
    path_length: int | None = None,
    extensions: Sequence[x509.ExtensionType] = (),
    without: Sequence[x509.ObjectIdentifier] = (),
) -> pki.Identity:
    """Make a CA under `issuer`. `extensions` and `without` have the same meaning as for a signer."""
    usual = pki.ca_extensions(
        public_key=key.public_key(), issuer_public_key=issuer.key.public_key(), path_length=path_length
    )
    certificate = pki.issue(
        subject=pki.make_name(name),
        public_key=key.public_key(),
        issuer_name=issuer.certificate.subject,
        issuer_key=issuer.key,
        validity=validity or around(days=3650),
        extensions=replaced(usual, extensions=extensions, without=without),
        signing_hash=SHA256(),
    )
    return pki.Identity(certificate=certificate, key=key)


def make_self_signed(
    *,
    key: pki.PrivateKey,
    common_name: str = "metadata.azure.com",
    names: Sequence[str] = ("eastus.metadata.azure.com", "metadata.azure.com"),
) -> pki.Identity:
    """Make a self-signed signer, like the sample of the Azure page."""
    certificate = pki.issue(
        subject=make_names(common_name),
        public_key=key.public_key(),
        issuer_name=make_names(common_name),
        issuer_key=key,
        validity=around(),
        extensions=pki.signer_extensions(
            names=names, public_key=key.public_key(), issuer_public_key=key.public_key(), issuer_urls=()
        ),
        signing_hash=SHA256(),
    )
    return pki.Identity(certificate=certificate, key=key)


def replaced(
    usual: pki.Extensions,
    *,
    extensions: Sequence[x509.ExtensionType] = (),
    without: Sequence[x509.ObjectIdentifier] = (),
) -> pki.Extensions:
    """Replace the `usual` extensions by those of `extensions`, append new ones, and remove those of `without`."""
    new = {extension.oid: extension for extension in extensions}
    kept = [
        x509.Extension(extension.oid, extension.critical, new.pop(extension.oid, extension.value))
        for extension in usual
        if extension.oid not in without
    ]
    return (*kept, *(x509.Extension(oid, False, value) for oid, value in new.items()))  # noqa: FBT003 - its signature


def alternative_names(*names: bytes) -> x509.UnrecognizedExtension:
    """Make a subjectAltName of these bytes, even if they are not a valid dNSName."""
    # RFC 5280 4.2.1.6: a SEQUENCE of [2] IMPLICIT IA5String.
    encoded = b"".join(bytes(parser.emit(2, 0, 2, name)) for name in names)
    return x509.UnrecognizedExtension(ExtensionOID.SUBJECT_ALTERNATIVE_NAME, bytes(parser.emit(0, 1, 16, encoded)))


def resign(
    identity: pki.Identity,
    *,
    issuer: pki.Identity | None = None,
    digest: str = "sha256",
    serial_number: int | None = None,
) -> pki.Identity:
    """Sign the certificate again with `digest`: md5, sha1 or sha256. The default issuer is the shared issuing CA."""
    authority = issuer or shared_pki().issuing_ca
    certificate = asn1_x509.Certificate.load(der(identity.certificate))
    tbs = certificate["tbs_certificate"]
    for algorithm in (tbs["signature"], certificate["signature_algorithm"]):
        algorithm["algorithm"] = _SIGNED_WITH[digest]
        algorithm["parameters"] = core.Null()
    if serial_number is not None:
        tbs["serial_number"] = serial_number
    certificate["signature_value"] = sign_rsa(tbs.dump(), authority.key, digest)
    return pki.Identity(certificate=x509.load_der_x509_certificate(certificate.dump()), key=identity.key)
