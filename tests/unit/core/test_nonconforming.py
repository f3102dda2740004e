"""Genuine documents that the exact reader refuses are reported, and no other documents are."""

import hashlib
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from time import process_time

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from support import cms, documents
from support.appraisal_cost import verification_seconds
from support.appraisals import authenticate_archived, read_in_time
from support.certificates import make_authority, make_self_signed, make_signer
from support.der_parts import (
    CERTIFICATES,
    DIGEST,
    DIGESTS,
    ENCAPSULATED,
    SID,
    SIGNATURE,
    SIGNED_DATA,
    SIGNER,
    SIGNER_VERSION,
    SIGNERS,
    VERSION,
    integer,
    oid,
    sequence,
    tlv,
)
from support.documents import NOW, bundle_of, der, document, raw, shared_bundle, shared_pki, sign, spare_key, trusted
from support.mutations import edited, random_mutants
from support.real_samples import REAL_SAMPLES, RealSample

from verifier.adapters.trust.files import load_bundle
from verifier.core import nonconforming
from verifier.core.bounds import MAX_EMBEDDED_CERTIFICATES, MAX_JSON_VALUES, MAX_NAMES
from verifier.core.model import Limits
from verifier.core.nonconforming import NonconformingDocument, find_nonconforming
from verifier.core.reasons import ChainRefused, FormatRefused, Reason, Refused
from verifier.core.trust.bundle import Denials, TrustBundle
from verifier.core.trust.clouds import Cloud
from verifier.emulator import pki

CONTENT = documents.encode(documents.content())
NULL = b"\x05\x00"
ROOT = shared_pki().root.certificate
ISSUER = shared_pki().issuing_ca.certificate
LEAF = shared_pki().signer.certificate
GOOD = document()


def refusal(data: bytes) -> Refused:
    with pytest.raises(Refused) as caught:
        read_in_time(raw(data), now=NOW, limits=Limits())
    return caught.value


def report_of(data: bytes, *, bundle: TrustBundle | None = None) -> NonconformingDocument | None:
    return find_nonconforming(raw(data), refusal(data), bundle=bundle or shared_bundle(), now=NOW)


def indefinite(encoded: bytes) -> bytes:
    """Give an element an indefinite length. Its present length must have two bytes after 0x82."""
    assert encoded[1] == 0x82
    return encoded[:1] + b"\x80" + encoded[4:] + b"\x00\x00"


def signed_with_attributes(*, in_order: bool) -> bytes:
    attributes = cms.content_attributes(CONTENT, digest=cms.SHA256)
    members = sorted(one.encode() for one in attributes)
    key = shared_pki().signer.key
    ordered = members if in_order else members[::-1]
    info = cms.sign_content(tlv(0x31, *ordered), certificate=LEAF, key=key, scheme=cms.rsa_encryption(cms.SHA256))
    digest = sequence(oid(info.digest_algorithm.oid))
    made = edited(sign(CONTENT, scheme=cms.rsa_encryption(cms.SHA256)), DIGEST, lambda _: digest + tlv(0xA0, *ordered))
    # The attributes move the signature to the next index.
    return edited(made, (*SIGNERS, 0, 5), lambda _: tlv(0x04, info.signature))


def replaced_by(encoded: bytes) -> Callable[[bytes], bytes]:
    return lambda _: encoded


def behind(*path: int, element: bytes = NULL) -> bytes:
    return edited(GOOD, path, lambda one: one + element)


def in_segments(one: bytes) -> bytes:
    """Split an OCTET STRING whose length has two bytes after 0x82."""
    assert one[1] == 0x82
    return tlv(0x24, tlv(0x04, one[4:50]), tlv(0x04, one[50:]))


def issued(tbs: bytes, *more: bytes, sign_with: padding.AsymmetricPadding | None = None) -> bytes:
    """Return a leaf that the issuing CA signed, with these elements behind the signature."""
    ca = shared_pki().issuing_ca.key
    assert isinstance(ca, rsa.RSAPrivateKey)
    signature = ca.sign(tbs, sign_with or padding.PKCS1v15(), cms.SHA256)
    return sequence(tbs, sequence(oid("1.2.840.113549.1.1.11"), NULL), tlv(0x03, b"\0" + signature), *more)


def with_leaf(leaf: bytes) -> bytes:
    return edited(GOOD, CERTIFICATES, replaced_by(tlv(0xA0, leaf)))


def unversioned() -> bytes:
    """Return what is signed of the leaf in version 1, although it has extensions."""
    return edited(LEAF.tbs_certificate_bytes, (0,), replaced_by(b""))


