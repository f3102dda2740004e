"""docs/integrate/emulator.md: its commands run. tests/unit/emulator/test_emulator_page.py runs its tests."""

import json
from pathlib import Path

from support.page_blocks import blocks_of, free_port, run_in_order
from support.page_servers import EXAMPLES, in_terminals

PAGE = "docs/integrate/emulator.md"
RUNS_BLOCKS = {"docs/integrate/emulator.md": {"An IMDS for tests": 1, "Faults, clocks and rollovers": 1}}


#: For curl: the answers in lines, and a failure for a refused request.
CURL = 'silent\nshow-error\nfail-with-body\nwrite-out = "\\n"\n'


def test_commands_run_in_order(tmp_path: Path) -> None:
    (tmp_path / "examples").symlink_to(EXAMPLES)
    (tmp_path / ".curlrc").write_text(CURL, "ascii")
    verifier, emulator = free_port(), free_port()
    start, controls = blocks_of(PAGE, None, "sh")
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
