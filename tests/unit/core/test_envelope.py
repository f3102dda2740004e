"""The envelope: one signer with the certificate that its sid names, and no decision about it."""

import hashlib
from collections.abc import Callable
from contextlib import suppress
from dataclasses import fields, replace

import pytest
from asn1crypto import cms as asn1_cms
from asn1crypto import core
from cryptography import x509
from hypothesis import given, settings
from hypothesis import strategies as st
from support import cms, documents
from support.appraisals import read_in_time
from support.certificates import make_names, make_signer, resign
from support.der_parts import oid, sequence, tlv
from support.documents import der, document, raw, sample, shared_pki, sign, spare_key
from support.mutations import mutants

from verifier.core.bounds import MAX_CERTIFICATE_BYTES, MAX_EMBEDDED_CERTIFICATES
from verifier.core.envelope import read_envelope
from verifier.core.model import Envelope, Limits, RawDocument
from verifier.core.reasons import Check, FormatRefused, Reason, Refused

CONTENT = documents.encode(documents.content())
SIGNER = shared_pki().signer
GOOD = cms.signed_data(CONTENT, certificate=SIGNER.certificate, key=SIGNER.key)
[INFO] = GOOD.signer_infos


def refused(data: bytes) -> FormatRefused:
    with pytest.raises(FormatRefused) as caught:
        read_envelope(raw(data))
    assert caught.value.reason is Reason.MALFORMED_EVIDENCE
    assert caught.value.check is Check.FORMAT
    return caught.value


def with_info(**changes: object) -> cms.SignedData:
    return replace(GOOD, signer_infos=(replace(INFO, **changes),))  # type: ignore[arg-type] # it checks the names


def test_holds_what_the_document_says() -> None:
    envelope = read_envelope(raw(GOOD.encode()))

    assert envelope.sha256 == hashlib.sha256(GOOD.encode()).hexdigest()
    assert envelope.unverified_content == CONTENT
    assert envelope.signer.der == der(SIGNER.certificate)
    assert envelope.signature == INFO.signature
    assert envelope.digest_oid == cms.AZURE.digest_algorithm.oid
    assert envelope.signature_oid == cms.AZURE.signature_algorithm.oid
    assert envelope.signature_parameters == b"\x05\x00"
    assert envelope.signed_attributes is None
    assert envelope.unverified_candidates == ()


def test_does_not_check_the_signature() -> None:
    assert read_envelope(raw(with_info(signature=b"").encode())).signature == b""


@pytest.mark.parametrize("name", ["azure-page-2018", "public-southcentralus-2022-04-19", "public-eastus-2026-07-28"])
def test_reads_the_published_documents(name: str) -> None:
    assert read_envelope(raw(sample(name))).unverified_content.startswith(b"{")


@pytest.mark.parametrize("count", range(1, MAX_EMBEDDED_CERTIFICATES + 1))
def test_finds_the_signer_among_the_maximum_of_certificates(count: int) -> None:
    others = {der(make_signer(key=spare_key()).certificate) for _ in range(count - 1)}
    envelope = read_envelope(raw(replace(GOOD, certificates=(*GOOD.certificates, *others)).encode()))
    assert envelope.signer.der == der(SIGNER.certificate)
    assert set(envelope.unverified_candidates) == others


def test_refuses_more_certificates_than_the_maximum() -> None:
    others = tuple(der(make_signer().certificate) for _ in range(MAX_EMBEDDED_CERTIFICATES))
    refused(replace(GOOD, certificates=(*GOOD.certificates, *others)).encode())


@pytest.mark.parametrize("size", [MAX_CERTIFICATE_BYTES, MAX_CERTIFICATE_BYTES + 1])
def test_a_certificate_may_have_the_maximum_of_bytes(size: int) -> None:
    def make(length: int) -> bytes:
        padding = x509.UnrecognizedExtension(
            x509.ObjectIdentifier("1.2.3"), b"\x04\x82" + length.to_bytes(2) + bytes(length)
        )
        return der(make_signer(key=spare_key(), extensions=[padding]).certificate)

    other = make(size - len(make(4096)) + 4096)
    assert len(other) == size
    data = replace(GOOD, certificates=(*GOOD.certificates, other)).encode()
    if size > MAX_CERTIFICATE_BYTES:
        assert refused(data).detail == "The document embeds a certificate that is larger than 8192 bytes."
    else:
        assert read_envelope(raw(data)).unverified_candidates == (other,)


