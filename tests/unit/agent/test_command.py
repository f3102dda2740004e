"""The command: the claims on stdout, one sentence on stderr, and a status that a script can act on."""

import argparse
import ast
import base64
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from support.scripted_servers import Reply, dead_url, json_reply, problem_reply, serving

import verifier.agent.command as subject
from verifier.agent.command import configure, run
from verifier.agent.ends import End

NONCE = json_reply({"nonce": "4711"}, status=201)
DOCUMENT = json_reply({"encoding": "pkcs7", "signature": "AAAA"})
RESULT = {
    "verdict": "verified",
    "claims": {"vmId": "v-1", "licenseType": "", "plan": {"publisher": "contoso", "name": "gold"}, "later": [1, None]},
    "checks": [],
}
VERIFIED = json_reply(RESULT)


def lasting(seconds: int) -> str:
    """A result token, as far as the agent looks at one."""
    payload = base64.urlsafe_b64encode(json.dumps({"iat": 1000, "exp": 1000 + seconds}).encode())
    return f"e30.{payload.rstrip(b'=').decode()}.AAAA"


TOKEN = lasting(600)
#: The agent, which tells its long pauses, and does not take the short ones.
WATCHED = """
import sys, time
from verifier.agent import command
from verifier.agent.__main__ import main
sleep = time.sleep
def pause(seconds):
    sys.stderr.write(f"pause {seconds}\\n")
    sys.stderr.flush()
    sleep(seconds if seconds > 60 else 0)
command.time.sleep = pause
main()
"""


