"""Generate vectors from the sample of 2018 on the Azure page.

Each of its four faults is a reason to refuse it. It is self-signed, its certificate is signed with MD5, its key has
1024 bits, and it was valid for 45 s. One vector is the sample at its own time, which the first fault refuses. In four
more vectors, one fault remains and the other three are repaired.

The vmId of the sample is empty too. `claims-incomplete/vm-id-empty` covers that, and the other vectors have a vmId.
"""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

from support.certificates import make_self_signed, make_signer, resign
from support.documents import SAMPLES, encode, sign, spare_key

from vectors.recipes.claims import shown
from vectors.recipes.recipe import RETRY, Nonce, Recipe, posted
from verifier.core.reasons import Check, Reason
from verifier.emulator import pki

_NAME = "testsubdomain.metadata.azure.com"
_NONCE = "1234566766"
_AT = datetime(2026, 11, 23, 8, 0, 0, tzinfo=UTC)
_ITS_OWN_TIME = datetime(2018, 11, 20, 22, 8, 0, tzinfo=UTC)


def recipes() -> Iterator[Recipe]:
    yield Recipe(
        name="azure-page-2018",
        description="The sample on Azure's page, byte for byte, while it was alive. Its content signature is good.",
        reason=Reason.ALGORITHM_REFUSED,
        check=Check.SIGNATURE,
        body=(SAMPLES / "azure-page-2018.json").read_bytes(),
        at=_ITS_OWN_TIME,
        nonces=(Nonce(value=_NONCE, issued_at=_ITS_OWN_TIME - timedelta(seconds=30)),),
    )
    key = spare_key()
    names = (_NAME,)
    good = make_signer(common_names=names, names=names, key=key)
    yield _twin(
        "self-signed",
        Reason.CHAIN_UNTRUSTED,
        Check.CHAIN,
        _document(make_self_signed(key=key, common_name=_NAME, names=names)),
    )
    yield _twin("md5-certificate", Reason.ALGORITHM_REFUSED, Check.SIGNATURE, _document(resign(good, digest="md5")))
    yield _twin(
        "rsa-1024",
        Reason.ALGORITHM_REFUSED,
        Check.SIGNATURE,
        _document(make_signer(common_names=names, names=names, key=pki.make_rsa_key(1024))),
    )
    yield _twin(
        "45-seconds",
        Reason.DOCUMENT_EXPIRED,
        Check.VALIDITY_WINDOW,
        _document(good, created_on=_AT - timedelta(seconds=120), life=timedelta(seconds=45)),
    )
    yield _twin("repaired", None, None, _document(good))


def _document(signer: pki.Identity, *, created_on: datetime = _AT, life: timedelta = timedelta(hours=6)) -> bytes:
    content: dict[str, object] = {
        "nonce": _NONCE,
        "plan": {"name": "", "product": "", "publisher": ""},
        "timeStamp": {"createdOn": shown(created_on), "expiresOn": shown(created_on + life)},
        "vmId": "5c1a0b3e-7d42-4f0a-9b57-1f6d2e8c4a90",
    }
    return sign(encode(content), signer=signer)


def _twin(fault: str, reason: Reason | None, check: Check | None, document: bytes) -> Recipe:
    description = (
        f"As the sample on Azure's page, and of its four faults only this one: {fault}."
        if reason
        else "As the sample on Azure's page, and none of its four faults: what is left is good."
    )
    return Recipe(
        name=f"azure-page-2018-{fault}",
        description=description,
        reason=reason,
        check=check,
        retry_after=RETRY if reason is Reason.DOCUMENT_EXPIRED else None,
        body=posted(document),
        at=_AT,
        nonces=(Nonce(value=_NONCE, issued_at=_AT - timedelta(seconds=130)),),
    )