def test_a_certificate_of_the_signer_that_cannot_be_read_is_refused() -> None:
    [good] = GOOD.certificates
    unused_bits = len(good) - len(SIGNER.certificate.signature) - 1
    assert good[unused_bits] == 0
    spoilt = good[:unused_bits] + b"\x07" + good[unused_bits + 1 :]
    assert refused(replace(GOOD, certificates=(spoilt,)).encode()).detail.startswith("The signer's certificate ")


@pytest.mark.parametrize(
    ("data", "detail"),
    [
        (b"", "The document is not a CMS SignedData in DER: "),
        (replace(GOOD, certificates=()).encode(), "The document embeds no certificate."),
    ],
)
def test_the_detail_names_the_fault(data: bytes, detail: str) -> None:
    assert refused(data).detail.startswith(detail)


def test_takes_the_certificate_that_the_sid_names_and_not_the_first() -> None:
    other = make_signer(key=spare_key())
    for certificates in ((der(other.certificate), *GOOD.certificates), (*GOOD.certificates, der(other.certificate))):
        assert read_envelope(raw(replace(GOOD, certificates=certificates).encode())).signer.der == GOOD.certificates[0]


@pytest.mark.parametrize(
    "fault",
    [
        lambda: replace(GOOD, signer_infos=()),
        lambda: replace(GOOD, signer_infos=(INFO, replace(INFO, signature=b"another"))),
        lambda: replace(GOOD, certificates=()),
        lambda: with_info(serial_number=INFO.serial_number + 1),
        lambda: with_info(issuer=make_names("Another").public_bytes()),
        lambda: replace(
            GOOD,
            certificates=(
                *GOOD.certificates,
                der(resign(make_signer(), serial_number=SIGNER.certificate.serial_number).certificate),
            ),
        ),
        lambda: replace(GOOD, certificates=GOOD.certificates * 2),
        lambda: replace(GOOD, certificates=(*GOOD.certificates, b"\x30\x00")),
        lambda: replace(GOOD, certificates=(*GOOD.certificates, b"\xa1\x02\x30\x00")),
        lambda: replace(GOOD, version=3),
        lambda: with_info(version=3),
        lambda: replace(GOOD, content_type=cms.ID_SIGNED_DATA),
        lambda: replace(GOOD, digest_algorithms=()),
        lambda: replace(GOOD, digest_algorithms=GOOD.digest_algorithms * 2),
        lambda: replace(GOOD, digest_algorithms=(cms.digest_algorithm(cms.SHA256),)),
        lambda: with_info(signed_attributes=()),
    ],
)
def test_refuses_a_malformed_document(fault: Callable[[], cms.SignedData]) -> None:
    refused(fault().encode())


def test_refuses_a_document_without_content() -> None:
    info = asn1_cms.ContentInfo.load(GOOD.encode())
    info["content"]["encap_content_info"] = asn1_cms.ContentInfo({"content_type": "data"})
    refused(info.dump(force=True))


def test_refuses_a_signer_named_by_its_key() -> None:
    info = asn1_cms.ContentInfo.load(GOOD.encode())
    signer_info = info["content"]["signer_infos"][0]
    signer_info["sid"] = asn1_cms.SignerIdentifier({"subject_key_identifier": core.OctetString(b"key")})
    refused(info.dump(force=True))


def attribute(oid: str, *values: bytes) -> cms.Attribute:
    return cms.Attribute(oid=oid, values=values)


CONTENT_TYPE, MESSAGE_DIGEST = cms.content_attributes(CONTENT, digest=cms.SHA256)


