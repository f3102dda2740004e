"""Generate attacks over several posts, over the state of the verifier, and over the parts around the signed content."""

import base64
import hashlib
import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from functools import partial

from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from support import cms, documents
from support.certificates import alternative_names, make_signer
from support.der_parts import (
    CERTIFICATES,
    DIGESTS,
    ENCAPSULATED,
    SID,
    SIGNATURE_ALGORITHM,
    SIGNER,
    VERSION,
    integer,
    oid,
    sequence,
    tlv,
)
from support.documents import NONCE, NOW, encode, shared_pki, sign, spare_key
from support.mutations import edited

from vectors.recipes.claims import shown, with_fields
from vectors.recipes.forms import sign_attributes
from vectors.recipes.recipe import RETRY, Form, Nonce, Recipe, posted
from verifier.core.encoding import der
from verifier.core.reasons import Check, Reason
from verifier.emulator import pki

_CONTENT = encode(documents.content())
_SECOND = timedelta(seconds=1)
_OPTIONAL = "optional"
#: An OCTET STRING whose length has five bytes.
_LONG = b"\x04\x85\x00\x00\x00\x00\x01x"

_malformed = partial(Recipe, reason=Reason.MALFORMED_EVIDENCE, check=Check.FORMAT)
_replayed = partial(Recipe, reason=Reason.NONCE_REPLAYED, check=Check.NONCE, retry_after=RETRY)
_untrusted = partial(Recipe, reason=Reason.CHAIN_UNTRUSTED, check=Check.CHAIN)
_unnamed = partial(Recipe, reason=Reason.SIGNER_NAME_MISMATCH, check=Check.SIGNER_NAME)


def recipes() -> Iterator[Recipe]:
    yield from _replays()
    yield from _without_a_challenge()
    yield from _denied()
    yield from _names()
    yield from _bodies()
    yield from _envelopes()
    yield from _others()


def _renamed(document: bytes) -> bytes:
    """Return the document with the other name of its signature algorithm, which no signature covers."""
    return edited(document, SIGNATURE_ALGORITHM, lambda _: cms.Algorithm(oid="1.2.840.113549.1.1.11").encode())


def _replays() -> Iterator[Recipe]:
    """Post a document twice, the second time in other bytes."""
    document = documents.document()
    first = (posted(document),)
    url_safe = base64.urlsafe_b64encode(document).decode().rstrip("=")
    wrapped = f"\n{base64.encodebytes(document).decode()}"
    bodies = {
        "base64url": ("in base64url and without padding", _fields(url_safe)),
        "wrapped-base64": ("in lines", _fields(wrapped)),
        "another-order-of-members": ("with its members in another order", _fields(url_safe, reverse=True)),
        "another-name-of-the-algorithm": (
            "with the other name of its signature algorithm, which is not signed",
            posted(_renamed(document)),
        ),
        "a-nonce-named": ("with its nonce in the request", posted(document, nonce=NONCE)),
    }
    for name, (description, body) in bodies.items():
        yield _replayed(
            name=f"posted-before-with-{name}",
            description=f"The document was posted before, and is posted again {description}.",
            body=body,
            earlier=first,
            request={"nonce": NONCE} if name == "a-nonce-named" else {},
        )
    yield _replayed(
        name="nonce-used-by-another-document",
        description="Another document with this nonce was posted before, by the same VM.",
        body=posted(with_fields(sku="premium")),
        earlier=first,
    )
    yield _replayed(
        name="nonce-used-up-by-a-refused-policy",
        description="The document was refused by the policy that the first request named, which used up its nonce.",
        body=posted(document),
        earlier=(posted(document, policy="asked"),),
        policies={"asked": {"skus": ["premium"]}},
    )
    yield Recipe(
        name="posted-before-with-an-invalid-signature",
        description="A forgery with this nonce was posted before. A refusal by checks 1 to 6 leaves the nonce unused.",
        body=posted(document),
        earlier=(posted(sign(_CONTENT, signer=replace(shared_pki().signer, key=spare_key()))),),
    )


