"""The signature: no other step turns an envelope into content."""

import ast
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from support import cms, documents, multiplied
from support.certificates import make_signer, sign_rsa
from support.der_parts import integer, sequence, tlv
from support.documents import raw, sample, shared_pki, sign
from support.vectors import document_of, load_vectors

import verifier
from verifier.core.bounds import MAX_RSA_BITS, MIN_RSA_BITS
from verifier.core.envelope import read_envelope
from verifier.core.model import Envelope, SignedContent
from verifier.core.reasons import Check, Reason, SignatureRefused
from verifier.core.signature import verify_signature
from verifier.core.trust.certificates import Certificate
from verifier.emulator import pki

CONTENT = documents.encode(documents.content())
PACKAGE = Path(verifier.__file__).parent
DIGESTS = [cms.SHA256, cms.SHA384, cms.SHA512]


def envelope(data: bytes | None = None) -> Envelope:
    return read_envelope(raw(sign(CONTENT) if data is None else data))


def refused(made: Envelope) -> Reason:
    with pytest.raises(SignatureRefused) as caught:
        verify_signature(made)
    assert caught.value.check is Check.SIGNATURE
    return caught.value.reason


def test_returns_the_signed_content_and_its_signer() -> None:
    made = envelope()
    assert verify_signature(made) == SignedContent(
        sha256=made.sha256, content=CONTENT, signer=made.signer, unverified_candidates=()
    )


@pytest.mark.parametrize("name", ["public-southcentralus-2022-04-19", "public-eastus-2026-07-28"])
def test_accepts_the_real_documents(name: str) -> None:
    assert b'"vmId"' in verify_signature(read_envelope(raw(sample(name)))).content


@pytest.mark.parametrize("digest", DIGESTS, ids=lambda digest: digest.name)
@pytest.mark.parametrize("scheme", [cms.rsa_encryption, cms.rsa_with_digest, cms.rsassa_pss])
def test_accepts_each_rsa_scheme(digest: pki.SigningHash, scheme: object) -> None:
    assert callable(scheme)
    assert verify_signature(envelope(sign(CONTENT, scheme=scheme(digest)))).content == CONTENT


@pytest.mark.parametrize("digest", DIGESTS, ids=lambda digest: digest.name)
@pytest.mark.parametrize("curve", [ec.SECP256R1(), ec.SECP384R1(), ec.SECP521R1()], ids=lambda curve: curve.name)
def test_accepts_each_curve(curve: ec.EllipticCurve, digest: pki.SigningHash) -> None:
    signer = make_signer(key=pki.make_ec_key(curve))
    assert verify_signature(envelope(sign(CONTENT, signer=signer, scheme=cms.ecdsa(digest)))).content == CONTENT


@pytest.mark.parametrize(
    ("bits", "accepted"),
    [(MIN_RSA_BITS - 1, False), (MIN_RSA_BITS, True), (3072, True)],
)
def test_rsa_keys_are_bounded_from_below(bits: int, *, accepted: bool) -> None:
    made = envelope(sign(CONTENT, signer=make_signer(key=pki.make_rsa_key(bits))))
    if accepted:
        assert verify_signature(made).content == CONTENT
    else:
        assert refused(made) is Reason.ALGORITHM_REFUSED


def test_rsa_keys_are_bounded_from_above() -> None:
    # Generating such a key takes a minute. Any odd number of this size works, because no signature verifies with it.
    numbers = padded_public_key(MAX_RSA_BITS + 1)
    made = envelope()
    assert refused(replace(made, signer=replace(made.signer, public_key=numbers))) is Reason.ALGORITHM_REFUSED
    assert (
        refused(replace(made, signer=replace(made.signer, public_key=padded_public_key(MAX_RSA_BITS))))
        is Reason.SIGNATURE_INVALID
    )


def padded_public_key(bits: int) -> rsa.RSAPublicKey:
    return rsa.RSAPublicNumbers(65537, (1 << (bits - 1)) + 1).public_key()


def test_changed_content_is_refused() -> None:
    made = envelope()
    for changed in (CONTENT + b" ", CONTENT[:-1], b"", CONTENT.replace(b"5", b"6", 1)):
        assert refused(replace(made, unverified_content=changed)) is Reason.SIGNATURE_INVALID


def test_a_changed_signature_is_refused() -> None:
    made = envelope()
    for changed in (b"", made.signature[:-1], made.signature + b"\0", made.signature[::-1], bytes(256)):
        assert refused(replace(made, signature=changed)) is Reason.SIGNATURE_INVALID