def parse(*arguments: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    configure(parser)
    return parser.parse_args(arguments)


def attest(*verifier: Reply, imds: Reply = DOCUMENT, options: tuple[str, ...] = ()) -> int:
    with serving(imds) as imds_script, serving(*verifier) as verifier_script:
        return run(parse("--verifier", verifier_script.url, "--imds", imds_script.url, *options))


def test_prints_the_claims_as_lines(capsys: pytest.CaptureFixture[str]) -> None:
    assert attest(NONCE, VERIFIED) == 0
    out, err = capsys.readouterr()
    assert out.splitlines() == [
        "vmId: v-1",
        "licenseType: ",
        "plan.publisher: contoso",
        "plan.name: gold",
        "later: [1, null]",
    ]
    assert err == ""


def test_prints_the_whole_result_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert attest(NONCE, VERIFIED, options=("--json",)) == 0
    assert json.loads(capsys.readouterr().out) == RESULT


def test_a_refusal_is_one_sentence_with_its_code(capsys: pytest.CaptureFixture[str]) -> None:
    assert attest(NONCE, problem_reply(422, "chain-untrusted", detail="No anchor was reached.")) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err == "attest: refused: No anchor was reached. (chain-untrusted, request r-1)\n"


def test_prints_the_token_alone(capsys: pytest.CaptureFixture[str]) -> None:
    assert attest(NONCE, json_reply(RESULT | {"token": TOKEN}), options=("--token",)) == 0
    assert capsys.readouterr().out == f"{TOKEN}\n"


@pytest.mark.parametrize("token", [None, "", "a.b", "a.b.c\nd", 5])
def test_a_result_without_a_token_is_an_end_of_its_own_where_one_is_wanted(
    capsys: pytest.CaptureFixture[str], token: object
) -> None:
    assert attest(NONCE, json_reply(RESULT | {"token": token}), options=("--token",)) == End.NO_TOKEN
    out, err = capsys.readouterr()
    assert out == ""
    assert err == "attest: verified, but the verifier signs no results: there is no token\n"


def test_the_output_goes_to_a_file_of_its_owner(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "token"
    options = ("--token", "--output", str(file))
    assert attest(NONCE, json_reply(RESULT | {"token": TOKEN}), options=options) == 0
    assert file.read_text("ascii") == f"{TOKEN}\n"
    assert file.stat().st_mode & 0o777 == 0o600
    assert capsys.readouterr().out == ""


def test_a_failure_leaves_the_output_as_it_was(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("before", encoding="ascii")
    assert attest(NONCE, problem_reply(422, "chain-untrusted"), options=("--output", str(file))) == End.REFUSED
    assert [entry.name for entry in tmp_path.iterdir()] == ["token"]
    assert file.read_text("ascii") == "before"


def test_asks_for_a_nonce_that_is_bound_to_a_key() -> None:
    thumbprint = "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs"  # RFC 7638 3.1
    with serving(DOCUMENT) as imds, serving(NONCE, VERIFIED) as script:
        assert run(parse("--verifier", script.url, "--imds", imds.url, "--jkt", thumbprint)) == 0
    assert script.requests[0].fields() == {"jkt": thumbprint}


def test_waits_between_rounds(monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[float] = []
    monkeypatch.setattr("verifier.agent.command.time.sleep", waits.append)
    again = problem_reply(422, "nonce-mismatch", retryable=True, headers={"Retry-After": "4"})
    assert attest(NONCE, again, NONCE, VERIFIED) == 0
    assert waits == [4]


def test_saves_the_posted_answer_byte_for_byte_for_its_owner(tmp_path: Path) -> None:
    file = tmp_path / "document.json"
    assert attest(NONCE, problem_reply(422, "chain-untrusted"), options=("--save-document", str(file))) == 1
    assert file.read_bytes() == DOCUMENT.body
    assert file.stat().st_mode & 0o777 == 0o600


def test_a_file_that_cannot_be_written_is_a_matter_of_usage(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert attest(NONCE, VERIFIED, options=("--save-document", str(tmp_path))) == 2
    assert str(tmp_path) in capsys.readouterr().err


def test_reads_the_key_from_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "key"
    file.write_text("s3cret\n", encoding="ascii")
    with serving(DOCUMENT) as imds, serving(NONCE, VERIFIED) as script:
        assert run(parse("--verifier", script.url, "--imds", imds.url, "--key-file", str(file))) == 0
    assert {request.headers["Authorization"] for request in script.requests} == {"Bearer s3cret"}
    assert all("Authorization" not in request.headers for request in imds.requests)
    assert "s3cret" not in "".join(capsys.readouterr())


@pytest.mark.parametrize("content", [b"", b"s3 cret", b"s3cret\ns3cret\n", b"s3\xffcret"])
def test_a_file_without_a_key_is_a_matter_of_usage(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    content: bytes,
) -> None:
    file = tmp_path / "key"
    file.write_bytes(content)
    assert run(parse("--verifier", dead_url(), "--key-file", str(file))) == 2
    assert "cret" not in capsys.readouterr().err


def test_a_missing_key_file_is_a_matter_of_usage(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(parse("--verifier", dead_url(), "--key-file", str(tmp_path / "none"))) == 2
    assert "none" in capsys.readouterr().err


def test_what_others_say_cannot_drive_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    evil = "\x1b[2Jx\nvmId: forged\u202e\ud800"
    assert attest(NONCE, json_reply({"verdict": "verified", "claims": {evil: evil}})) == End.VERIFIED
    assert attest(NONCE, problem_reply(422, "x", detail=evil)) == End.REFUSED
    assert attest(NONCE, imds=json_reply({"error": evil}, status=400)) == End.IMDS_REFUSES
    out, err = capsys.readouterr()
    assert (out.count("\n"), err.count("\n")) == (1, 2)
    assert (out + err).replace("\n", "").isprintable()


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("--verifier", "verifier.example"),
        ("--verifier", "ftp://verifier.example"),
        ("--verifier", "http://127.0.0.1", "--imds", "http://user@127.0.0.1"),
        ("--verifier", "http://127.0.0.1", "--api-version", "latest"),
        ("--verifier", "http://127.0.0.1", "--timeout", "0"),
        ("--verifier", "http://127.0.0.1", "--timeout", "nan"),
        ("--verifier", "http://127.0.0.1", "--timeout", "3601"),
        ("--verifier", "http://127.0.0.1", "--jkt", "short"),
        ("--verifier", "http://127.0.0.1", "--json", "--token"),
    ],
)
def test_bad_usage_ends_with_2(arguments: tuple[str, ...]) -> None:
    with pytest.raises(SystemExit) as ended:
        parse(*arguments)
    assert ended.value.code == 2


def test_the_defaults_are_azures() -> None:
    arguments = parse("--verifier", "http://127.0.0.1")
    assert str(arguments.imds) == "http://169.254.169.254"
    assert arguments.api_version == "2020-09-01"


def test_runs_as_a_module() -> None:
    with serving(DOCUMENT) as imds, serving(NONCE, VERIFIED) as script:
        done = subprocess.run(
            [sys.executable, "-m", "verifier.agent", "--verifier", script.url, "--imds", imds.url],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
            env={**os.environ, "PYTHONWARNINGS": "error"},
        )
    assert (done.returncode, done.stderr) == (0, "")
    assert "vmId: v-1\n" in done.stdout


def test_the_help_names_every_exit_status(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parse("--help")
    told = " ".join(capsys.readouterr().out.split())
    assert [end for end in End if f"{end.value} {end.name.lower().replace('_', ' ')}" not in told] == []


def test_an_interrupt_is_an_end_and_no_traceback(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupt(_: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("verifier.agent.command.time.sleep", interrupt)
    assert run(parse("--verifier", dead_url())) == End.INTERRUPTED
    assert capsys.readouterr().err == "attest: interrupted\n"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_watch_renews_until_it_is_told_to_stop(tmp_path: Path, number: signal.Signals) -> None:
    """As a process: its first token ends after a moment, and its second one after an hour."""
    file = tmp_path / "token"
    replies = [NONCE, json_reply(RESULT | {"token": lasting(1)}), NONCE, json_reply(RESULT | {"token": lasting(3600)})]
    with serving(DOCUMENT) as imds, serving(*replies) as script:
        options = ["--verifier", script.url, "--imds", imds.url, "--token", "--output", str(file), "--watch"]
        # The shortest pause is five seconds, which is not waited for here: the watch is another test's.
        process = subprocess.Popen(
            [sys.executable, "-c", WATCHED, *options], stderr=subprocess.PIPE, text=True, env=os.environ
        )
        try:
            assert process.stderr is not None
            assert process.stderr.readline().startswith("pause 5.0")
            assert file.read_text("ascii") == f"{lasting(1)}\n"
            assert float(process.stderr.readline().split()[1]) >= 1800
            assert file.read_text("ascii") == f"{lasting(3600)}\n"
            process.send_signal(number)
            assert process.wait(20) == End.VERIFIED
            assert process.stderr.read() == ""
        finally:
            process.kill()
            process.wait(20)
            if process.stderr is not None:
                process.stderr.close()


def test_a_watch_that_cannot_begin_ends_at_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    missing = tmp_path / "none"
    assert run(parse("--verifier", dead_url(), "--watch", "--key-file", str(missing))) == End.USAGE
    assert str(missing) in capsys.readouterr().err


def test_needs_nothing_but_the_standard_library() -> None:
    folder = Path(subject.__file__).parent
    imported = set()
    for file in folder.glob("*.py"):
        for node in ast.walk(ast.parse(file.read_bytes())):
            if isinstance(node, ast.Import):
                imported |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                assert node.level == 0
                imported.add(node.module or "")
    foreign = {name for name in imported if name.partition(".")[0] not in sys.stdlib_module_names}
    assert {name for name in foreign if not name.startswith("verifier.agent")} == set()