@pytest.mark.parametrize(
    "attributes",
    [
        (CONTENT_TYPE,),
        (MESSAGE_DIGEST,),
        (CONTENT_TYPE, CONTENT_TYPE, MESSAGE_DIGEST),
        (CONTENT_TYPE, MESSAGE_DIGEST, MESSAGE_DIGEST),
        (CONTENT_TYPE, replace(MESSAGE_DIGEST, values=MESSAGE_DIGEST.values * 2)),
        (CONTENT_TYPE, replace(MESSAGE_DIGEST, values=())),
        (replace(CONTENT_TYPE, values=CONTENT_TYPE.values * 2), MESSAGE_DIGEST),
        (CONTENT_TYPE, attribute(cms.ID_MESSAGE_DIGEST, b"\x05\x00")),
        (attribute(cms.ID_CONTENT_TYPE, b"\x04\x00"), MESSAGE_DIGEST),
    ],
)
def test_refuses_signed_attributes_with_a_missing_or_duplicate_attribute(attributes: tuple[cms.Attribute, ...]) -> None:
    refused(with_info(signed_attributes=attributes).encode())


class LongAttribute(cms.Attribute):
    """An attribute with a third member."""

    def encode(self) -> bytes:
        return sequence(oid(self.oid), tlv(0x31, *self.values), b"\x05\x00")


def test_refuses_a_signed_attribute_with_a_third_member() -> None:
    long = LongAttribute(oid="1.2.840.113549.1.9.5", values=(b"\x17\x0d261123080000Z",))
    refused(with_info(signed_attributes=(CONTENT_TYPE, MESSAGE_DIGEST, long)).encode())


def test_the_signature_covers_the_attributes_as_a_set() -> None:
    signing_time = attribute("1.2.840.113549.1.9.5", b"\x17\x0d261123080000Z")
    envelope = read_envelope(raw(with_info(signed_attributes=(signing_time, MESSAGE_DIGEST, CONTENT_TYPE)).encode()))
    members = sorted(one.encode() for one in (signing_time, MESSAGE_DIGEST, CONTENT_TYPE))
    assert envelope.signed_attributes is not None
    assert envelope.signed_attributes.signed_bytes == core.SetOf(spec=core.Any, contents=b"".join(members)).dump()
    assert envelope.signed_attributes.content_type_oid == cms.ID_DATA
    assert MESSAGE_DIGEST.values[0].endswith(envelope.signed_attributes.message_digest)


def test_an_envelope_is_the_same_for_every_order_of_its_certificates() -> None:
    others = tuple(der(make_signer().certificate) for _ in range(3))
    envelopes = {
        read_envelope(raw(replace(GOOD, certificates=order).encode())).sha256
        for order in ((*GOOD.certificates, *others), (*others, *GOOD.certificates))
    }
    assert len(envelopes) == 1


@given(raw_der=st.binary(max_size=200))
def test_arbitrary_bytes_raise_only_refusals(raw_der: bytes) -> None:
    refused(raw_der)


@given(position=st.integers(min_value=0), byte=st.integers(min_value=0, max_value=255), attributes=st.booleans())
@settings(deadline=None, max_examples=300)
def test_a_changed_document_raises_only_refusals(position: int, byte: int, *, attributes: bool) -> None:
    """Run all steps on the document. If they accept it, the change did not affect the signed content."""
    base = document() if not attributes else with_info(signed_attributes=(CONTENT_TYPE, MESSAGE_DIGEST)).encode()
    changed = bytearray(base)
    changed[position % len(changed)] = byte
    try:
        claims = read_in_time(RawDocument(raw_der=bytes(changed)), now=documents.NOW, limits=Limits())
    except Refused:
        return
    assert claims.decoded.named.signed.content == CONTENT


@pytest.mark.parametrize("attributes", [False, True])
def test_a_replaced_element_raises_only_refusals(*, attributes: bool) -> None:
    base = document() if not attributes else with_info(signed_attributes=(CONTENT_TYPE, MESSAGE_DIGEST)).encode()
    count = 0
    for count, changed in enumerate(mutants(base), start=1):  # noqa: B007 - used after the loop
        with suppress(Refused):
            claims = read_in_time(RawDocument(raw_der=changed), now=documents.NOW, limits=Limits())
            assert claims.decoded.named.signed.content == CONTENT
    assert count > 3000


def test_its_representation_shows_no_unverified_content() -> None:
    shown = repr(read_envelope(raw(sign(CONTENT))))
    hidden = {"unverified_content", "signature", "unverified_candidates", "signature_parameters"}
    assert hidden <= {field.name for field in fields(Envelope) if not field.repr}
    assert documents.VM.vm_id not in shown
    assert documents.NONCE not in shown
