"""`cms` builds SignedData with the same bytes as IMDS, and the deviations that tests need."""

import base64
import json
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from asn1crypto import cms as asn1_cms
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from support import cms as subject
from support.cms import Algorithm, Scheme, SignedData, SignerInfo

from verifier.emulator import pki as pki_module
from verifier.emulator.pki import Identity, Pki, SigningHash, Validity

SAMPLES = sorted((Path(__file__).parents[2] / "data" / "samples").glob("*.json"))
CONTENT = b'{"vmId":"1"}'
DIGESTS: tuple[SigningHash, ...] = (hashes.SHA256(), hashes.SHA384(), hashes.SHA512())


def read_sample(file: Path) -> bytes:
    return base64.b64decode(json.loads(file.read_bytes())["signature"], validate=True)


def parse(der: bytes) -> asn1_cms.SignedData:
    info = asn1_cms.ContentInfo.load(der, strict=True)
    assert info["content_type"].native == "signed_data"
    return info["content"]


def split(der: bytes) -> SignedData:
    """Split a document into its parts with asn1crypto, independently of the encoder."""
    signed_data = parse(der)
    encapsulated = signed_data["encap_content_info"]
    return SignedData(
        version=signed_data["version"].contents[0],
        digest_algorithms=tuple(split_algorithm(algorithm) for algorithm in signed_data["digest_algorithms"]),
        content_type=encapsulated["content_type"].dotted,
        content=encapsulated["content"].contents,
        certificates=tuple(certificate.dump() for certificate in signed_data["certificates"]),
        signer_infos=tuple(split_signer_info(info) for info in signed_data["signer_infos"]),
    )


def split_signer_info(info: asn1_cms.SignerInfo) -> SignerInfo:
    assert not info["signed_attrs"]
    return SignerInfo(
        version=info["version"].contents[0],
        issuer=info["sid"].chosen["issuer"].dump(),
        serial_number=info["sid"].chosen["serial_number"].native,
        digest_algorithm=split_algorithm(info["digest_algorithm"]),
        signature_algorithm=split_algorithm(info["signature_algorithm"]),
        signature=info["signature"].native,
    )


def split_algorithm(algorithm: asn1_cms.DigestAlgorithm) -> Algorithm:
    return Algorithm(oid=algorithm["algorithm"].dotted, parameters=algorithm["parameters"].dump() or None)


def parse_one(info: SignerInfo) -> asn1_cms.SignerInfo:
    return asn1_cms.SignerInfo.load(info.encode(), strict=True)


def ec_signer(pki: Pki, now: datetime) -> Identity:
    return pki_module.make_signer(
        issuer=pki.issuing_ca,
        subject=pki.signer.certificate.subject,
        names=("metadata.azure.com",),
        key=pki_module.make_ec_key(ec.SECP384R1()),
        validity=Validity.around(now, timedelta(days=30)),
    )


def test_there_are_three_samples() -> None:
    assert len(SAMPLES) == 3


@pytest.mark.parametrize("file", SAMPLES, ids=lambda file: file.stem)
def test_parts_of_a_real_document_encode_to_its_bytes(file: Path) -> None:
    der = read_sample(file)
    assert split(der).encode() == der


@pytest.mark.parametrize("file", SAMPLES, ids=lambda file: file.stem)
def test_emulated_document_differs_from_a_real_one_only_in_content_certificate_and_signature(
    file: Path, pki: Pki
) -> None:
    real = split(read_sample(file))
    emulated = split(subject.signed_data(CONTENT, certificate=pki.signer.certificate, key=pki.signer.key).encode())
    (real_info,), (emulated_info,) = real.signer_infos, emulated.signer_infos
    transplanted = replace(
        emulated,
        content=real.content,
        certificates=real.certificates,
        signer_infos=(
            replace(
                emulated_info,
                issuer=real_info.issuer,
                serial_number=real_info.serial_number,
                signature=real_info.signature,
            ),
        ),
    )
    assert transplanted == real


def test_signature_is_over_the_content_itself(pki: Pki) -> None:
    der = subject.signed_data(CONTENT, certificate=pki.signer.certificate, key=pki.signer.key).encode()
    signed_data = parse(der)
    (embedded,) = signed_data["certificates"]
    certificate = x509.load_der_x509_certificate(embedded.dump())
    (info,) = signed_data["signer_infos"]
    key = certificate.public_key()
    assert isinstance(key, rsa.RSAPublicKey)
    key.verify(
        info["signature"].native,
        signed_data["encap_content_info"]["content"].native,
        padding.PKCS1v15(),
        hashes.SHA256(),
    )
    assert info["sid"].chosen["issuer"].dump() == certificate.issuer.public_bytes()
    assert info["sid"].chosen["serial_number"].native == certificate.serial_number


