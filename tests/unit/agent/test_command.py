"""The command: the claims on stdout, one sentence on stderr, and a status that a script can act on."""

import argparse
import ast
import json
import os
import shutil
import subprocess
import sys
import zipapp
from pathlib import Path

import pytest
from unit.agent.servers import Reply, dead_url, json_reply, problem_reply, serving

import verifier.agent.command as subject
from verifier.agent.command import configure, run

NONCE = json_reply({"nonce": "4711"}, status=201)
DOCUMENT = json_reply({"encoding": "pkcs7", "signature": "AAAA"})
RESULT = {
    "verdict": "verified",
    "claims": {"vmId": "v-1", "licenseType": "", "plan": {"publisher": "contoso", "name": "gold"}, "later": [1, None]},
    "checks": [],
}
VERIFIED = json_reply(RESULT)


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


@pytest.mark.parametrize(("status", "code"), [(503, "store-unavailable"), (429, "rate-limited"), (500, "internal")])
def test_a_verifier_that_cannot_judge_is_a_missing_dependency(
    capsys: pytest.CaptureFixture[str],
    status: int,
    code: str,
) -> None:
    assert attest(NONCE, problem_reply(status, code)) == 3
    assert code in capsys.readouterr().err


def test_a_missing_verifier_is_a_missing_dependency(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(parse("--verifier", dead_url())) == 3
    assert "the verifier at http://127.0.0.1:1" in capsys.readouterr().err


def test_a_missing_imds_is_a_missing_dependency(capsys: pytest.CaptureFixture[str]) -> None:
    with serving(NONCE) as script:
        assert run(parse("--verifier", script.url, "--imds", dead_url())) == 3
    assert "IMDS at http://127.0.0.1:1" in capsys.readouterr().err


def test_a_200_from_something_else_is_no_pass(capsys: pytest.CaptureFixture[str]) -> None:
    assert attest(NONCE, json_reply({"hello": "world"})) == 3
    assert capsys.readouterr().out == ""


def test_a_request_that_imds_refuses_is_a_matter_of_usage(capsys: pytest.CaptureFixture[str]) -> None:
    assert attest(NONCE, imds=json_reply({"error": "api-version is not supported"}, status=400)) == 2
    assert "api-version is not supported" in capsys.readouterr().err


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
        assert run(parse("--verifier", script.url, "--imds", imds.url, "--token-file", str(file))) == 0
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
    assert run(parse("--verifier", dead_url(), "--token-file", str(file))) == 2
    assert "cret" not in capsys.readouterr().err


def test_a_missing_key_file_is_a_matter_of_usage(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(parse("--verifier", dead_url(), "--token-file", str(tmp_path / "none"))) == 2
    assert "none" in capsys.readouterr().err


def test_what_others_say_cannot_drive_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    evil = "\x1b[2Jx\nvmId: forged\u202e\ud800"
    assert attest(NONCE, json_reply({"verdict": "verified", "claims": {evil: evil}})) == 0
    assert attest(NONCE, problem_reply(422, "x", detail=evil)) == 1
    assert attest(NONCE, imds=json_reply({"error": evil}, status=400)) == 2
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


def test_runs_as_one_file_with_the_same_status(tmp_path: Path) -> None:
    shutil.copytree(Path(subject.__file__).parent, tmp_path / "source" / "verifier" / "agent")
    program = tmp_path / "attest.pyz"
    zipapp.create_archive(tmp_path / "source", program, main="verifier.agent.__main__:main")
    # Isolated and without site-packages: nothing but the file and the standard library is there to be imported.
    command = [sys.executable, "-I", "-S", str(program), "--verifier", dead_url()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 3
    assert done.stderr.startswith("attest: the verifier at ")


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
