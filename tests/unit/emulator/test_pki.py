"""The PKI has the shape of the real one, and two path validators accept it."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest
from asn1crypto import x509 as asn1_x509
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import AuthorityInformationAccessOID, ExtendedKeyUsageOID, ExtensionOID, NameOID
from cryptography.x509.verification import PolicyBuilder, Store, VerificationError
from pyhanko_certvalidator import CertificateValidator, ValidationContext
from pyhanko_certvalidator.errors import PathError

from verifier.emulator import pki as subject
from verifier.emulator.pki import Identity, Pki, Validity


def validate_with_pyca(
    signer: Identity, *, intermediates: list[Identity], root: Identity, at: datetime, name: str = "metadata.azure.com"
) -> list[x509.Certificate]:
    verifier = PolicyBuilder().store(Store([root.certificate])).time(at).build_server_verifier(x509.DNSName(name))
    return verifier.verify(signer.certificate, [intermediate.certificate for intermediate in intermediates])


def validate_with_certvalidator(
    signer: Identity, *, intermediates: list[Identity], root: Identity, at: datetime
) -> int:
    """Return the length of the path that certvalidator finds."""
    context = ValidationContext(
        trust_roots=[as_asn1(root)],
        moment=at,
        allow_fetching=False,
        revocation_mode="soft-fail",
        time_tolerance=timedelta(0),
    )
    validator = CertificateValidator(
        as_asn1(signer),
        intermediate_certs=[as_asn1(intermediate) for intermediate in intermediates],
        validation_context=context,
    )
    validation = validator.async_validate_usage(  # type: ignore[no-untyped-call] # the library does not type it
        {"digital_signature"}, {"server_auth"}
    )
    path = asyncio.run(validation)
    return len(path)


def as_asn1(identity: Identity) -> asn1_x509.Certificate:
    return asn1_x509.Certificate.load(identity.certificate.public_bytes(serialization.Encoding.DER))


def extension(identity: Identity, oid: x509.ObjectIdentifier) -> x509.Extension[x509.ExtensionType]:
    return identity.certificate.extensions.get_extension_for_oid(oid)


def test_pyca_accepts_the_chain_under_both_names(pki: Pki, now: datetime) -> None:
    for name in ("metadata.azure.com", "eastus.metadata.azure.com"):
        path = validate_with_pyca(pki.signer, intermediates=[pki.issuing_ca], root=pki.root, at=now, name=name)
        assert path == [pki.signer.certificate, pki.issuing_ca.certificate, pki.root.certificate]


def test_certvalidator_accepts_the_chain(pki: Pki, now: datetime) -> None:
    assert validate_with_certvalidator(pki.signer, intermediates=[pki.issuing_ca], root=pki.root, at=now) == 3


def test_signer_has_the_shape_of_the_real_one(pki: Pki) -> None:
    signer = pki.signer.certificate
    assert isinstance(signer.public_key(), rsa.RSAPublicKey)
    assert pki.signer.key.key_size == 2048
    assert signer.signature_algorithm_oid == x509.SignatureAlgorithmOID.RSA_WITH_SHA384
    assert signer.not_valid_after_utc - signer.not_valid_before_utc == timedelta(days=180)
    assert [a.value for a in signer.subject.get_attributes_for_oid(NameOID.COMMON_NAME)] == ["metadata.azure.com"]

    names = extension(pki.signer, ExtensionOID.SUBJECT_ALTERNATIVE_NAME)
    assert names.value == x509.SubjectAlternativeName(
        [x509.DNSName("eastus.metadata.azure.com"), x509.DNSName("metadata.azure.com")]
    )
    usage = extension(pki.signer, ExtensionOID.KEY_USAGE)
    assert usage.critical
    assert usage.value.public_bytes() == bytes.fromhex("030205a0")
    purpose = extension(pki.signer, ExtensionOID.EXTENDED_KEY_USAGE)
    assert purpose.value == x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH])
    constraints = extension(pki.signer, ExtensionOID.BASIC_CONSTRAINTS)
    assert constraints.critical
    assert constraints.value == x509.BasicConstraints(ca=False, path_length=None)
    policies = extension(pki.signer, ExtensionOID.CERTIFICATE_POLICIES).value
    assert isinstance(policies, x509.CertificatePolicies)
    assert [policy.policy_identifier.dotted_string for policy in policies] == ["2.23.140.1.2.2"]
    own_id = extension(pki.signer, ExtensionOID.SUBJECT_KEY_IDENTIFIER)
    assert own_id.value == x509.SubjectKeyIdentifier.from_public_key(pki.signer.key.public_key())
    key_id = extension(pki.issuing_ca, ExtensionOID.SUBJECT_KEY_IDENTIFIER).value
    assert isinstance(key_id, x509.SubjectKeyIdentifier)
    issuer_id = extension(pki.signer, ExtensionOID.AUTHORITY_KEY_IDENTIFIER).value
    assert isinstance(issuer_id, x509.AuthorityKeyIdentifier)
    assert issuer_id.key_identifier == key_id.digest


def test_authority_key_identifier_equals_the_key_identifier_of_the_issuer(pki: Pki) -> None:
    """An authority from files may not use SHA-1 for its identifier: Helm follows RFC 7093."""
    root, now, name = pki.root.certificate, datetime.now(UTC), x509.SubjectKeyIdentifier(b"odd")
    odd = subject.issue(
        subject=root.subject,
        public_key=root.public_key(),  # type: ignore[arg-type]  # an RSA key, as every key of a Pki
        issuer_name=root.subject,
        issuer_key=pki.root.key,
        validity=Validity.around(now, timedelta(days=2)),
        extensions=(x509.Extension(ExtensionOID.SUBJECT_KEY_IDENTIFIER, critical=False, value=name),),
        signing_hash=hashes.SHA256(),
    )
    signer = subject.make_signer(
        issuer=Identity(certificate=odd, key=pki.root.key),
        subject=subject.make_name("metadata.azure.com"),
        names=("metadata.azure.com",),
        key=pki.signer.key,
        validity=Validity.around(now, timedelta(days=2)),
    )
    issuer_id = extension(signer, ExtensionOID.AUTHORITY_KEY_IDENTIFIER).value
    assert isinstance(issuer_id, x509.AuthorityKeyIdentifier)
    assert issuer_id.key_identifier == b"odd"


def test_signer_has_two_issuer_urls_that_do_not_resolve(pki: Pki) -> None:
    access = extension(pki.signer, ExtensionOID.AUTHORITY_INFORMATION_ACCESS).value
    assert isinstance(access, x509.AuthorityInformationAccess)
    assert [description.access_method for description in access] == [AuthorityInformationAccessOID.CA_ISSUERS] * 2
    assert all(".invalid/" in description.access_location.value for description in access)


def test_every_subject_names_the_emulator(pki: Pki) -> None:
    for identity in (pki.root, pki.issuing_ca, pki.signer):
        name = identity.certificate.subject
        assert [a.value for a in name.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)] == ["imds-verifier emulator"]


def test_signer_of_another_cloud_has_its_names(now: datetime) -> None:
    signer = subject.make_pki(now=now, domain="metadata.azure.cn", region="chinaeast2").signer
    names = extension(signer, ExtensionOID.SUBJECT_ALTERNATIVE_NAME).value
    assert isinstance(names, x509.SubjectAlternativeName)
    assert names.get_values_for_type(x509.DNSName) == ["chinaeast2.metadata.azure.cn", "metadata.azure.cn"]


def test_two_pkis_share_no_key(pki: Pki, now: datetime) -> None:
    other = subject.make_pki(now=now)
    with pytest.raises(VerificationError):
        validate_with_pyca(pki.signer, intermediates=[pki.issuing_ca], root=other.root, at=now)
    with pytest.raises(PathError):
        validate_with_certvalidator(pki.signer, intermediates=[pki.issuing_ca], root=other.root, at=now)


def test_expired_signer_is_rejected(pki: Pki, now: datetime) -> None:
    validity = Validity(not_before=now - timedelta(days=190), not_after=now - timedelta(days=10))
    expired = subject.make_signer(
        issuer=pki.issuing_ca,
        subject=pki.signer.certificate.subject,
        names=("metadata.azure.com",),
        key=pki.signer.key,
        validity=validity,
    )
    with pytest.raises(VerificationError):
        validate_with_pyca(expired, intermediates=[pki.issuing_ca], root=pki.root, at=now)


def test_cross_signed_ca_has_a_path_to_either_root(pki: Pki, now: datetime) -> None:
    other_root = subject.make_root(
        subject=subject.make_name("Other Root"),
        key=subject.make_ec_key(ec.SECP384R1()),
        validity=Validity.around(now, timedelta(days=100)),
    )
    crossed = subject.make_ca(
        issuer=other_root,
        subject=pki.issuing_ca.certificate.subject,
        key=pki.issuing_ca.key,
        validity=Validity.around(now, timedelta(days=100)),
    )
    both = [crossed, pki.issuing_ca]
    for root in (pki.root, other_root):
        path = validate_with_pyca(pki.signer, intermediates=both, root=root, at=now)
        assert path[-1] == root.certificate
        assert validate_with_certvalidator(pki.signer, intermediates=both, root=root, at=now) == 3


@pytest.mark.parametrize("curve", [ec.SECP256R1(), ec.SECP384R1()], ids=lambda curve: curve.name)
def test_pki_with_ec_keys_and_four_levels_is_accepted(now: datetime, curve: ec.EllipticCurve) -> None:
    validity = Validity.around(now, timedelta(days=100))
    signing_hash = hashes.SHA256()
    root = subject.make_root(
        subject=subject.make_name("EC Root"),
        key=subject.make_ec_key(curve),
        validity=validity,
        signing_hash=signing_hash,
    )
    upper = subject.make_ca(
        issuer=root,
        subject=subject.make_name("EC Upper CA"),
        key=subject.make_ec_key(curve),
        validity=validity,
        path_length=1,
        signing_hash=signing_hash,
    )
    lower = subject.make_ca(
        issuer=upper,
        subject=subject.make_name("EC Lower CA"),
        key=subject.make_ec_key(curve),
        validity=validity,
        signing_hash=signing_hash,
    )
    signer = subject.make_signer(
        issuer=lower,
        subject=subject.make_name("metadata.azure.com"),
        names=("metadata.azure.com",),
        key=subject.make_ec_key(curve),
        validity=validity,
        signing_hash=signing_hash,
    )
    assert len(validate_with_pyca(signer, intermediates=[upper, lower], root=root, at=now)) == 4
    assert validate_with_certvalidator(signer, intermediates=[upper, lower], root=root, at=now) == 4


def test_signer_without_names_and_urls_has_neither_extension(pki: Pki, now: datetime) -> None:
    bare = subject.make_signer(
        issuer=pki.issuing_ca,
        subject=pki.signer.certificate.subject,
        names=(),
        key=pki.signer.key,
        validity=Validity.around(now, timedelta(days=1)),
        issuer_urls=(),
    )
    present = {found.oid for found in bare.certificate.extensions}
    assert ExtensionOID.SUBJECT_ALTERNATIVE_NAME not in present
    assert ExtensionOID.AUTHORITY_INFORMATION_ACCESS not in present


def test_validity_needs_aware_times_in_order(now: datetime) -> None:
    with pytest.raises(ValueError, match="aware"):
        Validity(not_before=now.replace(tzinfo=None), not_after=now)
    with pytest.raises(ValueError, match="ends before"):
        Validity(not_before=now, not_after=now - timedelta(seconds=1))
