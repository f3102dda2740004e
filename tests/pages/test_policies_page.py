"""docs/integrate/policies.md: the settings load, and `policy test` runs. tests/unit has the meaning of each example."""

import json
import tomllib
from datetime import UTC, datetime
from pathlib import Path

import pytest
from support.documents import VM, imds_answer
from support.live_documents import current_document, write_current_trust
from support.page_blocks import Block, blocks_of, commands_of, run_commands

from verifier.adapters.settings.settings import load_settings

PAGE = "docs/integrate/policies.md"
RUNS_BLOCKS = {
    "docs/integrate/policies.md": {"In the settings file": 2, "Test a policy": 1},
    "README.md": {"Run it": 1},
}
SETTINGS = [*blocks_of(PAGE, "In the settings file", "toml"), *blocks_of("README.md", "Run it", "toml")]


@pytest.mark.parametrize("block", SETTINGS, ids=str)
def test_settings_load(block: Block, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "settings.toml"
    file.write_text(block.text, "utf-8")
    monkeypatch.setenv("VERIFIER_CONFIG", str(file))
    loaded, written = load_settings(), tomllib.loads(block.text)
    assert loaded.policies.keys() == written["policies"].keys()
    assert loaded.tenants.keys() == written.get("tenants", {}).keys()


def test_policy_is_tested(tmp_path: Path) -> None:
    """With a document of now, which each command of the page takes, and the first policy of the page."""
    settings = SETTINGS[0].text.partition("[policies.own-machines]")[0]
    (tmp_path / "policies.toml").write_text(settings, "utf-8")
    (tmp_path / "document.json").write_text(json.dumps(imds_answer(current_document("6345033993"))), "utf-8")
    trust_dir = write_current_trust(tmp_path / "trust")
    now = datetime.now(UTC).isoformat(timespec="seconds")
    commands = commands_of(PAGE, "Test a policy").replace("2026-07-28T13:24:00Z", now)
    printed = run_commands(commands, directory=tmp_path, environment={"VERIFIER_TRUST_DIR": str(trust_dir)})
    text, _, answer = printed.partition("\n{")
    assert 'policy "gold": satisfied' in text
    assert json.loads("{" + answer)["vmId"] == VM.vm_id
