"""Requests that must be refused, each with the code that it is refused with: for the tests, and for `bench/`.

They are what a sender can make up without Azure's keys: every document here is signed by `support.documents`' PKI, or
by nobody, and none carries a nonce that was issued.
"""

import dataclasses
import json
import random
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID
from support import cms, documents

from verifier.core.bounds import MAX_EVIDENCE_BYTES
from verifier.emulator import pki

DER = "application/pkcs7-mime"
JSON = "application/json"
TEXT = "text/plain"

MALFORMED = "malformed-evidence"
TOO_LARGE = "too-large"

_SEED = 20261123


@dataclass(frozen=True, slots=True, kw_only=True)
class BadInput:
    name: str
    body: bytes
    media_type: str
    code: str


def bad_inputs() -> Iterator[BadInput]:
    """Every kind, the same ones each time but for the keys and signatures in them."""
    yield from _texts()
    yield from _encodings()
    yield from _structures()
    yield from _payloads()
    yield from _signers()


def nested_der(depth: int) -> bytes:
    """SEQUENCEs in SEQUENCEs, each of definite and minimal length."""
    element = b""
    for _ in range(depth):
        element = sequence(element)
    return element


def sequence(*members: bytes, tag: int = 0x30) -> bytes:
    contents = b"".join(members)
    if len(contents) < 0x80:
        return bytes([tag, len(contents)]) + contents
    data = len(contents).to_bytes((len(contents).bit_length() + 7) // 8)
    return bytes([tag, 0x80 | len(data)]) + data + contents


def _texts() -> Iterator[BadInput]:
    """What is wrong before any ASN.1 is seen."""
    answer = json.dumps(documents.imds_answer(documents.document())).encode()
    bodies = {
        "empty": b"",
        "JSON: not an object": b"[]",
        "JSON: a word": b"null",
        "JSON: no fields": b"{}",
        "JSON: an unknown field": answer[:-1] + b', "verdict": "verified"}',
        "JSON: a name twice": answer[:-1] + b', "encoding": "pkcs7"}',
        "JSON: a name twice, the other escaped": answer[:-1] + rb', "\u0065ncoding": "pkcs7"}',
        "JSON: a field of another type": b'{"encoding": "pkcs7", "signature": 5}',
        "JSON: UTF-16 without a byte order mark": answer.decode().encode("utf-16-le"),
        "JSON: UTF-32 with a byte order mark": answer.decode().encode("utf-32"),
        "JSON: with two byte order marks": b"\xef\xbb\xbf" * 2 + answer,
        "JSON: a lone surrogate": rb'{"encoding": "pkcs7", "signature": "\ud800"}',
        "JSON: not UTF-8": b'{"encoding": "pkcs7", "signature": "\xff\xfe"}',
        "JSON: a NUL": b'{"encoding": "pkcs7", "signature": "\x00"}',
        "JSON: NaN": b'{"encoding": NaN, "signature": ""}',
        "JSON: a number of 16,000 digits": b'{"encoding": ' + b"9" * 16_000 + b"}",
        "JSON: an exponent of 16,000 digits": b'{"encoding": 1e' + b"9" * 16_000 + b"}",
        "JSON: 10,000 deep arrays": b"[" * 10_000,
        "JSON: 8,000 deep arrays that end": b"[" * 8_000 + b"]" * 8_000,
        "JSON: 2,700 deep objects": b'{"a":' * 2_700,
        "JSON: 1,700 names": b"{" + b",".join(b'"%d":0' % number for number in range(1_700)) + b"}",
        "JSON: a string of escaped quotes that does not end": b'{"a":"' + rb"\"" * 8_000,
        "JSON: quotes alone": b'"' * 16_000,
        "JSON: backslashes alone": b"\\" * 16_000,
        "JSON: spaces alone": b" " * 16_000,
        "JSON: two documents": answer + answer,
        "JSON: a nonce of 10,000 characters": answer[:-1] + b', "nonce": "' + b"1" * 10_000 + b'"}',
        "JSON: a signature that is not base64": b'{"encoding": "pkcs7", "signature": "' + b"%" * 15_000 + b'"}',
        "JSON: a signature with a no-break space": answer.replace(b"MII", rb"MII\u00a0"),
        "JSON: a string of 16,000 quotes escaped": b'"' + rb"\"" * 8_000 + b'"',
    }
    for name, body in bodies.items():
        yield BadInput(name=name, body=body, media_type=JSON, code=MALFORMED)
    yield BadInput(
        name="JSON: another encoding",
        body=answer.replace(b"pkcs7", b"pkcs12"),
        media_type=JSON,
        code="unsupported-encoding",
    )
    yield BadInput(
        name="JSON: a long name of an encoding",
        body=answer.replace(b"pkcs7", b"x" * 8_000),
        media_type=JSON,
        code="unsupported-encoding",
    )
    yield BadInput(
        name="JSON: larger than the limit", body=b" " * (MAX_EVIDENCE_BYTES + 1), media_type=JSON, code=TOO_LARGE
    )
    texts = {
        "base64: spaces alone": b" " * 16_000,
        "base64: padding alone": b"=" * 16_000,
        "base64: not ASCII": "ÿ".encode() * 8_000,
        "base64: one letter": b"A",
        "PEM: no end": b"-----BEGIN PKCS7-----\n" + b"A" * 16_000,
        "PEM: spaces and no end": b"-----BEGIN PKCS7-----" + b" " * 16_000,
        "PEM: another label": b"-----BEGIN CERTIFICATE-----\nMIIA\n-----END CERTIFICATE-----\n",
        "PEM: many beginnings": b"-----BEGIN PKCS7-----" * 780,
        "PEM: nothing inside": b"-----BEGIN CMS-----\n-----END CMS-----\n",
        "PEM: two labels": b"-----BEGIN CMS-----\nMAA=\n-----END PKCS7-----\n",
    }
    for name, body in texts.items():
        yield BadInput(name=name, body=body, media_type=TEXT, code=MALFORMED)


def _encodings() -> Iterator[BadInput]:
    """Bytes that are not DER, or are DER of something else."""
    valid = documents.document()
    chance = random.Random(_SEED)  # noqa: S311 - the same bytes in every run
    bodies = {
        "DER: an empty body": b"",
        "DER: one byte": b"\x30",
        "DER: zeros": bytes(16_000),
        "DER: random bytes": chance.randbytes(16_000),
        "DER: random bytes in a SEQUENCE": sequence(chance.randbytes(16_000)),
        "DER: bytes behind": valid + b"\x00",
        "DER: a document twice": valid + valid,
        "DER: half a document": valid[: len(valid) // 2],
        "DER: indefinite length": b"\x30\x80" + valid[4:] + b"\x00\x00",
        "DER: 8,000 indefinite lengths": b"\x30\x80" * 8_000,
        "DER: a length in five bytes": b"\x30\x85\x00" + (len(valid) - 4).to_bytes(4) + valid[4:],
        "DER: a length of 4 GB": b"\x30\x84\xff\xff\xff\xff" + valid[4:],
        "DER: 32 deep": nested_der(32),
        "DER: 4,000 deep": nested_der(4_000),
        "DER: 4,000 elements": sequence(b"\x05\x00" * 4_000),
        "DER: 8,000 elements": sequence(b"\x05\x00" * 8_000),
        "DER: a tag number of 16,000 bytes": b"\x3f" + b"\x81" * 16_000,
        "DER: a certificate": documents.der(documents.shared_pki().signer.certificate),
    }
    for name, body in bodies.items():
        yield BadInput(name=name, body=body, media_type=DER, code=MALFORMED)
    yield BadInput(name="DER: 10,000 deep", body=nested_der(10_000), media_type=DER, code=TOO_LARGE)


def _structures() -> Iterator[BadInput]:
    """SignedData that is DER and not what RFC 5652 and the Azure page make of it."""
    identity = documents.shared_pki().signer
    content = documents.encode(documents.content())
    base = cms.signed_data(content, certificate=identity.certificate, key=identity.key)
    (info,) = base.signer_infos
    (certificate,) = base.certificates
    other = _self_made(key=_small_key())
    other_info = cms.sign_content(content, certificate=other.certificate, key=other.key, scheme=cms.ecdsa(cms.SHA256))
    small = [documents.der(_self_made(key=_small_key()).certificate) for _ in range(9)]
    swapped = _with_same_sid(identity)
    parts: dict[str, cms.SignedData] = {
        "CMS: no signer": dataclasses.replace(base, signer_infos=()),
        "CMS: two signers": dataclasses.replace(base, signer_infos=(info, other_info)),
        "CMS: 25 signers": dataclasses.replace(base, signer_infos=(info,) * 25, content=b"{}"),
        "CMS: no certificate": dataclasses.replace(base, certificates=()),
        "CMS: the signer's certificate twice": dataclasses.replace(base, certificates=(certificate, certificate)),
        "CMS: two certificates of one issuer and serial": dataclasses.replace(
            base, certificates=(certificate, documents.der(swapped.certificate))
        ),
        "CMS: another certificate alone": dataclasses.replace(base, certificates=(small[0],)),
        "CMS: 10 certificates": dataclasses.replace(base, certificates=(certificate, *small)),
        "CMS: 100 certificates that are none": dataclasses.replace(base, certificates=(b"\x30\x00",) * 100),
        "CMS: a certificate that is none": dataclasses.replace(base, certificates=(b"\x30\x00",)),
        "CMS: version 3": dataclasses.replace(base, version=3),
        "CMS: another content type": dataclasses.replace(base, content_type="1.2.840.113549.1.9.16.1.4"),
        "CMS: another digest announced": dataclasses.replace(
            base, digest_algorithms=(cms.digest_algorithm(cms.SHA512),)
        ),
        "CMS: empty signed attributes": dataclasses.replace(
            base, signer_infos=(dataclasses.replace(info, signed_attributes=()),)
        ),
        "CMS: a negative serial number": dataclasses.replace(
            base, signer_infos=(dataclasses.replace(info, serial_number=-1),)
        ),
    }
    for name, part in parts.items():
        yield BadInput(name=name, body=part.encode(), media_type=DER, code=MALFORMED)
    yield BadInput(
        name="CMS: 100 certificates",
        body=dataclasses.replace(base, certificates=(certificate, *(small * 11))).encode(),
        media_type=DER,
        code=TOO_LARGE,
    )
    yield BadInput(
        name="CMS: the signer's certificate swapped for one of the same issuer and serial",
        body=dataclasses.replace(base, certificates=(documents.der(swapped.certificate),)).encode(),
        media_type=DER,
        code="signature-invalid",
    )
    yield BadInput(
        name="CMS: an empty signature",
        body=dataclasses.replace(base, signer_infos=(dataclasses.replace(info, signature=b""),)).encode(),
        media_type=DER,
        code="signature-invalid",
    )
    yield BadInput(
        name="CMS: other content",
        body=dataclasses.replace(base, content=b"{" + b" " * 12_000 + b"}").encode(),
        media_type=DER,
        code="signature-invalid",
    )


def _payloads() -> Iterator[BadInput]:
    """Content that is signed, by someone, and is not the JSON object that it has to be."""
    valid = documents.encode(documents.content())
    contents = {
        "payload: empty": b"",
        "payload: an array": b"[]",
        "payload: a name twice": valid[:-1] + b',"vmId":"another"}',
        "payload: not UTF-8": valid.replace(b"standard", b"\xff\xfe"),
        "payload: a lone surrogate": valid.replace(b"standard", rb"\ud800"),
        "payload: a number of 10,000 digits": valid[:-1] + b',"x":' + b"9" * 10_000 + b"}",
        "payload: 10,000 deep": valid[:-1] + b',"x":' + b"[" * 10_000 + b"}",
        "payload: 6,000 deep and closed": valid[:-1] + b',"x":' + b"[" * 6_000 + b"]" * 6_000 + b"}",
        "payload: a string of escaped quotes that does not end": b'{"x":"' + rb"\"" * 6_000,
        "payload: a nonce of 10,000 characters": documents.encode(documents.content(nonce="1" * 10_000)),
        "payload: a time that is none": valid.replace(b"-0000", b"-0700"),
        "payload: a month that is none": valid.replace(b"11/23/26", b"13/23/26"),
    }
    for name, content in contents.items():
        yield BadInput(name=name, body=documents.sign(content), media_type=DER, code=MALFORMED)
    fields = documents.content()
    incomplete = documents.sign(documents.encode({**fields, "vmId": ""}))
    yield BadInput(name="payload: no VM", body=incomplete, media_type=DER, code="claims-incomplete")
    unasked = documents.sign(documents.encode({name: value for name, value in fields.items() if name != "nonce"}))
    yield BadInput(name="payload: no nonce", body=unasked, media_type=DER, code="claims-incomplete")
    for name, ago, code in (
        ("payload: expired", timedelta(hours=7), "document-expired"),
        ("payload: still to come", timedelta(hours=-1), "document-not-yet-valid"),
    ):
        dated = documents.document(created_on=documents.NOW - ago)
        yield BadInput(name=name, body=dated, media_type=DER, code=code)
    many = documents.encode({**fields, **{f"x{number}": number for number in range(1_000)}, "nonce": "4711"})
    yield BadInput(name="payload: 1,000 fields", body=documents.sign(many), media_type=DER, code=MALFORMED)
    yield BadInput(name="a nonce never issued", body=documents.document(), media_type=DER, code="nonce-unknown")


def _signers() -> Iterator[BadInput]:
    """Certificates that a sender can make up, each under the name of a pinned issuer: what they cost to look at."""
    key = documents.spare_key()
    chance = random.Random(_SEED)  # noqa: S311 - the same numbers in every run
    modulus = chance.getrandbits(8192) | 1 << 8191 | 1
    short = chance.getrandbits(3072) | 1 << 3071 | 1
    azure = documents.shared_pki().signer.certificate.subject
    made = {
        "signer: forged under a pinned issuer's name": (_self_made(key=key), "chain-untrusted"),
        "signer: 256 alternative names": (
            _self_made(key=key, names=[f"r{number}.metadata.azure.com" for number in range(256)]),
            "chain-untrusted",
        ),
        "signer: 256 alternative names, none of a cloud": (
            _self_made(key=key, names=[f"r{number}.metadata.example.com" for number in range(256)]),
            "signer-name-mismatch",
        ),
        "signer: 257 alternative names": (
            _self_made(key=key, names=[f"r{number}.metadata.azure.com" for number in range(257)]),
            MALFORMED,
        ),
        "signer: 200 organisations": (
            _self_made(
                key=key,
                subject=x509.Name(
                    [
                        *(x509.NameAttribute(NameOID.ORGANIZATION_NAME, f"o{number}") for number in range(200)),
                        x509.NameAttribute(NameOID.COMMON_NAME, "metadata.azure.com"),
                    ]
                ),
            ),
            MALFORMED,
        ),
        "signer: 300 extensions": (_self_made(key=key, more_extensions=300), MALFORMED),
        "signer: P-521": (_self_made(key=ec.generate_private_key(ec.SECP521R1())), "chain-untrusted"),
        "signer: RSA-1024": (_self_made(key=pki.make_rsa_key(1024)), "algorithm-refused"),
    }
    content = documents.encode(documents.content())
    for name, (identity, code) in made.items():
        scheme = cms.AZURE if isinstance(identity.key, rsa.RSAPrivateKey) else cms.ecdsa(cms.SHA512)
        body = documents.sign(content, signer=identity, scheme=scheme)
        yield BadInput(name=name, body=body, media_type=DER, code=code)
    for name, public_key, code in (
        ("signer: an RSA key of 8192 bits", rsa.RSAPublicNumbers(65537, modulus), "signature-invalid"),
        ("signer: an RSA key of 16,384 bits", rsa.RSAPublicNumbers(65537, modulus << 8192 | 1), "algorithm-refused"),
        ("signer: an RSA exponent of 3,072 bits", rsa.RSAPublicNumbers(short - 2, short), MALFORMED),
    ):
        forged = _self_made(key=key, public_key=public_key.public_key(), subject=azure)
        info = cms.sign_content(content, certificate=forged.certificate, key=key)
        size = (public_key.n.bit_length() + 7) // 8
        signed = cms.SignedData(
            digest_algorithms=(info.digest_algorithm,),
            content=content,
            certificates=(documents.der(forged.certificate),),
            signer_infos=(dataclasses.replace(info, signature=b"\x01" * size),),
        )
        yield BadInput(name=name, body=signed.encode(), media_type=DER, code=code)


def _small_key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


def _self_made(
    *,
    key: pki.PrivateKey,
    public_key: pki.PublicKey | None = None,
    names: list[str] | None = None,
    subject: x509.Name | None = None,
    more_extensions: int = 0,
) -> pki.Identity:
    """A signer that says it is from the shared PKI's issuing CA, whose key its maker does not have."""
    authority = documents.shared_pki().issuing_ca
    shown = public_key or key.public_key()
    extensions = pki.signer_extensions(
        names=names or ["metadata.azure.com"],
        public_key=shown,
        issuer_public_key=authority.key.public_key(),
        issuer_urls=(),
    )
    extensions += tuple(
        x509.Extension(oid, False, x509.UnrecognizedExtension(oid, b"\x05\x00"))  # noqa: FBT003 - positional in pyca
        for oid in (x509.ObjectIdentifier(f"1.3.6.1.4.1.99999.{number}") for number in range(more_extensions))
    )
    certificate = pki.issue(
        subject=subject or pki.make_name("metadata.azure.com"),
        public_key=shown,
        issuer_name=authority.certificate.subject,
        issuer_key=key,
        validity=documents.around(),
        extensions=extensions,
        signing_hash=hashes.SHA256(),
    )
    return pki.Identity(certificate=certificate, key=key)


def _with_same_sid(identity: pki.Identity) -> pki.Identity:
    """Another key's certificate of the same issuer name and serial number, with the same names."""
    certificate = identity.certificate
    key = documents.spare_key()
    builder = (
        x509.CertificateBuilder()
        .subject_name(certificate.subject)
        .issuer_name(certificate.issuer)
        .serial_number(certificate.serial_number)
        .public_key(key.public_key())
        .not_valid_before(certificate.not_valid_before_utc)
        .not_valid_after(certificate.not_valid_after_utc)
    )
    for extension in certificate.extensions:
        builder = builder.add_extension(extension.value, critical=extension.critical)
    return pki.Identity(certificate=builder.sign(key, hashes.SHA256()), key=key)
