"""The bench runs: each part is started as `make bench` starts it, with the smallest numbers."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("part", ["core"])
def test_part_prints_and_writes_its_figures(part: str, tmp_path: Path) -> None:
    report = tmp_path / "bench.json"
    run = subprocess.run(
        [sys.executable, "bench", part, "--rounds", "1", "--json", str(report)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": "tests"},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert run.returncode == 0, run.stderr
    figures = json.loads(report.read_bytes())["figures"]
    barred = [figure for figure in figures if figure["bar"] is not None]
    assert [figure["row"] for figure in barred] == [
        "warm chain / RSA-2048 verification",
        "cold chain / RSA-2048 verification",
    ]
    for figure in figures:
        assert figure["row"] in run.stdout
        assert figure["value"] > 0
    # A warm chain includes one verification, and a cold chain includes several.
    warm, cold = (figure["value"] for figure in barred)
    assert 1 < warm < cold
