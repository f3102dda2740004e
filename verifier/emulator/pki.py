"""A temporary PKI in memory, with the shape of the PKI that signs attested documents since 2026.

Tests combine the small functions into unusual PKIs: the same subject and key under two issuers is a cross-signed CA,
and a validity in the past makes an expired one. Not checked: whether extensions or validities make sense.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Self, TypeAlias

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import AuthorityInformationAccessOID, ExtendedKeyUsageOID, NameOID

PrivateKey: TypeAlias = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey
PublicKey: TypeAlias = rsa.RSAPublicKey | ec.EllipticCurvePublicKey
SigningHash: TypeAlias = hashes.SHA256 | hashes.SHA384 | hashes.SHA512
Extensions: TypeAlias = tuple[x509.Extension[x509.ExtensionType], ...]

ORGANISATION: Final = "imds-verifier emulator"
"""In every subject, so that these certificates cannot be mistaken for real ones."""

SIGNER_LIFETIME: Final = timedelta(days=180)
CA_LIFETIME: Final = timedelta(days=3650)

# CA/Browser Forum baseline requirements 7.1.6.1: organisation-validated, as in the real signers.
_POLICIES: Final = x509.CertificatePolicies([x509.PolicyInformation(x509.ObjectIdentifier("2.23.140.1.2.2"), None)])
# .invalid never resolves (RFC 6761), so a verifier cannot fetch from these URLs.
_ISSUER_URLS: Final = (
    "http://www.emulator.invalid/pkiops/certs/emulator-issuing-ca.crt",
    "http://caissuers.emulator.invalid/pkiops/certs/emulator-issuing-ca.crt",
)
_SHA384: Final = hashes.SHA384()


@dataclass(frozen=True, slots=True, kw_only=True)
class Validity:
    """The validity of a certificate, both ends included (RFC 5280 4.1.2.5), in whole seconds."""

    not_before: datetime
    not_after: datetime

    def __post_init__(self) -> None:
        if self.not_before.tzinfo is None or self.not_after.tzinfo is None:
            raise ValueError("a validity needs aware datetimes")
        if self.not_before > self.not_after:
            raise ValueError("the validity ends before it begins")

    @classmethod
    def around(cls, now: datetime, lifetime: timedelta) -> Self:
        """Begin a day before `now`, so that a slow clock accepts the certificate, and last `lifetime`."""
        begin = now.replace(microsecond=0) - timedelta(days=1)
        return cls(not_before=begin, not_after=begin + lifetime)


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """A certificate and its private key. Not checked: whether they belong together."""

    certificate: x509.Certificate
    key: PrivateKey


@dataclass(frozen=True, slots=True, kw_only=True)
class Pki:
    """A root, an issuing CA under it, and a signer under that CA."""

    root: Identity
    issuing_ca: Identity
    signer: Identity


def make_pki(*, now: datetime, domain: str = "metadata.azure.com", region: str = "eastus") -> Pki:
    """Make a PKI with new keys that is valid at `now`. Its signer has the names of one region in a cloud's domain."""
    root = make_root(subject=make_name("Emulator Root"), key=make_rsa_key(), validity=Validity.around(now, CA_LIFETIME))
    issuing_ca = make_ca(
        issuer=root,
        subject=make_name("Emulator Issuing CA"),
        key=make_rsa_key(),
        validity=Validity.around(now, CA_LIFETIME),
    )
    signer = make_cloud_signer(issuer=issuing_ca, now=now, domain=domain, region=region)
    return Pki(root=root, issuing_ca=issuing_ca, signer=signer)


def make_cloud_signer(*, issuer: Identity, now: datetime, domain: str, region: str) -> Identity:
    """Make a signer with a new key that is valid at `now`, with the names of one region in a cloud's domain."""
    return make_signer(
        issuer=issuer,
        subject=make_name(domain),
        names=(f"{region.lower()}.{domain}", domain),
        key=make_rsa_key(),
        validity=signer_validity(issuer, now=now),
    )


def signer_validity(issuer: Identity, *, now: datetime) -> Validity:
    """Return 180 days around `now`, limited to the issuer's validity. Raises ValueError if they do not overlap."""
    default = Validity.around(now, SIGNER_LIFETIME)
    return Validity(
        not_before=max(default.not_before, issuer.certificate.not_valid_before_utc),
        not_after=min(default.not_after, issuer.certificate.not_valid_after_utc),
    )


def make_rsa_key(bits: int = 2048) -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=bits)


def make_ec_key(curve: ec.EllipticCurve) -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(curve)


def make_name(common_name: str) -> x509.Name:
    """Make a subject with O = `ORGANISATION` and CN = `common_name`."""
    return x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, ORGANISATION),
            x509.NameAttribute(NameOID.COMMON_NAME, common_name),
        ],
    )


def make_root(
    *,
    subject: x509.Name,
    key: PrivateKey,
    validity: Validity,
    signing_hash: SigningHash = _SHA384,
) -> Identity:
    certificate = issue(
        subject=subject,
        public_key=key.public_key(),
        issuer_name=subject,
        issuer_key=key,
        validity=validity,
        extensions=root_extensions(key.public_key()),
        signing_hash=signing_hash,
    )
    return Identity(certificate=certificate, key=key)


