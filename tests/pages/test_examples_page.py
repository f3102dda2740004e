"""examples/README.md: its commands run both flows on one machine."""

from dataclasses import replace
from pathlib import Path

from support.page_blocks import blocks_of, free_port, run_in_order
from support.page_servers import EXAMPLES

PAGE = "examples/README.md"
RUNS_BLOCKS = {"examples/README.md": {"Examples": 1, "Both flows on one machine": 1}}


def test_both_flows_run_on_one_machine(tmp_path: Path) -> None:
    """The servers of the second section serve the first one too, and end as the page says."""
    (tmp_path / "examples").symlink_to(EXAMPLES)
    imds, service, passport, background_check = (free_port() for _ in range(4))
    first, flows = blocks_of(PAGE, None, "sh")
    printed = run_in_order(
        [flows, replace(first, text=first.text.replace("agent.sh", f"agent.sh --imds http://127.0.0.1:{imds}"))],
        directory=tmp_path,
        environment={},
        before={"mkdir try": "trap 'kill %1 %2 %3 %4' EXIT"},
        stand_ins={
            "--verifier https://verifier.example.com": f"--verifier http://127.0.0.1:{service}",
            "key.txt": "try/agent-key",
            "imds-verifier emulator": f"imds-verifier emulator --port {imds}",
            "VERIFIER_CONFIG=": f"VERIFIER_PORT={service} VERIFIER_CONFIG=",
            "VERIFIER_JWKS=": f"PORT={passport} VERIFIER_JWKS=",
            "VERIFIER=": f"PORT={background_check} VERIFIER=",
            ":8254": f":{imds}",
            ":8080": f":{service}",
            ":8090": f":{passport}",
            ":8091": f":{background_check}",
        },
    )
    assert [text.count('"licensed": true') for text in printed] == [2, 2], printed
