"""Generate documents at the edge of a comparison: a value that is nearly another one, and the last second of a time."""

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial

from cryptography.hazmat.primitives.asymmetric import padding
from support import cms, documents
from support.certificates import make_signer
from support.der_parts import tlv
from support.documents import NONCE, NOW, VM, shared_pki, sign

from vectors.recipes.authorities import ACTIVE_FROM, ACTIVE_UNTIL, entry
from vectors.recipes.claims import window, with_fields
from vectors.recipes.forms import sign_attributes
from vectors.recipes.recipe import RETRY, Nonce, Recipe, posted
from verifier.core.reasons import Check, Reason
from verifier.core.trust.clouds import Cloud
from verifier.emulator import pki

_SECOND, _DAY = timedelta(seconds=1), timedelta(days=1)
_CONTENT = documents.encode(documents.content())
_OPTIONAL = "optional"

_invalid = partial(Recipe, reason=Reason.SIGNATURE_INVALID, check=Check.SIGNATURE)
_mismatch = partial(Recipe, reason=Reason.NONCE_MISMATCH, check=Check.NONCE)
_denied = partial(Recipe, reason=Reason.POLICY_DENIED, check=Check.POLICY)


def recipes() -> Iterator[Recipe]:
    yield _encoding()
    yield from _signatures()
    yield from _signers()
    yield from _authorities()
    yield from _challenges()
    yield from _without_a_challenge()
    yield from _policies()


def _encoding() -> Recipe:
    fields = json.loads(posted(documents.document()))
    return Recipe(
        name="pkcs7-with-a-kelvin-sign",
        description="The k of the field `encoding` is U+212A. Unicode's lower case of that is the letter k.",
        reason=Reason.UNSUPPORTED_ENCODING,
        check=Check.FORMAT,
        body=json.dumps({**fields, "encoding": "p\u212acs7"}).encode(),
    )


def _signatures() -> Iterator[Recipe]:
    content_type, message_digest = cms.content_attributes(_CONTENT, digest=cms.SHA256)
    digest = message_digest.values[0][2:]
    nearly = replace(message_digest, values=(tlv(0x04, digest[:-1] + bytes([digest[-1] ^ 1])),))
    yield _invalid(
        name="message-digest-with-another-end",
        description="The message-digest in the signed attributes differs from the content's in its last bit.",
        body=posted(sign_attributes(_CONTENT, (content_type, nearly))),
    )
    short_salt = padding.PSS(mgf=padding.MGF1(cms.SHA256), salt_length=20)
    yield _invalid(
        name="pss-salt-of-another-length",
        description="PSS whose parameters say a salt of 32 bytes. The signature has one of 20.",
        body=posted(sign(_CONTENT, scheme=replace(cms.rsassa_pss(cms.SHA256), rsa_padding=short_salt))),
    )


def _at(moment: datetime, signer: pki.Identity) -> Recipe:
    """Return a document that is posted when it is created. The caller replaces name and description."""
    return Recipe(
        name="",
        description="",
        at=moment,
        body=posted(documents.document(created_on=moment, signer=signer)),
        nonces=(Nonce(issued_at=moment),),
    )


def _signers() -> Iterator[Recipe]:
    begins = pki.Validity(not_before=NOW, not_after=NOW + 180 * _DAY)
    ends = pki.Validity(not_before=NOW - 180 * _DAY, not_after=NOW)
    for name, description, validity in (
        ("beginning", "The signer is valid from this second on.", begins),
        ("end", "This second is the last one in which the signer is valid.", ends),
    ):
        yield replace(_at(NOW, make_signer(validity=validity)), name=f"signer-at-its-{name}", description=description)
    number = shared_pki().signer.certificate.serial_number
    yield Recipe(
        name="denied-serial-number-with-the-same-end",
        description="A serial number is denied that has the last 64 bits of the signer's and one more in front.",
        body=posted(documents.document()),
        denied={"serial_numbers": [f"{number % 2**64 + 2**64:x}"]},
    )


