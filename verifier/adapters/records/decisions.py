"""Prepare a record for the stores of decisions: the texts that they index, and what they count its VM under."""

import json
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Final, NamedTuple
from urllib.parse import unquote

from verifier.adapters.records.nonces import encode_text, microseconds
from verifier.core.encoding.formats import explain_newer_format
from verifier.core.encoding.moments import moment_json
from verifier.core.model import Plan
from verifier.core.trust.clouds import Cloud
from verifier.ports.decisions import AppraisalRecord, Decision, Dimension, Position, Selection, Stage, Verdict
from verifier.ports.stores import StoreUnavailable

#: The version of the form of a line. A later release reads this one.
VERSION: Final = 1


# A NamedTuple: its construction takes half the time of that of a frozen dataclass.
class Entry(NamedTuple):
    """One record as a store keeps it. Each text except `line` is encoded (encode_text), and empty if it is unknown.

    `line` is the record as one line of JSON in ASCII. `groups` are what a verified VM counts under, and empty for any
    other record.
    """

    tenant: str
    stage: Stage
    at: int
    request_id: str
    vm_id: str
    subscription_id: str
    verdict: Verdict
    code: str
    plan: str
    line: str
    groups: Mapping[Dimension, str]


def entry_of(record: AppraisalRecord) -> Entry:
    """Return the entry of a record. The ids of the VM and the subscription are in lower case, the plan is folded."""
    claims = record.claims
    plan = claims.plan if claims else None
    return Entry(
        tenant=encode_text(record.tenant),
        stage=record.stage,
        at=microseconds(record.at),
        request_id=encode_text(record.request_id),
        vm_id=encode_text(claims.vm_id.lower()) if claims else "",
        subscription_id=encode_text((claims.subscription_id or "").lower()) if claims else "",
        verdict=record.verdict,
        code=encode_text(record.code),
        plan=encode_text((plan.name or "").casefold()) if plan else "",
        line=line_of(record),
        groups=_groups(plan, claims.sku, record.cloud) if claims and record.verdict is Verdict.VERIFIED else {},
    )


def line_of(record: AppraisalRecord) -> str:
    """Return one line of JSON that starts with the version and the time (RFC 3339, UTC)."""
    return f'{{"version":{VERSION},"time":"{moment_json(record.at, "microseconds")}",{record.members}}}'


def filters_of(selection: Selection) -> dict[str, str]:
    """Return the texts that an entry must have, by the name of the field. Times are not among them."""
    names = ("vm_id", "subscription_id", "verdict", "code", "plan")
    return {name: encode_text(text) for name in names if (text := getattr(selection, name)) is not None}


def decision_of(line: str, position: Position) -> Decision:
    """Return the decision that a line of JSON describes.

    Raises StoreUnavailable if it is not a decision in the form of this release, without repeating it.
    """
    try:
        fields = json.loads(line)
    except (ValueError, RecursionError):
        fields = None
    version = fields.get("version") if isinstance(fields, dict) else None
    if version == VERSION:
        return Decision(position=position, fields=fields)
    explained = explain_newer_format("A decision in the store", version, VERSION)
    raise StoreUnavailable(f"{explained or 'The store holds a decision that this release cannot read'}.")


def decode_text(text: str) -> str:
    """Decode what encode_text wrote."""
    return unquote(text, encoding="utf-8", errors="surrogatepass")


# A service sees few different plans, and their encoding takes longer than that of the rest of a record.
@lru_cache(maxsize=256)
def _groups(plan: Plan | None, sku: str | None, cloud: Cloud | None) -> Mapping[Dimension, str]:
    product = [plan.publisher or "", plan.product or ""] if plan else []
    name = [plan.name or ""] if plan else []
    return {
        Dimension.PLAN: _joined([*product, *name]),
        Dimension.PRODUCT: _joined(product),
        Dimension.SKU: _joined([sku or ""]),
        Dimension.CLOUD: encode_text(cloud or ""),
    }


def _joined(parts: Sequence[str]) -> str:
    return encode_text("/".join(parts).casefold() if any(parts) else "")
