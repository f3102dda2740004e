"""The benchmark still measures: its short part, in a process of its own, as `make bench` runs it."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]

_CORE = """
from bench import core, figures
measured = core.measure(rounds=1, repeats=2)
assert all(one.value > 0 for one in measured)
print(figures.table(measured), figures.as_json(measured))
"""


def test_the_core_is_measured() -> None:
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'tests'}"}
    run = subprocess.run(
        [sys.executable, "-c", _CORE], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stderr
    assert "document with a cached chain / RSA-2048 verification" in run.stdout
