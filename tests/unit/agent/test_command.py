"""The command prints claims on stdout or one sentence on stderr, and exits with a documented code."""

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
from verifier.agent.exit_codes import ExitCode

NONCE = json_reply({"nonce": "4711"}, status=201)
DOCUMENT = json_reply({"encoding": "pkcs7", "signature": "AAAA"})
RESULT = {
    "verdict": "verified",
    "claims": {"vmId": "v-1", "licenseType": "", "plan": {"publisher": "contoso", "name": "gold"}, "later": [1, None]},
    "checks": [],
}
VERIFIED = json_reply(RESULT)


def token_with_lifetime(seconds: int) -> str:
    payload = base64.urlsafe_b64encode(json.dumps({"iat": 1000, "exp": 1000 + seconds}).encode())
    return f"e30.{payload.rstrip(b'=').decode()}.AAAA"


TOKEN = token_with_lifetime(600)
#: The agent, with pauses that are printed, and skipped unless they are long.
WATCHING_AGENT = """
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


def test_claims_are_printed_one_per_line(capsys: pytest.CaptureFixture[str]) -> None:
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


def test_json_option_prints_the_whole_result(capsys: pytest.CaptureFixture[str]) -> None:
    assert attest(NONCE, VERIFIED, options=("--json",)) == 0
    assert json.loads(capsys.readouterr().out) == RESULT


def test_refusal_is_one_sentence_with_the_problem_code(capsys: pytest.CaptureFixture[str]) -> None:
    assert attest(NONCE, problem_reply(422, "chain-untrusted", detail="No anchor was reached.")) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err == "attest: refused: No anchor was reached. (chain-untrusted, request r-1)\n"


def test_token_option_prints_only_the_token(capsys: pytest.CaptureFixture[str]) -> None:
    assert attest(NONCE, json_reply(RESULT | {"token": TOKEN}), options=("--token",)) == 0
    assert capsys.readouterr().out == f"{TOKEN}\n"


@pytest.mark.parametrize("token", [None, "", "a.b", "a.b.c\nd", 5])
def test_missing_token_has_its_own_exit_code(capsys: pytest.CaptureFixture[str], token: object) -> None:
    assert attest(NONCE, json_reply(RESULT | {"token": token}), options=("--token",)) == ExitCode.NO_TOKEN
    out, err = capsys.readouterr()
    assert out == ""
    assert err == "attest: verified, but the verifier returned no result token\n"


def test_output_file_is_private_to_its_owner(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "token"
    options = ("--token", "--output", str(file))
    assert attest(NONCE, json_reply(RESULT | {"token": TOKEN}), options=options) == 0
    assert file.read_text("ascii") == f"{TOKEN}\n"
    assert file.stat().st_mode & 0o777 == 0o600
    assert capsys.readouterr().out == ""


def test_failure_leaves_the_output_file_unchanged(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("before", encoding="ascii")
    assert attest(NONCE, problem_reply(422, "chain-untrusted"), options=("--output", str(file))) == ExitCode.REFUSED
    assert [entry.name for entry in tmp_path.iterdir()] == ["token"]
    assert file.read_text("ascii") == "before"


@pytest.mark.parametrize(
    "thumbprint", ["NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs", f"-{'a' * 42}"], ids=["RFC 7638 3.1", "minus"]
)
def test_jkt_option_requests_a_nonce_bound_to_that_key(thumbprint: str) -> None:
    with serving(DOCUMENT) as imds, serving(NONCE, VERIFIED) as script:
        assert run(parse("--verifier", script.url, "--imds", imds.url, f"--jkt={thumbprint}")) == 0
    assert script.requests[0].fields() == {"jkt": thumbprint}


def test_agent_waits_for_retry_after_between_rounds(monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[float] = []
    monkeypatch.setattr("verifier.agent.command.time.sleep", waits.append)
    retryable = problem_reply(422, "nonce-mismatch", retryable=True, headers={"Retry-After": "4"})
    assert attest(NONCE, retryable, NONCE, VERIFIED) == 0
    assert waits == [4]


def test_saved_document_has_the_bytes_of_imds_and_is_private(tmp_path: Path) -> None:
    file = tmp_path / "document.json"
    assert attest(NONCE, problem_reply(422, "chain-untrusted"), options=("--save-document", str(file))) == 1
    assert file.read_bytes() == DOCUMENT.body
    assert file.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    ("reply", "status"),
    [
        (VERIFIED, {"exitCode": 0, "code": None}),
        (problem_reply(403, "policy-denied"), {"exitCode": 1, "code": "policy-denied"}),
        (problem_reply(503, "store-unavailable"), {"exitCode": 21, "code": "store-unavailable"}),
        (Reply(status=502), {"exitCode": 21, "code": None}),
    ],
    ids=lambda value: str(value) if isinstance(value, dict) else "",
)
def test_status_file_says_how_the_attempt_ended(tmp_path: Path, reply: Reply, status: dict[str, object]) -> None:
    file = tmp_path / "status"
    # The agent retries 502 and 503 until then. It must get the first answer before, also on a busy machine.
    assert attest(NONCE, reply, options=("--status", str(file), "--timeout", "5")) == status["exitCode"]
    assert json.loads(file.read_bytes()) == status
    assert file.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("reply", [VERIFIED, problem_reply(403, "policy-denied")], ids=["verified", "refused"])
def test_unwritable_status_file_is_a_usage_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], reply: Reply
) -> None:
    assert attest(NONCE, reply, options=("--status", str(tmp_path), "--output", str(tmp_path / "x"))) == 2
    assert str(tmp_path) in capsys.readouterr().err


def test_unwritable_file_is_a_usage_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert attest(NONCE, VERIFIED, options=("--save-document", str(tmp_path))) == 2
    assert str(tmp_path) in capsys.readouterr().err


def test_key_is_read_from_the_key_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "key"
    file.write_text("s3cret\n", encoding="ascii")
    with serving(DOCUMENT) as imds, serving(NONCE, VERIFIED) as script:
        assert run(parse("--verifier", script.url, "--imds", imds.url, "--key-file", str(file))) == 0
    assert {request.headers["Authorization"] for request in script.requests} == {"Bearer s3cret"}
    assert all("Authorization" not in request.headers for request in imds.requests)
    assert "s3cret" not in "".join(capsys.readouterr())


@pytest.mark.parametrize("content", [b"", b"s3 cret", b"s3cret\ns3cret\n", b"s3\xffcret"])
def test_invalid_key_file_is_a_usage_error(tmp_path: Path, capsys: pytest.CaptureFixture[str], content: bytes) -> None:
    file = tmp_path / "key"
    file.write_bytes(content)
    assert run(parse("--verifier", dead_url(), "--key-file", str(file))) == 2
    assert "cret" not in capsys.readouterr().err


def test_missing_key_file_is_a_usage_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(parse("--verifier", dead_url(), "--key-file", str(tmp_path / "none"))) == 2
    assert "none" in capsys.readouterr().err


def test_remote_text_cannot_control_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    evil = "\x1b[2Jx\nvmId: forged\u202e\ud800"
    assert attest(NONCE, json_reply({"verdict": "verified", "claims": {evil: evil}})) == ExitCode.VERIFIED
    assert attest(NONCE, problem_reply(422, "x", detail=evil)) == ExitCode.REFUSED
    assert attest(NONCE, imds=json_reply({"error": evil}, status=400)) == ExitCode.IMDS_REJECTED
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
def test_invalid_arguments_exit_with_2(arguments: tuple[str, ...]) -> None:
    with pytest.raises(SystemExit) as error:
        parse(*arguments)
    assert error.value.code == 2


def test_defaults_are_the_address_and_api_version_of_azure() -> None:
    arguments = parse("--verifier", "http://127.0.0.1")
    assert str(arguments.imds) == "http://169.254.169.254"
    assert arguments.api_version == "2020-09-01"


def test_agent_runs_as_a_module() -> None:
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


def test_help_names_every_exit_code(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parse("--help")
    shown = " ".join(capsys.readouterr().out.split())
    assert [code for code in ExitCode if f"{code.value} {code.name.lower().replace('_', ' ')}" not in shown] == []


def test_interrupt_exits_with_its_own_code_and_no_traceback(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupt(_: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("verifier.agent.command.time.sleep", interrupt)
    assert run(parse("--verifier", dead_url())) == ExitCode.INTERRUPTED
    assert capsys.readouterr().err == "attest: interrupted\n"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_watch_renews_until_it_receives_a_signal(tmp_path: Path, number: signal.Signals) -> None:
    """The first token lasts one second, the second one hour."""
    file = tmp_path / "token"
    replies = [
        NONCE,
        json_reply(RESULT | {"token": token_with_lifetime(1)}),
        NONCE,
        json_reply(RESULT | {"token": token_with_lifetime(3600)}),
    ]
    with serving(DOCUMENT) as imds, serving(*replies) as script:
        options = ["--verifier", script.url, "--imds", imds.url, "--token", "--output", str(file), "--watch"]
        process = subprocess.Popen(
            [sys.executable, "-c", WATCHING_AGENT, *options], stderr=subprocess.PIPE, text=True, env=os.environ
        )
        try:
            assert process.stderr is not None
            assert process.stderr.readline().startswith("pause 5.0")
            assert file.read_text("ascii") == f"{token_with_lifetime(1)}\n"
            assert float(process.stderr.readline().split()[1]) >= 1800
            assert file.read_text("ascii") == f"{token_with_lifetime(3600)}\n"
            process.send_signal(number)
            assert process.wait(20) == ExitCode.VERIFIED
            assert process.stderr.read() == ""
        finally:
            process.kill()
            process.wait(20)
            if process.stderr is not None:
                process.stderr.close()


def test_watch_with_a_usage_error_exits_at_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    missing = tmp_path / "none"
    assert run(parse("--verifier", dead_url(), "--watch", "--key-file", str(missing))) == ExitCode.USAGE
    assert str(missing) in capsys.readouterr().err


def test_agent_imports_only_the_standard_library() -> None:
    folder = Path(subject.__file__).parent
    imported = set()
    # `key_tools` uses cryptography if it is installed; no module imports it at the start.
    in_functions = {folder / "key_tools.py"}
    for file in folder.glob("*.py"):
        module = ast.parse(file.read_bytes())
        for node in module.body if file in in_functions else ast.walk(module):
            if isinstance(node, ast.Import):
                imported |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                assert node.level == 0
                imported.add(node.module or "")
    third_party = {name for name in imported if name.partition(".")[0] not in sys.stdlib_module_names}
    assert {name for name in third_party if not name.startswith("verifier.agent")} == set()
