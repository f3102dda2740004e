"""docs/operate/trust-feed.md: its commands run in order, and its tables agree with the code."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from verifier.adapters.feed import client, sources
from verifier.ports.feed_publishing import ONLINE_LASTS, ROOT_LASTS, TARGETS_LAST

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "operate" / "trust-feed.md").read_text("utf-8")
BLOCKS = re.findall(r"^```sh\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


#: What the page says in words before a block: copies between machines, and the key to replace.
BEFORE = {
    "away/": """
mkdir away; cp feed/keys/maintainer-3.pem away/; cp feed/public/1.root.json .
imds-verifier trust feed publish feed --from trust_roots
""",
    "$OLD_KEY": """
OLD_KEY=$(imds-verifier trust feed keys feed --json |
    python -c 'import json, sys; print(json.load(sys.stdin)["roles"][0]["keys"][0])')
""",
}


def script() -> str:
    """Return the commands of the page in order."""
    parts = ["set -eu"]
    for block in BLOCKS:
        parts += [words for sign, words in BEFORE.items() if sign in block]
        # The store of the service exists; that of this run does not.
        parts.append(block.replace("trust update --from", "trust update --create --from"))
    return "\n".join(parts)


def test_the_commands_run_in_order(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "trust_roots", tmp_path / "trust_roots")
    environment = {name: value for name, value in os.environ.items() if not name.startswith("VERIFIER_")}
    environment["PATH"] = f"{Path(sys.executable).parent}:{environment['PATH']}"
    environment["VERIFIER_NONCE_STORE"] = f"sqlite:///{tmp_path}/nonces.sqlite3"
    done = subprocess.run(
        ["/bin/sh", "-c", script()],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "version 2 of the feed is in force" in done.stdout
    assert {"1.root.json", "2.root.json", "3.root.json"} <= {file.name for file in (tmp_path / "feed/public").iterdir()}


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
