"""Tenants and their rates: valid and invalid values."""

from datetime import timedelta

import pytest

from verifier.core.policy import Policies
from verifier.core.tenancy import (
    MAX_OUTSTANDING_NONCES,
    MAX_RATE,
    AgentLimits,
    KeyKind,
    LimitedPath,
    Rate,
    Tenant,
    Unit,
)


@pytest.mark.parametrize(
    ("text", "amount", "unit", "window"),
    [
        ("1/second", 1, Unit.SECOND, timedelta(seconds=1)),
        ("600/minute", 600, Unit.MINUTE, timedelta(minutes=1)),
        (f"{MAX_RATE}/hour", MAX_RATE, Unit.HOUR, timedelta(hours=1)),
    ],
)
def test_reads_a_rate_and_writes_it_again(text: str, amount: int, unit: Unit, window: timedelta) -> None:
    rate = Rate.parse(text)
    assert (rate.amount, rate.unit, rate.unit.window) == (amount, unit, window)
    assert str(rate) == text


@pytest.mark.parametrize(
    "text",
    [
        *("", "600", "/minute", "600/", "600/day", "600/minutes", "600 / minute", "600/Minute", "600 per minute"),
        *(
            "0/minute",
            "-1/minute",
            "+1/minute",
            "01/minute",
            "1.5/minute",
            "1e3/minute",
            "1_000/minute",
            "\u0661/minute",
        ),
        *(f"{MAX_RATE + 1}/hour", "9" * 100 + "/hour", "1/minute\n", " 1/minute", "1/minute;2/hour"),
    ],
)
def test_refuses_a_malformed_rate(text: str) -> None:
    with pytest.raises(ValueError, match="a rate is"):
        Rate.parse(text)


@pytest.mark.parametrize("amount", [0, -1, MAX_RATE + 1])
def test_a_rate_is_bounded(amount: int) -> None:
    with pytest.raises(ValueError, match="a rate is 1 to"):
        Rate(amount=amount, unit=Unit.SECOND)


def test_a_tenant_has_the_default_policy_and_no_limit() -> None:
    tenant = Tenant(name="north")
    assert (tenant.policy, tenant.rate) == (Policies.DEFAULT, None)


@pytest.mark.parametrize("name", ["", "a/b", "a:b", "a b", "-a", ".a", "ä", "a" * 65, "a\n", "{a}"])
def test_refuses_a_name_that_a_store_could_misread(name: str) -> None:
    with pytest.raises(ValueError, match="the name of a tenant"):
        Tenant(name=name)


@pytest.mark.parametrize(("address", "tenant"), [(0, 1), (-1, 1), (2, 1), (1, MAX_OUTSTANDING_NONCES + 1), (1, 0)])
def test_refuses_limits_of_nonces_that_do_not_bound(address: int, tenant: int) -> None:
    with pytest.raises(ValueError, match="outstanding nonces"):
        AgentLimits(address_nonces=address, tenant_nonces=tenant)


def test_agents_have_limits_by_default() -> None:
    assert Tenant(name="north").agents == AgentLimits()
    AgentLimits(address_nonces=1, tenant_nonces=1)
    AgentLimits(address_nonces=MAX_OUTSTANDING_NONCES, tenant_nonces=MAX_OUTSTANDING_NONCES)


def test_the_default_limits_of_agents() -> None:
    limits = AgentLimits()
    assert (str(limits.address_rate), str(limits.vm_rate)) == ("600/minute", "30/minute")
    assert (limits.address_nonces, limits.tenant_nonces) == (500, 20_000)
    assert MAX_OUTSTANDING_NONCES == 1_000_000
    assert AgentLimits(address_nonces=1, tenant_nonces=1_000_000).tenant_nonces == 1_000_000


def test_records_and_settings_name_the_paths_and_the_kinds_of_keys() -> None:
    assert [path.value for path in LimitedPath] == ["nonces", "attestations", "decisions", "inspections"]
    assert [kind.value for kind in KeyKind] == ["backend", "agent"]
