"""docs/start/tutorial.md: its commands run in order, with a faster agent and a shorter grace time."""

import json
from pathlib import Path

from support.page_blocks import ROOT, blocks_of, free_port, run_in_order, steady

PAGE = "docs/start/tutorial.md"
RUNS_BLOCKS = {
    "docs/start/tutorial.md": {
        "2. Make keys": 1,
        "3. Say which VMs you accept": 2,
        "4. Start the emulator and the verifier": 1,
        "5. Attest the VM": 2,
        "6. Renew the token": 2,
        "7. Start the appliance": 2,
        "8. Survive an outage": 3,
        "9. Deny a license": 4,
        "10. Clean up": 1,
    }
}
#: The agent with shorter pauses.
AGENT = """
import runpy, time
sleep = time.sleep
time.sleep = lambda seconds: sleep(seconds / 10)
runpy.run_module("verifier.agent", run_name="__main__")
"""


def test_commands_run_in_order(tmp_path: Path) -> None:
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    (tmp_path / "agent.py").write_text(AGENT, "utf-8")
    verifier, emulator, appliance = free_port(), free_port(), free_port()
    blocks = [block for block in blocks_of(PAGE, None, "sh", "console") if not block.text.startswith("make demo")]
    told = run_in_order(
        blocks,
        directory=tmp_path,
        environment={"VERIFIER_PORT": verifier, "PORT": appliance},
        stand_ins={
            "127.0.0.1:8080": f"127.0.0.1:{verifier}",
            "127.0.0.1:8254": f"127.0.0.1:{emulator}",
            "127.0.0.1:8088": f"127.0.0.1:{appliance}",
            "imds-verifier emulator": f"imds-verifier emulator --port {emulator}",
            "imds-verifier attest": "python agent.py attest",
            "GRACE_SECONDS=30": "GRACE_SECONDS=5",
        },
    )
    for block, printed in zip(blocks, told, strict=True):
        lines = [steady(line) for line in printed.splitlines()]
        expected = [line.replace("127.0.0.1:8088", f"127.0.0.1:{appliance}") for line in block.output]
        assert [line for line in expected if steady(line) not in lines] == [], (block, printed)
    assert any("plan.name: standard" in printed for printed in told)
    [decided] = [printed for printed in told if '"decisions"' in printed]
    by_command, mark, over_http = decided.partition('{"decisions"')
    assert 'allowed: "premium"' in by_command
    assert json.loads(mark + over_http)["decisions"][0]["denial"]["allowed"] == ["premium"]
    assert not (tmp_path / "try").exists()
