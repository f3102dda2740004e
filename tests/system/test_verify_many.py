"""`imds-verifier verify` over files and directories: lines, summary, progress, and the worst exit status."""

import json
import os
import pty
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from support import documents
from support.command_line import call, run
from support.live_documents import current_document, write_current_trust

NUMBER = 1000
#: Every hundredth document is changed after it was signed.
BAD_EVERY = 100

EAST = documents.SAMPLES / "public-eastus-2026-07-28.json"
AT = "2026-07-28T13:24:00Z"


@pytest.fixture(scope="module")
def trust(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(write_current_trust(tmp_path_factory.mktemp("trust") / "trust"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """1,000 documents in ten directories, of which 10 were changed."""
    folder = tmp_path_factory.mktemp("archive")
    for number in range(NUMBER):
        der = bytearray(current_document(f"{number:010}"))
        if number % BAD_EVERY == 0:
            der[der.index(b"contoso")] ^= 1
        directory = folder / f"day-{number // 100}"
        directory.mkdir(exist_ok=True)
        (directory / f"{number:04}.json").write_text(json.dumps(documents.imds_answer(bytes(der))))
    return folder


def test_verifies_a_folder_of_1000_documents_of_which_10_are_bad(folder: Path, trust: str) -> None:
    started = time.monotonic()
    ended = run("verify", str(folder), "--trust-dir", trust, "--json")
    seconds = time.monotonic() - started
    sys.stdout.write(f"{ended.err}{NUMBER / seconds:.0f} documents per second, with the start of the process\n")
    assert ended.status == 1
    assert re.fullmatch(
        r"1,000 of 1,000 files in [0-9.]+ seconds: verified 990, refused 10 \(signature-invalid 10\), unreadable 0\n",
        ended.err,
    )
    lines = [json.loads(line) for line in ended.out.splitlines()]
    files = [line["file"] for line in lines]
    assert files == sorted(str(path) for path in folder.rglob("*.json"))
    assert Counter(line.get("verdict", line.get("code")) for line in lines) == {
        "verified": NUMBER - 10,
        "signature-invalid": 10,
    }
    # 1,000 documents take about 2 seconds. The limit is far above that of a busy machine.
    assert seconds < 60


def test_a_line_of_json_is_what_one_file_prints(folder: Path, trust: str) -> None:
    good, bad = folder / "day-0" / "0001.json", folder / "day-0" / "0000.json"
    many = call("verify", str(good), str(bad), "--trust-dir", trust, "--json")
    for file, line in zip((good, bad), many.out.splitlines(), strict=True):
        one = json.loads(call("verify", str(file), "--trust-dir", trust, "--json").out)
        answer = json.loads(line)
        assert list(answer) == ["file", *one]
        assert {name for name in one if answer[name] != one[name]} <= {"evaluatedAt"}


def test_prints_a_line_of_text_for_each_file_and_the_worst_status(tmp_path: Path) -> None:
    files = {
        "a.json": EAST.read_bytes(),
        "b.json": (documents.SAMPLES / "azure-page-2018.json").read_bytes(),
        "c.json": b"{}",
    }
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
    names = [str(tmp_path / name) for name in files]
    every = call("verify", *names, str(tmp_path / "missing"), "--at", AT)
    a, b, c, missing = every.out.splitlines()
    assert a == f"{names[0]}: verified: AzurePublicCloud, vmId b1310a36-d400-46f6-82cb-6217df846586"
    assert b.startswith(f"{names[1]}: refused, algorithm-refused: ")
    assert c.startswith(f"{names[2]}: refused, malformed-evidence: ")
    assert missing == f"{tmp_path}/missing: unreadable: No such file or directory"
    assert every.err.endswith(": verified 1, refused 2 (algorithm-refused 1, malformed-evidence 1), unreadable 1\n")
    assert every.status == 2
    assert call("verify", names[0], names[0], "--at", AT).status == 0
    assert call("verify", names[0], names[1], "--at", AT).status == 1
    assert call("verify", names[1], names[2], names[0], "--at", AT).status == 2


def test_a_file_that_cannot_be_read_stops_no_run(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a-pipe")
    (tmp_path / "b-broken").symlink_to(tmp_path / "nowhere")
    (tmp_path / "c.json").write_bytes(EAST.read_bytes())
    (tmp_path / "d-loop").symlink_to(tmp_path / "d-loop")
    (tmp_path / "e-large").write_bytes(b"x" * 20_000)
    ended = call("verify", str(tmp_path), "--at", AT, "--json")
    codes = [json.loads(line).get("code", "verified") for line in ended.out.splitlines()]
    assert codes == ["unreadable", "unreadable", "verified", "unreadable", "too-large"]
    assert ended.status == 2


def test_escapes_the_names_of_files(tmp_path: Path) -> None:
    """A name may hold control characters, a new line, and bytes that are not UTF-8."""
    hostile = os.fsencode(tmp_path) + b"/\x1b]0;owned\x07\nb: verified\xff.json"
    with open(hostile, "wb") as file:  # noqa: PTH123 - a name of bytes
        file.write(EAST.read_bytes())
    text = call("verify", str(tmp_path), "--at", AT)
    assert text.out.count("\n") == 1
    assert text.out.isascii()
    assert "\x1b" not in text.out
    line = call("verify", str(tmp_path), "--at", AT, "--json").out
    assert line.count("\n") == 1
    assert json.loads(line)["file"].endswith("\x1b]0;owned\x07\nb: verified\\udcff.json")
    line.encode("utf-8").decode("utf-8")
    missing = call("verify", "/nowhere/\x1b[2J")
    assert missing.status == 2
    assert "\x1b" not in missing.err


@pytest.mark.parametrize("json_option", [(), ("--json",)])
def test_hints_at_the_option_for_archives_unless_it_is_given(json_option: tuple[str, ...]) -> None:
    for names in ([str(EAST)], [str(EAST), str(EAST)]):
        hinted = call("verify", *names, *json_option)
        told = call("verify", *names, *json_option, "--at", "2026-07-29T00:00:00Z")
        assert (hinted.status, told.status) == (1, 1)
        assert "document-expired" in hinted.out + hinted.err
        assert "`--at TIME`" in hinted.out + hinted.err
        assert "--at" not in told.out + told.err


def test_refuses_directories_without_a_file(tmp_path: Path) -> None:
    (tmp_path / ".hidden").write_bytes(EAST.read_bytes())
    ended = call("verify", str(tmp_path))
    assert (ended.status, ended.out) == (2, "")
    assert "no file to verify" in ended.err


def test_the_policy_and_the_trust_directory_are_checked_once(tmp_path: Path) -> None:
    for option in (("--policy", "none"), ("--trust-dir", str(tmp_path / "nowhere"))):
        ended = call("verify", str(EAST), str(EAST), "--at", AT, *option)
        assert (ended.status, ended.out) == (2, "")
        assert ended.err.count("imds-verifier verify: ") == 1


def test_draws_the_bar_only_on_a_terminal_and_only_for_many_files(folder: Path, trust: str) -> None:
    directory = folder / "day-1"
    status, shown = on_terminal("verify", str(directory), "--trust-dir", trust)
    assert status == 1
    assert re.search(r"\r\[#*\.*\] [0-9]+ of 100, not verified [01]\b", shown)
    # The bar is removed before the summary.
    assert re.search(r"\r +\r100 of 100 files in ", shown)
    _, alone = on_terminal("verify", str(directory / "0101.json"), "--trust-dir", trust)
    assert alone == ""
    assert "\r" not in run("verify", str(directory), "--trust-dir", trust).err


def on_terminal(*arguments: str) -> tuple[int, str]:
    """Return the status of a command and what it writes to standard error, which is a terminal."""
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        [sys.executable, "-P", "-m", "verifier", *arguments], stdout=subprocess.DEVNULL, stderr=theirs
    ) as process:
        os.close(theirs)
        shown = b"".join(read_all(ours))
        os.close(ours)
        status = process.wait(60)
    return status, shown.decode()


def read_all(descriptor: int) -> Iterator[bytes]:
    while True:
        try:
            data = os.read(descriptor, 4096)
        except OSError:  # Linux ends a terminal with EIO
            return
        if not data:
            return
        yield data


def test_a_closed_output_is_no_success(folder: Path, trust: str) -> None:
    """The reader stops after one line, as `head -1` does. Most documents are not verified then."""
    with start(str(folder), "--trust-dir", trust, "--json") as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert json.loads(process.stdout.readline())["file"]
        process.stdout.close()
        complaint = process.stderr.read().decode()
        assert process.wait(60) == 141
    assert re.fullmatch(r"[0-9]+ of 1,000 files in [^\n]*\n", complaint)


def test_an_interruption_ends_with_130_and_a_summary(folder: Path, trust: str) -> None:
    with start(str(folder), "--trust-dir", trust, "--json") as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline()
        process.send_signal(signal.SIGINT)
        process.stdout.read()
        complaint = process.stderr.read().decode()
        assert process.wait(60) == 130
    assert re.fullmatch(r"[0-9]+ of 1,000 files in [^\n]*\nimds-verifier: interrupted\n", complaint)


def start(*arguments: str) -> subprocess.Popen[bytes]:
    # A process that a shell started in the background ignores SIGINT, and so would this one.
    program = (
        "import runpy, signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
        "runpy.run_module('verifier', run_name='__main__')"
    )
    return subprocess.Popen(
        [sys.executable, "-P", "-c", program, "verify", *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
@pytest.mark.parametrize(("at", "status"), [(AT, 0), ("2026-07-29T13:24:00Z", 1)])
@pytest.mark.parametrize("number", [1, 2])
def test_the_status_is_right_when_a_stream_is_closed(number: int, at: str, status: int, closed: str) -> None:
    command = [sys.executable, "-P", "-m", "verifier", "verify", *[str(EAST)] * number, "--at", at]
    ended = subprocess.run(
        ["/bin/sh", "-c", f'exec "$@" {closed}', "sh", *command], capture_output=True, check=False, timeout=60
    )
    assert ended.returncode == status
    assert b"Traceback" not in ended.stderr
    if ">&-" not in closed.replace("2>&-", ""):
        assert ended.stdout.count(b"verified: ") == (number if status == 0 else 0)