def _fields(signature: str, *, reverse: bool = False) -> bytes:
    fields = {"encoding": "pkcs7", "signature": signature}
    return json.dumps(dict(reversed(fields.items())) if reverse else fields).encode()


def _without_a_challenge() -> Iterator[Recipe]:
    """Post documents that carry no nonce of the service, which accepts each once."""
    document = documents.document(nonce=None)
    optional = partial(Recipe, nonces=(), nonce_mode=_OPTIONAL)
    yield optional(
        name="nonce-optional-default-nonce",
        description="Nonces are optional, and the document carries the default nonce of IMDS, a time.",
        body=posted(document),
    )
    yield optional(
        name="nonce-optional-no-nonce",
        description="Nonces are optional, and the document carries none.",
        body=posted(with_fields(nonce=...)),
    )
    yield optional(
        name="nonce-optional-seen-by-another-cloud",
        description="Nonces are optional. A document of another content was posted before.",
        body=posted(document),
        earlier=(posted(documents.document(nonce=None, created_on=NOW - _SECOND)),),
    )
    seen = partial(_replayed, nonces=(), nonce_mode=_OPTIONAL, earlier=(posted(document),))
    content = encode(documents.content(nonce=None))
    bodies = {
        "unchanged": ("It is posted again unchanged", document),
        "renamed": ("It is posted again with the other name of its signature algorithm", _renamed(document)),
        "signed-again": (
            "Its content is posted again with another signature by another signer",
            sign(content, signer=make_signer(key=spare_key())),
        ),
    }
    for name, (description, changed) in bodies.items():
        yield seen(
            name=f"nonce-optional-{name}",
            description=f"Nonces are optional, and the document was accepted without one. {description}.",
            body=posted(changed),
        )
    unknown = partial(Recipe, reason=Reason.NONCE_UNKNOWN, check=Check.NONCE, retry_after=RETRY, nonce_mode=_OPTIONAL)
    yield unknown(
        name="nonce-optional-never-issued",
        description="Nonces are optional, but the document carries one that was never issued.",
        body=posted(documents.document()),
        nonces=(),
    )
    yield Recipe(
        name="nonce-optional-another-nonce-named",
        description="Nonces are optional, but the request names one, and the document carries the default nonce.",
        reason=Reason.NONCE_MISMATCH,
        check=Check.NONCE,
        retry_after=RETRY,
        body=posted(document, nonce=NONCE),
        request={"nonce": NONCE},
        nonce_mode=_OPTIONAL,
    )
    incomplete = partial(optional, reason=Reason.CLAIMS_INCOMPLETE, check=Check.NONCE)
    times = {
        "no-times": ("neither of its times", ...),
        "no-created-on": ("no createdOn", {"expiresOn": shown(NOW + timedelta(hours=5))}),
        "no-expires-on": ("no expiresOn", {"createdOn": shown(NOW)}),
    }
    for name, (description, value) in times.items():
        yield incomplete(
            name=f"nonce-optional-{name}",
            description=f"Nonces are optional, but the document carries no nonce and {description}.",
            body=posted(with_fields(nonce=..., timeStamp=value)),
        )


def _spki(identity: pki.Identity) -> str:
    public_key = identity.certificate.public_key()
    return hashlib.sha256(public_key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).hexdigest()


def _denied() -> Iterator[Recipe]:
    document = documents.document()
    whose = {"signer": shared_pki().signer, "issuer": shared_pki().issuing_ca, "anchor": shared_pki().root}
    for name, identity in whose.items():
        yield _untrusted(
            name=f"denied-key-of-the-{name}",
            description=f"The key of the {name} is denied.",
            body=posted(document),
            denied={"spki_sha256": [_spki(identity)]},
        )
        yield _untrusted(
            name=f"denied-serial-number-of-the-{name}",
            description=f"The serial number of the {name} is denied.",
            body=posted(document),
            denied={"serial_numbers": [f"{identity.certificate.serial_number:x}"]},
        )
    yield Recipe(
        name="another-certificate-denied",
        description="A key and a serial number are denied that no certificate of the chain has.",
        body=posted(document),
        denied={"serial_numbers": ["5"], "spki_sha256": ["5" * 64]},
    )
    yield _untrusted(
        name="cloud-not-served",
        description="The verifier does not serve the cloud of the document.",
        body=posted(document),
        clouds=("AzureChinaCloud",),
    )


