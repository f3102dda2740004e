"""What the types forbid: mypy refuses a program that makes a token of an archived result."""

import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]

PROGRAM = """
from datetime import timedelta
from verifier.core.model import {kind}
from verifier.core.result_claims import build_claims

def issue(result: {kind}) -> dict[str, object]:
    return build_claims(
        result, tenant="t", issuer="i", audience="a", lifetime=timedelta(seconds=1), token_id="1", build="b"
    )
"""


@pytest.mark.parametrize(
    ("kind", "is_accepted"), [("LiveResult", True), ("ArchivedResult", False), ("AttestationResult", False)]
)
def test_only_a_live_result_is_accepted_by_the_token_builder(kind: str, *, is_accepted: bool, tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(PROGRAM.format(kind=kind), encoding="utf-8")
    checked = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--cache-dir", str(REPOSITORY / ".mypy_cache"), str(program)],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert (checked.returncode == 0) is is_accepted, checked.stdout + checked.stderr
    if not is_accepted:
        assert f'Argument 1 to "build_claims" has incompatible type "{kind}"; expected "LiveResult"' in checked.stdout
