"""The systemd unit and the scheduled task are valid and use options that the agents have."""

import argparse
import re
import shutil
import subprocess
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from support.agents import EXAMPLES

from verifier.agent.command import configure
from verifier.agent.results import OutputFormat

UNIT = EXAMPLES / "systemd" / "imds-attest.service"
TASK = EXAMPLES / "windows" / "imds-attest.xml"
NAMESPACE = "{http://schemas.microsoft.com/windows/2004/02/mit/task}"


def lines(name: str) -> list[str]:
    return re.findall(rf"^{name}=(.*)$", UNIT.read_text("utf-8"), re.MULTILINE)


def test_systemd_accepts_the_unit() -> None:
    analyze = shutil.which("systemd-analyze")
    if analyze is None:
        pytest.skip("systemd-analyze is not installed")
    done = subprocess.run([analyze, "verify", UNIT], capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_systemd_rates_the_exposure_of_the_unit_at_most_2_of_10() -> None:
    analyze = shutil.which("systemd-analyze")
    if analyze is None:
        pytest.skip("systemd-analyze is not installed")
    command = [analyze, "security", "--offline=true", "--threshold=20", "--no-pager", str(UNIT)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stdout


def test_unit_runs_the_agent_with_valid_options() -> None:
    [start] = lines("ExecStart")
    words = [word.replace("%d", "/run/credentials/x").replace("%t", "/run") for word in start.split()]
    [verifier] = lines("Environment")
    words = [verifier.removeprefix("VERIFIER=") if word == "${VERIFIER}" else word for word in words]
    assert words[:4] == ["/usr/bin/python3", "-I", "-S", "/usr/local/lib/imds-attest/imds-attest.pyz"]
    parser = argparse.ArgumentParser(exit_on_error=False)
    configure(parser)
    arguments = parser.parse_args(words[4:])
    assert (arguments.watch, arguments.output_format) == (True, OutputFormat.TOKEN)
    # The unit creates the directory, and systemd provides the key.
    assert arguments.output == Path("/run") / lines("RuntimeDirectory")[0] / "token"
    assert arguments.key_file == Path("/run/credentials/x") / lines("LoadCredential")[0].partition(":")[0]


def test_task_runs_the_powershell_agent_with_valid_options() -> None:
    task = ET.parse(TASK).getroot()  # noqa: S314 - our own file
    [execution] = task.iter(f"{NAMESPACE}Exec")
    arguments = (execution.findtext(f"{NAMESPACE}Arguments") or "").split()
    place = arguments.index("-File")
    assert arguments[place + 1].endswith("\\agent.ps1")
    used = {word.removeprefix("-") for word in arguments[place + 2 :] if word.startswith("-")}
    text = (EXAMPLES / "agent.ps1").read_text("utf-8").split("Set-StrictMode")[0]
    known = set(re.findall(r"^    (?:\[switch\] )?\$([A-Za-z]+)", text, re.MULTILINE))
    assert used <= known
    assert {"Verifier", "KeyFile", "Token", "Output"} <= used


def test_task_runs_twice_within_the_default_lifetime_of_a_token() -> None:
    task = ET.parse(TASK).getroot()  # noqa: S314 - our own file
    [interval] = [text for each in task.iter(f"{NAMESPACE}Interval") if (text := each.text)]
    minutes = re.fullmatch(r"PT([0-9]+)M", interval)
    assert minutes is not None
    # The default of VERIFIER_TOKEN_LIFETIME_SECONDS is 600. One of the two runs may fail.
    assert 2 * int(minutes[1]) * 60 < 600
    assert task.findtext(f".//{NAMESPACE}MultipleInstancesPolicy") == "IgnoreNew"


def test_task_declares_no_encoding() -> None:
    """Windows registers a task from a string only if the XML declaration does not name another encoding."""
    assert TASK.read_text("utf-8").startswith('<?xml version="1.0"?>\n')
