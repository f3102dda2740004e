"""Define the records of appraisals, which users see as decisions, and the store that keeps them.

The store answers "why was X refused?" from the records, and "how many VMs in November?" from daily counts.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from datetime import date, datetime, timedelta
from enum import StrEnum
from functools import cached_property
from typing import Final, NamedTuple, Protocol

from verifier.core.encoding.json_text import encode_json
from verifier.core.encoding.moments import milliseconds
from verifier.core.model import Claims, Plan
from verifier.core.policy import Denial
from verifier.core.reasons import Check
from verifier.core.trust.clouds import Cloud
from verifier.core.values import dataclass


class Verdict(StrEnum):
    """Name the ways in which an appraisal ends. UNAVAILABLE is an error of the service and no statement about the
    document."""

    VERIFIED = "verified"
    REFUSED = "refused"
    UNAVAILABLE = "unavailable"


class Stage(StrEnum):
    """Say how far a document came. Each stage has its own share of a tenant's bytes in the store.

    Anyone can post documents that stay UNVERIFIED, and can post one AUTHENTIC document again and again. Only a document
    with an unused nonce is FRESH, so the records of the other two stages cannot push out its record.
    """

    #: The chain check did not pass, or there was no document.
    UNVERIFIED = "unverified"
    #: The chain check passed. The nonce check, or the rate of the VM, refused the document.
    AUTHENTIC = "authentic"
    #: The nonce was redeemed. The document is verified, or a policy refused it.
    FRESH = "fresh"


# Without slots, because `members` is computed once for each record.
@dataclasses.dataclass(frozen=True, kw_only=True)  # no slots: it caches `members`
class AppraisalRecord:
    """Describe one appraisal, or one request that ended before it, and how it ended. Users see it as a "decision".

    It is safe to keep: it has the document's digest and its signer's names, and never a nonce. A field is empty if the
    request ended before the service knew its value.

    - `code` is "verified", or the code of the problem.
    - `claims` are None unless the chain check passed. Then a cloud's IMDS signed them.
    - The document claims its signer and `cloud`. They are proven only if the chain check passed. The names are escaped
      and bounded (core.trust.certificates).
    - `client_request_id` is the caller's own id of the request. It need not be unique.
    - `key` identifies the API key: its kind and the start of its SHA-256, as in `agent:3f2a91bc`.
    - `route` is the method and the rule of the path, as in `POST /v1/attestations`.
    - `policies` are the policies that the document had to satisfy, `denial` says which rule refused it.
    - `detail` is the sentence of the refusal. It repeats nothing that a caller wrote into a request.
    - `seconds` is the duration of the appraisal, `steps` the duration of each check that started.
    """

    at: datetime
    request_id: str
    client_request_id: str = ""
    tenant: str
    key: str = ""
    route: str = ""
    verdict: Verdict
    code: str
    detail: str = ""
    failed_check: Check | None = None
    stage: Stage = Stage.UNVERIFIED
    claims: Claims | None = dataclasses.field(default=None, repr=False)
    cloud: Cloud | None = None
    signer_serial: str = ""
    issuer: str = ""
    policies: tuple[str, ...] = ()
    denial: Denial | None = None
    document_sha256: str = ""
    seconds: float = 0
    steps: tuple[tuple[Check, float], ...] = ()

    def fields(self) -> dict[str, object]:
        """Return what JSON shows: every field except the time and the stage. Enumerations stay: they are texts too.

        Unknown values are empty and never missing, so that queries need no special case.
        """
        claims = self.claims
        plan = (claims.plan if claims else None) or _NO_PLAN
        return {
            "requestId": self.request_id,
            "clientRequestId": self.client_request_id,
            "tenant": self.tenant,
            "key": self.key,
            "route": self.route,
            "verdict": self.verdict,
            "code": self.code,
            "detail": self.detail,
            "failedCheck": self.failed_check or "",
            "vmId": claims.vm_id if claims else "",
            "subscriptionId": (claims.subscription_id or "") if claims else "",
            "plan": {"publisher": plan.publisher or "", "product": plan.product or "", "name": plan.name or ""},
            "sku": (claims.sku or "") if claims else "",
            "licenseType": (claims.license_type or "") if claims else "",
            "cloud": self.cloud or "",
            "signerSerial": self.signer_serial,
            "issuer": self.issuer,
            "policies": self.policies,
            "denial": None if self.denial is None else _denial(self.denial),
            "documentSha256": self.document_sha256,
            "milliseconds": milliseconds(self.seconds),
            "steps": {str(check): milliseconds(seconds) for check, seconds in self.steps},
        }

    @cached_property
    def members(self) -> str:
        """The fields as the members of a JSON object, in ASCII and without its braces.

        The service log and the stores add the time, each in its own form.
        """
        return encode_json(self.fields())[1:-1].decode("ascii")


_NO_PLAN: Final = Plan(publisher=None, product=None, name=None)


def _denial(denial: Denial) -> dict[str, object]:
    return {
        "policy": denial.policy,
        "rule": denial.rule,
        "found": denial.found,
        "allowed": denial.allowed,
        "allowedCount": denial.allowed_count,
    }


class DecisionLog(Protocol):
    """Take the records of one worker."""

    def append(self, record: AppraisalRecord) -> None:
        """Keep the record. Raises StoreUnavailable if it cannot be kept and each record is required."""


#: The setting that names the store of decisions. Sentences about that store repeat it.
DECISION_STORE_SETTING: Final = "VERIFIER_DECISION_STORE"

#: How long decisions and daily counts are kept.
KEEP_DECISIONS = timedelta(days=30)
KEEP_USAGE = timedelta(days=400)

#: The share of a tenant's bytes that the records of each stage may use.
SHARES: Mapping[Stage, float] = {Stage.FRESH: 14 / 16, Stage.AUTHENTIC: 1 / 16, Stage.UNVERIFIED: 1 / 16}

#: The tenant of requests without a valid key. No tenant can have this name (core.tenancy.NAME_PATTERN).
NO_TENANT = ""


class Position(NamedTuple):
    """The place of a decision in its tenant's order: microseconds since 1970, and a number of the store for ties."""

    moment: int
    sequence: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """A stored record: its place, and the fields of its record as JSON shows them."""

    position: Position
    fields: Mapping[str, object]


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """Select decisions. A field that is None selects all.

    `vm_id` and `subscription_id` are in lower case, `plan` is the case-folded name of a plan. `since` is inclusive,
    `until` is exclusive.
    """

    vm_id: str | None = None
    subscription_id: str | None = None
    verdict: Verdict | None = None
    code: str | None = None
    plan: str | None = None
    since: datetime | None = None
    until: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Scan:
    """What one scan found, newest first.

    `scanned` is the number of records that it looked at. `reached` is the place from which the next scan goes on, or
    None if there are no older records.
    """

    decisions: tuple[Decision, ...]
    scanned: int
    reached: Position | None


class Dimension(StrEnum):
    """What the counts of VMs are grouped by. A plan is `publisher/product/name`, a product `publisher/product`.

    The values are case-folded, except those of clouds. The value is empty if the document does not carry the claim.
    """

    PLAN = "plan"
    PRODUCT = "product"
    SKU = "sku"
    CLOUD = "cloud"


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """How many distinct VMs were verified. `groups` has the number for each value of a dimension.

    A VM that changed its plan counts in two groups, and once in `total`. If not `exact`, `error` is the relative
    standard error. `counted_since` is the first day of which the store has every count, or None if it has none.
    """

    total: int
    groups: Mapping[str, int]
    exact: bool
    error: float = 0
    counted_since: date | None = None


class DecisionStore(Protocol):
    """Keep the decisions of all workers and replicas, and count the verified VMs of each day (UTC).

    Each tenant's records are apart: no argument reaches those of another tenant. They are bounded in bytes (by stage,
    see SHARES) and in age; beyond a bound, the oldest are deleted. Records never change.
    Every method raises StoreUnavailable if the store is unavailable, full, read-only or slower than its timeout.
    """

    def append(self, records: Sequence[AppraisalRecord]) -> None:
        """Keep the records of any tenants, and count the VMs of the verified ones.

        A record whose request id is already kept is ignored, so that a batch may be sent again. StoreUnavailable leaves
        it unknown which of the records are kept.
        """

    def find(self, request_id: str, *, tenant: str) -> Decision | None:
        """Return the decision of this request, or None."""

    def scan(self, selection: Selection, *, tenant: str, before: Position | None, limit: int, most: int) -> Scan:
        """Return at most `limit` selected decisions, newest first, of those older than `before`.

        It looks at about `most` records at most. It uses the index of a vmId or a subscription if the selection names
        one.
        """

    def tenants(self) -> tuple[str, ...]:
        """Return each tenant that has records or counts, sorted.

        They include NO_TENANT and tenants that the settings no longer have.
        """

    def erase(self, *, tenant: str, vm_id: str | None = None, subscription_id: str | None = None) -> int:
        """Delete every record and count of the VM or of the subscription, and return how many records there were.

        Exactly one of both is given, in lower case.
        """

    def usage(self, first: date, last: date, *, tenant: str, by: Dimension) -> Usage:
        """Count the distinct VMs that were verified from `first` to `last`, both included."""
