"""The starter file has every setting, and its texts are those of the page."""

import re
import tomllib
from pathlib import Path

import pytest
from support.scripts import load_script

from verifier.adapters.settings.reference import REFERENCE, TABLES
from verifier.adapters.settings.settings import Settings, load_settings
from verifier.adapters.settings.starter import starter_text

ROOT = Path(__file__).parents[4]
TEXT = starter_text()
_OFF = re.compile(r"^#(?=\S)", re.MULTILINE)
_TABLE_NAMES = {"policies", "admin_keys", "tenants"}


def load(text: str, directory: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    file = directory / "verifier.toml"
    file.write_text(text, "utf-8")
    monkeypatch.setenv("VERIFIER_CONFIG", str(file))
    return load_settings()


def test_the_reference_has_every_setting_in_order() -> None:
    assert list(REFERENCE) == list(Settings.model_fields)
    assert {
        name for name, text in REFERENCE.items() if text.allowed.startswith(("tables", "names, each"))
    } == _TABLE_NAMES


def test_the_page_is_generated() -> None:
    page = load_script("tools/generate_settings.py").page()
    assert (ROOT / "docs" / "operate" / "settings.md").read_text("utf-8") == page


def test_each_summary_is_one_sentence_that_the_starter_file_has() -> None:
    plain = " ".join(line.removeprefix("# ") for line in TEXT.splitlines())
    for name, text in REFERENCE.items():
        assert re.fullmatch(r"[A-Z][^.]*(\.[a-z0-9][^.]*)*\.", text.summary), name
        assert text.summary.replace("`", "") in plain, name


def test_the_file_as_it_is_written_has_the_defaults(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert load(TEXT, tmp_path, monkeypatch) == Settings()
    assert tomllib.loads(TEXT).keys() == {"format", "clouds"}


def test_every_setting_can_be_set_by_removing_its_hash(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written = tomllib.loads(_OFF.sub("", TEXT))
    assert written.keys() - {"format"} == set(Settings.model_fields)
    loaded = load(_OFF.sub("", TEXT), tmp_path, monkeypatch)
    assert loaded.tenants.keys() == {"contoso", "fabrikam"}
    monkeypatch.delenv("VERIFIER_CONFIG")
    defaults = Settings()
    shown = [name for name, text in REFERENCE.items() if not text.example and name not in _TABLE_NAMES]
    assert len(shown) > 20
    assert [name for name in shown if getattr(loaded, name) != getattr(defaults, name)] == []


@pytest.mark.parametrize("name", TABLES)
def test_each_example_of_a_table_loads(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = load(TABLES[name], tmp_path, monkeypatch)
    setting = name if name in _TABLE_NAMES else "tenants"
    assert getattr(loaded, setting)


def test_the_limits_of_agents_in_the_example_are_the_defaults(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    [table] = load(TABLES["agent_keys"], tmp_path, monkeypatch).tenants.values()
    limits = [name for name in type(table).model_fields if name.startswith("agent_") and name != "agent_keys"]
    assert [name for name in limits if getattr(table, name) != type(table).model_fields[name].default] == []
    assert all(f"\n{name} = " in TABLES["agent_keys"] for name in limits)


def test_names_the_clouds_that_are_served_and_says_why() -> None:
    before, _, after = TEXT.partition('\nclouds = ["AzurePublicCloud", "AzureUSGovernmentCloud", "AzureChinaCloud"]\n')
    assert "# Why name them: " in before.rpartition("\n\n")[2]
    assert after
