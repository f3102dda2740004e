"""Named policies as tables of the settings file: each is all of the rules that it names."""

from datetime import timedelta
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from verifier.core.clouds import Cloud
from verifier.core.policy import AllOf, ClaimIn, ClaimName, CloudIn, MaximumAge, RequirePlan, Rule

_Values = Annotated[frozenset[str], Field(min_length=1)] | None


class PolicyTable(BaseModel):
    """One policy, e.g. `[policies.gold]`. What is not named is not asked; a policy that asks nothing is refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    clouds: Annotated[frozenset[Cloud], Field(min_length=1)] | None = None
    publishers: _Values = None
    products: _Values = None
    plans: _Values = None
    subscription_ids: _Values = Field(default=None, alias="subscriptionIds")
    skus: _Values = None
    license_types: _Values = Field(default=None, alias="licenseTypes")
    require_plan: bool = Field(default=False, alias="requirePlan")
    maximum_age_seconds: Annotated[int, Field(ge=1)] | None = Field(default=None, alias="maximumAgeSeconds")

    @model_validator(mode="after")
    def _asks_something(self) -> Self:
        self.rule()
        return self

    def rule(self) -> Rule:
        """All that the table asks. Raises ValueError where that is nothing."""
        claims = {
            ClaimName.PUBLISHER: self.publishers,
            ClaimName.PRODUCT: self.products,
            ClaimName.PLAN: self.plans,
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
        if not rules:
            raise ValueError("a policy that asks nothing")
        return AllOf(*rules)
