"""decode_claims refuses the content, or returns what json.loads returns, with every claim of its type and length."""

import json
from functools import cache

from support.documents import sample

from verifier.core.bounds import MAX_NONCE_CHARACTERS, MAX_VM_ID_CHARACTERS
from verifier.core.claims import decode_claims
from verifier.core.envelope import read_envelope
from verifier.core.model import Claims, NamedContent, RawDocument, SignedContent
from verifier.core.reasons import ClaimsRefused
from verifier.core.trust.certificates import Certificate
from verifier.core.trust.clouds import Cloud


def check(data: bytes) -> bool:
    """Check the property for one input, and return whether it is accepted."""
    signed = SignedContent(sha256="", content=data, signer=_signer(), unverified_candidates=())
    named = NamedContent(signed=signed, cloud=Cloud.PUBLIC, names=(), server_name=None)
    try:
        decoded = decode_claims(named)
    except ClaimsRefused:
        return False
    document = json.loads(data)
    assert dict(decoded.document) == document
    _compare(decoded.claims, document)
    return True


def _compare(claims: Claims, document: dict[str, object]) -> None:
    assert claims.vm_id == document["vmId"]
    assert 1 <= len(claims.vm_id) <= MAX_VM_ID_CHARACTERS
    assert claims.nonce == document.get("nonce")
    assert len(claims.nonce or "") <= MAX_NONCE_CHARACTERS
    assert (claims.sku, claims.license_type) == (document.get("sku"), document.get("licenseType"))
    assert claims.subscription_id == document.get("subscriptionId")
    plan = document.get("plan")
    if isinstance(plan, dict):
        assert claims.plan is not None
        shown = (claims.plan.publisher, claims.plan.product, claims.plan.name)
        assert shown == (plan.get("publisher"), plan.get("product"), plan.get("name"))
    else:
        assert plan is claims.plan is None
    times = document.get("timeStamp") or document.get("timestamp") or {}
    assert isinstance(times, dict)
    for moment, name in ((claims.created_on, "createdOn"), (claims.expires_on, "expiresOn")):
        written = times.get(name)
        assert (moment is None) is (not written)
        if moment is not None:
            assert str(written)[:-5] == f"{moment:%m/%d/%y %H:%M:%S} "
            assert moment.utcoffset() is not None


@cache
def _signer() -> Certificate:
    return read_envelope(RawDocument(raw_der=sample("public-eastus-2026-07-28"))).signer
