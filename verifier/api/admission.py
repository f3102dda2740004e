"""The way in for tenants: whose request it is, and whether its rate has room for it. Before anything of it is read."""

from collections.abc import Callable
from dataclasses import dataclass

from flask import Response, g, request

from verifier.api.authentication import Administrators, Tenants
from verifier.api.json_codec import RequestError
from verifier.api.problems import RequestFault
from verifier.core.tenancy import LimitedPath, Tenant
from verifier.ports.stores import RateLimiter


@dataclass(frozen=True, slots=True, kw_only=True)
class Admission:
    """Tenants and administrators are asked for at each request: both change while the service runs."""

    tenants: Callable[[], Tenants]
    administrators: Callable[[], Administrators]
    limiter: RateLimiter

    def admit(self, path: LimitedPath) -> Tenant:
        """The tenant whose request this is, which is counted, once, where the tenant has a rate.

        A request without a tenant is nobody's and not counted. Raises RequestError and StoreUnavailable.
        """
        tenant = self.tenants().authenticate(
            request.headers.getlist("Authorization"), administrators=self.administrators()
        )
        if tenant.rate is None:
            return tenant
        allowance = self.limiter.hit(f"{tenant.name}/{path}", tenant.rate)
        g.limited = (path, allowance)
        if not allowance.admitted:
            raise RequestError(
                RequestFault.RATE_LIMITED,
                f"At most {allowance.rate.amount} requests a {allowance.rate.unit} are taken here. Wait and repeat it.",
                retry_after=allowance.reset,
            )
        return tenant


def tell_allowance(response: Response) -> Response:
    """The answer says what the tenant may still send (draft-ietf-httpapi-ratelimit-headers-10, sections 3 and 4),
    where the request was counted or turned away."""
    if "limited" in g:
        path, allowance = g.limited
        window = round(allowance.rate.unit.window.total_seconds())
        reset = round(allowance.reset.total_seconds())
        response.headers["RateLimit-Policy"] = f'"{path}";q={allowance.rate.amount};w={window}'
        response.headers["RateLimit"] = f'"{path}";r={allowance.remaining};t={reset}'
    return response
