"""The two path validators, each by itself. Of every kind of bad chain this says which of them refuses it.

If only one does, `why` explains it: the other is there for such chains (docs/adr/0027-validate-the-path-found.md).
What both of them accept and core.leaf_profile refuses is in test_leaf_profile.py.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import Enum

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, ExtensionOID, NameOID
from support.appraisals import authenticate_archived
from support.certificate_mutants import element, mint, sequence, with_extension
from support.certificates import make_authority, make_self_signed, make_signer, resign
from support.chains import Chain, authority, certvalidator_accepts, claims_of, key, pyca_accepts, root, shared_chain
from support.documents import NOW, bundle_of, raw, sample, shared_pki, spare_key

from verifier.adapters.trust.files import load_bundle
from verifier.core.chain import build_chain
from verifier.core.model import Limits
from verifier.core.reasons import ChainRefused
from verifier.core.trust.bundle import TrustError
from verifier.core.trust.clouds import Cloud
from verifier.emulator import pki

PAST = pki.Validity(not_before=NOW - timedelta(days=700), not_after=NOW - timedelta(seconds=1))
FUTURE = pki.Validity(not_before=NOW + timedelta(seconds=1), not_after=NOW + timedelta(days=100))


class Who(Enum):
    """Who accepts a chain."""

    BOTH = (True, True)
    PYCA = (True, False)
    CERTVALIDATOR = (False, True)
    NEITHER = (False, False)


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of chain. `why` explains a disagreement."""

    make: Callable[[], Chain]
    accepted_by: Who
    why: str = ""


def under(issuer: pki.Identity, *above: pki.Identity, signer: pki.Identity | None = None) -> Chain:
    """A signer, its issuer, the authorities above that, and `root()`."""
    return Chain(
        signer=(signer or make_signer(issuer=issuer)).certificate,
        pins=tuple(pin.certificate for pin in (issuer, *above)),
        anchor=root().certificate,
    )


def of_signer(
    *,
    common_names: Sequence[str] | None = ("metadata.azure.com",),
    names: Sequence[str] = ("metadata.azure.com",),
    validity: pki.Validity | None = None,
    extensions: Sequence[x509.ExtensionType] = (),
    without: Sequence[type[x509.ExtensionType]] = (),
    issuer_key: pki.PrivateKey | None = None,
) -> Chain:
    """A chain whose signer is odd."""
    issuer = authority("Issuing")
    signer = make_signer(
        issuer=issuer,
        common_names=common_names,
        names=names,
        validity=validity,
        extensions=extensions,
        without=[extension.oid for extension in without],
        issuer_key=issuer_key,
    )
    return under(issuer, signer=signer)


def of_issuer(
    *,
    own_key: pki.PrivateKey | None = None,
    validity: pki.Validity | None = None,
    extensions: Sequence[x509.ExtensionType] = (),
    without: Sequence[type[x509.ExtensionType]] = (),
) -> Chain:
    """A chain whose issuing authority is odd."""
    issuer = authority(
        "Odd Issuing",
        own_key=own_key,
        validity=validity,
        extensions=extensions,
        without=[extension.oid for extension in without],
    )
    return under(issuer)


def of_levels(authorities: int) -> Chain:
    """A chain of so many authorities above the signer, the anchor included."""
    issuers = [root()]
    for level in range(1, authorities):
        issuers.append(authority(f"Level {level}", issuer=issuers[-1]))
    return under(*reversed(issuers[1:]))


def over_expired_anchor() -> Chain:
    old = pki.make_root(subject=pki.make_name("Old Root"), key=key("Old Root"), validity=PAST)
    issuer = authority("Issuing", issuer=old)
    return Chain(signer=make_signer(issuer=issuer).certificate, pins=(issuer.certificate,), anchor=old.certificate)


def over_another_anchor() -> Chain:
    chain = under(authority("Issuing"))
    return Chain(signer=chain.signer, pins=chain.pins, anchor=root("Another Root").certificate)


def over_a_narrow_authority() -> Chain:
    narrow = authority("Narrow", path_length=0)
    return under(authority("Under Narrow", issuer=narrow), narrow)


