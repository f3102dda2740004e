"""Documents whose every text tries to be more than a text: script, HTML, reordered and very long text."""

import json
import warnings
from datetime import UTC, datetime
from typing import Final

from cryptography import x509
from cryptography.x509.oid import NameOID
from support import cms, documents
from support.live_documents import current_pki

from verifier.emulator import pki

#: It runs if a page reads it as HTML, as an attribute or as a URL.
SCRIPT: Final = "\"'><img src=x onerror=window.cheated=1><script>window.cheated=1</script>javascript:window.cheated=1"
#: A right-to-left override, isolates, a zero-width space, a control character, a tag character and Hebrew.
REORDERED: Final = "\u202egnp.exe\u202c \u2066\u2069\u200b\u0007\U000e0041 \u05e9\u05dc\u05d5\u05dd {{7*7}} ${7*7}"
#: No character of these may be in a page as itself.
HIDDEN: Final = "\u202e\u202c\u2066\u2069\u200b\u0007\U000e0041"
#: Each cluster of these is one character of a reader, so that no line breaks in it.
CLUSTERS: Final = (
    "\u1100" * 300,
    "\u0915\u094d" * 120,
    "a" + "\u0489" * 240,
    "a" + "\u20dd" * 60,
    "a" + "\u0301\u0489\u0332\u20dd" * 200,
)
LONG: Final = "W" * 16 * 1024
_TEXTS: Final = (SCRIPT, REORDERED, f"{SCRIPT}{REORDERED}")


def hostile_content(*, long_claim: bool) -> bytes:
    """The content of a document at present. Its times are those of a valid one, so that later checks are reached."""
    texts = iter(_TEXTS * 8)
    fields = {
        "vmId": next(texts),
        "subscriptionId": LONG if long_claim else next(texts),
        "sku": next(texts),
        "licenseType": next(texts),
        # The format check refuses longer ones.
        "nonce": "<script>window.cheated=1</script>",
        "plan": {"publisher": next(texts), "product": next(texts), "name": next(texts)},
        "timeStamp": documents.content(created_on=datetime.now(UTC))["timeStamp"],
        SCRIPT: {REORDERED: SCRIPT},
    }
    return json.dumps(fields, ensure_ascii=False).encode()


def _name(text: str) -> x509.Name:
    kinds = (NameOID.ORGANIZATION_NAME, NameOID.ORGANIZATIONAL_UNIT_NAME, NameOID.COMMON_NAME)
    return x509.Name([x509.NameAttribute(kind, text, _validate=False) for kind in kinds])


def genuine_document() -> bytes:
    """Azure, as the service sees it, has signed this content."""
    return documents.sign(hostile_content(long_claim=True), signer=current_pki().signer)


def forged_document() -> bytes:
    """The names of signer and issuer are hostile too, and no chain leads to a trust anchor."""
    with warnings.catch_warnings():
        # The library warns of long common names whenever it reads one.
        warnings.simplefilter("ignore", UserWarning)
        return _forged_document()


def _forged_document() -> bytes:
    validity = pki.Validity.around(datetime.now(UTC), pki.SIGNER_LIFETIME)
    root = pki.make_root(subject=_name(SCRIPT + REORDERED), key=documents.spare_key(1), validity=validity)
    signer = pki.make_signer(
        issuer=root,
        subject=_name(REORDERED + SCRIPT),
        names=(f"{SCRIPT}.metadata.azure.com", "metadata.azure.com", SCRIPT),
        key=documents.spare_key(2),
        validity=validity,
        issuer_urls=(f"http://host.invalid/{SCRIPT}",),
    )
    content = hostile_content(long_claim=False)
    info = cms.sign_content(content, certificate=signer.certificate, key=signer.key)
    return cms.SignedData(
        digest_algorithms=(info.digest_algorithm,),
        content=content,
        certificates=(documents.der(signer.certificate), documents.der(root.certificate)),
        signer_infos=(info,),
    ).encode()
