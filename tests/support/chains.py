"""Make chains of authorities on cheap keys, and run each of the two path validators alone."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import cache

from asn1crypto import x509 as asn1_x509
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509 import verification
from pyhanko_certvalidator import ValidationContext
from pyhanko_certvalidator.authority import CertTrustAnchor
from pyhanko_certvalidator.errors import ValidationError
from pyhanko_certvalidator.path import ValidationPath
from pyhanko_certvalidator.validate import async_validate_path, validate_usage
from support.appraisals import read_in_time
from support.certificates import make_authority
from support.documents import NOW, around, der, document, raw, shared_pki

from verifier.core.chain import MAX_AUTHORITIES
from verifier.core.model import Limits, UnverifiedClaims
from verifier.core.trust.certificates import Certificate
from verifier.core.trust.clouds import Cloud
from verifier.emulator import pki


@dataclass(frozen=True, slots=True, kw_only=True)
class Chain:
    """Hold a signer, the authorities above it in order, and the anchor."""

    signer: x509.Certificate
    pins: tuple[x509.Certificate, ...]
    anchor: x509.Certificate
    name: str = "metadata.azure.com"


@cache
def key(name: str = "") -> pki.PrivateKey:  # noqa: ARG001 - it is the cache's key
    """Return a P-256 key, which is the same for the same name."""
    return pki.make_ec_key(ec.SECP256R1())


@cache
def root(name: str = "Chains Root") -> pki.Identity:
    return pki.make_root(subject=pki.make_name(name), key=key(name), validity=around(days=3650))


def authority(
    name: str,
    *,
    issuer: pki.Identity | None = None,
    own_key: pki.PrivateKey | None = None,
    validity: pki.Validity | None = None,
    path_length: int | None = None,
    extensions: Sequence[x509.ExtensionType] = (),
    without: Sequence[x509.ObjectIdentifier] = (),
) -> pki.Identity:
    """Make an authority under `issuer`, by default under `root()`."""
    return make_authority(
        issuer=issuer or root(),
        name=name,
        key=own_key or key(name),
        validity=validity,
        path_length=path_length,
        extensions=extensions,
        without=without,
    )


def pyca_accepts(chain: Chain, *, now: datetime = NOW) -> bool:
    """Return whether the first path validator accepts the chain, called as in core.chain."""
    return not find_pyca_fault(chain.signer, anchors=[chain.anchor], pins=chain.pins, name=chain.name, now=now)


def find_pyca_fault(
    signer: x509.Certificate,
    *,
    anchors: Sequence[x509.Certificate],
    pins: Sequence[x509.Certificate],
    name: str,
    now: datetime,
) -> str:
    """Return why the first path validator finds no path over these sets, or an empty text if it finds one."""
    try:
        (
            verification.PolicyBuilder()
            .store(verification.Store(list(anchors)))
            .time(now)
            .max_chain_depth(MAX_AUTHORITIES - 1)
            .build_server_verifier(x509.DNSName(name))
            .verify(signer, list(pins))
        )
    except (
        verification.VerificationError,
        ValueError,
        x509.UnsupportedGeneralNameType,
        x509.DuplicateExtension,
    ) as error:
        return str(error) or type(error).__name__
    return ""


def certvalidator_accepts(chain: Chain, *, now: datetime = NOW) -> bool:
    """Return whether the second path validator accepts the chain, called as in core.chain."""
    return certvalidator_accepts_path(der(chain.signer), [der(one) for one in (*chain.pins, chain.anchor)], now=now)


def certvalidator_accepts_path(signer_der: bytes, authorities: Sequence[bytes], *, now: datetime) -> bool:
    """Return whether the second path validator accepts exactly this path: in DER, from the issuer to the anchor."""
    signer = asn1_x509.Certificate.load(signer_der)
    try:
        *pins, anchor = (asn1_x509.Certificate.load(one) for one in authorities)
        context = ValidationContext(
            trust_roots=[anchor],
            moment=now,
            allow_fetching=False,
            weak_hash_algos=("md2", "md5", "sha1"),
            time_tolerance=timedelta(0),
        )
        path = ValidationPath(CertTrustAnchor(anchor), list(reversed(pins)), signer)
        async_validate_path(context, path).send(None)
    except StopIteration:
        return _is_for_servers(signer)
    except Exception:  # noqa: BLE001 - the library raises any on what it cannot read
        return False
    raise AssertionError("the validator waits for something")


def _is_for_servers(signer: asn1_x509.Certificate) -> bool:
    try:
        validate_usage(signer, set(), {"server_auth"}, extended_optional=True)
    except ValidationError:
        return False
    return True


def claims_of(signer: x509.Certificate, *, cloud: Cloud = Cloud.PUBLIC) -> UnverifiedClaims:
    """Return the claims of a good document for the chain step, as if `signer` of `cloud` had signed it."""
    claims = read_in_time(raw(document()), now=NOW, limits=Limits())
    named = claims.decoded.named
    signed = replace(named.signed, signer=Certificate.from_der(der(signer)))
    named = replace(named, signed=signed, cloud=cloud, server_name=cloud.domain)
    return UnverifiedClaims(decoded=replace(claims.decoded, named=named))


def shared_chain() -> Chain:
    """Return the chain of the shared PKI."""
    made = shared_pki()
    return Chain(signer=made.signer.certificate, pins=(made.issuing_ca.certificate,), anchor=made.root.certificate)