def over_a_forged_authority() -> Chain:
    forger = pki.Identity(certificate=root().certificate, key=key("a forger"))
    return under(make_authority(issuer=forger, name="Forged", key=key("Forged")))


def with_explicit_policy() -> Chain:
    issuer = authority(
        "Explicit",
        extensions=[x509.PolicyConstraints(require_explicit_policy=0, inhibit_policy_mapping=None)],
        without=[x509.CertificatePolicies.oid],
    )
    return under(issuer, signer=make_signer(issuer=issuer, without=[x509.CertificatePolicies.oid]))


def signed_with(digest: str) -> Chain:
    chain = shared_chain()
    return Chain(signer=resign(shared_pki().signer, digest=digest).certificate, pins=chain.pins, anchor=chain.anchor)


def issuer_signed_with(digest: str) -> Chain:
    chain = shared_chain()
    issuer = resign(shared_pki().issuing_ca, issuer=shared_pki().root, digest=digest)
    return Chain(signer=chain.signer, pins=(issuer.certificate,), anchor=chain.anchor)


def of_serial_number(number: int) -> Chain:
    chain = shared_chain()
    signer = resign(shared_pki().signer, serial_number=number)
    return Chain(signer=signer.certificate, pins=chain.pins, anchor=chain.anchor)


def of_mint(oid: x509.ObjectIdentifier, value: bytes, *, critical: bool = False) -> Chain:
    """A chain whose signer has this extension."""
    return of_tbs(with_extension(mint("EC").tbs, oid, value, critical=critical))


def of_tbs(tbs: bytes) -> Chain:
    made = mint("EC")
    signer = x509.load_der_x509_certificate(made.certify(tbs))
    return Chain(signer=signer, pins=(made.issuer.certificate,), anchor=root().certificate)


def key_usage(*, digital_signature: bool = False, key_cert_sign: bool = False, crl_sign: bool = False) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=digital_signature,
        key_cert_sign=key_cert_sign,
        crl_sign=crl_sign,
        key_encipherment=False,
        content_commitment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


ORGANISATION = x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, pki.ORGANISATION)])
MAIL = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.EMAIL_PROTECTION])
ANY_USE = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE])
PERMITTED_DNS = sequence(element(0xA0, sequence(element(0x82, b"azure.com"))))
NOT_CA = x509.BasicConstraints(ca=False, path_length=None)

