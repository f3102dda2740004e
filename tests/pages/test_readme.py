"""README.md: its commands run in order, and its answers are those of the service."""

import json
from pathlib import Path

from support.page_blocks import Block, blocks_of, free_port, run_in_order
from support.page_servers import EXAMPLES, in_terminals, one_after_the_other

PAGE = "README.md"
RUNS_BLOCKS = {"README.md": {"One document": 4, "Run it": 1}}
#: Members whose values differ between two runs.
VOLATILE = {
    *("nonce", "createdOn", "expiresOn", "evaluatedAt", "notAfter"),
    *("serialNumber", "sha256", "trustGeneration", "requestId"),
}


def without_volatile(shown: object, made: object) -> tuple[object, object]:
    """Return both without the values that differ between two runs and without what the page shortens to `…`."""
    match shown, made:
        case dict(), dict():
            pairs = {name: (shown[name], made.get(name)) for name in shown if name not in VOLATILE | {"…"}}
            kept = {name: without_volatile(*pair) for name, pair in pairs.items()}
            return {name: pair[0] for name, pair in kept.items()}, {name: pair[1] for name, pair in kept.items()}
        case list(), list():
            kept_items = [without_volatile(*pair) for pair in zip(shown, made, strict=True)]
            return [pair[0] for pair in kept_items], [pair[1] for pair in kept_items]
        case str(), str() if shown.endswith("…"):
            return shown, made[: len(shown) - 1] + "…"
    return shown, made


def names_in(value: object) -> object:
    """Return the names of all members, in order, without those of `document`."""
    match value:
        case dict():
            return [(name, None if name == "document" else names_in(member)) for name, member in value.items()]
        case list():
            return [names_in(item) for item in value]
    return None


def test_one_document_is_verified_once(tmp_path: Path) -> None:
    (tmp_path / "examples").symlink_to(EXAMPLES)
    verifier, emulator = free_port(), free_port()
    servers, requests = blocks_of(PAGE, "One document", "sh")
    again = Block(page=PAGE, section="One document", language="sh", text=requests.text.splitlines()[-1])
    started, verified, replayed = run_in_order(
        [in_terminals(servers, servers=2), requests, again],
        directory=tmp_path,
        environment={"VERIFIER_PORT": verifier, "VERIFIER_WORKERS": "1", "XDG_STATE_HOME": str(tmp_path)},
        stand_ins={
            "127.0.0.1:8080": f"127.0.0.1:{verifier}",
            "127.0.0.1:8254": f"127.0.0.1:{emulator}",
            "imds-verifier emulator": f"imds-verifier emulator --port {emulator}",
        },
    )
    assert "plan.name: standard" in started.splitlines()
    for block, printed in zip(blocks_of(PAGE, "One document", "json"), (verified, replayed), strict=True):
        shown, made = json.loads(block.text), json.loads(printed)
        assert names_in(shown) == names_in(made)
        left, right = without_volatile(shown, made)
        assert left == right


def test_servers_start(redis_url: str, tmp_path: Path) -> None:
    commands, _ = blocks_of(PAGE, "Run it", "sh")
    [printed] = run_in_order(
        [one_after_the_other(commands, servers=3)],
        directory=tmp_path,
        environment={"VERIFIER_PORT": free_port(), "VERIFIER_WORKERS": "1", "XDG_STATE_HOME": str(tmp_path / "state")},
        stand_ins={"redis://127.0.0.1:6379/0": redis_url},
    )
    assert printed.count("listening on") == 3
    assert "nonce_store" in (tmp_path / "verifier.toml").read_text("utf-8")
    assert (tmp_path / "state" / "imds-verifier" / "nonces.sqlite3").exists()
