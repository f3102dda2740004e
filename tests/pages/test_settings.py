"""docs/operate/settings.md: its commands run, and its tables are loaded as settings."""

import tomllib
from pathlib import Path

import pytest
from support.page_blocks import blocks_of, run_in_order

from verifier.adapters.settings.settings import CONFIG_VARIABLE, PREFIX, Settings, load_settings
from verifier.adapters.settings.tenants import TenantTable
from verifier.core.trust.clouds import Cloud

PAGE = "docs/operate/settings.md"
RUNS_BLOCKS = {
    "docs/operate/settings.md": {"Settings": 1, "Policies": 1, "Admin keys": 1, "Tenants": 1, "Agent keys": 1}
}


def load_block(section: str, directory: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Load the TOML block of a section as a settings file."""
    [block] = blocks_of(PAGE, section, "toml")
    file = directory / "verifier.toml"
    file.write_text(block.text, "utf-8")
    for name in Settings.model_fields:
        monkeypatch.delenv(f"{PREFIX}{name.upper()}", raising=False)
    monkeypatch.setenv(CONFIG_VARIABLE, str(file))
    return load_settings()


def test_commands_write_check_and_print_settings(tmp_path: Path) -> None:
    [shown] = run_in_order(blocks_of(PAGE, "Settings", "sh"), directory=tmp_path, environment={})
    text = (tmp_path / "verifier.toml").read_text("utf-8")
    assert [name for name in Settings.model_fields if name not in text] == []
    assert [name for name in Settings.model_fields if f'"{name}": ' not in shown] == []


def test_policy_has_every_rule_of_the_example(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    policy = load_block("Policies", tmp_path, monkeypatch).policies["gold"]
    assert policy.clouds == frozenset({Cloud.PUBLIC})
    assert policy.publishers == frozenset({"contoso"})
    assert policy.require_plan
    assert policy.maximum_age_seconds == 3600


def test_admin_key_is_a_hash(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert load_block("Admin keys", tmp_path, monkeypatch).admin_keys == {"operator": "1" * 64}


def test_tenant_has_a_policy_and_a_rate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tenant = load_block("Tenants", tmp_path, monkeypatch).tenants["contoso"]
    assert (tenant.keys, tenant.policy, str(tenant.rate)) == (("2" * 64,), "default", "6000/minute")


def test_limits_of_agent_keys_are_the_defaults(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tenant = load_block("Agent keys", tmp_path, monkeypatch).tenants["fabrikam"]
    [block] = blocks_of(PAGE, "Agent keys", "toml")
    limits = [name for name in tomllib.loads(block.text)["tenants"]["fabrikam"] if name.startswith("agent_")]
    assert len(limits) == 5
    assert tenant == TenantTable(keys=("3" * 64,), agent_keys=("4" * 64,))
