"""The recipe language of the chain cases: certificates by what differs from a good one, and the decision to expect.

Each field of a certificate is written as it is given, without any check, so that a recipe can break every rule.

What to expect is written from RFC 5280, before any validator decides:
- The signer breaks a MUST of RFC 5280 for end entity certificates: refuse. A sender chooses the signer.
- An authority fails section 6.1 (path validation): refuse. Otherwise accept, because the operator chooses authorities.
- RFC 5280 leaves it open, and the project has a rule: the rule decides, and `because` begins with "rule:".
"""

import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import cache
from typing import Final

from support.chain_cases import values
from support.chain_cases.keys import Algorithm, Elliptic, Key
from support.chain_cases.values import Extension
from support.der_parts import integer, sequence, tlv
from support.documents import NOW

from verifier.core.reasons import Check

ACCEPT, REFUSE = "accept", "refuse"
NAME: Final = "metadata.azure.com"
NAMES: Final = ("eastus.metadata.azure.com", NAME)
V3: Final = tlv(0xA0, integer(2))
SECOND: Final = timedelta(seconds=1)


def utc_time(moment: datetime) -> bytes:
    return tlv(0x17, f"{moment:%y%m%d%H%M%S}Z".encode())


def generalized_time(moment: datetime) -> bytes:
    return tlv(0x18, f"{moment:%Y%m%d%H%M%S}Z".encode())


def period(not_before: datetime, not_after: datetime) -> tuple[bytes, bytes]:
    """Return the two times in the form that RFC 5280 4.1.2.5 requires."""
    first, last = (
        utc_time(moment) if moment.year < 2050 else generalized_time(moment) for moment in (not_before, not_after)
    )
    return first, last


USUAL_PERIOD: Final = period(NOW - timedelta(days=30), NOW + timedelta(days=300))


@dataclass(frozen=True, slots=True, kw_only=True)
class Cert:
    """A certificate, which `issuer` signs, or its own key if `issuer` is None.

    The other fields replace what follows from these: `issuer_name` and `signing_key` those of the issuer, `inner` and
    `outer` one of the two signature algorithms, `public_key` the key's encoding, `sign` makes the signature.
    """

    subject: bytes
    key: Key
    issuer: "Cert | None" = None
    extensions: tuple[Extension, ...] = ()
    validity: tuple[bytes, bytes] = USUAL_PERIOD
    algorithm: Algorithm | None = None
    issuer_name: bytes | None = None
    signing_key: Key | None = None
    serial: int | None = None
    version: bytes = V3
    public_key: bytes | None = None
    inner: bytes | None = None
    outer: bytes | None = None
    sign: Callable[[bytes], bytes] | None = field(default=None)

    def with_extensions(self, *new: Extension) -> "Cert":
        """Replace the extensions of the same kind, and append the others."""
        added = {extension.oid: extension for extension in new}
        kept = tuple(added.pop(extension.oid, extension) for extension in self.extensions)
        return replace(self, extensions=(*kept, *added.values()))

    def without(self, *oids: str) -> "Cert":
        return replace(self, extensions=tuple(one for one in self.extensions if one.oid not in oids))


@cache
def encode(cert: Cert) -> bytes:
    """Return the certificate in DER, apart from what the recipe breaks."""
    signing_key, algorithm = _signing(cert)
    behind_number = _behind_number(cert)
    tbs = sequence(cert.version, integer(serial_of(cert)), *behind_number)
    signature = cert.sign(tbs) if cert.sign else signing_key.sign(tbs, algorithm)
    outer = algorithm.encoded if cert.outer is None else cert.outer
    return sequence(tbs, outer, tlv(0x03, b"\x00", signature))


def serial_of(cert: Cert) -> int:
    """Return the serial number: that of the recipe, or one that the other fields make."""
    if cert.serial is not None:
        return cert.serial
    return int.from_bytes(hashlib.sha256(b"".join(_behind_number(cert))).digest()[:8]) | 1


def issuer_of(cert: Cert) -> bytes:
    """Return the encoded name of the issuer."""
    return (cert.issuer or cert).subject if cert.issuer_name is None else cert.issuer_name


def _signing(cert: Cert) -> tuple[Key, Algorithm]:
    key = cert.signing_key or (cert.issuer or cert).key
    return key, cert.algorithm or key.algorithm()