def test_another_signer_is_refused() -> None:
    another = Certificate.from_der(documents.der(make_signer(key=documents.spare_key()).certificate))
    assert refused(replace(envelope(), signer=another)) is Reason.SIGNATURE_INVALID


def test_a_signature_with_another_padding_is_refused() -> None:
    key = shared_pki().signer.key
    assert isinstance(key, rsa.RSAPrivateKey)
    pss = key.sign(CONTENT, padding.PSS(mgf=padding.MGF1(cms.SHA256), salt_length=32), cms.SHA256)
    assert refused(replace(envelope(), signature=pss)) is Reason.SIGNATURE_INVALID


@pytest.mark.parametrize(
    ("digest_oid", "digest"),
    [
        ("1.2.840.113549.2.5", "md5"),
        ("1.3.14.3.2.26", "sha1"),
        ("1.2.840.113549.1.1.4", "md5"),
        ("1.2.840.113549.1.1.5", "sha1"),
        ("1.2.840.10045.4.1", "sha1"),
    ],
)
def test_a_broken_digest_is_refused_by_name_even_if_the_signature_verifies(digest_oid: str, digest: str) -> None:
    made = replace(envelope(), digest_oid=digest_oid, signature=sign_rsa(CONTENT, shared_pki().signer.key, digest))
    with pytest.raises(SignatureRefused, match="MD5" if digest == "md5" else "SHA-1") as caught:
        verify_signature(made)
    assert caught.value.reason is Reason.ALGORITHM_REFUSED


@pytest.mark.parametrize(
    ("oid", "name"),
    [
        ("1.2.840.113549.2.2", "MD2"),
        ("1.2.840.113549.2.5", "MD5"),
        ("1.3.14.3.2.26", "SHA-1"),
        ("1.2.840.113549.1.1.2", "MD2"),
        ("1.2.840.113549.1.1.4", "MD5"),
        ("1.2.840.113549.1.1.5", "SHA-1"),
        ("1.3.14.3.2.29", "SHA-1"),
        ("1.2.840.10045.4.1", "SHA-1"),
        ("1.2.840.10040.4.3", "SHA-1"),
    ],
)
def test_each_broken_digest_has_a_name(oid: str, name: str) -> None:
    made = envelope()
    for broken in (
        replace(made, digest_oid=oid),
        replace(made, signature_oid=oid),
        replace(made, signer=replace(made.signer, signature_oid=oid)),
    ):
        with pytest.raises(SignatureRefused, match=f"^algorithm-refused: {name} is broken."):
            verify_signature(broken)


def with_attributes(**changes: object) -> Envelope:
    identity = shared_pki().signer
    attributes = cms.content_attributes(CONTENT, digest=cms.SHA256)
    signed = cms.signed_data(CONTENT, certificate=identity.certificate, key=identity.key)
    [info] = signed.signer_infos
    made = envelope(replace(signed, signer_infos=(replace(info, signed_attributes=attributes),)).encode())
    assert made.signed_attributes is not None
    made = replace(made, signed_attributes=replace(made.signed_attributes, **changes))  # type: ignore[arg-type] # it checks the names
    assert made.signed_attributes is not None
    return replace(made, signature=sign_rsa(made.signed_attributes.signed_bytes, identity.key, "sha256"))


def test_signed_attributes_bind_the_signature_to_the_content() -> None:
    made = with_attributes()
    assert verify_signature(made).content == CONTENT
    assert refused(replace(made, signature=envelope().signature)) is Reason.SIGNATURE_INVALID
    for other in (
        replace(made, unverified_content=CONTENT + b" "),
        with_attributes(content_type_oid="1.2.840.113549.1.7.2"),
        with_attributes(message_digest=bytes(32)),
    ):
        with pytest.raises(SignatureRefused, match="The signed attributes describe other content") as caught:
            verify_signature(other)
        assert caught.value.reason is Reason.SIGNATURE_INVALID


@pytest.mark.parametrize("oid", ["1.2.840.113549.1.1.4", "1.2.840.113549.1.1.5", "1.3.14.3.2.29", "1.2.840.10045.4.1"])
def test_a_broken_digest_is_refused_in_the_signature_algorithm_and_in_the_certificate(oid: str) -> None:
    made = envelope()
    assert refused(replace(made, signature_oid=oid)) is Reason.ALGORITHM_REFUSED
    assert refused(replace(made, signer=replace(made.signer, signature_oid=oid))) is Reason.ALGORITHM_REFUSED


