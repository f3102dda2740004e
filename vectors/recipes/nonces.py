"""Generate faults of nonces and policies: nonce-mismatch, nonce-unknown, nonce-replayed and policy-denied."""

from collections.abc import Iterator
from datetime import timedelta
from functools import partial

from support import documents
from support.documents import NONCE, NOW, VM

from vectors.recipes.claims import window, with_fields
from vectors.recipes.recipe import RETRY, Nonce, Recipe, posted
from verifier.core.reasons import Check, Reason

_mismatch = partial(Recipe, reason=Reason.NONCE_MISMATCH, check=Check.NONCE)
_unknown = partial(Recipe, reason=Reason.NONCE_UNKNOWN, check=Check.NONCE, retry_after=RETRY)
_replayed = partial(Recipe, reason=Reason.NONCE_REPLAYED, check=Check.NONCE, retry_after=RETRY)
_denied = partial(Recipe, reason=Reason.POLICY_DENIED, check=Check.POLICY)

_SECOND = timedelta(seconds=1)
_ANOTHER_VM = "00000000-0000-4000-8000-000000000000"
_ANOTHER_PRODUCT = {"asked": {"products": ["another"]}}


def recipes() -> Iterator[Recipe]:
    yield from _mismatches()
    yield from _unknown_nonces()
    yield from _replays()
    yield from _denials()


def _mismatches() -> Iterator[Recipe]:
    document = documents.document()
    other = "9876543210"
    yield _mismatch(
        name="another-nonce-named",
        description="The request names another nonce than the document carries, which IMDS may have had in its cache.",
        body=posted(document, nonce=other),
        request={"nonce": other},
        nonces=(Nonce(), Nonce(value=other)),
        retry_after=RETRY,
    )
    yield _mismatch(
        name="nonce-named-in-another-case",
        description="The request names the nonce in another case of its letters.",
        body=posted(
            documents.document(nonce="AbCdEfGhIjKlMnOpQrStUvWxYz012345"), nonce="abcdefghijklmnopqrstuvwxyz012345"
        ),
        request={"nonce": "abcdefghijklmnopqrstuvwxyz012345"},
        nonces=(Nonce(value="AbCdEfGhIjKlMnOpQrStUvWxYz012345"),),
        retry_after=RETRY,
    )
    yield _mismatch(
        name="another-vm",
        description="The nonce was issued for another VM.",
        body=posted(document),
        nonces=(Nonce(vm_id=_ANOTHER_VM),),
    )
    yield _mismatch(
        name="document-older-than-its-nonce",
        description="The document was created 61 s before its nonce was issued, so the nonce was guessed.",
        body=posted(window(-91 * _SECOND, timedelta(hours=5))),
        nonces=(Nonce(issued_at=NOW - 30 * _SECOND),),
        retry_after=RETRY,
    )


def _unknown_nonces() -> Iterator[Recipe]:
    document = documents.document()
    yield _unknown(name="never-issued", description="The nonce was never issued.", body=posted(document), nonces=())
    yield _unknown(
        name="default-nonce",
        description="No nonce was given to IMDS, which put its own: a time.",
        body=posted(documents.document(nonce=None)),
        retry_after=None,
    )
    yield _unknown(
        name="issued-to-another-tenant",
        description="The nonce was issued to another tenant.",
        body=posted(document),
        nonces=(Nonce(tenant="another"),),
    )
    yield _unknown(
        name="expired",
        description="The nonce expired a second ago.",
        body=posted(document),
        nonces=(Nonce(issued_at=NOW - 301 * _SECOND),),
    )
    yield _unknown(
        name="forgotten",
        description="The nonce was issued and used so long ago that the store has no record of it.",
        body=posted(document),
        nonces=(Nonce(issued_at=NOW - timedelta(hours=7), used_at=NOW - timedelta(hours=7)),),
    )


