"""The systemd unit of the service is valid and hardened, and its store and limits fit the service."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from verifier.adapters.settings.settings import Settings

UNIT = Path(__file__).parents[2] / "examples" / "systemd" / "imds-verifier.service"
TEXT = UNIT.read_text("utf-8")


def only(name: str) -> str:
    [value] = re.findall(rf"^{name}=(.*)$", TEXT, re.MULTILINE)
    return str(value)


@pytest.fixture
def analyze() -> str:
    path = shutil.which("systemd-analyze")
    if path is None:
        pytest.skip("systemd-analyze is not installed")
    return path


def test_systemd_accepts_the_unit(analyze: str, tmp_path: Path) -> None:
    command = only("ExecStart").split()[0]
    assert f"-m venv {Path(command).parents[1]}\n" in TEXT
    installed = tmp_path / UNIT.name
    installed.write_text(TEXT.replace(f"={command}", f"={Path(sys.executable).with_name('imds-verifier')}"), "utf-8")
    done = subprocess.run([analyze, "verify", installed], capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_systemd_rates_the_exposure_of_the_unit_at_most_2_of_10(analyze: str) -> None:
    command = [analyze, "security", "--offline=true", "--threshold=20", "--no-pager", str(UNIT)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stdout


def test_store_of_the_first_lines_is_in_the_state_directory() -> None:
    [url] = re.findall(r'nonce_store = "(.*)"', TEXT)
    store = Settings(nonce_store=url).nonce_store.get_secret_value()
    assert Path(store.removeprefix("sqlite://")).parent == Path("/var/lib") / only("StateDirectory")


def test_limits_fit_the_defaults_of_the_service() -> None:
    defaults = Settings()
    assert int(only("TimeoutStopSec")) > defaults.graceful_stop_seconds + 10
    assert int(only("LimitNOFILE")) > 16 * defaults.worker_connections
    assert only("Environment").startswith("VERIFIER_CONFIG=")
    assert only("User") in re.findall(r"useradd .* (\S+)$", TEXT, re.MULTILINE)