def _behind_number(cert: Cert) -> tuple[bytes, ...]:
    """Encode the fields of TBSCertificate behind the serial number."""
    _, algorithm = _signing(cert)
    extensions = b"".join(extension.encode() for extension in cert.extensions)
    return (
        algorithm.encoded if cert.inner is None else cert.inner,
        issuer_of(cert),
        sequence(*cert.validity),
        cert.subject,
        cert.key.public() if cert.public_key is None else cert.public_key,
        tlv(0xA3, sequence(extensions)) if extensions else b"",
    )


def root(name: str = "Root", *, key: Key | None = None) -> Cert:
    own = key or Elliptic(name)
    return Cert(
        subject=values.name(name),
        key=own,
        extensions=(
            values.basic_constraints(is_ca=True),
            values.key_usage("key_cert_sign", "crl_sign"),
            values.subject_key_identifier(own.public()),
        ),
    )


ROOT: Final = root()


def ca(name: str = "Issuing", under: Cert = ROOT, *, key: Key | None = None, path_length: int | None = None) -> Cert:
    """Return an authority of the form that issues signers."""
    own = key or Elliptic(name)
    return Cert(
        subject=values.name(name),
        key=own,
        issuer=under,
        extensions=(
            values.basic_constraints(is_ca=True, path_length=path_length),
            values.key_usage("key_cert_sign", "crl_sign"),
            values.extended_key_usage(values.SERVER_AUTH),
            values.subject_key_identifier(own.public()),
            values.authority_key_identifier(under.key.public()),
        ),
    )


ISSUING: Final = ca()


def signer(under: Cert = ISSUING, *, key: Key | None = None, names: Iterable[str] = NAMES) -> Cert:
    """Return a signer of the real form."""
    own = key or Elliptic("Signer")
    return Cert(
        subject=values.name(NAME),
        key=own,
        issuer=under,
        extensions=(
            values.dns_names(*names),
            values.key_usage("digital_signature", "key_encipherment"),
            values.basic_constraints(),
            values.extended_key_usage(values.SERVER_AUTH),
            values.subject_key_identifier(own.public()),
            values.authority_key_identifier(under.key.public()),
        ),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A signer, what is trusted, and the decision to expect with its reason.

    `refused_by` is the check of the product that has to refuse. None stands for the trust bundle, which does not hold
    an authority of the case.
    """

    name: str
    signer: Cert
    pins: tuple[Cert, ...]
    anchors: tuple[Cert, ...]
    at: datetime
    expected: str
    because: str
    refused_by: Check | None

    def __str__(self) -> str:
        return self.name


def accept(
    name: str,
    leaf: Cert,
    because: str,
    *,
    pins: Iterable[Cert] | None = None,
    anchors: Iterable[Cert] | None = None,
    at: datetime = NOW,
) -> Case:
    """Return a case that is to be accepted. By default, what issued the signer is trusted, and nothing else."""
    return _case(name, leaf, ACCEPT, because, pins=pins, anchors=anchors, at=at)


def refuse(
    name: str,
    leaf: Cert,
    because: str,
    *,
    by: Check | None = Check.CHAIN,
    pins: Iterable[Cert] | None = None,
    anchors: Iterable[Cert] | None = None,
    at: datetime = NOW,
) -> Case:
    return _case(name, leaf, REFUSE, because, by=by, pins=pins, anchors=anchors, at=at)


def _case(
    name: str,
    leaf: Cert,
    expected: str,
    because: str,
    *,
    by: Check | None = None,
    pins: Iterable[Cert] | None,
    anchors: Iterable[Cert] | None,
    at: datetime,
) -> Case:
    above = _above(leaf)
    return Case(
        name=name,
        signer=leaf,
        pins=above[:-1] if pins is None else tuple(pins),
        anchors=above[-1:] if anchors is None else tuple(anchors),
        at=at,
        expected=expected,
        because=because,
        refused_by=by,
    )


def _above(cert: Cert) -> tuple[Cert, ...]:
    found: list[Cert] = []
    issuer = cert.issuer
    while issuer is not None:
        found.append(issuer)
        issuer = issuer.issuer
    return tuple(found)