def _replays() -> Iterator[Recipe]:
    used = Nonce(used_at=NOW - 10 * _SECOND)
    yield _replayed(
        name="used-before",
        description="The nonce was used 10 s ago.",
        body=posted(documents.document()),
        nonces=(used,),
    )
    yield _replayed(
        name="used-before-and-named",
        description="The nonce was used 10 s ago, and the request names it.",
        body=posted(documents.document(), nonce=NONCE),
        request={"nonce": NONCE},
        nonces=(used,),
    )
    yield _replayed(
        name="used-before-and-expired",
        description="The nonce was used, and has expired since: a replay all the same.",
        body=posted(documents.document()),
        nonces=(Nonce(issued_at=NOW - timedelta(hours=5), used_at=NOW - timedelta(hours=5) + _SECOND),),
    )


def _denials() -> Iterator[Recipe]:
    document = documents.document()
    tables: dict[str, tuple[str, dict[str, object]]] = {
        "publisher": ("The policy allows another publisher.", {"publishers": ["fabrikam"]}),
        "sku": ("The policy allows other SKUs.", {"skus": ["premium", "basic"]}),
        "subscription": (
            "The policy allows another subscription.",
            {"subscriptionIds": ["00000000-0000-4000-8000-000000000000"]},
        ),
        "cloud": ("The policy allows another cloud.", {"clouds": ["AzureChinaCloud"]}),
    }
    for name, (description, table) in tables.items():
        yield _asked(f"{name}-not-allowed", description, document, table)
    yield _asked(
        "sku-absent",
        "The policy allows an SKU, and the document carries none.",
        with_fields(sku=...),
        {"skus": ["standard"]},
    )
    yield _asked(
        "plan-absent",
        "The policy requires a plan, and the document carries none.",
        with_fields(plan=...),
        {"requirePlan": True},
    )
    yield _asked(
        "plan-empty",
        "The policy requires a plan, and the document's is empty: an image of no Marketplace offer.",
        with_fields(plan={"name": "", "product": "", "publisher": ""}),
        {"requirePlan": True},
    )
    yield _asked(
        "older-than-the-policy-allows",
        "The policy allows 20 s, and the document is 21 s old.",
        window(-21 * _SECOND, timedelta(hours=5)),
        {"maximumAgeSeconds": 20},
    )
    yield _asked(
        "times-absent",
        "The policy allows 20 s, and the document does not say when it was created.",
        with_fields(timeStamp=...),
        {"maximumAgeSeconds": 20},
    )
    yield _denied(
        name="policy-of-the-nonce",
        description="The nonce was issued for a policy, which the request need not name, and which is not satisfied.",
        body=posted(document),
        nonces=(Nonce(vm_id=VM.vm_id, policy="asked"),),
        policies=_ANOTHER_PRODUCT,
    )
    yield _denied(
        name="policy-of-the-nonce-with-a-request-for-the-default",
        description="The policy that the nonce was issued for is not satisfied. The request names one that is.",
        body=posted(document, policy="default"),
        request={"policy": "default"},
        nonces=(Nonce(policy="asked"),),
        policies=_ANOTHER_PRODUCT,
    )
    yield _denied(
        name="policy-of-the-tenant-with-a-request-for-the-default",
        description="The tenant's policy is not satisfied. The request names one that is.",
        body=posted(document, policy="default"),
        request={"policy": "default"},
        policies=_ANOTHER_PRODUCT,
        tenant_policy="asked",
    )
    yield _denied(
        name="policy-of-the-tenant-with-a-nonce-for-the-default",
        description="The tenant's policy is not satisfied. The nonce was issued for one that is.",
        body=posted(document),
        nonces=(Nonce(policy="default"),),
        policies=_ANOTHER_PRODUCT,
        tenant_policy="asked",
    )


def _asked(name: str, description: str, document: bytes, policy: dict[str, object]) -> Recipe:
    return _denied(
        name=name,
        description=description,
        body=posted(document, policy="asked"),
        request={"policy": "asked"},
        policies={"asked": policy},
    )
