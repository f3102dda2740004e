"""The command `conformance` and the program of the page on vectors, on this verifier and on one at a URL."""

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.command_line import Ended, call
from support.conformance_server import serve
from support.page_blocks import ROOT, blocks_of, run_commands
from support.vectors import VECTORS, conformance_service, load_vectors

from verifier.cli.commands import ExitStatus

RUNS_BLOCKS = {"docs/integrate/vectors.md": {"Run them on this verifier": 1, "Run them on another verifier": 1}}
PAGE = "docs/integrate/vectors.md"
STATELESS = [vector for vector in load_vectors() if not vector.needs_state]
#: Cases that need each part of a state, and one that needs none.
FEW = (
    "chain-untrusted/denied-key-of-the-issuer",
    "chain-untrusted/cloud-not-served",
    "nonce-mismatch/another-vm",
    "nonce-replayed/nonce-optional-renamed",
    "nonce-replayed/posted-before-with-base64url",
    "policy-denied/policy-of-the-tenant-with-a-nonce-for-the-default",
    "signature-invalid/content-changed",
    "verified/azure-page-2018-repaired",
    "verified/json-with-nonce-and-policy",
)


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """The address of a verifier with an adapter."""
    with conformance_service() as service, serve(service) as served:
        yield served


@pytest.fixture
def few(tmp_path: Path) -> Path:
    """Return a directory with a few vectors, which a test may change."""
    for name in FEW:
        shutil.copytree(VECTORS / name, tmp_path / "vectors" / name)
    shutil.copy(VECTORS / "vectors.toml", tmp_path / "vectors")
    shutil.copytree(VECTORS / "trust", tmp_path / "vectors" / "trust")
    return tmp_path / "vectors"


def program(directory: Path, *arguments: str) -> Ended:
    """Run the program of the page."""
    [block] = blocks_of(PAGE, "Run them on another verifier", "python")
    file = directory / "run_vectors.py"
    file.write_text(block.text, "utf-8")
    ran = subprocess.run(
        [sys.executable, "-I", str(file), *arguments], capture_output=True, text=True, check=False, timeout=120
    )
    return Ended(status=ran.returncode, out=ran.stdout, err=ran.stderr)


def test_the_command_of_the_page_runs_every_vector(tmp_path: Path) -> None:
    [block] = blocks_of(PAGE, "Run them on this verifier", "console")
    assert block.commands.strip() == "imds-verifier conformance vectors"
    output = run_commands(f"cd '{ROOT}'; {block.commands.strip()} 2>&1", directory=tmp_path, environment={})
    assert output.strip().endswith(f": {len(load_vectors())} cases, 0 differ")


def test_the_program_of_the_page_is_short() -> None:
    [block] = blocks_of(PAGE, "Run them on another verifier", "python")
    assert len([line for line in block.text.splitlines() if line.strip()]) <= 50


def test_the_program_of_the_page_runs_all_cases_with_a_state(address: str, tmp_path: Path) -> None:
    ended = program(tmp_path, str(VECTORS), f"{address}/v1/attestations", f"{address}/state")
    assert (ended.out, ended.status, ended.err) == (f"{len(load_vectors())} cases, 0 differ\n", 0, "")


def test_the_program_of_the_page_runs_the_other_cases_without_a_state(address: str, tmp_path: Path) -> None:
    ended = program(tmp_path, str(VECTORS), f"{address}/v1/attestations")
    assert (ended.out, ended.status, ended.err) == (f"{len(STATELESS)} cases, 0 differ\n", 0, "")


def test_the_program_of_the_page_reports_a_difference(address: str, few: Path) -> None:
    wrong(few, "signature-invalid/content-changed")
    ended = program(few, str(few), f"{address}/v1/attestations", f"{address}/state")
    first, last = ended.out.splitlines()
    assert first.endswith("content-changed: ('refused', 'signature'), expected ('verified', None)")
    assert (last, ended.status) == (f"{len(FEW)} cases, 1 differ", 1)


def wrong(directory: Path, name: str) -> None:
    """Let a case expect that its document is accepted."""
    file = directory / name / "case.toml"
    text = file.read_text("utf-8")
    start, end = text.index("[expected]"), text.index("[[nonces]]")
    expected = '[expected]\nverdict = "verified"\ncloud = "AzurePublicCloud"\n'
    file.write_text(f"{text[:start]}{expected}{text[end:]}", "utf-8")


