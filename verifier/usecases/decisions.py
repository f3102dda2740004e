"""Search the decisions of one tenant or of all, count the verified VMs, and erase what is kept about a VM."""

import base64
import json
from collections.abc import Mapping
from datetime import date
from typing import NamedTuple, Self

from verifier.core.values import dataclass
from verifier.ports.decisions import DecisionStore, Dimension, Position, Selection, Usage

#: How many records one page looks at.
MAX_SCANNED = 10_000
#: How many decisions one page has.
MAX_LIMIT = 200
_MAX_CURSOR = 256
_END = 2**62
_NO_CURSOR = "the cursor is not one of this service"


class Cursor(NamedTuple):
    """The place of a decision in the order of all tenants. Callers see it as opaque text.

    It holds no secret and grants nothing: a page has only the decisions that its caller may see.
    """

    moment: int
    sequence: int
    tenant: str

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read what `text` wrote. Raises ValueError."""
        if len(text) > _MAX_CURSOR:
            raise ValueError(_NO_CURSOR)
        padded = text + "=" * (-len(text) % 4)
        try:
            parts = json.loads(base64.b64decode(padded, altchars=b"-_", validate=True))
        except ValueError as error:
            raise ValueError(_NO_CURSOR) from error
        match parts:
            case [int(moment), int(sequence), str(tenant)] if {0 <= moment < _END, 0 <= sequence < _END} == {True}:
                return cls(moment, sequence, tenant)
        raise ValueError(_NO_CURSOR)

    def text(self) -> str:
        """Write the cursor for the next request (base64url without padding)."""
        return base64.urlsafe_b64encode(json.dumps(self, separators=(",", ":")).encode()).rstrip(b"=").decode()

    def before(self, tenant: str) -> Position:
        """Return the place in the tenant's order from which the next page goes on, exclusive."""
        is_later = tenant < self.tenant
        return Position(self.moment, self.sequence + is_later)


@dataclass(frozen=True, slots=True, kw_only=True)
class DecisionPage:
    """A part of the found decisions, newest first. A page may be empty although `cursor` leads to others."""

    decisions: tuple[Mapping[str, object], ...]
    cursor: Cursor | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Decisions:
    """Read and erase decisions. The tenant None stands for all tenants. Every method raises StoreUnavailable."""

    store: DecisionStore

    def search(self, selection: Selection, *, tenant: str | None, cursor: Cursor | None, limit: int) -> DecisionPage:
        """Return one page of at most `limit` decisions. It looks at about MAX_SCANNED records at most."""
        tenants = self._tenants(tenant)
        most = max(limit, MAX_SCANNED // max(1, len(tenants)))
        found, ends = [], []
        for name in tenants:
            before = None if cursor is None else cursor.before(name)
            scan = self.store.scan(selection, tenant=name, before=before, limit=limit, most=most)
            found += [(Cursor(*decision.position, name), decision.fields) for decision in scan.decisions]
            if scan.reached is not None:
                ends.append(Cursor(*scan.reached, name))
        # Below the latest end, the scan of that tenant may have missed decisions.
        end = max(ends, default=None)
        found = sorted(((place, fields) for place, fields in found if end is None or place >= end), key=_place)[::-1]
        page, rest = found[:limit], found[limit:]
        return DecisionPage(
            decisions=tuple(fields for _, fields in page),
            cursor=page[-1][0] if rest else end,
        )

    def find(self, request_id: str, *, tenant: str | None) -> Mapping[str, object] | None:
        """Return the decision of this request, or None."""
        for name in self._tenants(tenant):
            decision = self.store.find(request_id, tenant=name)
            if decision is not None:
                return decision.fields
        return None

    def erase(self, *, tenant: str | None, vm_id: str | None = None, subscription_id: str | None = None) -> int:
        """Delete every record of the VM or of the subscription, and return how many there were."""
        return sum(
            self.store.erase(tenant=name, vm_id=vm_id, subscription_id=subscription_id)
            for name in self._tenants(tenant)
        )

    def usage(self, first: date, last: date, *, tenant: str, by: Dimension) -> Usage:
        """Count the distinct VMs that were verified from `first` to `last`, both included."""
        return self.store.usage(first, last, tenant=tenant, by=by)

    def tenants(self) -> tuple[str, ...]:
        """Return each tenant that has records, sorted. NO_TENANT stands for requests without a valid key."""
        return self.store.tenants()

    def _tenants(self, tenant: str | None) -> tuple[str, ...]:
        return self.store.tenants() if tenant is None else (tenant,)


def _place(found: tuple[Cursor, Mapping[str, object]]) -> Cursor:
    return found[0]