@pytest.mark.parametrize("digest", DIGESTS, ids=lambda digest: digest.name)
def test_signed_attributes_are_signed_as_a_set(pki: Pki, digest: SigningHash) -> None:
    info = subject.sign_attributes(
        subject.content_attributes(CONTENT, digest=digest),
        certificate=pki.signer.certificate,
        key=pki.signer.key,
        scheme=subject.rsa_encryption(digest),
    )
    document = replace(
        subject.signed_data(CONTENT, certificate=pki.signer.certificate, key=pki.signer.key),
        digest_algorithms=(info.digest_algorithm,),
        signer_infos=(info,),
    )
    (parsed,) = parse(document.encode())["signer_infos"]
    attributes = {attribute["type"].native: attribute["values"][0].native for attribute in parsed["signed_attrs"]}
    context = hashes.Hash(digest)
    context.update(CONTENT)
    assert attributes == {"content_type": "data", "message_digest": context.finalize()}
    assert parsed["digest_algorithm"]["algorithm"].native == digest.name
    key = pki.signer.certificate.public_key()
    assert isinstance(key, rsa.RSAPublicKey)
    as_a_set = parsed["signed_attrs"].untag().dump()
    key.verify(parsed["signature"].native, as_a_set, padding.PKCS1v15(), digest)


@pytest.mark.parametrize("digest", DIGESTS, ids=lambda digest: digest.name)
@pytest.mark.parametrize(
    ("make_scheme", "signature_algorithm"),
    [
        (subject.rsa_encryption, "rsassa_pkcs1v15"),
        (subject.rsa_with_digest, "{}_rsa"),
        (subject.rsassa_pss, "rsassa_pss"),
    ],
    ids=["rsa_encryption", "rsa_with_digest", "rsassa_pss"],
)
def test_each_rsa_scheme_signs(
    pki: Pki, digest: SigningHash, make_scheme: Callable[[SigningHash], Scheme], signature_algorithm: str
) -> None:
    info = parse_one(
        subject.sign_content(
            CONTENT, certificate=pki.signer.certificate, key=pki.signer.key, scheme=make_scheme(digest)
        )
    )
    algorithm = info["signature_algorithm"]
    assert algorithm["algorithm"].native == signature_algorithm.format(digest.name)
    assert info["digest_algorithm"]["algorithm"].native == digest.name
    key = pki.signer.certificate.public_key()
    assert isinstance(key, rsa.RSAPublicKey)
    scheme_padding: padding.PKCS1v15 | padding.PSS = padding.PKCS1v15()
    if signature_algorithm == "rsassa_pss":
        # Verify with the parameters that asn1crypto reads from the document.
        assert algorithm["parameters"]["hash_algorithm"]["algorithm"].native == digest.name
        mask = algorithm["parameters"]["mask_gen_algorithm"]
        assert mask["algorithm"].native == "mgf1"
        assert mask["parameters"]["algorithm"].native == digest.name
        salt_length = algorithm["parameters"]["salt_length"].native
        assert salt_length == digest.digest_size
        scheme_padding = padding.PSS(mgf=padding.MGF1(digest), salt_length=salt_length)
    key.verify(info["signature"].native, CONTENT, scheme_padding, digest)


@pytest.mark.parametrize("digest", DIGESTS, ids=lambda digest: digest.name)
def test_ecdsa_signs(pki: Pki, now: datetime, digest: SigningHash) -> None:
    signer = ec_signer(pki, now)
    info = parse_one(
        subject.sign_content(CONTENT, certificate=signer.certificate, key=signer.key, scheme=subject.ecdsa(digest))
    )
    assert info["signature_algorithm"]["algorithm"].native == f"{digest.name}_ecdsa"
    key = signer.certificate.public_key()
    assert isinstance(key, ec.EllipticCurvePublicKey)
    key.verify(info["signature"].native, CONTENT, ec.ECDSA(digest))


def test_two_signers_and_many_certificates_are_encoded(pki: Pki, now: datetime) -> None:
    document = subject.signed_data(CONTENT, certificate=pki.signer.certificate, key=pki.signer.key)
    other = ec_signer(pki, now)
    second = subject.sign_content(
        CONTENT, certificate=other.certificate, key=other.key, scheme=subject.ecdsa(hashes.SHA256())
    )
    certificates = (
        *document.certificates,
        *(i.certificate.public_bytes(serialization.Encoding.DER) for i in (other, pki.issuing_ca, pki.root)),
    )
    parsed = split(
        replace(
            document,
            digest_algorithms=(subject.AZURE.digest_algorithm, second.digest_algorithm),
            certificates=certificates,
            signer_infos=(*document.signer_infos, second),
        ).encode()
    )
    assert set(parsed.certificates) == set(certificates)
    assert set(parsed.signer_infos) == {*document.signer_infos, second}
    assert len(parsed.digest_algorithms) == 2


def test_certificates_field_is_omitted_if_empty(pki: Pki) -> None:
    document = subject.signed_data(CONTENT, certificate=pki.signer.certificate, key=pki.signer.key)
    parsed = parse(replace(document, certificates=()).encode())
    assert parsed["certificates"].native is None


def test_other_content_type_is_encoded(pki: Pki) -> None:
    document = subject.signed_data(CONTENT, certificate=pki.signer.certificate, key=pki.signer.key)
    # RFC 5652 5.1: version 3 if the content is not id-data.
    other = replace(document, version=3, content_type="1.2.840.113549.1.9.16.1.4")
    encapsulated = parse(other.encode())["encap_content_info"]
    assert encapsulated["content_type"].dotted == "1.2.840.113549.1.9.16.1.4"
    assert encapsulated["content"].contents == CONTENT
