"""Every way to choose the policies of one appraisal, and what must come of it.

What must come of it is computed from sets of products alone, without the code under test.
"""

from collections.abc import Collection, Mapping
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
#: In services with tenants: the policies that a tenant has. The others, and "default", may be named by every caller.
OWN = frozenset({"default", "db-alone", "db-or-web"})


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


def choices(allowed: Mapping[str, frozenset[str]] = ALLOWED, *, own: Collection[str] = ()) -> st.SearchStrategy[Choice]:
    """Any product, and any of these policies for tenant, nonce and request; the last two may name none.

    If there are tenants, each has one of the policies in `own`, and may not name those of the others.
    """

    def of_a_tenant(tenant: str) -> st.SearchStrategy[Choice]:
        named = st.sampled_from(sorted(set(allowed) - (set(own) - {tenant, Policies.DEFAULT})))
        return st.builds(
            Choice,
            product=st.sampled_from(PRODUCTS),
            tenant=st.just(tenant),
            nonce=st.none() | named,
            request=st.none() | named,
            allowed=st.just(allowed),
        )

    return st.sampled_from(sorted(own or allowed)).flatmap(of_a_tenant)


_any_products = st.frozensets(st.sampled_from((*PRODUCTS, "another")), min_size=1)
#: Any policies, of which one is the default.
any_policies = st.fixed_dictionaries(
    {"default": _any_products}, optional={"gold": _any_products, "silver": _any_products, "bronze": _any_products}
)
