"""Every way to choose the policies of one appraisal, and what must come of it.

What must come of it is computed from sets of products alone, without the code under test.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from hypothesis import strategies as st
from support.documents import VM

from verifier.core.policy import ClaimIn, ClaimName, Policies, Rule
from verifier.emulator.documents import VirtualMachine

PRODUCTS = ("db", "web", "mail")
#: Which products each policy allows. The last one allows none of PRODUCTS.
ALLOWED: Mapping[str, frozenset[str]] = {
    "default": frozenset(PRODUCTS),
    "db-alone": frozenset({"db"}),
    "web-alone": frozenset({"web"}),
    "db-or-web": frozenset({"db", "web"}),
    "none-of-these": frozenset({"another"}),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """The product of a VM, and the policies that its tenant has and that its nonce and its request name."""

    product: str
    tenant: str
    nonce: str | None
    request: str | None
    allowed: Mapping[str, frozenset[str]]

    @property
    def names(self) -> list[str]:
        """Every policy that applies, once each, the tenant's first."""
        named = [self.tenant, *(name for name in (self.nonce, self.request) if name is not None)]
        return sorted(set(named), key=named.index)

    @property
    def tenant_allows(self) -> bool:
        """Whether the tenant's policy alone is satisfied."""
        return self.product in self.allowed[self.tenant]

    @property
    def all_allow(self) -> bool:
        return all(self.product in self.allowed[name] for name in self.names)

    @property
    def vm(self) -> VirtualMachine:
        return replace(VM, plan=replace(VM.plan, product=self.product))


def policies_of(allowed: Mapping[str, frozenset[str]]) -> Policies:
    rules: dict[str, Rule] = {name: ClaimIn(ClaimName.PRODUCT, products) for name, products in allowed.items()}
    return Policies(rules)


def choices(allowed: Mapping[str, frozenset[str]] = ALLOWED) -> st.SearchStrategy[Choice]:
    """Any product, and any of these policies for tenant, nonce and request; the last two may name none."""
    names = st.sampled_from(sorted(allowed))
    return st.builds(
        Choice,
        product=st.sampled_from(PRODUCTS),
        tenant=names,
        nonce=st.none() | names,
        request=st.none() | names,
        allowed=st.just(allowed),
    )


_any_products = st.frozensets(st.sampled_from((*PRODUCTS, "another")), min_size=1)
#: Any policies, of which one is the default.
any_policies = st.fixed_dictionaries(
    {"default": _any_products}, optional={"gold": _any_products, "silver": _any_products, "bronze": _any_products}
)