KINDS = {
    "plain": Kind(shared_chain, Who.BOTH),
    "elliptic authorities": Kind(lambda: under(authority("Issuing")), Who.BOTH),
    "four authorities": Kind(lambda: of_levels(4), Who.BOTH),
    "signer without keyUsage": Kind(lambda: of_signer(without=[x509.KeyUsage]), Who.BOTH),
    "signer without extendedKeyUsage": Kind(lambda: of_signer(without=[x509.ExtendedKeyUsage]), Who.BOTH),
    "issuer without key identifier": Kind(lambda: of_issuer(without=[x509.SubjectKeyIdentifier]), Who.BOTH),
    "wildcard name": Kind(lambda: of_signer(names=("metadata.azure.com", "*.metadata.azure.com")), Who.BOTH),
    "expired signer": Kind(lambda: of_signer(validity=PAST), Who.NEITHER),
    "signer not yet valid": Kind(lambda: of_signer(validity=FUTURE), Who.NEITHER),
    "expired issuer": Kind(lambda: of_issuer(validity=PAST), Who.NEITHER),
    "issuer not yet valid": Kind(lambda: of_issuer(validity=FUTURE), Who.NEITHER),
    "signer forged": Kind(lambda: of_signer(issuer_key=key("a forger")), Who.NEITHER),
    "issuer forged": Kind(over_a_forged_authority, Who.NEITHER),
    "another anchor": Kind(over_another_anchor, Who.NEITHER),
    "self-signed": Kind(
        lambda: Chain(
            signer=make_self_signed(key=spare_key()).certificate, pins=(), anchor=shared_pki().root.certificate
        ),
        Who.NEITHER,
    ),
    "issuer is no authority": Kind(lambda: of_issuer(extensions=[NOT_CA]), Who.NEITHER),
    "issuer without basicConstraints": Kind(lambda: of_issuer(without=[x509.BasicConstraints]), Who.NEITHER),
    "issuer may not sign certificates": Kind(lambda: of_issuer(extensions=[key_usage(crl_sign=True)]), Who.NEITHER),
    "path length exceeded": Kind(over_a_narrow_authority, Who.NEITHER),
    "dNSName outside the permitted ones": Kind(
        lambda: of_issuer(extensions=[x509.NameConstraints([x509.DNSName("example.com")], None)]), Who.NEITHER
    ),
    "dNSName among the excluded ones": Kind(
        lambda: of_issuer(extensions=[x509.NameConstraints(None, [x509.DNSName("azure.com")])]), Who.NEITHER
    ),
    "signer signed with MD5": Kind(lambda: signed_with("md5"), Who.NEITHER),
    "signer signed with SHA-1": Kind(lambda: signed_with("sha1"), Who.NEITHER),
    "issuer signed with SHA-1": Kind(lambda: issuer_signed_with("sha1"), Who.NEITHER),
    "issuer of RSA-1024": Kind(lambda: of_issuer(own_key=pki.make_rsa_key(1024)), Who.NEITHER),
    "signer for mail": Kind(lambda: of_signer(extensions=[MAIL]), Who.NEITHER),
    "signer for any use": Kind(lambda: of_signer(extensions=[ANY_USE]), Who.NEITHER),
    "five authorities": Kind(
        lambda: of_levels(5),
        Who.CERTVALIDATOR,
        "only the first validator is given a limit; the second never sees a longer path",
    ),
    "expired anchor": Kind(
        over_expired_anchor,
        Who.CERTVALIDATOR,
        "RFC 5280 6.1.1 takes the anchor as given; the trust bundle leaves expired ones out before either validator",
    ),
    "issuer without keyUsage": Kind(
        lambda: of_issuer(without=[x509.KeyUsage]),
        Who.CERTVALIDATOR,
        "the CA/Browser baseline requirements (7.1.2.10) demand it, RFC 5280 checks it where it is there",
    ),
    "issuer for mail": Kind(
        lambda: of_issuer(extensions=[MAIL]),
        Who.CERTVALIDATOR,
        "RFC 5280 says nothing of extendedKeyUsage in an authority; the CA/Browser profile nests it",
    ),
    "issuer on P-192": Kind(
        lambda: of_issuer(own_key=pki.make_ec_key(ec.SECP192R1())),
        Who.CERTVALIDATOR,
        "the CA/Browser profile names the curves; RFC 5280 does not",
    ),
    "issuer on secp256k1": Kind(
        lambda: of_issuer(own_key=pki.make_ec_key(ec.SECP256K1())),
        Who.CERTVALIDATOR,
        "as for P-192",
    ),
    "signer may sign certificates": Kind(
        lambda: of_signer(extensions=[key_usage(digital_signature=True, key_cert_sign=True)]),
        Who.CERTVALIDATOR,
        "RFC 5280 4.2.1.9 forbids the bit without cA, and its path validation does not look at it in a signer",
    ),
    "signer is an authority": Kind(
        lambda: of_signer(extensions=[x509.BasicConstraints(ca=True, path_length=None)]),
        Who.CERTVALIDATOR,
        "an authority may end a path in RFC 5280; core.names refuses it before either validator",
    ),
    "signer without alternative name": Kind(
        lambda: of_signer(names=()),
        Who.CERTVALIDATOR,
        "the second validator is not asked about names",
    ),
    "signer of another name": Kind(
        lambda: of_signer(names=("example.com",)),
        Who.CERTVALIDATOR,
        "the second validator is not asked about names",
    ),
    "empty subject": Kind(
        lambda: of_signer(common_names=None),
        Who.CERTVALIDATOR,
        "subjectAltName must be critical then (RFC 5280 4.2.1.6): a rule for issuers that only the first enforces",
    ),
    "signer without authority key identifier": Kind(
        lambda: of_signer(without=[x509.AuthorityKeyIdentifier]),
        Who.CERTVALIDATOR,
        "must be there by RFC 5280 4.2.1.1: a rule for issuers that only the first enforces",
    ),
    "serial number of 22 bytes": Kind(
        lambda: of_serial_number(2**167),
        Who.CERTVALIDATOR,
        "20 bytes are the most by RFC 5280 4.1.2.2: a rule for issuers that only the first enforces, with one to spare",
    ),
    "critical authority key identifier": Kind(
        lambda: of_mint(ExtensionOID.AUTHORITY_KEY_IDENTIFIER, sequence(b"\x80\x01k"), critical=True),
        Who.CERTVALIDATOR,
        "must not be critical by RFC 5280 4.2.1.1: a rule for issuers that only the first enforces",
    ),
    "name constraints in the signer": Kind(
        lambda: of_mint(ExtensionOID.NAME_CONSTRAINTS, PERMITTED_DNS),
        Who.CERTVALIDATOR,
        "only for authorities by RFC 5280 4.2.1.10, and path validation does not look at them in a signer",
    ),
    "issuer that excludes an otherName": Kind(
        lambda: of_issuer(
            extensions=[x509.NameConstraints(None, [x509.OtherName(x509.ObjectIdentifier("1.2.3.4"), b"\x05\x00")])]
        ),
        Who.PYCA,
        "a signer without otherName is not constrained; the second cannot read the constraint",
    ),
    "explicit policy required, and none there": Kind(
        with_explicit_policy,
        Who.PYCA,
        "the first validator does not process certificate policies (RFC 5280 6.1.1 c to f), the second does",
    ),
    "subject among the excluded directoryNames": Kind(
        lambda: of_issuer(extensions=[x509.NameConstraints(None, [x509.DirectoryName(ORGANISATION)])]),
        Who.PYCA,
        "the first validator constrains alternative names alone, the second the subject too (RFC 5280 6.1.3 c)",
    ),
}


