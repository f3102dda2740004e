"""Read tenants from tables of the settings file: keys, policy and rate."""

from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer, StringConstraints

from verifier.core.tenancy import NAME_PATTERN, Rate, Tenant

CallerName = Annotated[str, Field(pattern=f"^{NAME_PATTERN}$")]
#: The SHA-256 of a key in hex. A copy of the settings does not grant access.
KeyHash = Annotated[str, StringConstraints(to_lower=True, pattern=r"^[0-9A-Fa-f]{64}$")]

#: Enough for key rotation. More keys indicate that old ones are not removed.
MAX_KEYS = 16


def _parse(value: object) -> Rate:
    if not isinstance(value, str):
        raise ValueError("expected a rate such as 600/minute")  # noqa: TRY004 - pydantic reports only ValueError
    return Rate.parse(value)


class TenantTable(BaseModel):
    """Read one tenant, e.g. `[tenants.contoso]`. The defaults are the policy `default` and no rate limit."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    keys: Annotated[tuple[KeyHash, ...], Field(min_length=1, max_length=MAX_KEYS)]
    policy: str = "default"
    rate: Annotated[Rate, BeforeValidator(_parse), PlainSerializer(str)] | None = None

    def tenant(self, name: str) -> Tenant:
        return Tenant(name=name, policy=self.policy, rate=self.rate)
