"""Authenticate tenants and enforce their limits.

The service counts a request before it reads the body. It counts a VM's document when its nonce was redeemed.
"""

import math
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta

from verifier.api.authentication import Callers, authorization_of
from verifier.api.current import current_request, current_state
from verifier.api.json_codec import RequestError
from verifier.api.problems import RequestFault
from verifier.api.source_addresses import SourceAddresses
from verifier.core.model import AuthenticContent
from verifier.core.policy import Policies
from verifier.core.tenancy import Allowance, KeyKind, LimitedPath, Rate, Tenant
from verifier.core.values import dataclass
from verifier.ports.stores import OutstandingNonces, RateLimiter, StoreUnavailable

_WAIT = "Retry after the time in Retry-After."


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """The tenant of a request. `address` is the source address of an agent, and empty for a backend.

    `key` is the key's name in records.
    """

    tenant: Tenant
    address: str = ""
    key: str = ""

    @property
    def agents(self) -> str:
        """Return the start of the name of each count of agents, so that none is a count of the tenant's backend."""
        return f"{self.tenant.name}/agents"


@dataclass(frozen=True, slots=True, kw_only=True)
class Admission:
    """Admit the requests of tenants. `callers` returns the present ones, because settings can change.

    Agent keys are public, so each customer of a tenant has limits of its own: by source address before the request is
    read, and by VM when the nonce of its document was redeemed. No customer can use up those of the backend.
    """

    callers: Callable[[], Callers]
    limiter: RateLimiter
    outstanding: OutstandingNonces
    nonce_lifetime: timedelta
    addresses: SourceAddresses

    def admit(self, path: LimitedPath) -> Caller:
        """Authenticate the tenant of the current request and count the request.

        A backend's request counts against the tenant's rate, and an agent's against the rate of its address. Requests
        that fail authentication are not counted. Raises RequestError and StoreUnavailable.
        """
        known = self.callers().authenticate_tenant(authorization_of(current_request()))
        tenant = known.tenant
        if known.kind is KeyKind.AGENT:
            current_state().is_agent = True
            caller = Caller(tenant=tenant, address=self.addresses.find(), key=known.key)
            name, rate, whose = f"{caller.agents}/{path}/{caller.address}", tenant.agents.address_rate, "your address"
        elif tenant.rate is not None:
            caller = Caller(tenant=tenant, key=known.key)
            name, rate, whose = f"{tenant.name}/{path}", tenant.rate, "this tenant"
        else:
            return Caller(tenant=tenant, key=known.key)
        self._count(path, name, rate, whose)
        return caller

    def admit_reader(self) -> Tenant | None:
        """Authenticate a reader of decisions and count the request against its tenant's rate for decisions.

        Returns None for an administrator, whose requests have no rate. Raises RequestError and StoreUnavailable.
        """
        return self._admit_secret(self.callers().authenticate_reader, LimitedPath.DECISIONS)

    def admit_inspection(self) -> Tenant | None:
        """Do the same for an inspection, with its own count. In a service without tenants, every caller is admitted."""
        return self._admit_secret(self.callers().authenticate_inspector, LimitedPath.INSPECTIONS)

    def _admit_secret(self, authenticate: Callable[[str | None], Tenant | None], path: LimitedPath) -> Tenant | None:
        tenant = authenticate(authorization_of(current_request()))
        if tenant is not None and tenant.rate is not None:
            self._count(path, f"{tenant.name}/{path}", tenant.rate, "this tenant")
        return tenant

    def _count(self, path: LimitedPath, name: str, rate: Rate, whose: str) -> None:
        allowance = self.limiter.hit(name, rate)
        current_state().limited = (path, allowance)
        if not allowance.admitted:
            raise _rate_limited(whose, allowance)

    def nonce_reservation(self, caller: Caller) -> Callable[[str], None] | None:
        """Return a function that counts an agent's nonce as outstanding, or None for a backend.

        The function raises RequestError if the agent's address or all agents of the tenant have too many outstanding
        nonces, and StoreUnavailable.
        """
        return (lambda nonce: self._reserve(caller, nonce)) if caller.address else None

    def document_admission(self, caller: Caller) -> Callable[[AuthenticContent], None] | None:
        """Return a function that counts an agent's document against the rate of its VM, or None for a backend.

        Call it when the document's nonce was redeemed. A document that was captured has a redeemed nonce, so it cannot
        use up the rate of its VM. The function raises RequestError and StoreUnavailable.
        """
        return (lambda content: self._admit_document(caller, content)) if caller.address else None

    def _reserve(self, caller: Caller, nonce: str) -> None:
        limits = caller.tenant.agents
        mine = f"{caller.agents}/{caller.address}"
        wait = self.outstanding.reserve(mine, nonce, limit=limits.address_nonces, lifetime=self.nonce_lifetime)
        if wait is not None:
            raise RequestError(
                RequestFault.RATE_LIMITED,
                f"Your address has {limits.address_nonces} outstanding nonces, which is the limit. {_WAIT}",
                retry_after=wait,
            )
        wait = self.outstanding.reserve(caller.agents, nonce, limit=limits.tenant_nonces, lifetime=self.nonce_lifetime)
        if wait is not None:
            self._release(mine, nonce)
            raise RequestError(
                RequestFault.RATE_LIMITED,
                f"The agents of this tenant have too many outstanding nonces. {_WAIT}",
                retry_after=wait,
            )

    def _admit_document(self, caller: Caller, content: AuthenticContent) -> None:
        nonce = content.claims.nonce or ""
        # If another address got the nonce, it counts there until it expires.
        for group in (f"{caller.agents}/{caller.address}", caller.agents):
            self._release(group, nonce)
        rate = caller.tenant.agents.vm_rate
        allowance = self.limiter.hit(f"{caller.agents}/vm/{content.claims.vm_id.lower()}", rate)
        if not allowance.admitted:
            raise _rate_limited("one VM", allowance, note=" The nonce of this document is used: get a new one then.")

    def _release(self, group: str, nonce: str) -> None:
        """Count the nonce no longer. If the store is unavailable, it counts until it expires."""
        with suppress(StoreUnavailable):
            self.outstanding.release(group, nonce)

    def identify(self) -> tuple[str, str]:
        """Return the names in records of the tenant and the key of the current request (`Callers.identify`)."""
        return self.callers().identify(authorization_of(current_request()))

    def knows_caller(self) -> bool:
        """Return whether the current request carries a secret key. In a service without keys, none does."""
        return self.callers().know(authorization_of(current_request()))

    def current_policies(self, tenant: Tenant) -> tuple[str, Policies]:
        """Return the name of the tenant's policy and the policies that it may name, from one snapshot of the settings.

        A caller decides how long it takes to send a body, and the settings can change meanwhile. So the policies are
        read right before the appraisal, and not with the tenant's key. Raises RequestError if the tenant was removed.
        """
        return self.callers().policies_of(tenant)

    def policies_of_inspection(self, tenant: Tenant | None) -> tuple[str, Policies]:
        """Do the same for an inspection. An administrator has no tenant: `default` applies, and each may be named."""
        return (Policies.DEFAULT, self.callers().policies) if tenant is None else self.current_policies(tenant)


def _rate_limited(whose: str, allowance: Allowance, *, note: str = "") -> RequestError:
    return RequestError(
        RequestFault.RATE_LIMITED,
        f"The rate of {whose} is {allowance.rate.amount} requests per {allowance.rate.unit}. {_WAIT}{note}",
        retry_after=allowance.reset,
    )


def rate_headers(path: LimitedPath, allowance: Allowance) -> tuple[tuple[str, str], tuple[str, str]]:
    """Return the rate headers of a counted request (draft-ietf-httpapi-ratelimit-headers-10 sections 3 and 4)."""
    window = round(allowance.rate.unit.window.total_seconds())
    reset = math.ceil(allowance.reset.total_seconds())
    return (
        ("RateLimit-Policy", f'"{path}";q={allowance.rate.amount};w={window}'),
        ("RateLimit", f'"{path}";r={allowance.remaining};t={reset}'),
    )
