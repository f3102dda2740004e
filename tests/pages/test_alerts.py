"""docs/operate/alerts.md: the three commands, on a service that has refused a request."""

from pathlib import Path

from support.page_blocks import blocks_of, free_port, run_in_order
from support.processes import await_that
from support.services import ADMIN_KEYS, AS_ADMIN, running_service

from verifier.emulator import VirtualMachine, loopback_emulator

PAGE = "docs/operate/alerts.md"
RUNS_BLOCKS = {"docs/operate/alerts.md": {"Alerts": 1}}


def test_three_commands_show_trust_refusals_and_readiness(tmp_path: Path) -> None:
    trust, store, port = tmp_path / "trust", f"sqlite://{tmp_path}/nonces.sqlite3", free_port()
    settings = {"VERIFIER_METRICS_PORT": port, "VERIFIER_ADMIN_KEYS": ADMIN_KEYS}
    with loopback_emulator(VirtualMachine()) as machine:
        machine.write_trust(trust)
    with running_service(nonce_store=store, trust_dir=trust, workers=1, **settings) as service:
        malformed = {"encoding": "pkcs7", "signature": "MAAA"}
        assert service.post_json("/v1/attestations", malformed).code == "malformed-evidence"
        kept = "/v1/decisions?verdict=refused"
        await_that(lambda: bool(service.request("GET", kept, headers=AS_ADMIN).json["decisions"]))
        [shown] = run_in_order(
            blocks_of(PAGE, "Alerts"),
            directory=tmp_path,
            environment={"VERIFIER_NONCE_STORE": store, "VERIFIER_TRUST_DIR": str(trust)},
            stand_ins={"127.0.0.1:9090": f"127.0.0.1:{port}"},
        )
    assert "AzurePublicCloud        holds until " in shown
    assert " refused: malformed-evidence" in shown
    assert "health:" not in shown
