"""docs/operate/install.md: a settings file is written and checked, and a service starts with it."""

from pathlib import Path

from support.page_blocks import blocks_of, free_port, run_in_order

PAGE = "docs/operate/install.md"
RUNS_BLOCKS = {"docs/operate/install.md": {"Start": 1}}
START = "imds-verifier serve\n"
#: The last command serves until a signal. Here it runs in the background, and ends when it has answered.
SERVE = """imds-verifier serve &
curl --silent --show-error --retry 100 --retry-delay 1 --retry-connrefused http://127.0.0.1:PORT/healthz
kill $! && wait $!
"""


def test_service_starts_with_a_new_settings_file(tmp_path: Path) -> None:
    port = free_port()
    [block] = blocks_of(PAGE, "Start", "sh")
    assert block.text.endswith(f" {START}")
    [shown] = run_in_order(
        [block],
        directory=tmp_path,
        environment={"VERIFIER_PORT": port, "XDG_STATE_HOME": str(tmp_path / "state")},
        stand_ins={START: SERVE.replace("PORT", port)},
    )
    assert (tmp_path / "verifier.toml").is_file()
    assert f"service: listening on http://127.0.0.1:{port}" in shown
    assert '{"status":"alive"}' in shown
    assert (tmp_path / "state" / "imds-verifier" / "nonces.sqlite3").is_file()
