"""Generate documents with a valid signature in another form than the one that is accepted."""

from collections.abc import Iterator
from dataclasses import replace
from functools import partial

from asn1crypto import core
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from support import cms, documents
from support.certificates import make_signer
from support.der_parts import (
    CERTIFICATES,
    DIGEST,
    ENCAPSULATED,
    SID,
    SIGNATURE,
    SIGNATURE_ALGORITHM,
    SIGNER_VERSION,
    SIGNERS,
    VERSION,
    encode_signed_data,
    integer,
    oid,
    sequence,
    tlv,
)
from support.documents import around, der, encode, shared_pki, sign
from support.mutations import edited

from vectors.recipes.forms import sign_attributes
from vectors.recipes.recipe import Recipe, posted
from verifier.core import bounds
from verifier.core.encoding.cms import read_signed_data
from verifier.core.reasons import Check, Reason
from verifier.emulator import pki

_malformed = partial(Recipe, reason=Reason.MALFORMED_EVIDENCE, check=Check.FORMAT)
_refused = partial(Recipe, reason=Reason.ALGORITHM_REFUSED, check=Check.SIGNATURE)
_CONTENT = encode(documents.content())
_DOMAIN = "metadata.azure.com"


def recipes() -> Iterator[Recipe]:
    yield from _optional_fields()
    yield from _encodings()
    yield from _orders()
    yield from _algorithms()


def _optional_fields() -> Iterator[Recipe]:
    """Add fields that RFC 5652 allows and IMDS does not write. No signature covers them."""
    good = documents.document()
    revocations = tlv(0xA1, _revocation_list())
    countersignature = tlv(0xA1, cms.Attribute(oid="1.2.840.113549.1.9.6", values=(b"\x30\x00",)).encode())
    key_identifier = tlv(0x80, b"the identifier of the key")
    by_key = edited(good, SID, lambda _: key_identifier)
    by_key = edited(edited(by_key, SIGNER_VERSION, lambda _: integer(3)), VERSION, lambda _: integer(3))
    faults = {
        "crls": (
            "The SignedData carries a revocation list (crls, RFC 5652 5.1).",
            edited(good, CERTIFICATES, lambda encoded: encoded + revocations),
        ),
        "crls-empty": (
            "The SignedData has the field crls, which is empty.",
            edited(good, CERTIFICATES, lambda encoded: encoded + b"\xa1\x00"),
        ),
        "unsigned-attributes": (
            "The SignerInfo has an unsigned attribute (unsignedAttrs, RFC 5652 5.3).",
            edited(good, SIGNATURE, lambda encoded: encoded + countersignature),
        ),
        "version-3-by-key-identifier": (
            "A SignedData of version 3, whose signer is named by the identifier of its key (RFC 5652 5.3).",
            by_key,
        ),
        "second-content": (
            "Another OCTET STRING is behind the content.",
            edited(good, ENCAPSULATED, lambda _: _encapsulated(tlv(0x04, _CONTENT), tlv(0x04, b"{}"))),
        ),
        "element-behind-the-signers": (
            "A NULL is behind signerInfos.",
            edited(good, SIGNERS, lambda encoded: encoded + b"\x05\x00"),
        ),
        "element-behind-the-signature": (
            "A NULL is behind the signature.",
            edited(good, SIGNATURE, lambda encoded: encoded + b"\x05\x00"),
        ),
    }
    for name, (description, document) in faults.items():
        yield _malformed(name=name, description=description, body=posted(document))


def _revocation_list() -> bytes:
    """Make an empty revocation list of the authority that issues the signers."""
    authority = shared_pki().issuing_ca
    builder = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(authority.certificate.subject)
        .last_update(around().not_before)
        .next_update(around().not_after)
    )
    return builder.sign(authority.key, cms.SHA256).public_bytes(Encoding.DER)


def _encapsulated(*contents: bytes) -> bytes:
    return sequence(oid(cms.ID_DATA), tlv(0xA0, *contents))


def _encodings() -> Iterator[Recipe]:
    """Write the same values in BER."""
    good = documents.document()
    digest = cms.AZURE.digest_algorithm
    digest_oid = oid(digest.oid)
    [info] = cms.signed_data(
        _CONTENT, certificate=shared_pki().signer.certificate, key=shared_pki().signer.key
    ).signer_infos
    faults = {
        "integer-not-minimal": (
            "The version is the INTEGER 1 in two bytes (X.690 8.3.2).",
            edited(good, VERSION, lambda _: b"\x02\x02\x00\x01"),
        ),
        "serial-number-not-minimal": (
            "The serial number in the sid begins with a byte that it does not need (X.690 8.3.2).",
            edited(
                good,
                SID,
                lambda _: sequence(info.issuer, tlv(0x02, b"\x00" + core.Integer(info.serial_number).contents)),
            ),
        ),
        "bytes-behind-an-oid": (
            "The digest's object identifier has a byte more, with which a further arc begins and does not end.",
            edited(good, DIGEST, lambda _: sequence(tlv(0x06, digest_oid[2:] + b"\x80"), b"\x05\x00")),
        ),
        "oid-not-minimal": (
            "An arc of the digest's object identifier begins with 0x80 (X.690 8.19.2).",
            edited(good, DIGEST, lambda _: sequence(tlv(0x06, digest_oid[2:-1] + b"\x80\x0b"), b"\x05\x00")),
        ),
        "length-not-minimal": (
            "The length of the signature is in three bytes, and two are enough (X.690 10.1).",
            edited(good, SIGNATURE, lambda _: b"\x04\x83\x00" + len(info.signature).to_bytes(2) + info.signature),
        ),
        "length-indefinite": (
            "The length of signerInfos is indefinite (X.690 10.1).",
            edited(good, SIGNERS, lambda _: b"\x31\x80" + info.encode() + b"\x00\x00"),
        ),
        "content-in-segments": (
            "The content is an OCTET STRING in two segments (X.690 10.2).",
            edited(
                good,
                ENCAPSULATED,
                lambda _: _encapsulated(tlv(0x24, tlv(0x04, _CONTENT[:9]), tlv(0x04, _CONTENT[9:]))),
            ),
        ),
        "digest-with-parameters": (
            "The parameters of the digest are an INTEGER (RFC 5754 2).",
            edited(good, DIGEST, lambda _: sequence(digest_oid, integer(1))),
        ),
        "digest-with-two-parameters": (
            "A second NULL is behind the parameters of the digest.",
            edited(good, DIGEST, lambda _: sequence(digest_oid, b"\x05\x00\x05\x00")),
        ),
    }
    for name, (description, document) in faults.items():
        yield _malformed(name=f"der-{name}", description=description, body=posted(document))