def by_key() -> bytes:
    made = edited(GOOD, SID, lambda _: tlv(0x80, b"identifier"))
    return edited(edited(made, SIGNER_VERSION, lambda _: integer(3)), VERSION, lambda _: integer(3))


GENUINE: dict[str, Callable[[], bytes]] = {
    "crls": lambda: edited(GOOD, CERTIFICATES, lambda one: one + b"\xa1\x00"),
    "unsigned attributes": lambda: edited(GOOD, SIGNATURE, lambda one: one + b"\xa1\x02\x30\x00"),
    "version 3, named by key": by_key,
    "an INTEGER that is not minimal": lambda: edited(GOOD, VERSION, lambda _: b"\x02\x02\x00\x01"),
    "bytes behind": lambda: GOOD + b"\x00\x00",
    "an element behind SignedData": lambda: behind(*SIGNED_DATA),
    "an element behind the content": lambda: behind(*ENCAPSULATED, 1, 0),
    "an element behind the signers": lambda: behind(*SIGNERS),
    "another signer": lambda: behind(*SIGNER, element=sequence()),
    "another set of digests": lambda: behind(*DIGESTS, element=tlv(0x31)),
    "a signature in segments": lambda: edited(GOOD, SIGNATURE, in_segments),
    "an element behind the signature of the leaf": lambda: with_leaf(issued(LEAF.tbs_certificate_bytes, NULL)),
    "a leaf of version 1 with extensions": lambda: with_leaf(issued(unversioned())),
    "an indefinite length": lambda: indefinite(GOOD),
    "indefinite lengths within one another": lambda: indefinite(edited(GOOD, CERTIFICATES, indefinite)),
    "a content in segments": lambda: edited(
        GOOD,
        ENCAPSULATED,
        lambda _: sequence(
            oid(cms.ID_DATA), b"\xa0\x80\x24\x80" + tlv(0x04, CONTENT[:9]) + tlv(0x04, CONTENT[9:]) + bytes(4)
        ),
    ),
    "another digest's name": lambda: edited(GOOD, DIGEST, lambda _: sequence(oid("2.16.840.1.101.3.4.2.8"))),
    "signed attributes out of order": lambda: signed_with_attributes(in_order=False),
    "a leaf with too many names": lambda: sign(
        CONTENT, signer=make_signer(names=[f"r{number}.metadata.azure.com" for number in range(MAX_NAMES + 1)])
    ),
    "a leaf that is too large": lambda: sign(
        CONTENT,
        signer=make_signer(
            extensions=[x509.UnrecognizedExtension(x509.ObjectIdentifier("1.3.4"), tlv(4, bytes(9000)))]
        ),
    ),
    "a JSON of too many values": lambda: sign(
        documents.encode({**documents.content(), "note": [0] * (MAX_JSON_VALUES + 1)})
    ),
    "an elliptic leaf": lambda: edited(
        sign(CONTENT, signer=make_signer(key=pki.make_ec_key(ec.SECP256R1())), scheme=cms.ecdsa(cms.SHA256)),
        CERTIFICATES,
        lambda one: one + b"\xa1\x00",
    ),
    "PSS parameters that are not the usual": lambda: sign(
        CONTENT,
        scheme=replace(
            cms.rsassa_pss(cms.SHA256),
            signature_algorithm=cms.Algorithm(oid="1.2.840.113549.1.1.10", parameters=sequence()),
        ),
    ),
}


@pytest.mark.parametrize("name", GENUINE)
def test_a_genuine_document_is_reported(name: str) -> None:
    data = GENUINE[name]()
    report = report_of(data)
    assert report is not None
    assert report.issuer == ISSUER.subject.rfc4514_string()
    assert report.pin_sha256 == ISSUER.fingerprint(cms.SHA256).hex()
    assert report.clouds == frozenset({Cloud.PUBLIC})
    assert report.document_sha256 == hashlib.sha256(data).hexdigest()
    assert report.detail == refusal(data).detail
    assert report.seen_at == NOW


def test_the_report_names_the_leaf_as_signer() -> None:
    report = report_of(GENUINE["crls"]())
    assert report is not None
    assert report.signer_sha256 == LEAF.fingerprint(cms.SHA256).hex()


@pytest.mark.parametrize("sample", REAL_SAMPLES[::5], ids=str)
def test_a_real_document_with_an_additional_element_is_reported(sample: RealSample) -> None:
    data = edited(sample.der, SIGNATURE, lambda one: one + b"\xa1\x00")
    at = sample.created_on
    refused = FormatRefused(Reason.MALFORMED_EVIDENCE, "It has unsigned attributes.")
    report = find_nonconforming(raw(data), refused, bundle=load_bundle(), now=at)
    assert report is not None
    assert sample.issuer in report.issuer
    assert Cloud.PUBLIC in report.clouds


