"""A certificate read once, strictly, with what the appraisal asks of it. Reading one says nothing about trust."""

import hashlib
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes

from verifier.core import der
from verifier.core.asn1 import UNREADABLE
from verifier.core.asn1 import x509 as asn1_x509

_COMMON_NAME = "2.5.4.3"
#: The characters of a name that are shown: real ones have about 70.
_MAX_SHOWN = 512
_CA_ISSUERS = "1.3.6.1.5.5.7.48.2"


class CertificateError(ValueError):
    """The bytes are not one X.509 certificate that both parsers read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Certificate:
    """One certificate. Names are raw octets: nothing was decoded, normalized or compared yet."""

    der: bytes = field(repr=False)
    sha256: str
    spki_sha256: str
    parsed: x509.Certificate = field(repr=False)
    public_key: CertificatePublicKeyTypes = field(repr=False)
    subject: str
    subject_der: bytes = field(repr=False)
    issuer: str
    issuer_der: bytes = field(repr=False)
    serial_number: int
    not_before: datetime
    not_after: datetime
    signature_oid: str
    common_names: tuple[bytes, ...]
    dns_names: tuple[bytes, ...]
    is_ca: bool
    key_usage: frozenset[str] | None
    extended_key_usage: frozenset[str] | None
    subject_key_identifier: bytes | None = field(repr=False)
    authority_key_identifier: bytes | None = field(repr=False)
    #: Where the issuer's certificate is said to be (RFC 5280 4.2.2.1): what a stranger says, until there is a chain.
    unverified_issuer_urls: tuple[str, ...] = field(repr=False)

    @property
    def is_self_issued(self) -> bool:
        return self.subject_der == self.issuer_der

    def is_issued_by(self, authority: "Certificate") -> bool:
        """`authority` bears the issuer's name and its key made the signature. Neither one's trust, dates or
        usages are looked at."""
        if authority.subject_der != self.issuer_der:
            return False
        try:
            self.parsed.verify_directly_issued_by(authority.parsed)
        except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm):
            return False
        return True

    @property
    def serial_hex(self) -> str:
        return f"{self.serial_number:x}"

    @classmethod
    def from_der(cls, raw: bytes) -> "Certificate":
        """The certificate in `raw`, which is strict DER with nothing behind it (RFC 5280 4.1).

        Not checked: its signature, dates, names and usages. Raises CertificateError.
        """
        return _from_der(raw)

    @classmethod
    def from_pem(cls, raw: bytes) -> "Certificate":
        """The one certificate in the PEM text `raw`. Raises CertificateError."""
        try:
            loaded = x509.load_pem_x509_certificates(raw)
        except ValueError as error:
            raise CertificateError("not a PEM certificate") from error
        if len(loaded) != 1:
            raise CertificateError(f"{len(loaded)} certificates where one belongs")
        return cls.from_der(der.from_certificate(loaded[0]))

    @classmethod
    def read(cls, raw: bytes) -> "Certificate":
        """As `from_der`, with whatever the parsers raise."""
        der.check(raw)
        asn1 = asn1_x509.Certificate.load(raw, strict=True)
        tbs = asn1["tbs_certificate"]
        if tbs["serial_number"].native <= 0:
            raise ValueError("a serial number that is not positive")  # RFC 5280 4.1.2.2
        parsed = x509.load_der_x509_certificate(raw)
        oids = [extension["extn_id"].dotted for extension in tbs["extensions"]]
        if len(oids) != len(set(oids)):
            raise ValueError("an extension twice")  # RFC 5280 4.2
        constraints = asn1.basic_constraints_value
        subject_key_identifier = asn1.key_identifier_value
        authority = asn1.authority_key_identifier_value
        return cls(
            der=raw,
            sha256=hashlib.sha256(raw).hexdigest(),
            spki_sha256=hashlib.sha256(tbs["subject_public_key_info"].dump()).hexdigest(),
            parsed=parsed,
            public_key=parsed.public_key(),
            subject=_shown(parsed.subject),
            subject_der=tbs["subject"].dump(),
            issuer=_shown(parsed.issuer),
            issuer_der=tbs["issuer"].dump(),
            serial_number=parsed.serial_number,
            not_before=parsed.not_valid_before_utc,
            not_after=parsed.not_valid_after_utc,
            signature_oid=asn1["signature_algorithm"]["algorithm"].dotted,
            common_names=_common_names(tbs["subject"]),
            dns_names=_dns_names(asn1.subject_alt_name_value),
            is_ca=constraints is not None and bool(constraints["ca"].native),
            key_usage=_usages(asn1.key_usage_value),
            extended_key_usage=_extended_usages(asn1.extended_key_usage_value),
            subject_key_identifier=None if subject_key_identifier is None else subject_key_identifier.native,
            authority_key_identifier=None if authority is None else authority["key_identifier"].native,
            unverified_issuer_urls=_issuer_urls(asn1.authority_information_access_value),
        )


# Every region signs with one certificate for months: reading it is most of what an appraisal costs, and is the same
# each time. What a sender makes up passes through, and is bounded in number and (as evidence) in size.
@lru_cache(maxsize=256)
def _from_der(raw: bytes) -> Certificate:
    try:
        return Certificate.read(raw)
    except (
        *(*UNREADABLE, Warning),
        *(x509.InvalidVersion, x509.DuplicateExtension, UnsupportedAlgorithm),
    ) as error:
        # The parsers raise these on one malformed field or another; none of them says more to a reader. Warnings are
        # among them where the process turns them into errors.
        raise CertificateError(f"not a certificate that can be read: {type(error).__name__}") from error


def _shown(name: x509.Name) -> str:
    """RFC 4514, for people to read: printable ASCII with the rest escaped, and not too long. Whoever makes a
    certificate writes its names, and they end up in logs and on terminals."""
    text = name.rfc4514_string()
    escaped = "".join(one if one.isascii() and one.isprintable() else ascii(one)[1:-1] for one in text)
    return escaped if len(escaped) <= _MAX_SHOWN else f"{escaped[:_MAX_SHOWN]}..."


def _common_names(subject: asn1_x509.Name) -> tuple[bytes, ...]:
    return tuple(
        attribute["value"].chosen.contents
        if isinstance(attribute["value"], asn1_x509.DirectoryString)
        else attribute["value"].contents
        for relative_name in subject.chosen
        for attribute in relative_name
        if attribute["type"].dotted == _COMMON_NAME
    )


def _dns_names(names: asn1_x509.GeneralNames | None) -> tuple[bytes, ...]:
    return tuple(name.chosen.contents for name in names or () if name.name == "dns_name")


def _usages(usage: asn1_x509.KeyUsage | None) -> frozenset[str] | None:
    return None if usage is None else frozenset(usage.native)


def _extended_usages(usage: asn1_x509.ExtKeyUsageSyntax | None) -> frozenset[str] | None:
    return None if usage is None else frozenset(purpose.dotted for purpose in usage)


def _issuer_urls(access: asn1_x509.AuthorityInfoAccessSyntax | None) -> tuple[str, ...]:
    """Those that are ASCII, as a URL is; another one is skipped and not a fault of the certificate."""
    urls = [
        description["access_location"].chosen.contents
        for description in access or ()
        if description["access_method"].dotted == _CA_ISSUERS
        and description["access_location"].name == "uniform_resource_identifier"
    ]
    return tuple(url.decode("ascii") for url in urls if url.isascii())
