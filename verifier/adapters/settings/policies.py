"""Read named policies from tables of the settings file. A document must satisfy every rule of a table."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Annotated, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from verifier.core.policy import ClaimIn, ClaimName, CloudIn, MaximumAge, RequirePlan, Rule
from verifier.core.policy_combinators import AllOf, AnyOf, Not
from verifier.core.trust.clouds import Cloud
from verifier.core.vm_ids import parse_vm_id

#: The greatest depth and number of tables in one policy. Each document is checked against all of them, and an
#: operator must be able to read them.
MAX_DEPTH = 8
MAX_TABLES = 128

_Values = Annotated[frozenset[str], Field(min_length=1)] | None
# A value that is not a GUID would match no document. The error names its place in the list.
_VmIds = Annotated[frozenset[Annotated[str, AfterValidator(parse_vm_id)]], Field(min_length=1)] | None


class PolicyTable(BaseModel):
    """Read one policy, e.g. `[policies.gold]`, or a part of one. A table without a rule is refused at every depth."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    clouds: Annotated[frozenset[Cloud], Field(min_length=1)] | None = None
    publishers: _Values = None
    products: _Values = None
    plans: _Values = None
    vm_ids: _VmIds = Field(default=None, alias="vmIds")
    subscription_ids: _Values = Field(default=None, alias="subscriptionIds")
    skus: _Values = None
    license_types: _Values = Field(default=None, alias="licenseTypes")
    require_plan: bool = Field(default=False, alias="requirePlan")
    maximum_age_seconds: Annotated[int, Field(ge=1, le=7 * 24 * 3600)] | None = Field(
        default=None, alias="maximumAgeSeconds"
    )
    all_of: Annotated[tuple["PolicyTable", ...], Field(min_length=1)] | None = Field(default=None, alias="allOf")
    any_of: Annotated[tuple["PolicyTable", ...], Field(min_length=1)] | None = Field(default=None, alias="anyOf")
    negated: "PolicyTable | None" = Field(default=None, alias="not")

    @model_validator(mode="after")
    def _check(self) -> Self:
        """Check the size and the rule. Pydantic validates inner tables first, so the recursion stays within bounds."""
        levels = list(self._levels(0))
        if max(levels) > MAX_DEPTH:
            raise ValueError(f"more than {MAX_DEPTH} levels of nested tables")
        if len(levels) > MAX_TABLES:
            raise ValueError(f"more than {MAX_TABLES} tables in one policy")
        self.rule()
        return self

    def rule(self) -> Rule:
        """Return the rules of the table as one rule. Raises ValueError if the table has none."""
        claims = {
            ClaimName.PUBLISHER: self.publishers,
            ClaimName.PRODUCT: self.products,
            ClaimName.PLAN: self.plans,
            ClaimName.VM_ID: self.vm_ids,
            ClaimName.SUBSCRIPTION_ID: self.subscription_ids,
            ClaimName.SKU: self.skus,
            ClaimName.LICENSE_TYPE: self.license_types,
        }
        rules: list[Rule] = [ClaimIn(claim, allowed) for claim, allowed in claims.items() if allowed is not None]
        if self.clouds is not None:
            rules.append(CloudIn(self.clouds))
        if self.require_plan:
            rules.append(RequirePlan())
        if self.maximum_age_seconds is not None:
            rules.append(MaximumAge(timedelta(seconds=self.maximum_age_seconds)))
        if self.all_of is not None:
            rules.append(AllOf(*(table.rule() for table in self.all_of)))
        if self.any_of is not None:
            rules.append(AnyOf(*(table.rule() for table in self.any_of)))
        if self.negated is not None:
            rules.append(Not(self.negated.rule()))
        if not rules:
            raise ValueError("the policy has no rule")
        return AllOf(*rules)

    def _levels(self, own: int) -> Iterator[int]:
        """Yield the level of this table and of each table below it."""
        yield own
        for part in (*(self.all_of or ()), *(self.any_of or ()), *([self.negated] if self.negated else ())):
            yield from part._levels(own + 1)  # noqa: SLF001 - of the same class
