"""docs/integrate/emulator.md: its commands run. tests/unit/emulator/test_emulator_page.py runs its tests."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest
from support.page_blocks import blocks_of, free_port, run_in_order
from support.page_servers import EXAMPLES, in_terminals

PAGE = "docs/integrate/emulator.md"
RUNS_BLOCKS = {
    "docs/integrate/emulator.md": {
        "An IMDS for tests": 1,
        "At 169.254.169.254": 1,
        "Faults, clocks and rollovers": 1,
    }
}
NAMESPACE = "unshare -rn"


#: For curl: the answers in lines, and a failure for a refused request.
CURL = 'silent\nshow-error\nfail-with-body\nwrite-out = "\\n"\n'


def test_commands_run_in_order(tmp_path: Path) -> None:
    (tmp_path / "examples").symlink_to(EXAMPLES)
    (tmp_path / ".curlrc").write_text(CURL, "ascii")
    verifier, emulator = free_port(), free_port()
    (start,) = blocks_of(PAGE, "An IMDS for tests", "sh")
    (controls,) = blocks_of(PAGE, "Faults, clocks and rollovers", "sh")
    attested, controlled = run_in_order(
        [in_terminals(start, servers=2), controls],
        directory=tmp_path,
        environment={"VERIFIER_PORT": verifier, "VERIFIER_WORKERS": "1", "HOME": str(tmp_path)},
        stand_ins={
            "127.0.0.1:8080": f"127.0.0.1:{verifier}",
            "127.0.0.1:8254": f"127.0.0.1:{emulator}",
            "imds-verifier emulator": f"imds-verifier emulator --port {emulator}",
        },
    )
    assert f"emulator: listening on http://127.0.0.1:{emulator}" in attested
    assert "plan.name: standard" in attested.splitlines()
    faults, chain, shown, deleted = [json.loads(line) for line in controlled.splitlines() if line]
    assert faults["faults"] == [{"kind": "gone", "requests": 2}, {"kind": "cached-nonce", "requests": 1}]
    assert chain["chain"] == {"scenario": "unknown-issuer", "embedIssuer": True}
    assert (chain["clockOffsetSeconds"], chain["faults"]) == (-90, [])
    assert shown == chain
    assert (deleted["chain"]["scenario"], deleted["clockOffsetSeconds"]) == ("stable", 0)


@pytest.fixture
def namespace() -> str:
    """Return the command that makes a network namespace here: that of the page, or that of root. Skip without one."""
    missing = [tool for tool in ("unshare", "ip") if shutil.which(tool) is None]
    if missing:
        pytest.skip(f"{' and '.join(missing)} not found: a network namespace needs util-linux and iproute2")
    tried = []
    for command in (NAMESPACE, "unshare -n"):
        ran = subprocess.run(
            [*command.split(), "ip", "link", "set", "lo", "up"], capture_output=True, text=True, check=False
        )
        if ran.returncode == 0:
            return command
        tried.append(f"{command}: {ran.stderr.strip()}")
    pytest.skip(f"network namespaces are not permitted here ({'; '.join(tried)})")


def test_emulator_has_the_address_of_imds_in_a_network_namespace(tmp_path: Path, namespace: str) -> None:
    (block,) = blocks_of(PAGE, "At 169.254.169.254", "sh")
    (output,) = run_in_order([block], directory=tmp_path, environment={}, stand_ins={NAMESPACE: namespace})
    started, answers = output.splitlines()
    assert started == "emulator: listening on http://169.254.169.254:80"
    # Like IMDS, the emulator ends its answers without a line feed.
    versions, end = json.JSONDecoder().raw_decode(answers)
    assert "2025-04-07" in versions["apiVersions"]
    assert json.loads(answers[end:])["clockOffsetSeconds"] == 60
    assert (tmp_path / "emulator-trust" / "manifest.toml").exists()