def _names() -> Iterator[Recipe]:
    """Sign with signers whose only name belongs to no cloud."""
    domain = ".metadata.azure.com"
    wrong = {
        "label-of-64-bytes": ("a label of 64 bytes", "a" * 64 + domain),
        "empty-label": ("an empty label", f"a.{domain}"),
        "underscore": ("a label with an underscore", f"a_b{domain}"),
        "label-begins-with-a-hyphen": ("a label that begins with a hyphen", f"-a{domain}"),
        "label-ends-with-a-hyphen": ("a label that ends with a hyphen", f"a-{domain}"),
        "name-of-254-bytes": ("254 bytes", f"{'.'.join(['a' * 58] * 3)}.{'a' * 58}{domain}"),
    }
    for name, (description, alternative) in wrong.items():
        yield _unnamed(
            name=f"san-{name}",
            description=f"The only name is in the domain, and has {description}.",
            body=posted(
                documents.document(
                    signer=make_signer(common_names=(), extensions=[alternative_names(alternative.encode())])
                )
            ),
        )


def _bodies() -> Iterator[Recipe]:
    document = documents.document()
    text = base64.b64encode(document).decode()
    for name, body in (("minus-and-slash", text.replace("+", "-")), ("plus-and-underscore", text.replace("/", "_"))):
        yield _malformed(
            name=f"base64-of-two-alphabets-{name}",
            description=f"The signature is base64 and base64url in one text: {name.replace('-', ' ')}.",
            body=_fields(body),
        )
    yield _malformed(
        name="base64-cut-off",
        description="The signature is cut off inside a byte of base64.",
        body=_fields(text.rstrip("=")[: -(len(text.rstrip("=")) % 4) - 3]),
    )
    yield _malformed(
        name="base64-twice",
        description="The signature is the base64 of the base64 of a document.",
        body=_fields(base64.b64encode(text.encode()).decode()),
    )
    yield _malformed(
        name="text-quote-without-end",
        description="The base64 is in quotes, of which the last one is missing.",
        body=b'"' + text.encode(),
        form=Form.TEXT,
    )
    yield _malformed(
        name="text-with-nul",
        description="The base64 has a NUL behind it.",
        body=text.encode() + b"\0",
        form=Form.TEXT,
    )
    yield Recipe(
        name="der-as-json",
        description="DER, posted as application/json: the first byte tells its form.",
        body=document,
        form=Form.DER_AS_JSON,
    )


