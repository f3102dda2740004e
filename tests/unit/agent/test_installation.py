"""What keeps the agent running: the systemd unit and the scheduled task say what systemd and the agents take."""

import argparse
import re
import shutil
import subprocess
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from support.agents import EXAMPLES

from verifier.agent.command import configure
from verifier.agent.results import Form

UNIT = EXAMPLES / "systemd" / "imds-attest.service"
TASK = EXAMPLES / "windows" / "imds-attest.xml"
NAMESPACE = "{http://schemas.microsoft.com/windows/2004/02/mit/task}"


def lines(name: str) -> list[str]:
    return re.findall(rf"^{name}=(.*)$", UNIT.read_text("utf-8"), re.MULTILINE)


def test_systemd_takes_the_unit() -> None:
    analyze = shutil.which("systemd-analyze")
    if analyze is None:
        pytest.skip("there is no systemd here")
    done = subprocess.run([analyze, "verify", UNIT], capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_systemd_finds_the_unit_hardened() -> None:
    """The exposure that it reckons is at most 2 of 10."""
    analyze = shutil.which("systemd-analyze")
    if analyze is None:
        pytest.skip("there is no systemd here")
    command = [analyze, "security", "--offline=true", "--threshold=20", "--no-pager", str(UNIT)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stdout


def test_the_unit_watches_for_a_token_with_options_that_the_agent_takes() -> None:
    [start] = lines("ExecStart")
    words = [word.replace("%d", "/run/credentials/x").replace("%t", "/run") for word in start.split()]
    [verifier] = lines("Environment")
    words = [verifier.removeprefix("VERIFIER=") if word == "${VERIFIER}" else word for word in words]
    assert words[:4] == ["/usr/bin/python3", "-I", "-S", "/usr/local/lib/imds-attest/imds-attest.pyz"]
    parser = argparse.ArgumentParser(exit_on_error=False)
    configure(parser)
    arguments = parser.parse_args(words[4:])
    assert (arguments.watch, arguments.form) == (True, Form.TOKEN)
    # Where the unit makes a directory, and systemd puts the key.
    assert arguments.output == Path("/run") / lines("RuntimeDirectory")[0] / "token"
    assert arguments.key_file == Path("/run/credentials/x") / lines("LoadCredential")[0].partition(":")[0]


def test_the_task_runs_the_powershell_agent_with_options_that_it_takes() -> None:
    task = ET.parse(TASK).getroot()  # noqa: S314 - a file of ours
    [execution] = task.iter(f"{NAMESPACE}Exec")
    arguments = (execution.findtext(f"{NAMESPACE}Arguments") or "").split()
    place = arguments.index("-File")
    assert arguments[place + 1].endswith("\\agent.ps1")
    asked = {word.removeprefix("-") for word in arguments[place + 2 :] if word.startswith("-")}
    text = (EXAMPLES / "agent.ps1").read_text("utf-8").split("Set-StrictMode")[0]
    taken = set(re.findall(r"^    (?:\[switch\] )?\$([A-Za-z]+)", text, re.MULTILINE))
    assert asked <= taken
    assert {"Verifier", "KeyFile", "Token", "Output"} <= asked


def test_the_task_renews_well_before_a_token_of_the_usual_life_ends() -> None:
    task = ET.parse(TASK).getroot()  # noqa: S314 - a file of ours
    [interval] = [text for each in task.iter(f"{NAMESPACE}Interval") if (text := each.text)]
    minutes = re.fullmatch(r"PT([0-9]+)M", interval)
    assert minutes is not None
    # VERIFIER_TOKEN_LIFETIME_SECONDS is 600: one run may fail.
    assert 2 * int(minutes[1]) * 60 < 600
    assert task.findtext(f".//{NAMESPACE}MultipleInstancesPolicy") == "IgnoreNew"


def test_the_task_can_be_registered_from_a_string() -> None:
    """Windows refuses one that says another encoding than that of its strings."""
    assert TASK.read_text("utf-8").startswith('<?xml version="1.0"?>\n')