@pytest.mark.parametrize("name", KINDS)
def test_each_validator_decides_as_the_table_says(name: str) -> None:
    chain = KINDS[name].make()
    assert (pyca_accepts(chain), certvalidator_accepts(chain)) == KINDS[name].accepted_by.value


@pytest.mark.parametrize("name", KINDS)
def test_a_disagreement_and_nothing_else_is_explained(name: str) -> None:
    kind = KINDS[name]
    assert (kind.accepted_by in {Who.PYCA, Who.CERTVALIDATOR}) is bool(kind.why)


@pytest.mark.parametrize("name", KINDS)
def test_a_chain_is_built_only_if_both_accept_it(name: str) -> None:
    kind = KINDS[name]
    if kind.accepted_by is Who.BOTH:
        assert builds(kind.make())
    else:
        assert not builds(kind.make())


def builds(chain: Chain) -> bool:
    """Whether the product builds it, over a bundle of exactly its authorities."""
    try:
        build_chain(claims_of(chain.signer), now=NOW, bundle=bundle_of(chain.anchor, *chain.pins))
    except (ChainRefused, TrustError):
        return False
    return True


@pytest.mark.parametrize(
    ("name", "at", "authorities"),
    [
        (
            "public-southcentralus-2022-04-19",
            datetime(2022, 4, 19, 2, 0, tzinfo=UTC),
            ["Microsoft RSA TLS CA 01", "Baltimore CyberTrust Root"],
        ),
        (
            "public-eastus-2026-07-28",
            datetime(2026, 7, 28, 13, 24, tzinfo=UTC),
            ["Microsoft TLS G2 RSA CA OCSP 02", "Microsoft TLS RSA Root G2"],
        ),
    ],
)
def test_both_accept_the_real_documents_at_their_own_time(name: str, at: datetime, authorities: list[str]) -> None:
    bundle = load_bundle()
    content = authenticate_archived(raw(sample(name)), at=at, bundle=bundle, limits=Limits())

    trust = bundle.clouds[Cloud.PUBLIC]
    *pins, anchor = [trust.entry(link.sha256).certificate.parsed for link in content.chain]
    chain = Chain(signer=content.signer.parsed, pins=tuple(pins), anchor=anchor)
    assert [common_name(link.subject) for link in content.chain][: len(authorities)] == authorities
    assert pyca_accepts(chain, now=at)
    assert certvalidator_accepts(chain, now=at)


def common_name(subject: str) -> str:
    [attribute] = x509.Name.from_rfc4514_string(subject).get_attributes_for_oid(NameOID.COMMON_NAME)
    return str(attribute.value)
