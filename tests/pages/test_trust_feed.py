"""docs/operate/trust-feed.md: its commands run in order, and its tables agree with the code."""

import shutil
from pathlib import Path

import pytest
from support.page_blocks import ROOT, Block, blocks_of, free_port, run_in_order

from verifier.adapters.feed import client, sources
from verifier.ports.feed_publishing import ONLINE_LASTS, ROOT_LASTS, TARGETS_LAST

PAGE_NAME = "docs/operate/trust-feed.md"
PAGE = (ROOT / PAGE_NAME).read_text("utf-8")
RUNS_BLOCKS = {
    "docs/operate/trust-feed.md": {
        "Follow a feed": 2,
        "Run your own feed": 3,
        "Sign on another machine": 1,
        "Renew the feed": 1,
        "Rotate keys": 3,
        "Import without a network": 3,
    }
}
OWN, FOLLOW = "Run your own feed", "Follow a feed"
#: The service runs in the background. `trust update` looks at the feed at once, as the page says.
SERVE = """imds-verifier serve &
curl --silent --show-error --retry 100 --retry-delay 1 --retry-connrefused http://127.0.0.1:PORT/healthz
imds-verifier trust update
"""
#: What the page says in words before a block: copies between machines, one signature of two, and the key to replace.
PENDING = """
mkdir away; cp feed/keys/maintainer-3.pem away/; cp feed/public/1.root.json .
imds-verifier trust feed publish feed --from trust_roots
imds-verifier trust feed sign feed --key feed/keys/maintainer-1.pem
"""
OLD_KEY = """
OLD_KEY=$(imds-verifier trust feed keys feed --json |
    python -c 'import json, sys; print(json.load(sys.stdin)["roles"][0]["keys"][0])')
"""


def blocks(*sections: str) -> list[Block]:
    return [block for block in blocks_of(PAGE_NAME, None, "sh") if block.section in sections]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with a feed that has published version 1. Tests copy it."""
    directory = tmp_path_factory.mktemp("feed")
    shutil.copytree(ROOT / "trust_roots", directory / "trust_roots")
    *_, signed = run_in_order(blocks(OWN), directory=directory, environment={})
    assert "published in feed/public" in signed
    return directory


@pytest.fixture
def directory(made: Path, tmp_path: Path) -> Path:
    return shutil.copytree(made, tmp_path / "work")


def test_service_follows_the_feed(directory: Path) -> None:
    port = free_port()
    looked, approved = run_in_order(
        blocks(FOLLOW),
        directory=directory,
        environment={"VERIFIER_NONCE_STORE": f"sqlite://{directory}/nonces.sqlite3", "VERIFIER_PORT": port},
        stand_ins={
            "imds-verifier serve\n": SERVE.replace("PORT", port),
            "--approve 1\n": "--approve 1\nkill $! && wait $!\n",
        },
    )
    assert "! version 1 waits for approval" in looked
    assert "imds-verifier trust update --approve 1" in looked
    assert "version 1 of the feed is in force" in approved


def test_bundle_is_signed_elsewhere_published_and_imported(directory: Path) -> None:
    *_, imported = run_in_order(
        blocks("Sign on another machine", "Renew the feed", "Import without a network"),
        directory=directory,
        environment={"VERIFIER_NONCE_STORE": f"sqlite://{directory}/nonces.sqlite3"},
        # The store of the service exists; that of this run does not.
        stand_ins={"trust update --from": "trust update --create --from"},
        before={"away/": PENDING},
    )
    assert "version 2 of the feed is in force" in imported


def test_keys_are_rotated(directory: Path) -> None:
    run_in_order(blocks("Rotate keys"), directory=directory, environment={}, before={"$OLD_KEY": OLD_KEY})
    public = {file.name for file in (directory / "feed" / "public").iterdir()}
    assert {"1.root.json", "2.root.json", "3.root.json"} <= public


def test_the_page_has_the_limits_of_the_code() -> None:
    assert f"{client.MAX_SECONDS:.0f} seconds in total" in PAGE
    assert f"{sources.MAX_FILE_BYTES // 1024**2} MiB for one file" in PAGE
    assert f"{sources.MAX_TOTAL_BYTES // 1024**2} MiB for all files" in PAGE
    assert f"{client.MAX_ROOT_ROTATIONS} changes of the root" in PAGE
    for lasts in (ONLINE_LASTS, TARGETS_LAST, ROOT_LASTS):
        assert f"| {lasts.days} days |" in PAGE


def test_the_page_has_every_sentence_of_the_client() -> None:
    for kind, sentence in client.SENTENCES:
        if kind.__name__ not in {"DownloadLengthMismatchError", "RepositoryError"}:
            beginning = " ".join(sentence.split()[:5])
            assert f"| {beginning}" in PAGE, sentence