def with_additional_element(data: bytes) -> bytes:
    return edited(data, CERTIFICATES, lambda one: one + b"\xa1\x00")


def test_a_self_signed_document_is_not_reported() -> None:
    assert report_of(with_additional_element(sign(CONTENT, signer=make_self_signed(key=spare_key())))) is None


def test_a_leaf_that_names_a_pin_but_is_signed_by_another_key_is_not_reported() -> None:
    assert report_of(with_additional_element(sign(CONTENT, signer=make_signer(issuer_key=spare_key())))) is None


def test_changed_content_is_not_reported() -> None:
    assert report_of(with_additional_element(GOOD).replace(b'"vmId":"5', b'"vmId":"6')) is None


def test_the_leaf_is_found_among_other_certificates() -> None:
    good = cms.signed_data(CONTENT, certificate=LEAF, key=shared_pki().signer.key)
    others = (b"\x30\x00", b"\xa1\x00", der(ISSUER), der(make_signer(key=spare_key()).certificate))
    for certificates in ((*good.certificates, *others), (*others, *good.certificates)):
        report = report_of(edited(good.encode(), CERTIFICATES, replaced_by(tlv(0xA0, *certificates))))
        assert report is not None
        assert report.signer_sha256 == LEAF.fingerprint(cms.SHA256).hex()


def test_a_signature_by_another_key_is_not_reported() -> None:
    assert (
        report_of(with_additional_element(sign(CONTENT, signer=replace(shared_pki().signer, key=spare_key())))) is None
    )


def test_signed_attributes_of_other_content_are_not_reported() -> None:
    data = signed_with_attributes(in_order=False).replace(b'"vmId":"5', b'"vmId":"6')
    assert report_of(data) is None


def test_a_leaf_under_an_unusable_pin_is_not_reported() -> None:
    later = trusted(ISSUER, activate_at=NOW + timedelta(days=1))
    assert report_of(with_additional_element(GOOD), bundle=TrustBundle.of((trusted(ROOT), later))) is None
    denials = Denials(spki_sha256=frozenset({later.certificate.spki_sha256}))
    assert (
        report_of(
            with_additional_element(GOOD), bundle=TrustBundle.of((trusted(ROOT), trusted(ISSUER)), denials=denials)
        )
        is None
    )
    assert report_of(with_additional_element(GOOD), bundle=bundle_of(ROOT)) is None


@pytest.mark.parametrize("reason", sorted(set(Reason) - {Reason.MALFORMED_EVIDENCE, Reason.ALGORITHM_REFUSED}))
def test_other_refusals_are_not_reported(reason: Reason) -> None:
    refused = FormatRefused(reason, "It is refused.")
    assert find_nonconforming(raw(with_additional_element(GOOD)), refused, bundle=shared_bundle(), now=NOW) is None


@pytest.mark.parametrize(
    "extra",
    [
        x509.PolicyConstraints(require_explicit_policy=5, inhibit_policy_mapping=None),
        x509.UnrecognizedExtension(x509.ObjectIdentifier("2.5.29.31"), sequence(sequence(b"\x05\x00"))),
    ],
    ids=["rule of the profile", "unreadable field"],
)
def test_a_genuine_leaf_that_the_profile_refuses_is_reported(extra: x509.ExtensionType) -> None:
    data = sign(CONTENT, signer=make_signer(extensions=[extra]))
    with pytest.raises(ChainRefused) as caught:
        authenticate_archived(raw(data), at=NOW, bundle=shared_bundle(), limits=Limits())
    report = find_nonconforming(raw(data), caught.value, bundle=shared_bundle(), now=NOW)
    assert report is not None
    assert report.detail == caught.value.detail


@pytest.mark.parametrize("data", [b"", b"\x30", b"\x30\x80", b"\x30\x00", b"\x30\x80" * 8000, bytes(16000), GOOD[:500]])
def test_bytes_that_are_not_a_document_are_not_reported(data: bytes) -> None:
    assert report_of(data) is None


def test_mutants_raise_no_exception() -> None:
    refused = FormatRefused(Reason.MALFORMED_EVIDENCE, "It is refused.")
    reports = [
        find_nonconforming(raw(mutant), refused, bundle=shared_bundle(), now=NOW)
        for mutant in random_mutants(GOOD, 2000, seed=2)
    ]
    assert any(reports)
    assert None in reports


