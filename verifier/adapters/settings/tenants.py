"""Read tenants from tables of the settings file: keys, policy and limits."""

import re
from typing import Annotated, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer, StringConstraints, model_validator

from verifier.core.tenancy import NAME_PATTERN, AgentLimits, Rate, Tenant

# What `imds-verifier api-key` prints: the key, and its SHA-256.
_KEY = re.compile(r"\s*[A-Za-z0-9_-]{43}\s*", re.ASCII)
_PRINTED_KEY = re.compile(r"\s*key:", re.ASCII)
_PRINTED_HASH = re.compile(r"\s*sha256:", re.ASCII)


def _name_what_is_no_hash(value: object) -> object:
    """Refuse what operators copy from `imds-verifier api-key` in place of the hash, and name it. Never quotes it."""
    if not isinstance(value, str):
        return value
    if _PRINTED_KEY.match(value):
        raise ValueError("this is the output with the key of `imds-verifier api-key`; put only the 64 digits of sha256")
    if _PRINTED_HASH.match(value):
        raise ValueError("this is the line with `sha256:`; put only the 64 digits behind it")
    if _KEY.fullmatch(value):
        raise ValueError(
            "this looks like the key itself; put its SHA-256, the 64 digits that `imds-verifier api-key` prints"
        )
    return value


CallerName = Annotated[str, Field(pattern=f"^{NAME_PATTERN}$")]
#: The SHA-256 of a key in hex. A copy of the settings does not grant access.
KeyHash = Annotated[
    str,
    StringConstraints(to_lower=True, pattern=r"^[0-9A-Fa-f]{64}$"),
    BeforeValidator(_name_what_is_no_hash),
]

#: Enough for key rotation. More keys indicate that old ones are not removed.
MAX_KEYS = 16


def _parse(value: object) -> Rate:
    if not isinstance(value, str):
        raise ValueError("expected a rate such as 600/minute")  # noqa: TRY004 - pydantic reports only ValueError
    return Rate.parse(value)


_RateText = Annotated[Rate, BeforeValidator(_parse), PlainSerializer(str)]
_AGENTS = AgentLimits()


class TenantTable(BaseModel):
    """Read one tenant, e.g. `[tenants.contoso]`. The defaults are the policy `default` and no rate limit.

    `keys` are those of the backend. Agents always have limits.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    keys: Annotated[tuple[KeyHash, ...], Field(min_length=1, max_length=MAX_KEYS)]
    policy: str = "default"
    rate: _RateText | None = None
    agent_keys: Annotated[tuple[KeyHash, ...], Field(max_length=MAX_KEYS)] = ()
    agent_address_rate: _RateText = _AGENTS.address_rate
    agent_vm_rate: _RateText = _AGENTS.vm_rate
    agent_address_nonces: int = _AGENTS.address_nonces
    agent_nonces: int = _AGENTS.tenant_nonces

    @model_validator(mode="after")
    def _check_limits(self) -> Self:
        self._agents()
        return self

    def tenant(self, name: str) -> Tenant:
        return Tenant(name=name, policy=self.policy, rate=self.rate, agents=self._agents())

    def _agents(self) -> AgentLimits:
        """Return the limits of agents. Raises ValueError."""
        return AgentLimits(
            address_rate=self.agent_address_rate,
            vm_rate=self.agent_vm_rate,
            address_nonces=self.agent_address_nonces,
            tenant_nonces=self.agent_nonces,
        )
