"""Generate faults of form: malformed-evidence outside the signed content, unsupported-encoding and too-large."""

import base64
import json
from collections.abc import Iterator
from dataclasses import replace
from functools import partial

from asn1crypto import core
from support import cms, documents
from support.certificates import make_names, make_signer, resign
from support.documents import der, shared_pki, sign, spare_key

from vectors.recipes.recipe import Form, Recipe, posted
from verifier.core.bounds import MAX_EVIDENCE_BYTES
from verifier.core.reasons import Check, Reason
from verifier.emulator import pki

_malformed = partial(Recipe, reason=Reason.MALFORMED_EVIDENCE, check=Check.FORMAT)
_CONTENT = documents.encode(documents.content())
_TIMESTAMP_INFO = "1.2.840.113549.1.9.16.1.4"


def recipes() -> Iterator[Recipe]:
    yield from _requests()
    yield from _base64()
    yield from _der()
    yield from _signed_data()
    yield from _signed_attributes()
    yield from _encodings()
    yield from _sizes()


def _requests() -> Iterator[Recipe]:
    body = posted(documents.document())
    yield _malformed(name="request-empty", description="The body is empty.", body=b"")
    yield _malformed(name="request-not-json", description="The body is not JSON.", body=body[:-1])
    yield _malformed(name="request-not-an-object", description="The body is a JSON array.", body=b"[" + body + b"]")
    yield _malformed(
        name="request-not-utf-8", description="The body starts with a byte that is not UTF-8.", body=b"\xff" + body
    )
    yield Recipe(
        name="request-byte-order-mark", description="The body has a byte order mark.", body=b"\xef\xbb\xbf" + body
    )
    yield _malformed(
        name="request-duplicate-key",
        description="The JSON has the name `encoding` twice.",
        body=b'{"encoding": "pkcs7", ' + body[1:],
    )
    yield _malformed(
        name="request-unknown-field",
        description="The JSON has a field beside those that are known.",
        body=body[:-1] + b', "vmId": "5c1a0b3e-7d42-4f0a-9b57-1f6d2e8c4a90"}',
    )
    fields = json.loads(body)
    for missing in ("encoding", "signature"):
        yield _malformed(
            name=f"request-without-{missing}",
            description=f"The JSON lacks the field `{missing}`.",
            body=json.dumps({name: value for name, value in fields.items() if name != missing}).encode(),
        )
    yield _malformed(
        name="request-signature-not-text",
        description="The field `signature` is a list.",
        body=json.dumps({**fields, "signature": [fields["signature"]]}).encode(),
    )


def _base64() -> Iterator[Recipe]:
    # With 3n + 1 bytes, the last character before the padding has two bits of data and four bits that must be 0.
    document = next(
        signed
        for padding in range(3)
        if len(signed := sign(documents.encode({**documents.content(), "sku": "s" * (8 + padding)}))) % 3 == 1
    )
    text = base64.b64encode(document).decode()
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    stray = alphabet[alphabet.index(text[-3]) + 1]
    faults = {
        "non-canonical": ("The unused last bits of the base64 are not 0.", text[:-3] + stray + "=="),
        "non-ascii": ("The base64 has a letter that is not ASCII.", text[:-3] + "\u00e9" + "=="),
        "empty": ("The field `signature` is empty.", ""),
    }
    accepted = {
        "unpadded": ("The base64 lacks its padding.", text[:-2]),
        "url-safe": (
            "The base64 is of the URL-safe alphabet.",
            text.replace("+", "-").replace("/", "_"),
        ),
        "wrapped": ("The base64 in the JSON has line ends.", text[:64] + "\n" + text[64:]),
    }
    for kind, forms in ((_malformed, faults), (Recipe, accepted)):
        for name, (description, signature) in forms.items():
            yield kind(
                name=f"base64-{name}",
                description=description,
                body=json.dumps({"encoding": "pkcs7", "signature": signature}).encode(),
            )
    yield _malformed(
        name="text-not-base64", description="Text that is not base64.", body=b"<" + text.encode(), form=Form.TEXT
    )
    pem = f"-----BEGIN PKCS7-----\n{text}\n-----END CMS-----\n"
    yield _malformed(
        name="pem-labels-differ",
        description="The label at the end of the PEM is not the one at its start.",
        body=pem.encode(),
        form=Form.PEM,
    )
    block = f"-----BEGIN PKCS7-----\n{text}\n-----END PKCS7-----\n"
    yield _malformed(name="pem-twice", description="Two PEM blocks.", body=(block + block).encode(), form=Form.PEM)


def _der() -> Iterator[Recipe]:
    document = documents.document()
    yield _malformed(name="der-empty", description="No document at all.", body=b"", form=Form.DER)
    yield _malformed(name="der-truncated", description="The last byte is missing.", body=posted(document[:-1]))
    yield _malformed(name="der-trailing-byte", description="One byte too many.", body=posted(document + b"\x00"))
    # The length of the outermost element has two bytes after 0x82.
    yield _malformed(
        name="der-indefinite-length",
        description="BER: the outermost length is indefinite (X.690 10.1).",
        body=posted(b"\x30\x80" + document[4:] + b"\x00\x00"),
    )
    yield _malformed(
        name="der-long-length",
        description="BER: the outermost length is in three bytes, and two are enough (X.690 10.1).",
        body=posted(b"\x30\x83\x00" + document[2:]),
    )
    yield _malformed(
        name="der-posted-as-certificate",
        description="DER, but a certificate and not a CMS.",
        body=der(shared_pki().signer.certificate),
        form=Form.DER,
    )