def _authorities() -> Iterator[Recipe]:
    end = shared_pki().root.certificate.not_valid_after_utc
    assert shared_pki().issuing_ca.certificate.not_valid_after_utc == end  # make_pki gives both the same time
    around_end = pki.Validity(not_before=end - 90 * _DAY, not_after=end + 90 * _DAY)
    yield replace(
        _at(end, make_signer(validity=around_end)),
        name="authorities-at-their-end",
        description="This second is the last one in which the issuer and the anchor are valid.",
    )
    signer = make_signer(issuer=entry("public-active-for-an-hour").identity)
    yield replace(
        _at(ACTIVE_FROM, signer),
        name="issuer-activated-now",
        description="The manifest activates the issuer in this second.",
    )
    yield replace(
        _at(ACTIVE_UNTIL, signer),
        name="issuer-retired-now",
        description="The manifest retires the issuer in this second.",
        reason=Reason.CHAIN_UNTRUSTED,
        check=Check.CHAIN,
    )


def _challenges() -> Iterator[Recipe]:
    document = documents.document()
    yield _mismatch(
        name="vm-with-another-end",
        description="The nonce was issued for a VM whose id differs from that of the document in its last digit.",
        body=posted(document),
        nonces=(Nonce(vm_id=f"{VM.vm_id[:-1]}1"),),
    )
    for name, description, named in (
        ("without-its-end", "The request names the nonce without its last digit.", NONCE[:-1]),
        ("with-more-behind", "The request names the nonce with a digit more behind it.", f"{NONCE}0"),
    ):
        yield _mismatch(
            name=f"nonce-named-{name}",
            description=description,
            body=posted(document, nonce=named),
            request={"nonce": named},
            retry_after=RETRY,
        )


def _without_a_challenge() -> Iterator[Recipe]:
    optional = partial(Recipe, nonces=(), nonce_mode=_OPTIONAL)
    yield optional(
        name="nonce-optional-default-nonce-with-more-behind",
        description="Nonces are optional. The document carries a default nonce of IMDS with a letter more behind it.",
        reason=Reason.NONCE_UNKNOWN,
        check=Check.NONCE,
        retry_after=RETRY,
        body=posted(documents.document(nonce="20260728-192400x")),
    )
    cloud = Cloud.US_GOVERNMENT
    signer = make_signer(
        issuer=entry("us-government-lone-root").identity,
        common_names=(cloud.domain,),
        names=(f"one.{cloud.domain}", cloud.domain),
    )
    yield optional(
        name="nonce-optional-same-content-of-another-cloud",
        description="Nonces are optional. A document with the same content was posted before, signed by another cloud.",
        body=posted(documents.document(nonce=None, signer=signer)),
        earlier=(posted(documents.document(nonce=None)),),
        cloud=cloud.value,
    )


def _policies() -> Iterator[Recipe]:
    usual = {"publisher": VM.plan.publisher, "product": VM.plan.product, "name": VM.plan.name}
    faults = {
        "publisher-with-more-behind": (
            "The policy allows a publisher. The document's is its name with more behind it.",
            {"publisher": "contoso-evil"},
            {"publishers": ["contoso"]},
        ),
        "plan-with-more-behind": (
            "The policy allows a plan. The document's is its name with more behind it.",
            {"name": "standard-evil"},
            {"plans": ["standard"]},
        ),
        "publisher-with-a-long-s": (
            "The policy allows a publisher. The document's has U+017F for its s, and Unicode folds that to s.",
            {"publisher": "conto\u017fo"},
            {"publishers": ["contoso"]},
        ),
    }
    for name, (description, changed, policy) in faults.items():
        yield _denied(
            name=name,
            description=description,
            body=posted(with_fields(plan={**usual, **changed}), policy="asked"),
            request={"policy": "asked"},
            policies={"asked": policy},
        )
    yield Recipe(
        name="as-old-as-the-policy-allows",
        description="The policy allows 20 s, and the document is 20 s old.",
        body=posted(window(-20 * _SECOND, timedelta(hours=5)), policy="asked"),
        request={"policy": "asked"},
        policies={"asked": {"maximumAgeSeconds": 20}},
    )