def test_the_cost_is_bounded() -> None:
    """Try eight leaves that a pin issued, and a signature that verifies with no digest and no padding."""
    leaves = tuple(der(make_signer().certificate) for _ in range(7))
    good = cms.signed_data(CONTENT + b" ", certificate=LEAF, key=shared_pki().signer.key)
    info = replace(good.signer_infos[0], digest_algorithm=cms.Algorithm(oid="1.3.4", parameters=None))
    data = replace(good, content=CONTENT, certificates=(*leaves, *good.certificates), signer_infos=(info,)).encode()
    refused = FormatRefused(Reason.MALFORMED_EVIDENCE, "It is refused.")
    unit = verification_seconds()
    costs = []
    for _ in range(5):
        started = process_time()
        assert find_nonconforming(raw(data), refused, bundle=shared_bundle(), now=NOW) is None
        costs.append(process_time() - started)
    assert min(costs) / unit < 250


def with_attributes(*members: bytes) -> bytes:
    """Return a document whose signed attributes have a valid signature and are out of order."""
    key = shared_pki().signer.key
    info = cms.sign_content(tlv(0x31, *members), certificate=LEAF, key=key, scheme=cms.rsa_encryption(cms.SHA256))
    digest = sequence(oid(info.digest_algorithm.oid))
    made = edited(sign(CONTENT, scheme=cms.rsa_encryption(cms.SHA256)), DIGEST, lambda _: digest + tlv(0xA0, *members))
    return edited(made, (*SIGNERS, 0, 5), lambda _: tlv(0x04, info.signature))


def test_signed_attributes_without_a_digest_bind_no_content() -> None:
    content_type, message_digest = (one.encode() for one in cms.content_attributes(CONTENT, digest=cms.SHA256))
    signing_time = sequence(oid("1.2.840.113549.1.9.5"), tlv(0x31, b"\x17\x0d261123080000Z"))
    assert report_of(with_attributes(signing_time, content_type, message_digest)) is not None
    assert report_of(with_attributes(signing_time, content_type)) is None


@pytest.mark.parametrize(
    "change",
    [
        lambda digest: edited(digest, (1,), lambda one: one + NULL),
        lambda digest: edited(digest, (1, 0), lambda one: one + tlv(0x04, bytes(32))),
    ],
    ids=["an element behind the values", "another value"],
)
def test_an_attribute_may_have_more_than_the_digest(change: Callable[[bytes], bytes]) -> None:
    content_type, message_digest = (one.encode() for one in cms.content_attributes(CONTENT, digest=cms.SHA256))
    assert report_of(with_attributes(content_type, change(message_digest))) is not None


def test_every_digest_is_tried_for_an_unknown_name() -> None:
    attributes = sorted(one.encode() for one in cms.content_attributes(CONTENT, digest=cms.SHA512))
    scheme, key = cms.rsa_encryption(cms.SHA512), shared_pki().signer.key
    info = cms.sign_content(tlv(0x31, *attributes), certificate=LEAF, key=key, scheme=scheme)
    digest = sequence(oid("2.16.840.1.101.3.4.2.8"))
    made = edited(sign(CONTENT, scheme=scheme), DIGEST, lambda _: digest + tlv(0xA0, *attributes))
    assert report_of(edited(made, (*SIGNERS, 0, 5), lambda _: tlv(0x04, info.signature))) is not None


def test_no_other_digest_is_tried_for_a_known_name() -> None:
    assert report_of(edited(GOOD, DIGEST, lambda _: sequence(oid("2.16.840.1.101.3.4.2.3")))) is None


def test_a_leaf_that_its_issuer_signed_with_another_padding_is_not_reported() -> None:
    pss = padding.PSS(mgf=padding.MGF1(cms.SHA256), salt_length=32)
    assert report_of(with_leaf(issued(LEAF.tbs_certificate_bytes, NULL, sign_with=pss))) is None


def test_the_signature_of_an_elliptic_leaf_is_verified() -> None:
    own, other = (make_signer(key=pki.make_ec_key(ec.SECP256R1())) for _ in range(2))
    data = with_additional_element(sign(CONTENT, signer=own, scheme=cms.ecdsa(cms.SHA256)))
    assert report_of(data.replace(b'"vmId":"5', b'"vmId":"6')) is None
    both = tlv(0xA0, der(other.certificate), der(own.certificate))
    report = report_of(edited(data, CERTIFICATES, replaced_by(both)))
    assert report is not None
    assert report.signer_sha256 == own.certificate.fingerprint(cms.SHA256).hex()