def _orders() -> Iterator[Recipe]:
    """Change the order of SET OF members. Signed attributes must be in DER order, but certificates need not be."""
    attributes = cms.content_attributes(_CONTENT, digest=cms.SHA256)
    signed = read_signed_data(sign_attributes(_CONTENT, attributes))
    assert signed.signed_attributes is not None
    yield _malformed(
        name="signed-attributes-out-of-order",
        description="The signed attributes are in descending order (RFC 5652 5.3, X.690 11.6). The signature is good.",
        body=posted(encode_signed_data(replace(signed, signed_attributes=signed.signed_attributes[::-1]))),
    )
    many = tuple(
        cms.Attribute(oid=f"1.3.{number}", values=(b"\x05\x00",)) for number in range(bounds.MAX_SIGNED_ATTRIBUTES - 1)
    )
    yield _malformed(
        name="signed-attributes-33",
        description=f"{bounds.MAX_SIGNED_ATTRIBUTES + 1} signed attributes, one more than are read.",
        body=posted(sign_attributes(_CONTENT, (*attributes, *many))),
    )
    yield Recipe(
        name="signed-attributes-32",
        description=f"{bounds.MAX_SIGNED_ATTRIBUTES} signed attributes, as many as are read.",
        body=posted(sign_attributes(_CONTENT, (*attributes, *many[1:]))),
    )
    good = read_signed_data(sign(_CONTENT))
    both = sorted((*good.certificates, der(shared_pki().issuing_ca.certificate)), reverse=True)
    yield Recipe(
        name="certificates-in-descending-order",
        description="Two embedded certificates, not in the order of DER: they are accepted in this order.",
        body=posted(encode_signed_data(replace(good, certificates=tuple(both)))),
    )


def _algorithms() -> Iterator[Recipe]:
    absent = replace(cms.AZURE.digest_algorithm, parameters=None)
    yield Recipe(
        name="digest-null-and-absent",
        description="digestAlgorithms has NULL parameters, the SignerInfo none: both say the same (RFC 5754 2).",
        body=posted(edited(sign(_CONTENT), DIGEST, lambda _: absent.encode())),
    )
    key = pki.make_ec_key(ec.SECP256R1())
    elliptic = make_signer(key=key)
    ecdsa = cms.ecdsa(cms.SHA256)
    parameters = {
        "ec-public-key": ("without parameters", None),
        "ec-public-key-with-curve": ("with the curve of the signer's key", oid("1.2.840.10045.3.1.7")),
    }
    for name, (description, encoded) in parameters.items():
        algorithm = cms.Algorithm(oid="1.2.840.10045.2.1", parameters=encoded)
        yield Recipe(
            name=name,
            description=f"The signature algorithm is id-ecPublicKey {description}: ECDSA with the document's digest.",
            body=posted(sign(_CONTENT, signer=elliptic, scheme=replace(ecdsa, signature_algorithm=algorithm))),
        )
    faults = {
        "ec-public-key-with-another-curve": (
            "id-ecPublicKey with the curve P-384; the signer's key is on P-256",
            "1.3.132.0.34",
        ),
        "ecdsa-with-parameters": (
            "ecdsa-with-SHA256 with a curve for its parameters (RFC 5758 3.2)",
            "1.2.840.10045.3.1.7",
        ),
    }
    for name, (description, curve) in faults.items():
        kind = "1.2.840.10045.2.1" if name.startswith("ec-") else ecdsa.signature_algorithm.oid
        algorithm = cms.Algorithm(oid=kind, parameters=oid(curve))
        yield _refused(
            name=name,
            description=f"The signature algorithm is {description}.",
            body=posted(sign(_CONTENT, signer=elliptic, scheme=replace(ecdsa, signature_algorithm=algorithm))),
        )
    pss = cms.rsassa_pss(cms.SHA256)
    written = pss.signature_algorithm.parameters or b""
    with_trailer = replace(pss.signature_algorithm, parameters=sequence(written[2:], tlv(0xA3, integer(1))))
    yield _refused(
        name="pss-explicit-trailer",
        description="The PSS parameters have the trailer 1, which is the default and so is left out (X.690 11.5).",
        body=posted(edited(sign(_CONTENT, scheme=pss), SIGNATURE_ALGORITHM, lambda _: with_trailer.encode())),
    )