class TestCommand:
    def test_all_cases_run_at_a_url_with_a_state(self, address: str, few: Path) -> None:
        ended = call("conformance", str(few), "--url", f"{address}/v1/attestations", "--state-url", f"{address}/state")
        assert (ended.out, ended.status) == ("", ExitStatus.DONE)
        assert f": {len(FEW)} cases, 0 differ\n" in ended.err

    def test_the_cases_that_need_no_state_run_at_a_url_alone(self, address: str, few: Path) -> None:
        ended = call("conformance", str(few), "--url", f"{address}/v1/attestations")
        assert (ended.out, ended.status) == ("", ExitStatus.DONE)
        assert f": 1 cases, 0 differ, {len(FEW) - 1} left out because they need a state\n" in ended.err

    @pytest.mark.parametrize("is_remote", [False, True])
    def test_a_difference_is_one_line(self, address: str, few: Path, *, is_remote: bool) -> None:
        wrong(few, "signature-invalid/content-changed")
        url = ("--url", f"{address}/v1/attestations", "--state-url", f"{address}/state") if is_remote else ()
        ended = call("conformance", str(few), *url)
        assert ended.status == ExitStatus.REFUSED
        assert ended.out == (
            "signature-invalid/content-changed: checks failing signature, expected all pass; status 422, expected 200; "
            "verdict None, expected verified; cloud None, expected AzurePublicCloud\n"
        )
        assert f": {len(FEW)} cases, 1 differ\n" in ended.err

    def test_a_difference_is_one_line_of_json(self, few: Path) -> None:
        wrong(few, "signature-invalid/content-changed")
        ended = call("conformance", str(few), "--json")
        assert json.loads(ended.out)["case"] == "signature-invalid/content-changed"
        assert json.loads(ended.out)["differences"]["status"] == {"expected": 200, "actual": 422}

    @pytest.mark.parametrize(
        ("file", "text", "message"),
        [
            ("vectors.toml", 'version = "9.0.0"\nformat = 2\n', "format 2 is unknown; this release reads 1"),
            ("vectors.toml", "format", "vectors.toml"),
            (f"{FEW[0]}/case.toml", "", "the key 'description' is missing"),
            ("trust/manifest.toml", "", "manifest.toml"),
        ],
    )
    def test_an_invalid_file_is_named(self, few: Path, file: str, text: str, message: str) -> None:
        (few / file).write_text(text, "utf-8")
        ended = call("conformance", str(few))
        assert (ended.out, ended.status) == ("", ExitStatus.USAGE)
        assert message in ended.err

    @pytest.mark.parametrize(
        ("before", "after", "message"),
        [
            ("description =", "unknown = 1\ndescription =", "unknown key 'unknown'"),
            ("at = 2026-11-23T08:00:00Z", "at = 2026-11-23T08:00:00", "at: input should have timezone info"),
            ('code = "', 'code = "un', "expected.code: input should be 'malformed-evidence'"),
            ("spki_sha256", "spki_sha1", "unknown key 'denied.spki_sha1'"),
            ('body = "body.json"', 'body = "none.json"', "No such file"),
            ("retryable =", "tryable =", "unknown key 'expected.tryable'"),
        ],
    )
    def test_an_invalid_field_is_named(self, few: Path, before: str, after: str, message: str) -> None:
        file = few / FEW[0] / "case.toml"
        text = file.read_text("utf-8")
        assert before in text
        file.write_text(text.replace(before, after, 1), "utf-8")
        ended = call("conformance", str(few))
        assert ended.status == ExitStatus.USAGE
        assert message in ended.err

    @pytest.mark.parametrize(
        "arguments",
        [
            ("--state-url", "http://127.0.0.1:1/state"),
            ("--url", "ftp://127.0.0.1/"),
            ("--url", "http://"),
            ("--url", "http://127.0.0.1:x/"),
        ],
    )
    def test_an_invalid_option_is_refused(self, few: Path, arguments: tuple[str, ...]) -> None:
        assert call("conformance", str(few), *arguments).status == ExitStatus.USAGE

    def test_a_directory_without_vectors_is_refused(self, tmp_path: Path) -> None:
        assert call("conformance", str(tmp_path)).status == ExitStatus.USAGE
        (tmp_path / "vectors.toml").write_text('version = "1.0.0"\nformat = 1\n', "utf-8")
        ended = call("conformance", str(tmp_path))
        assert ended.status == ExitStatus.USAGE
        assert "no case" in ended.err

    def test_a_verifier_that_does_not_answer_is_unavailable(self, few: Path) -> None:
        ended = call("conformance", str(few), "--url", "http://127.0.0.1:1/v1/attestations")
        assert ended.status == ExitStatus.UNAVAILABLE
        assert "http://127.0.0.1:1/v1/attestations does not answer" in ended.err

    def test_an_adapter_that_takes_no_state_is_unavailable(self, address: str, few: Path) -> None:
        ended = call(
            "conformance", str(few), "--url", f"{address}/v1/attestations", "--state-url", f"{address}/healthz"
        )
        assert ended.status == ExitStatus.UNAVAILABLE
        assert "answered 405" in ended.err
