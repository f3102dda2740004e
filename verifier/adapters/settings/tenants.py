"""Tenants as tables of the settings file: each with its keys, its policy and its rate."""

from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer, StringConstraints

from verifier.core.tenancy import Rate, Tenant

TenantName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._@-]{0,63}$")]
#: The SHA-256 of a key in hex: a copy of the settings lets nobody in.
KeyHash = Annotated[str, StringConstraints(to_lower=True, pattern=r"^[0-9A-Fa-f]{64}$")]

#: Enough for a key to follow another; more are a sign of one that nobody takes away.
MAX_KEYS = 16


def _parse(value: object) -> Rate:
    if not isinstance(value, str):
        raise ValueError("a rate is written as 600/minute")  # noqa: TRY004 - pydantic makes a fault of a ValueError alone
    return Rate.parse(value)


class TenantTable(BaseModel):
    """One tenant, e.g. `[tenants.contoso]`. What is not named: the policy `default`, and no limit."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    keys: Annotated[tuple[KeyHash, ...], Field(min_length=1, max_length=MAX_KEYS)]
    policy: str = "default"
    rate: Annotated[Rate, BeforeValidator(_parse), PlainSerializer(str)] | None = None

    def tenant(self, name: str) -> Tenant:
        return Tenant(name=name, policy=self.policy, rate=self.rate)
