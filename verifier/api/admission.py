"""Authenticate tenants and enforce their request rates, before the service reads a request body."""

from collections.abc import Callable
from dataclasses import dataclass

from flask import Response, g, request

from verifier.api.authentication import Callers
from verifier.api.json_codec import RequestError
from verifier.api.problems import RequestFault
from verifier.core.policy import Policies
from verifier.core.tenancy import LimitedPath, Tenant
from verifier.ports.stores import RateLimiter


@dataclass(frozen=True, slots=True, kw_only=True)
class Admission:
    """Admit the requests of tenants. `callers` returns the present ones, because settings can change."""

    callers: Callable[[], Callers]
    limiter: RateLimiter

    def admit(self, path: LimitedPath) -> Tenant:
        """Authenticate the tenant of the current request and count the request against the tenant's rate.

        Requests that fail authentication are not counted. Raises RequestError and StoreUnavailable.
        """
        tenant = self.callers().authenticate_tenant(request.headers.getlist("Authorization"))
        if tenant.rate is None:
            return tenant
        allowance = self.limiter.hit(f"{tenant.name}/{path}", tenant.rate)
        g.limited = (path, allowance)
        if not allowance.admitted:
            raise RequestError(
                RequestFault.RATE_LIMITED,
                f"The rate of this tenant is {allowance.rate.amount} requests per {allowance.rate.unit}. Retry after "
                "the time in Retry-After.",
                retry_after=allowance.reset,
            )
        return tenant

    def knows_caller(self) -> bool:
        """Return whether the current request carries a valid key. In a service without keys, none does."""
        return self.callers().know(request.headers.getlist("Authorization"))

    def current_policies(self, tenant: Tenant) -> tuple[str, Policies]:
        """Return the name of the tenant's policy and the rules of all policies, from one snapshot of the settings.

        A caller decides how long it takes to send a body, and the settings can change meanwhile. So the policies are
        read right before the appraisal, and not with the tenant's key. Raises RequestError if the tenant was removed.
        """
        callers = self.callers()
        return callers.tenants.policy_of(tenant), callers.policies


def add_rate_headers(response: Response) -> Response:
    """Add the rate headers if the request was counted (draft-ietf-httpapi-ratelimit-headers-10 sections 3 and 4)."""
    if "limited" in g:
        path, allowance = g.limited
        window = round(allowance.rate.unit.window.total_seconds())
        reset = round(allowance.reset.total_seconds())
        response.headers["RateLimit-Policy"] = f'"{path}";q={allowance.rate.amount};w={window}'
        response.headers["RateLimit"] = f'"{path}";r={allowance.remaining};t={reset}'
    return response