@pytest.mark.parametrize("oid", ["1.2.3.4", "2.16.840.1.101.3.4.2.4", "2.16.840.1.101.3.4.2.8", "1.3.101.112"])
def test_an_unknown_algorithm_is_refused_in_every_field(oid: str) -> None:
    made = envelope()
    assert refused(replace(made, digest_oid=oid)) is Reason.ALGORITHM_REFUSED
    assert refused(replace(made, signature_oid=oid)) is Reason.ALGORITHM_REFUSED
    assert refused(replace(made, signer=replace(made.signer, signature_oid=oid))) is Reason.ALGORITHM_REFUSED


@pytest.mark.parametrize("digest", [cms.SHA384, cms.SHA512], ids=lambda digest: digest.name)
def test_a_digest_that_disagrees_with_the_signature_algorithm_is_refused(digest: pki.SigningHash) -> None:
    scheme = replace(cms.rsa_with_digest(digest), digest_algorithm=cms.digest_algorithm(cms.SHA256))
    assert refused(envelope(sign(CONTENT, scheme=scheme))) is Reason.ALGORITHM_REFUSED


@pytest.mark.parametrize("parameters", [b"\x05\x01\x00", b"\x02\x01\x01", b"\x30\x00"])
def test_rsa_parameters_other_than_null_are_refused(parameters: bytes) -> None:
    assert refused(replace(envelope(), signature_parameters=parameters)) is Reason.ALGORITHM_REFUSED


@pytest.mark.parametrize("parameters", [b"", b"\x05\x00", b"\x30\x00", b"\x30\x03\x02\x01\x01", b"\x04\x00"])
def test_pss_parameters_with_different_digests_are_refused(parameters: bytes) -> None:
    made = envelope(sign(CONTENT, scheme=cms.rsassa_pss(cms.SHA256)))
    assert verify_signature(made).content == CONTENT
    assert refused(replace(made, signature_parameters=parameters)) is Reason.ALGORITHM_REFUSED


P256, P384 = b"\x06\x08\x2a\x86\x48\xce\x3d\x03\x01\x07", b"\x06\x05\x2b\x81\x04\x00\x22"


@pytest.mark.parametrize(
    ("oid", "parameters", "accepted"),
    [
        ("1.2.840.10045.4.3.2", b"", True),
        ("1.2.840.10045.4.3.2", b"\x05\x00", True),
        ("1.2.840.10045.4.3.2", P256, False),
        ("1.2.840.10045.4.3.2", b"\x30\x00", False),
        ("1.2.840.10045.2.1", b"", True),
        ("1.2.840.10045.2.1", b"\x05\x00", True),
        ("1.2.840.10045.2.1", P256, True),
        ("1.2.840.10045.2.1", P384, False),
        ("1.2.840.10045.2.1", P256 + b"\x05\x00", False),
    ],
)
def test_ecdsa_accepts_no_parameters_except_the_curve_of_the_key(
    oid: str, parameters: bytes, *, accepted: bool
) -> None:
    signer = make_signer(key=pki.make_ec_key(ec.SECP256R1()))
    good = envelope(sign(CONTENT, signer=signer, scheme=cms.ecdsa(cms.SHA256)))
    made = replace(good, signature_oid=oid, signature_parameters=parameters)
    if accepted:
        assert verify_signature(made).content == CONTENT
    else:
        assert refused(made) is Reason.ALGORITHM_REFUSED


def test_the_name_of_an_elliptic_key_accepts_every_digest_and_no_other_family() -> None:
    signer = make_signer(key=pki.make_ec_key(ec.SECP384R1()))
    made = envelope(sign(CONTENT, signer=signer, scheme=cms.ecdsa(cms.SHA512)))
    assert verify_signature(replace(made, signature_oid="1.2.840.10045.2.1")).content == CONTENT
    assert refused(replace(envelope(), signature_oid="1.2.840.10045.2.1")) is Reason.ALGORITHM_REFUSED


@pytest.mark.parametrize("oid", ["1.2.840.113549.1.1.1", "1.2.840.10045.2.1"])
def test_the_name_of_a_key_is_no_signature_algorithm_of_a_certificate(oid: str) -> None:
    made = envelope()
    assert refused(replace(made, signer=replace(made.signer, signature_oid=oid))) is Reason.ALGORITHM_REFUSED