def make_ca(
    *,
    issuer: Identity,
    subject: x509.Name,
    key: PrivateKey,
    validity: Validity,
    path_length: int | None = 0,
    signing_hash: SigningHash = _SHA384,
) -> Identity:
    """Make a CA under `issuer`. Two calls with the same subject and key but two issuers make a cross-signed CA."""
    certificate = issue(
        subject=subject,
        public_key=key.public_key(),
        issuer_name=issuer.certificate.subject,
        issuer_key=issuer.key,
        validity=validity,
        extensions=ca_extensions(
            public_key=key.public_key(),
            issuer_public_key=issuer.key.public_key(),
            path_length=path_length,
        ),
        signing_hash=signing_hash,
    )
    return Identity(certificate=certificate, key=key)


def make_signer(
    *,
    issuer: Identity,
    subject: x509.Name,
    names: Sequence[str],
    key: PrivateKey,
    validity: Validity,
    signing_hash: SigningHash = _SHA384,
    issuer_urls: Sequence[str] = _ISSUER_URLS,
) -> Identity:
    """Make a signer under `issuer`. Empty `names` omit subjectAltName, and empty `issuer_urls` omit AIA."""
    certificate = issue(
        subject=subject,
        public_key=key.public_key(),
        issuer_name=issuer.certificate.subject,
        issuer_key=issuer.key,
        validity=validity,
        extensions=signer_extensions(
            names=names,
            public_key=key.public_key(),
            issuer_public_key=issuer.key.public_key(),
            issuer_urls=issuer_urls,
            issuer_identifier=_key_identifier(issuer.certificate),
        ),
        signing_hash=signing_hash,
    )
    return Identity(certificate=certificate, key=key)


def issue(
    *,
    subject: x509.Name,
    public_key: PublicKey,
    issuer_name: x509.Name,
    issuer_key: PrivateKey,
    validity: Validity,
    extensions: Extensions,
    signing_hash: SigningHash,
) -> x509.Certificate:
    """Issue a version 3 certificate with a random serial number and exactly these extensions, in this order."""
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer_name)
        .public_key(public_key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(validity.not_before)
        .not_valid_after(validity.not_after)
    )
    for extension in extensions:
        builder = builder.add_extension(extension.value, critical=extension.critical)
    return builder.sign(issuer_key, signing_hash)


def root_extensions(public_key: PublicKey) -> Extensions:
    return (
        _extension(x509.BasicConstraints(ca=True, path_length=None), critical=True),
        _extension(_key_usage(is_ca=True), critical=True),
        _extension(x509.SubjectKeyIdentifier.from_public_key(public_key)),
    )


def ca_extensions(*, public_key: PublicKey, issuer_public_key: PublicKey, path_length: int | None) -> Extensions:
    return (
        _extension(x509.BasicConstraints(ca=True, path_length=path_length), critical=True),
        _extension(_key_usage(is_ca=True), critical=True),
        _extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH])),
        _extension(x509.SubjectKeyIdentifier.from_public_key(public_key)),
        _extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_public_key)),
        _extension(_POLICIES),
    )


def signer_extensions(
    *,
    names: Sequence[str],
    public_key: PublicKey,
    issuer_public_key: PublicKey,
    issuer_urls: Sequence[str],
    issuer_identifier: x509.SubjectKeyIdentifier | None = None,
) -> Extensions:
    """Return the extensions of the real signers of 2026, without certificate transparency, CRL and Microsoft templates.

    `issuer_identifier` is the issuer's subjectKeyIdentifier; by default it is the SHA-1 of the issuer's key.
    """
    issuer_identifier = issuer_identifier or x509.SubjectKeyIdentifier.from_public_key(issuer_public_key)
    optional: Extensions = ()
    if issuer_urls:
        issuers = [
            x509.AccessDescription(AuthorityInformationAccessOID.CA_ISSUERS, x509.UniformResourceIdentifier(url))
            for url in issuer_urls
        ]
        optional += (_extension(x509.AuthorityInformationAccess(issuers)),)
    if names:
        optional += (_extension(x509.SubjectAlternativeName([x509.DNSName(name) for name in names])),)
    return (
        *optional,
        _extension(x509.SubjectKeyIdentifier.from_public_key(public_key)),
        _extension(_key_usage(is_ca=False), critical=True),
        _extension(x509.BasicConstraints(ca=False, path_length=None), critical=True),
        _extension(_POLICIES),
        _extension(x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(issuer_identifier)),
        _extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH])),
    )


def _key_identifier(certificate: x509.Certificate) -> x509.SubjectKeyIdentifier | None:
    """Return the subjectKeyIdentifier. It need not be a SHA-1 (RFC 5280 4.2.1.2): RFC 7093 truncates a SHA-256."""
    try:
        return certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    except x509.ExtensionNotFound:
        return None


def _extension(value: x509.ExtensionType, *, critical: bool = False) -> x509.Extension[x509.ExtensionType]:
    return x509.Extension(value.oid, critical, value)


def _key_usage(*, is_ca: bool) -> x509.KeyUsage:
    """Return the key usage of a CA (keyCertSign, cRLSign) or of a signer (digitalSignature, keyEncipherment)."""
    return x509.KeyUsage(
        digital_signature=not is_ca,
        key_encipherment=not is_ca,
        key_cert_sign=is_ca,
        crl_sign=is_ca,
        content_commitment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )
