"""Check 8: what the relying party asks of the claims (RFC 9334 section 8.5), as small rules that compose.

An absent claim satisfies no rule and no negation of a rule.
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import field
from datetime import datetime, timedelta
from enum import Enum, StrEnum
from typing import ClassVar, Protocol, TypeVar

from verifier.core.ascii_case import fold_case
from verifier.core.model import Archived, AuthenticContent, Claims, FirstSight, Plan, Redeemed, Verified
from verifier.core.reasons import NO_REMARKS, PolicyRefused, Reason, Remarks
from verifier.core.trust.clouds import Cloud
from verifier.core.values import dataclass
from verifier.core.vm_ids import parse_vm_id, swap_bytes

_Freshness = TypeVar("_Freshness", bound=Redeemed | FirstSight | Archived)


class RuleOutcome(Enum):
    SATISFIED = "satisfied"
    DENIED = "denied"
    #: The document does not carry the claim that the rule is about.
    ABSENT = "absent"


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleResult:
    """The outcome of one rule, with its name and one sentence for the person whose document is refused.

    `found` and `allowed` are for the operator of the policy: a rule that compares one value states it, and what it
    accepts.
    """

    outcome: RuleOutcome
    rule: str
    detail: str = ""
    found: str | None = None
    allowed: frozenset[str] = frozenset()


#: How many allowed values a denial names.
MAX_ALLOWED_SHOWN = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Denial:
    """Say why a policy refused a document, for the operator of the policy.

    `found` is None if the document does not carry the claim. `allowed` has the first MAX_ALLOWED_SHOWN allowed values
    in their order, and `allowed_count` is the number of all.
    """

    policy: str
    rule: str
    found: str | None
    allowed: tuple[str, ...]
    allowed_count: int


class Rule(Protocol):
    """One requirement on authentic content. Rules are pure: the moment is an argument."""

    def evaluate(self, content: AuthenticContent, *, now: datetime) -> RuleResult: ...


class ClaimName(StrEnum):
    """The claims that a rule can be about, by their place in the document."""

    PUBLISHER = "plan.publisher"
    PRODUCT = "plan.product"
    PLAN = "plan.name"
    VM_ID = "vmId"
    SUBSCRIPTION_ID = "subscriptionId"
    SKU = "sku"
    LICENSE_TYPE = "licenseType"

    @property
    def introduced(self) -> str:
        """The api-version of IMDS that introduced the claim (Azure page, "Attested data")."""
        return _INTRODUCED[self]

    def read(self, claims: Claims) -> str | None:
        """Return the claim's value, or None if the document does not carry it."""
        return _READERS[self](claims, claims.plan or _NO_PLAN)


_PLAN = (ClaimName.PUBLISHER, ClaimName.PRODUCT, ClaimName.PLAN)
_INTRODUCED = {
    ClaimName.PUBLISHER: "2018-10-01",
    ClaimName.PRODUCT: "2018-10-01",
    ClaimName.PLAN: "2018-10-01",
    ClaimName.VM_ID: "2018-10-01",
    ClaimName.SUBSCRIPTION_ID: "2019-04-30",
    ClaimName.SKU: "2019-11-01",
    ClaimName.LICENSE_TYPE: "2020-09-01",
}


_NO_PLAN = Plan(publisher=None, product=None, name=None)
_READERS: Mapping[ClaimName, Callable[[Claims, Plan], str | None]] = {
    ClaimName.PUBLISHER: lambda _, plan: plan.publisher,
    ClaimName.PRODUCT: lambda _, plan: plan.product,
    ClaimName.PLAN: lambda _, plan: plan.name,
    ClaimName.VM_ID: lambda claims, _: claims.vm_id,
    ClaimName.SUBSCRIPTION_ID: lambda claims, _: claims.subscription_id,
    ClaimName.SKU: lambda claims, _: claims.sku,
    ClaimName.LICENSE_TYPE: lambda claims, _: claims.license_type,
}


@dataclass(frozen=True, slots=True)
class ClaimIn:
    """Require that the claim is one of the allowed values. The case of ASCII letters is ignored.

    Azure's GUIDs and Marketplace ids are ASCII. The allowed values of `vmId` are GUIDs. They may be in braces, as some
    tools print them.
    """

    claim: ClaimName
    allowed: frozenset[str]

    def __post_init__(self) -> None:
        if not self.allowed:
            raise ValueError(f"no allowed value for {self.claim}")
        normalise = parse_vm_id if self.claim is ClaimName.VM_ID else fold_case
        object.__setattr__(self, "allowed", frozenset(map(normalise, self.allowed)))

    def evaluate(self, content: AuthenticContent, *, now: datetime) -> RuleResult:  # noqa: ARG002 - the same for all rules
        rule = f"{self.claim} is allowed"
        value = self.claim.read(content.claims)
        if value is None:
            return _absent(rule, self.claim, allowed=self.allowed)
        denied = f"The document's {self.claim} is not allowed."
        if not value and self.claim in _PLAN:
            denied = _no_marketplace_image(self.claim)
        elif self.claim is ClaimName.VM_ID and swap_bytes(value) in self.allowed:
            denied = (
                "The policy allows this VM's id in the byte order of dmidecode on Gen1 VMs: put the vmId of IMDS into "
                "the policy."
            )
        return _result(rule, fold_case(value) in self.allowed, denied=denied, found=value, allowed=self.allowed)


@dataclass(frozen=True, slots=True)
class CloudIn:
    allowed: frozenset[Cloud]

    def __post_init__(self) -> None:
        if not self.allowed:
            raise ValueError("no allowed cloud")

    def evaluate(self, content: AuthenticContent, *, now: datetime) -> RuleResult:  # noqa: ARG002 - the same for all rules
        is_allowed = content.cloud in self.allowed
        denied = f"{content.cloud} is not an allowed cloud."
        return _result("cloud is allowed", is_allowed, denied=denied, found=content.cloud, allowed=self.allowed)


@dataclass(frozen=True, slots=True)
class RequirePlan:
    """Require a Marketplace image: the plan names publisher, product and plan."""

    def evaluate(self, content: AuthenticContent, *, now: datetime) -> RuleResult:  # noqa: ARG002 - the same for all rules
        rule = "plan is present"
        for claim in _PLAN:
            value = claim.read(content.claims)
            if value is None:
                return _absent(rule, claim)
            if not value:
                return RuleResult(outcome=RuleOutcome.ABSENT, rule=rule, detail=_no_marketplace_image(claim))
        return RuleResult(outcome=RuleOutcome.SATISFIED, rule=rule)


@dataclass(frozen=True, slots=True)
class MaximumAge:
    """Require that the document was created at most `age` ago."""

    age: timedelta

    def __post_init__(self) -> None:
        if self.age <= timedelta(0):
            raise ValueError("the maximum age is not positive")

    def evaluate(self, content: AuthenticContent, *, now: datetime) -> RuleResult:
        allowed = f"at most {self.age.total_seconds():.0f} s"
        rule = f"document is {allowed} old"
        created_on = content.claims.created_on
        if created_on is None:
            return RuleResult(
                outcome=RuleOutcome.ABSENT,
                rule=rule,
                detail="The document does not say when it was created.",
                allowed=frozenset({allowed}),
            )
        age = now - created_on
        denied = "The document is older than the policy allows."
        found = f"{age.total_seconds():.0f} s"
        return _result(rule, age <= self.age, denied=denied, found=found, allowed=frozenset({allowed}))


class PolicyDenied(PolicyRefused):
    """A rule of a policy refused the document. `denial` is for callers that may know the policy."""

    def __init__(self, policy: str, result: RuleResult, *, remarks: Remarks = NO_REMARKS) -> None:
        super().__init__(
            Reason.POLICY_DENIED,
            f"Policy {policy!r}, rule '{result.rule}': {result.detail}",
            remarks=remarks,
            public_detail=f"The document does not satisfy the rule '{result.rule}'.",
        )
        self._policy = policy
        self._result = result

    @property
    def denial(self) -> Denial:
        return Denial(
            policy=self._policy,
            rule=self._result.rule,
            found=self._result.found,
            allowed=tuple(sorted(self._result.allowed)[:MAX_ALLOWED_SHOWN]),
            allowed_count=len(self._result.allowed),
        )

    def with_remarks(self, remarks: Remarks) -> "PolicyDenied":
        return PolicyDenied(self._policy, self._result, remarks=remarks)

    def as_final(self) -> "PolicyDenied":
        """Return this refusal: no agent can try it again."""
        return self


class UnknownPolicyError(ValueError):
    """Report a policy name that does not exist."""


@dataclass(frozen=True, slots=True)
class Policies:
    """The named policies of a service. DEFAULT always exists; unless it is set, it accepts every Azure cloud."""

    DEFAULT: ClassVar[str] = "default"

    rules: Mapping[str, Rule] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "rules", {self.DEFAULT: CloudIn(frozenset(Cloud)), **self.rules})

    def find(self, name: str) -> Rule:
        """Return the rule of this name. Raises UnknownPolicyError."""
        try:
            return self.rules[name]
        except KeyError as error:
            raise UnknownPolicyError(f"There is no policy {name[:64]!r} here.") from error

    def without(self, names: Collection[str]) -> "Policies":
        """Return the policies that have none of these names. DEFAULT stays."""
        return Policies({name: rule for name, rule in self.rules.items() if name == self.DEFAULT or name not in names})

    def apply(self, fresh: _Freshness, names: tuple[str, ...], *, now: datetime) -> Verified[_Freshness]:
        """Hold the document against every policy in `names`, of which there is at least one.

        Raises PolicyRefused with the first rule that failed, or if a policy no longer exists: a nonce can outlive the
        policy that it is bound to.
        """
        for name in names:
            try:
                rule = self.find(name)
            except UnknownPolicyError as error:
                raise PolicyRefused(
                    Reason.POLICY_DENIED,
                    f"The nonce is bound to policy {name[:64]!r}, which no longer exists: get a new nonce.",
                    public_detail="The nonce is bound to a policy that no longer exists: get a new nonce.",
                ) from error
            result = rule.evaluate(fresh.content, now=now)
            if result.outcome is not RuleOutcome.SATISFIED:
                raise PolicyDenied(name, result)
        return Verified(fresh=fresh, policies=names)


def applicable_policies(fresh: Redeemed | FirstSight | Archived, *, tenant: str, asked: str | None) -> tuple[str, ...]:
    """List the policies that the document must satisfy: the tenant's, the nonce's and the request's.

    The tenant's policy is always the first. Its nonce and its request can add one each, and so can only narrow. No
    name is repeated.
    """
    bound = fresh.record.policy if isinstance(fresh, Redeemed) else ""
    return tuple(dict.fromkeys((tenant, *([bound] if bound else []), *([] if asked is None else [asked]))))


def _result(
    rule: str,
    is_satisfied: bool,  # noqa: FBT001 - the rule's own condition
    *,
    denied: str,
    found: str,
    allowed: frozenset[str],
) -> RuleResult:
    outcome = RuleOutcome.SATISFIED if is_satisfied else RuleOutcome.DENIED
    detail = "" if is_satisfied else denied
    return RuleResult(outcome=outcome, rule=rule, detail=detail, found=found, allowed=allowed)


def _no_marketplace_image(claim: ClaimName) -> str:
    return f"The VM was not made from a Marketplace image: its {claim} is empty."


def _absent(rule: str, claim: ClaimName, *, allowed: frozenset[str] = frozenset()) -> RuleResult:
    return RuleResult(
        outcome=RuleOutcome.ABSENT,
        rule=rule,
        detail=f"The document does not carry {claim}; IMDS adds it from api-version {claim.introduced} on.",
        allowed=allowed,
    )