def test_a_leaf_whose_key_cannot_sign_documents_is_not_reported() -> None:
    leaf = make_signer(key=ed25519.Ed25519PrivateKey.generate()).certificate  # type: ignore[arg-type] # which is tested
    data = cms.signed_data(CONTENT, certificate=leaf, key=shared_pki().signer.key).encode()
    assert report_of(with_additional_element(data)) is None
    assert not nonconforming._verifies(leaf.public_key(), b"", b"", cms.SHA256)  # noqa: SLF001 - no pin has such a key


def test_a_key_that_makes_verification_expensive_is_not_tried() -> None:
    def key(bits: int, exponent_bits: int) -> rsa.RSAPublicKey:
        return rsa.RSAPublicNumbers((1 << (exponent_bits - 1)) + 1, (1 << (bits - 1)) + 1).public_key()

    bounded = nonconforming._bounded  # noqa: SLF001 - authorities do not certify such keys
    assert bounded(key(4096, 64)).key_size == 4096
    with pytest.raises(TypeError, match="not a key that signs documents"):
        bounded(key(4097, 17))
    with pytest.raises(ValueError, match="an exponent that is too long"):
        bounded(key(4096, 65))


@pytest.mark.parametrize(("before", "is_found"), [(7, True), (8, False)])
def test_the_number_of_verified_leaves_is_bounded_exactly(before: int, *, is_found: bool) -> None:
    namesakes = [der(make_signer(issuer_key=spare_key()).certificate) for _ in range(before)]
    data = edited(GOOD, CERTIFICATES, replaced_by(tlv(0xA0, *namesakes, der(LEAF))))
    report = find_nonconforming(
        raw(data), FormatRefused(Reason.MALFORMED_EVIDENCE, "It is."), bundle=shared_bundle(), now=NOW
    )
    assert (report is not None) is is_found


@pytest.mark.parametrize(("before", "is_found"), [(3, True), (4, False)])
def test_the_number_of_verifications_is_bounded_exactly(before: int, *, is_found: bool) -> None:
    namesake = namesake_of_the_issuer()
    leaves = [der(make_signer(issuer_key=spare_key()).certificate) for _ in range(before)]
    data = edited(GOOD, CERTIFICATES, replaced_by(tlv(0xA0, *leaves, der(LEAF))))
    for pins in ((namesake, ISSUER), (ISSUER, namesake)):
        report = find_nonconforming(
            raw(data), FormatRefused(Reason.MALFORMED_EVIDENCE, "It is."), bundle=bundle_of(ROOT, *pins), now=NOW
        )
        assert (report is not None) is is_found


def namesake_of_the_issuer() -> x509.Certificate:
    """Return a pin with the issuer's name and another key."""
    name = ISSUER.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)[0].value
    made = make_authority(issuer=shared_pki().root, name=str(name), key=spare_key(2)).certificate
    assert made.subject == ISSUER.subject
    return made


def is_found_behind(others: list[bytes], *pins: x509.Certificate) -> bool:
    """Return whether the leaf is found behind these certificates and under these pins."""
    data = edited(GOOD, CERTIFICATES, replaced_by(tlv(0xA0, *others, der(LEAF))))
    report = report_of(with_additional_element(data), bundle=bundle_of(ROOT, *pins))
    return report is not None and report.signer_sha256 == LEAF.fingerprint(cms.SHA256).hex()


def test_certificates_whose_algorithm_names_no_digest_are_not_verified() -> None:
    others = [edited(der(LEAF), (1,), lambda _: sequence(oid("1.3.4")))] * 7
    assert is_found_behind(others, namesake_of_the_issuer(), ISSUER)


def test_a_certificate_is_not_verified_with_the_pins_behind_its_issuer() -> None:
    others = [der(make_signer(key=spare_key()).certificate) for _ in range(7)]
    assert is_found_behind(others, ISSUER, namesake_of_the_issuer())


@pytest.mark.parametrize(("before", "is_found"), [(7, True), (8, False)])
def test_only_the_first_certificates_are_read(before: int, *, is_found: bool) -> None:
    assert MAX_EMBEDDED_CERTIFICATES == 8
    data = edited(GOOD, CERTIFICATES, replaced_by(tlv(0xA0, sequence() * before, der(LEAF))))
    assert (report_of(data) is not None) is is_found


def test_a_document_without_content_is_not_reported() -> None:
    data = edited(GOOD, ENCAPSULATED, replaced_by(b""))
    assert report_of(data) is None