@pytest.mark.parametrize("digest", DIGESTS, ids=lambda digest: digest.name)
def test_the_digests_of_pss_have_null_parameters_or_none(digest: pki.SigningHash) -> None:
    made = envelope(sign(CONTENT, scheme=cms.rsassa_pss(digest)))
    name = cms.digest_algorithm(digest)
    accepted = 0
    for one in (name, replace(name, parameters=b"\x05\x00")):
        for other in (name, replace(name, parameters=b"\x05\x00")):
            mask = cms.Algorithm(oid="1.2.840.113549.1.1.8", parameters=other.encode())
            salt = tlv(0xA2, integer(digest.digest_size))
            parameters = sequence(tlv(0xA0, one.encode()), tlv(0xA1, mask.encode()), salt)
            accepted += verify_signature(replace(made, signature_parameters=parameters)).content == CONTENT
            for more in (tlv(0xA3, integer(1)), b"\x05\x00"):
                spoilt = replace(made, signature_parameters=sequence(parameters[2:], more))
                assert refused(spoilt) is Reason.ALGORITHM_REFUSED
    assert accepted == 4


def test_an_elliptic_key_under_an_rsa_name_is_refused() -> None:
    signer = make_signer(key=pki.make_ec_key(ec.SECP256R1()))
    scheme = replace(cms.ecdsa(cms.SHA256), signature_algorithm=cms.AZURE.signature_algorithm)
    assert refused(envelope(sign(CONTENT, signer=signer, scheme=scheme))) is Reason.ALGORITHM_REFUSED


@pytest.mark.parametrize(
    "oid", ["1.2.840.113549.1.1.1", "1.2.840.113549.1.1.10", "1.2.840.10045.2.1", "1.2.840.10045.4.3.2"]
)
def test_an_algorithm_that_is_no_digest_is_refused_as_digest_by_name(oid: str) -> None:
    signer = make_signer(key=pki.make_ec_key(ec.SECP256R1()))
    for made in (envelope(), envelope(sign(CONTENT, signer=signer, scheme=cms.ecdsa(cms.SHA256)))):
        with pytest.raises(SignatureRefused, match=re.escape(f"The digest algorithm {oid} is not accepted.")):
            verify_signature(replace(made, digest_oid=oid))


def test_an_rsa_signature_algorithm_names_no_digest_for_an_elliptic_key() -> None:
    signer = make_signer(key=pki.make_ec_key(ec.SECP256R1()))
    scheme = replace(cms.ecdsa(cms.SHA256), digest_algorithm=cms.AZURE.digest_algorithm)
    assert refused(envelope(sign(CONTENT, signer=signer, scheme=scheme))) is Reason.ALGORITHM_REFUSED


def test_an_elliptic_key_with_explicit_curve_parameters_is_refused_by_name() -> None:
    made = envelope(multiplied.document(multiplied.Leaf(spki=multiplied.explicit_curve())).encode())
    for oid in (made.signature_oid, "1.2.840.10045.4.3.2"):
        with pytest.raises(SignatureRefused, match="points of named curves") as caught:
            verify_signature(replace(made, signature_oid=oid))
        assert caught.value.reason is Reason.ALGORITHM_REFUSED


def test_details_do_not_quote_the_content() -> None:
    with pytest.raises(SignatureRefused) as caught:
        verify_signature(replace(envelope(), unverified_content=b"secret"))
    assert "secret" not in caught.value.detail


def readers_of(name: str) -> Iterator[str]:
    """Return the modules of the package that read an attribute of this name, or contain its name as a string."""
    for file in sorted(PACKAGE.rglob("*.py")):
        tree = ast.parse(file.read_bytes())
        for node in ast.walk(tree):
            attribute = isinstance(node, ast.Attribute) and node.attr == name and isinstance(node.ctx, ast.Load)
            text = isinstance(node, ast.Constant) and node.value == name
            matched = isinstance(node, ast.MatchClass) and name in node.kwd_attrs
            if attribute or text or matched:
                yield file.relative_to(PACKAGE).as_posix()


def test_only_this_step_and_inspect_read_unverified_content() -> None:
    assert set(readers_of("unverified_content")) == {"core/signature.py", "usecases/inspection.py"}


def test_no_module_reads_all_attributes_of_an_envelope_at_once() -> None:
    # These read attributes without their names. The package uses none of them on an envelope.
    for file in PACKAGE.rglob("*.py"):
        names = {node.id for node in ast.walk(ast.parse(file.read_bytes())) if isinstance(node, ast.Name)}
        if "read_envelope" in names:
            assert not names & {"asdict", "astuple", "vars", "getattr"}, file


def test_no_vector_with_an_invalid_signature_is_accepted() -> None:
    refused_here = [vector for vector in load_vectors() if vector.expected.failing_check is Check.SIGNATURE]
    assert refused_here
    for vector in refused_here:
        assert refused(read_envelope(document_of(vector))) is vector.expected.code