def _signed_data() -> Iterator[Recipe]:
    signer, key = shared_pki().signer.certificate, shared_pki().signer.key
    good = cms.signed_data(_CONTENT, certificate=signer, key=key)
    [info] = good.signer_infos
    other = make_signer(key=spare_key())
    other_info = cms.sign_content(_CONTENT, certificate=other.certificate, key=other.key)
    spares = tuple(der(make_signer(common_names=(f"spare-{n}.metadata.azure.com",)).certificate) for n in range(8))
    twin = resign(make_signer(names=("metadata.azure.com",)), serial_number=signer.serial_number)
    faults = {
        "no-signer": ("No SignerInfo.", replace(good, signer_infos=())),
        "two-signers": (
            "Two SignerInfos, each good by itself.",
            replace(
                good,
                certificates=(*good.certificates, der(other.certificate)),
                signer_infos=(info, other_info),
            ),
        ),
        "no-certificate": ("No certificate is embedded.", replace(good, certificates=())),
        "nine-certificates": (
            "Nine certificates are embedded; eight are the most.",
            replace(good, certificates=(*good.certificates, *spares)),
        ),
        "signer-not-embedded": (
            "The sid names a serial number that no embedded certificate has.",
            replace(good, signer_infos=(replace(info, serial_number=info.serial_number ^ 1),)),
        ),
        "signer-issuer-not-embedded": (
            "The sid names an issuer that no embedded certificate has.",
            replace(good, signer_infos=(replace(info, issuer=make_names("Another CA").public_bytes()),)),
        ),
        "signer-embedded-twice": (
            "Two embedded certificates have the issuer and serial number that the sid names.",
            replace(good, certificates=(*good.certificates, der(twin.certificate))),
        ),
        "version-3": ("The SignedData is of version 3.", replace(good, version=3)),
        "signer-version-3": (
            "The SignerInfo is of version 3.",
            replace(good, signer_infos=(replace(info, version=3),)),
        ),
        "content-type-tst-info": (
            "The eContentType is that of a time-stamp token.",
            replace(good, content_type=_TIMESTAMP_INFO),
        ),
        "rsa-with-parameters": (
            "rsaEncryption has an INTEGER as its parameters instead of NULL (RFC 3279 2.3.1).",
            replace(
                good,
                signer_infos=(
                    replace(
                        info,
                        signature_algorithm=replace(info.signature_algorithm, parameters=bytes(core.Integer(1).dump())),
                    ),
                ),
            ),
        ),
        "digest-not-announced": (
            "digestAlgorithms names another digest than the SignerInfo.",
            replace(good, digest_algorithms=(cms.digest_algorithm(cms.SHA384),)),
        ),
        "digest-announced-twice": (
            "digestAlgorithms names a second digest.",
            replace(good, digest_algorithms=(*good.digest_algorithms, cms.digest_algorithm(cms.SHA384))),
        ),
    }
    for name, (description, document) in faults.items():
        yield _malformed(name=name, description=description, body=posted(document.encode()))
    yield _malformed(
        name="not-signed-data",
        description="The outer content type is id-data.",
        body=posted(
            good.encode().replace(
                bytes(core.ObjectIdentifier(cms.ID_SIGNED_DATA).dump()),
                bytes(core.ObjectIdentifier(cms.ID_DATA).dump()),
                1,
            )
        ),
    )


def _signed_attributes() -> Iterator[Recipe]:
    content_type, message_digest = cms.content_attributes(_CONTENT, digest=cms.SHA256)
    faults = {
        "without-message-digest": ("signedAttrs without message-digest.", (content_type,)),
        "without-content-type": ("signedAttrs without content-type.", (message_digest,)),
        "empty": ("signedAttrs that are there and empty.", ()),
        "message-digest-twice": (
            "message-digest has two values.",
            (content_type, replace(message_digest, values=message_digest.values * 2)),
        ),
    }
    for name, (description, attributes) in faults.items():
        yield _malformed(
            name=f"signed-attributes-{name}",
            description=description,
            body=posted(sign_attributes(_CONTENT, attributes)),
        )


def sign_attributes(
    content: bytes,
    attributes: tuple[cms.Attribute, ...],
    *,
    signer: pki.Identity | None = None,
    scheme: cms.Scheme | None = None,
) -> bytes:
    """Make a document with `content` and a signature over these attributes."""
    identity = signer or shared_pki().signer
    info = cms.sign_attributes(
        attributes,
        certificate=identity.certificate,
        key=identity.key,
        scheme=scheme or cms.rsa_encryption(cms.SHA256),
    )
    return cms.SignedData(
        digest_algorithms=(info.digest_algorithm,),
        content=content,
        certificates=(der(identity.certificate),),
        signer_infos=(info,),
    ).encode()


def _encodings() -> Iterator[Recipe]:
    fields = json.loads(posted(documents.document()))
    for name, encoding in (("jwt", "jwt"), ("empty", ""), ("pkcs7-with-a-space", "pkcs7 ")):
        yield Recipe(
            name=name,
            description=f"The field `encoding` is {encoding!r}.",
            reason=Reason.UNSUPPORTED_ENCODING,
            check=Check.FORMAT,
            body=json.dumps({**fields, "encoding": encoding}).encode(),
        )


def _sizes() -> Iterator[Recipe]:
    too_large = partial(Recipe, reason=Reason.TOO_LARGE, check=Check.FORMAT)
    body = posted(documents.document())
    yield too_large(
        name="json-one-byte-too-many",
        description="A good body of 16,384 bytes and one: the last ones are spaces.",
        body=body.ljust(MAX_EVIDENCE_BYTES + 1),
    )
    yield too_large(
        name="der-large-content",
        description="A good document whose content has a field of 16,384 characters.",
        body=sign(documents.encode({**documents.content(), "note": "n" * MAX_EVIDENCE_BYTES})),
        form=Form.DER,
    )
