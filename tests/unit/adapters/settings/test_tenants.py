"""Tenants as the settings say them: read whole, or the start ends with the name of what is wrong."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from verifier.adapters.settings.live_settings import LiveSettings
from verifier.adapters.settings.settings import CONFIG_VARIABLE, SettingsError, load_settings
from verifier.adapters.settings.tenants import MAX_KEYS
from verifier.adapters.settings.text import settings_text
from verifier.adapters.telemetry.log import LogRecorder
from verifier.core.tenancy import MAX_OUTSTANDING_NONCES, AgentLimits, Rate, Tenant
from verifier.wiring.service import callers_of

ONE, TWO = (hashlib.sha256(key).hexdigest() for key in (b"one", b"two"))


@pytest.fixture
def config(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    file = tmp_path / "verifier.toml"
    monkeypatch.setenv(CONFIG_VARIABLE, str(file))
    return file


def test_reads_tenants_from_the_file(config: Path) -> None:
    config.write_text(
        f'[policies.gold]\nrequirePlan = true\n[tenants.north]\nkeys = ["{ONE.upper()}", "{TWO}"]\n'
        'policy = "gold"\nrate = "600/minute"\n'
    )
    tenant = Tenant(name="north", policy="gold", rate=Rate.parse("600/minute"))
    assert load_settings().tenant_keys == {tenant: (ONE, TWO)}


def test_reads_agent_keys_and_their_limits(config: Path) -> None:
    config.write_text(
        f'[tenants.north]\nkeys = ["{ONE}"]\nagent_keys = ["{TWO}"]\nagent_address_rate = "60/minute"\n'
        'agent_vm_rate = "6/hour"\nagent_address_nonces = 10\nagent_nonces = 200\n'
    )
    limits = AgentLimits(
        address_rate=Rate.parse("60/minute"), vm_rate=Rate.parse("6/hour"), address_nonces=10, tenant_nonces=200
    )
    loaded = load_settings()
    assert loaded.tenant_keys == {Tenant(name="north", agents=limits): (ONE,)}
    assert loaded.agent_keys == {Tenant(name="north", agents=limits): (TWO,)}
    assert TWO not in settings_text(loaded)


def test_agents_always_have_limits(config: Path) -> None:
    config.write_text(f'[tenants.north]\nkeys = ["{ONE}"]\nagent_keys = ["{TWO}"]\n')
    assert list(load_settings().agent_keys) == [Tenant(name="north", agents=AgentLimits())]


def test_reads_tenants_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VERIFIER_TENANTS", json.dumps({"north": {"keys": [ONE]}}))
    assert load_settings().tenant_keys == {Tenant(name="north"): (ONE,)}


@pytest.mark.parametrize("spelling", [str.upper, str.lower])
def test_agent_key_that_is_an_admin_key_is_refused(
    monkeypatch: pytest.MonkeyPatch, spelling: Callable[[str], str]
) -> None:
    tenants = {"north": {"keys": [ONE], "agent_keys": [TWO]}}
    monkeypatch.setenv("VERIFIER_TENANTS", json.dumps(tenants))
    assert load_settings().agent_keys
    monkeypatch.setenv("VERIFIER_ADMIN_KEYS", json.dumps({"alice": spelling(TWO)}))
    with pytest.raises(SettingsError, match="the same key is listed twice"):
        load_settings()


@pytest.mark.parametrize(
    ("tenants", "said"),
    [
        ({"north": {}}, "tenants.north.keys: "),
        ({"north": {"keys": []}}, "tenants.north.keys: the list is empty: name at least one value"),
        ({"north": {"keys": ["s3cret"]}}, "tenants.north.keys.0: "),
        ({"north": {"keys": ONE}}, "tenants.north.keys: "),
        ({"north": {"keys": [f"{number:064x}" for number in range(MAX_KEYS + 1)]}}, "tenants.north.keys: "),
        ({"north": {"keys": [ONE], "key": ONE}}, "tenants.north.key: "),
        ({"north": {"keys": [ONE], "policy": "gold"}}, "tenants.north.policy: there is no policy with this name"),
        ({"north": {"keys": [ONE], "rate": "600"}}, "tenants.north.rate: "),
        ({"north": {"keys": [ONE], "rate": 600}}, "tenants.north.rate: "),
        ({"north": {"keys": [ONE], "rate": "0/minute"}}, "tenants.north.rate: "),
        ({"north": {"keys": [ONE], "agent_keys": [ONE]}}, "the same key is listed twice"),
        ({"north": {"keys": [ONE]}, "south": {"keys": [TWO], "agent_keys": [ONE]}}, "the same key is listed twice"),
        ({"north": {"agent_keys": [ONE]}}, "tenants.north.keys: "),
        ({"north": {"keys": [ONE], "agent_keys": ["s3cret"]}}, "tenants.north.agent_keys.0: "),
        ({"north": {"keys": [ONE], "agent_vm_rate": "0/minute"}}, "tenants.north.agent_vm_rate: "),
        ({"north": {"keys": [ONE], "agent_address_rate": None}}, "tenants.north.agent_address_rate: "),
        ({"north": {"keys": [ONE], "agent_address_nonces": 0}}, "tenants.north: "),
        ({"north": {"keys": [ONE], "agent_nonces": 499}}, "not more for an address than for the tenant"),
        ({"north": {"keys": [ONE], "agent_nonces": MAX_OUTSTANDING_NONCES + 1}}, "tenants.north: "),
        ({"north": {"keys": [ONE, ONE]}}, "the same key is listed twice"),
        ({"north": {"keys": [ONE]}, "south": {"keys": [ONE.upper()]}}, "the same key is listed twice"),
        ({"a/b": {"keys": [ONE]}}, "tenants"),
        ({"": {"keys": [ONE]}}, "tenants"),
        ("{", "tenants"),
    ],
)
def test_names_what_is_wrong_without_the_value(
    monkeypatch: pytest.MonkeyPatch, tenants: dict[str, object] | str, said: str
) -> None:
    monkeypatch.setenv("VERIFIER_TENANTS", tenants if isinstance(tenants, str) else json.dumps(tenants))
    with pytest.raises(SettingsError) as refusal:
        load_settings()
    assert said in str(refusal.value)
    assert "s3cret" not in str(refusal.value)
    assert ONE not in str(refusal.value)


def test_a_key_is_not_of_both_kinds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VERIFIER_TENANTS", json.dumps({"north": {"keys": [ONE]}}))
    monkeypatch.setenv("VERIFIER_ADMIN_KEYS", json.dumps({"alice": ONE}))
    with pytest.raises(SettingsError, match="the same key is listed twice"):
        load_settings()


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "verifier.example"])  # noqa: S104 - what is guarded
def test_may_listen_openly_with_tenants(monkeypatch: pytest.MonkeyPatch, host: str) -> None:
    monkeypatch.setenv("VERIFIER_HOST", host)
    with pytest.raises(SettingsError, match="VERIFIER_TENANTS"):
        load_settings()
    monkeypatch.setenv("VERIFIER_TENANTS", json.dumps({"north": {"keys": [ONE]}}))
    assert load_settings().host == host


def test_the_settings_in_force_show_the_rate_and_no_whole_hash(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VERIFIER_TENANTS", json.dumps({"north": {"keys": [ONE], "rate": "600/minute"}}))
    shown = settings_text(load_settings())
    assert '"600/minute"' in shown
    assert ONE not in shown


def test_the_last_tenant_cannot_be_removed() -> None:
    assert callers_of(load_settings()).tenants.are_open
    with pytest.raises(SettingsError, match="without a tenant, the service would be open"):
        callers_of(load_settings(), needs_tenants=True)


def test_a_service_that_listens_to_all_keeps_its_tenants(monkeypatch: pytest.MonkeyPatch, config: Path) -> None:
    """Whoever loads settings anew meets the guard again."""
    monkeypatch.setenv("VERIFIER_HOST", "0.0.0.0")  # noqa: S104 - what is guarded
    config.write_text(f'[tenants.north]\nkeys = ["{ONE}"]\n')
    live = LiveSettings(load_settings(), load=load_settings, file=config, recorder=LogRecorder())
    live.refresh()
    config.write_text('host = "127.0.0.1"\n')
    for _ in range(3):
        live.refresh()
    assert live.settings().tenant_keys == {Tenant(name="north"): (ONE,)}
    # The host is that of the start, which the file no longer says: the two together are refused.
    monkeypatch.delenv("VERIFIER_HOST")
    config.write_text('host = "127.0.0.1"\ndiscovery = "pinned"\n')
    for _ in range(3):
        live.refresh()
    assert live.settings().tenant_keys == {Tenant(name="north"): (ONE,)}
