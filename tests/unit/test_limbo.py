"""The chain step on x509-limbo's cases, as `tools/run_limbo.py` compares it, and that the comparison can fail."""

import json
import runpy
import subprocess
import sys
from pathlib import Path

import pytest
from support.page_blocks import commands_of, run_commands

ROOT = Path(__file__).parents[2]
TOOL = ROOT / "tools" / "run_limbo.py"
CASES = ROOT / "tests" / "data" / "limbo" / "cases.json"
PAGE = ROOT / "docs" / "understand" / "divergences.md"
GENERATOR = runpy.run_path(str(ROOT / "tools" / "generate_divergences.py"))

RUNS_BLOCKS = {"docs/understand/divergences.md": {"Differences from x509-limbo": 1}}
AS_EXPECTED = "webpki::san::exact-dns-san"
LISTED = "webpki::cn::not-in-san"


def compare(file: Path, *arguments: str) -> tuple[int, str]:
    """The exit status of the comparison, and what it prints."""
    done = subprocess.run(
        [sys.executable, TOOL, file, *arguments], capture_output=True, text=True, check=False, timeout=300
    )
    assert done.stderr == ""
    return done.returncode, done.stdout


def compare_one(directory: Path, identifier: str, *arguments: str, **changes: object) -> tuple[int, str]:
    """The same for one case, with these fields changed."""
    [case] = [case for case in json.loads(CASES.read_bytes())["testcases"] if case["id"] == identifier]
    file = directory / "cases.json"
    file.write_text(json.dumps({"testcases": [{**case, **changes}]}), encoding="utf-8")
    return compare(file, *arguments)


def test_the_chain_step_differs_from_limbo_only_as_listed() -> None:
    """Run the command of the page, which fails on another difference."""
    command = commands_of("docs/understand/divergences.md", "Differences from x509-limbo")
    script = command.replace(".venv/bin/python", sys.executable)
    assert run_commands(script, directory=ROOT, environment={}).startswith("175 of 175 cases run\n")


def test_every_listed_case_is_among_the_cases() -> None:
    known = {case["id"] for case in json.loads(CASES.read_bytes())["testcases"]}
    listed = [case for difference in GENERATOR["DIFFERENCES"] for case in difference.cases]
    assert len(listed) > 30
    assert len(listed) == len(set(listed))
    assert set(listed) <= known


def test_the_page_is_up_to_date() -> None:
    assert PAGE.read_text("utf-8") == GENERATOR["generate"]()


@pytest.mark.parametrize("identifier", [AS_EXPECTED, LISTED])
def test_one_case_is_enough(tmp_path: Path, identifier: str) -> None:
    assert compare_one(tmp_path, identifier)[0] == 0


def test_a_difference_that_is_not_listed_is_a_fault(tmp_path: Path) -> None:
    status, told = compare_one(tmp_path, AS_EXPECTED, expected_result="FAILURE")
    assert status == 1
    assert f"{AS_EXPECTED}: accept where x509-limbo says refuse, and not listed" in told


def test_a_listed_difference_that_is_gone_is_a_fault(tmp_path: Path) -> None:
    status, told = compare_one(tmp_path, LISTED, expected_result="SUCCESS")
    assert status == 1
    assert f"{LISTED}: listed as" in told


def test_an_exception_is_a_fault(tmp_path: Path) -> None:
    status, told = compare_one(tmp_path, AS_EXPECTED, peer_certificate=None)
    assert status == 1
    assert "EXCEPTION; AttributeError" in told


def test_a_case_that_takes_too_long_is_a_fault(tmp_path: Path) -> None:
    status, told = compare_one(tmp_path, AS_EXPECTED, "0")
    assert status == 1
    assert "DEADLINE; no outcome after 0 s" in told


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"validation_kind": "CLIENT"}, "a CLIENT certificate"),
        ({"features": ["has-crl"]}, "with a CRL"),
        ({"expected_peer_name": {"kind": "IP", "value": "127.0.0.1"}}, "peer name of kind IP"),
    ],
)
def test_a_skipped_case_is_told_with_its_reason(tmp_path: Path, changes: dict[str, object], reason: str) -> None:
    status, told = compare_one(tmp_path, AS_EXPECTED, **changes)
    assert status == 0
    assert told.startswith(f"0 of 1 cases run\n   1 skipped: {reason}")
