"""Each path validator alone: a table says which of the two accepts each kind of chain.

If they disagree, `why` gives the reason. The product needs both validators for such chains
(docs/adr/0027-validate-the-path-found.md). test_leaf_profile.py has the chains that both accept and core.leaf_profile
refuses.
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


class AcceptedBy(Enum):
    """Name the validators that accept a chain."""

    BOTH = (True, True)
    PYCA = (True, False)
    CERTVALIDATOR = (False, True)
    NEITHER = (False, False)


@dataclass(frozen=True, slots=True)
class Kind:
    """Describe one kind of chain. `why` explains a disagreement."""

    make: Callable[[], Chain]
    accepted_by: AcceptedBy
    why: str = ""


def under(issuer: pki.Identity, *above: pki.Identity, signer: pki.Identity | None = None) -> Chain:
    """Return the chain of a signer, its issuer, the authorities above, and `root()`."""
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
    """Return a chain whose signer has these properties."""
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
    """Return a chain whose issuing authority has these properties."""
    issuer = authority(
        "Odd Issuing",
        own_key=own_key,
        validity=validity,
        extensions=extensions,
        without=[extension.oid for extension in without],
    )
    return under(issuer)


def of_levels(authorities: int) -> Chain:
    """Return a chain with this number of authorities above the signer, the anchor included."""
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
    """Return a chain whose signer has this extension."""
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
    "plain": Kind(shared_chain, AcceptedBy.BOTH),
    "elliptic authorities": Kind(lambda: under(authority("Issuing")), AcceptedBy.BOTH),
    "four authorities": Kind(lambda: of_levels(4), AcceptedBy.BOTH),
    "signer without keyUsage": Kind(lambda: of_signer(without=[x509.KeyUsage]), AcceptedBy.BOTH),
    "signer without extendedKeyUsage": Kind(lambda: of_signer(without=[x509.ExtendedKeyUsage]), AcceptedBy.BOTH),
    "issuer without key identifier": Kind(lambda: of_issuer(without=[x509.SubjectKeyIdentifier]), AcceptedBy.BOTH),
    "wildcard name": Kind(lambda: of_signer(names=("metadata.azure.com", "*.metadata.azure.com")), AcceptedBy.BOTH),
    "expired signer": Kind(lambda: of_signer(validity=PAST), AcceptedBy.NEITHER),
    "signer not yet valid": Kind(lambda: of_signer(validity=FUTURE), AcceptedBy.NEITHER),
    "expired issuer": Kind(lambda: of_issuer(validity=PAST), AcceptedBy.NEITHER),
    "issuer not yet valid": Kind(lambda: of_issuer(validity=FUTURE), AcceptedBy.NEITHER),
    "signer forged": Kind(lambda: of_signer(issuer_key=key("a forger")), AcceptedBy.NEITHER),
    "issuer forged": Kind(over_a_forged_authority, AcceptedBy.NEITHER),
    "another anchor": Kind(over_another_anchor, AcceptedBy.NEITHER),
    "self-signed": Kind(
        lambda: Chain(
            signer=make_self_signed(key=spare_key()).certificate, pins=(), anchor=shared_pki().root.certificate
        ),
        AcceptedBy.NEITHER,
    ),
    "issuer is no authority": Kind(lambda: of_issuer(extensions=[NOT_CA]), AcceptedBy.NEITHER),
    "issuer without basicConstraints": Kind(lambda: of_issuer(without=[x509.BasicConstraints]), AcceptedBy.NEITHER),
    "issuer may not sign certificates": Kind(
        lambda: of_issuer(extensions=[key_usage(crl_sign=True)]), AcceptedBy.NEITHER
    ),
    "path length exceeded": Kind(over_a_narrow_authority, AcceptedBy.NEITHER),
    "dNSName outside the permitted ones": Kind(
        lambda: of_issuer(extensions=[x509.NameConstraints([x509.DNSName("example.com")], None)]), AcceptedBy.NEITHER
    ),
    "dNSName among the excluded ones": Kind(
        lambda: of_issuer(extensions=[x509.NameConstraints(None, [x509.DNSName("azure.com")])]), AcceptedBy.NEITHER
    ),
    "signer signed with MD5": Kind(lambda: signed_with("md5"), AcceptedBy.NEITHER),
    "signer signed with SHA-1": Kind(lambda: signed_with("sha1"), AcceptedBy.NEITHER),
    "issuer signed with SHA-1": Kind(lambda: issuer_signed_with("sha1"), AcceptedBy.NEITHER),
    "issuer of RSA-1024": Kind(lambda: of_issuer(own_key=pki.make_rsa_key(1024)), AcceptedBy.NEITHER),
    "signer for mail": Kind(lambda: of_signer(extensions=[MAIL]), AcceptedBy.NEITHER),
    "signer for any use": Kind(lambda: of_signer(extensions=[ANY_USE]), AcceptedBy.NEITHER),
    "five authorities": Kind(
        lambda: of_levels(5),
        AcceptedBy.CERTVALIDATOR,
        "only the first validator has a limit; the second never sees a longer path",
    ),
    "expired anchor": Kind(
        over_expired_anchor,
        AcceptedBy.CERTVALIDATOR,
        "RFC 5280 6.1.1 does not check the anchor; the trust bundle removes expired ones before either validator runs",
    ),
    "issuer without keyUsage": Kind(
        lambda: of_issuer(without=[x509.KeyUsage]),
        AcceptedBy.CERTVALIDATOR,
        "the CA/Browser baseline requirements (7.1.2.10) require it, RFC 5280 checks it only if it is present",
    ),
    "issuer for mail": Kind(
        lambda: of_issuer(extensions=[MAIL]),
        AcceptedBy.CERTVALIDATOR,
        "RFC 5280 does not define extendedKeyUsage in an authority; in the CA/Browser profile it limits the signer",
    ),
    "issuer on P-192": Kind(
        lambda: of_issuer(own_key=pki.make_ec_key(ec.SECP192R1())),
        AcceptedBy.CERTVALIDATOR,
        "the CA/Browser profile names the curves; RFC 5280 does not",
    ),
    "issuer on secp256k1": Kind(
        lambda: of_issuer(own_key=pki.make_ec_key(ec.SECP256K1())),
        AcceptedBy.CERTVALIDATOR,
        "as for P-192",
    ),
    "signer may sign certificates": Kind(
        lambda: of_signer(extensions=[key_usage(digital_signature=True, key_cert_sign=True)]),
        AcceptedBy.CERTVALIDATOR,
        "RFC 5280 4.2.1.9 forbids the bit without cA, and its path validation does not check it in a signer",
    ),
    "signer is an authority": Kind(
        lambda: of_signer(extensions=[x509.BasicConstraints(ca=True, path_length=None)]),
        AcceptedBy.CERTVALIDATOR,
        "RFC 5280 allows an authority at the end of a path; core.names refuses it before either validator runs",
    ),
    "signer without alternative name": Kind(
        lambda: of_signer(names=()),
        AcceptedBy.CERTVALIDATOR,
        "the second validator does not check names",
    ),
    "signer of another name": Kind(
        lambda: of_signer(names=("example.com",)),
        AcceptedBy.CERTVALIDATOR,
        "the second validator does not check names",
    ),
    "empty subject": Kind(
        lambda: of_signer(common_names=None),
        AcceptedBy.CERTVALIDATOR,
        "subjectAltName must be critical then (RFC 5280 4.2.1.6): a rule for issuers that only the first enforces",
    ),
    "signer without authority key identifier": Kind(
        lambda: of_signer(without=[x509.AuthorityKeyIdentifier]),
        AcceptedBy.CERTVALIDATOR,
        "RFC 5280 4.2.1.1 requires it: a rule for issuers that only the first enforces",
    ),
    "serial number of 22 bytes": Kind(
        lambda: of_serial_number(2**167),
        AcceptedBy.CERTVALIDATOR,
        "RFC 5280 4.1.2.2 allows 20 bytes: a rule for issuers that only the first enforces, and it allows 21",
    ),
    "critical authority key identifier": Kind(
        lambda: of_mint(ExtensionOID.AUTHORITY_KEY_IDENTIFIER, sequence(b"\x80\x01k"), critical=True),
        AcceptedBy.CERTVALIDATOR,
        "RFC 5280 4.2.1.1 forbids critical: a rule for issuers that only the first enforces",
    ),
    "name constraints in the signer": Kind(
        lambda: of_mint(ExtensionOID.NAME_CONSTRAINTS, PERMITTED_DNS),
        AcceptedBy.CERTVALIDATOR,
        "only for authorities by RFC 5280 4.2.1.10, and path validation does not check them in a signer",
    ),
    "issuer that excludes an otherName": Kind(
        lambda: of_issuer(
            extensions=[x509.NameConstraints(None, [x509.OtherName(x509.ObjectIdentifier("1.2.3.4"), b"\x05\x00")])]
        ),
        AcceptedBy.PYCA,
        "the constraint does not affect a signer without otherName; the second validator cannot read it",
    ),
    "explicit policy required, and none there": Kind(
        with_explicit_policy,
        AcceptedBy.PYCA,
        "the first validator does not process certificate policies (RFC 5280 6.1.1 c to f), the second does",
    ),
    "subject among the excluded directoryNames": Kind(
        lambda: of_issuer(extensions=[x509.NameConstraints(None, [x509.DirectoryName(ORGANISATION)])]),
        AcceptedBy.PYCA,
        "the first validator constrains only alternative names, the second also the subject (RFC 5280 6.1.3 c)",
    ),
}


@pytest.mark.parametrize("name", KINDS)
def test_each_validator_accepts_the_chains_of_the_table(name: str) -> None:
    chain = KINDS[name].make()
    assert (pyca_accepts(chain), certvalidator_accepts(chain)) == KINDS[name].accepted_by.value


@pytest.mark.parametrize("name", KINDS)
def test_exactly_the_disagreements_have_an_explanation(name: str) -> None:
    kind = KINDS[name]
    assert (kind.accepted_by in {AcceptedBy.PYCA, AcceptedBy.CERTVALIDATOR}) is bool(kind.why)


@pytest.mark.parametrize("name", KINDS)
def test_a_chain_is_built_if_and_only_if_both_validators_accept_it(name: str) -> None:
    kind = KINDS[name]
    if kind.accepted_by is AcceptedBy.BOTH:
        assert builds(kind.make())
    else:
        assert not builds(kind.make())


def builds(chain: Chain) -> bool:
    """Return whether the product builds this chain with a bundle of exactly its authorities."""
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
def test_both_validators_accept_real_documents_at_their_creation_time(
    name: str, at: datetime, authorities: list[str]
) -> None:
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