def _envelopes() -> Iterator[Recipe]:
    good = documents.document()
    large = sequence(oid("1.2.840.113549.1.1.10"), tlv(0x04, bytes(300)))
    attribute = cms.content_attributes(_CONTENT, digest=cms.SHA256)
    content_type = next(one for one in attribute if one.oid == cms.ID_CONTENT_TYPE)
    digest = next(one for one in attribute if one.oid == cms.ID_MESSAGE_DIGEST)
    faults = {
        "no-digest-announced": ("No digest algorithm is announced.", edited(good, DIGESTS, lambda _: tlv(0x31))),
        "content-detached": (
            "The content is absent, as in a detached signature (RFC 5652 5.2).",
            edited(good, ENCAPSULATED, lambda _: sequence(oid(cms.ID_DATA))),
        ),
        "element-behind-the-content": (
            "A NULL is behind the content in EncapsulatedContentInfo.",
            edited(good, ENCAPSULATED, lambda part: sequence(*der.children(part), b"\x05\x00")),
        ),
        "element-behind-the-serial-number": (
            "A NULL is behind the serial number in the sid.",
            edited(good, SID, lambda part: sequence(*der.children(part), b"\x05\x00")),
        ),
        "attribute-certificate": (
            "An element that is no X.509 certificate is among the certificates (RFC 5652 10.2.2).",
            edited(good, CERTIFICATES, lambda part: tlv(0xA0, *der.children(part), tlv(0xA1, integer(1)))),
        ),
        "algorithm-of-300-bytes": (
            "The signature algorithm has more than 256 bytes.",
            edited(good, SIGNATURE_ALGORITHM, lambda _: large),
        ),
        "algorithm-with-a-third-field": (
            "The signature algorithm has an element behind its parameters.",
            edited(good, SIGNATURE_ALGORITHM, lambda part: sequence(*der.children(part), b"\x05\x00")),
        ),
        "der-high-tag-number": (
            "The parameters of the signature algorithm have a tag number above 30.",
            edited(good, SIGNATURE_ALGORITHM, lambda part: sequence(der.children(part)[0], b"\x1f\x20\x00")),
        ),
        "der-length-in-long-form": (
            "The version has a length of 1 in two bytes (X.690 10.1).",
            edited(good, VERSION, lambda _: b"\x02\x81\x01\x01"),
        ),
        "der-half-an-element": (
            "The parameters of the signature algorithm are the first byte of an element.",
            edited(good, SIGNATURE_ALGORITHM, lambda part: sequence(der.children(part)[0], b"\x05")),
        ),
        "der-length-of-five-bytes": (
            "The parameters of the signature algorithm have a length in five bytes.",
            edited(good, SIGNATURE_ALGORITHM, lambda part: sequence(der.children(part)[0], _LONG)),
        ),
        "der-length-cut-off": (
            "The parameters of the signature algorithm end inside their length.",
            edited(good, SIGNATURE_ALGORITHM, lambda part: sequence(der.children(part)[0], b"\x04\x83\x01")),
        ),
        "version-1-by-key-identifier": (
            "The signer is named by the identifier of its key, in version 1 (RFC 5652 5.3).",
            edited(good, SID, lambda _: tlv(0x80, b"the identifier of the key")),
        ),
        "signed-attribute-with-a-third-field": (
            "A signed attribute has an element behind its values.",
            edited(
                sign_attributes(_CONTENT, attribute),
                (*SIGNER, 3, 0),
                lambda part: sequence(*der.children(part), b"\x05\x00"),
            ),
        ),
        "signed-attributes-message-digest-of-two-values": (
            "The message-digest has two values (RFC 5652 11.2).",
            _with_attributes(content_type, replace(digest, values=(*digest.values, tlv(0x04, b"x")))),
        ),
        "signed-attributes-content-type-of-two-values": (
            "The content-type has two values (RFC 5652 11.1).",
            _with_attributes(replace(content_type, values=(*content_type.values, oid("1.2.840.113549.1.7.3"))), digest),
        ),
    }
    for name, (description, document) in faults.items():
        yield _malformed(name=name, description=description, body=posted(document))


def _with_attributes(*attributes: cms.Attribute) -> bytes:
    return sign_attributes(_CONTENT, attributes)


def _others() -> Iterator[Recipe]:
    yield Recipe(
        name="policy-of-the-nonce-is-gone",
        description="The nonce was issued for a policy that no longer exists.",
        reason=Reason.POLICY_DENIED,
        check=Check.POLICY,
        body=posted(documents.document()),
        nonces=(Nonce(policy="gone"),),
    )
    yield Recipe(
        name="time-24-hours",
        description="expiresOn is not a time as IMDS writes it: its hour is 24.",
        reason=Reason.MALFORMED_EVIDENCE,
        check=Check.CLAIMS,
        body=posted(with_fields(timeStamp={"createdOn": shown(NOW), "expiresOn": "11/23/26 24:00:00 -0000"})),
    )
