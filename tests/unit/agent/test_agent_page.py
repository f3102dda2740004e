"""docs/integrate/agent.md lists every exit code with a sentence of the agents, and every option."""

import argparse
import re

import pytest
from support.agent_scenarios import SCENARIOS
from support.agents import ROOT

from verifier.agent.command import configure
from verifier.agent.exit_codes import ExitCode
from verifier.agent.imds import RETRY_WAITS

PAGE = (ROOT / "docs" / "integrate" / "agent.md").read_text("utf-8")
ROW = re.compile(r"^\| (?P<status>[0-9]+) \| `(?P<name>[A-Z_]+)` \|(?: `(?P<sentence>[^`]+)`)? \|", re.MULTILINE)


def test_page_lists_every_exit_code() -> None:
    assert [(int(row["status"]), row["name"]) for row in ROW.finditer(PAGE)] == [(c.value, c.name) for c in ExitCode]


def test_drawing_shows_every_exit_code() -> None:
    drawing = (ROOT / "docs" / "images" / "agent.svg").read_text("utf-8")
    codes = re.findall(r'class="(?:code|good)"[^>]*>\s*([0-9]+)</text>', drawing)
    assert sorted(map(int, codes)) == sorted(ExitCode)


@pytest.mark.parametrize("code", sorted({s.exit_code for s in SCENARIOS} - {ExitCode.VERIFIED}), ids=lambda c: c.name)
def test_page_shows_a_sentence_of_the_agents(code: ExitCode) -> None:
    [shown] = [row["sentence"] for row in ROW.finditer(PAGE) if int(row["status"]) == code]
    assert any(re.fullmatch(scenario.sentence, shown) for scenario in SCENARIOS if scenario.exit_code is code)


def test_scenarios_cause_every_exit_code_except_usage_and_interrupt() -> None:
    assert set(ExitCode) - {scenario.exit_code for scenario in SCENARIOS} == {ExitCode.USAGE, ExitCode.INTERRUPTED}


def test_page_names_every_option() -> None:
    parser = argparse.ArgumentParser(add_help=False)
    configure(parser)
    options = {option for action in parser._actions for option in action.option_strings}  # noqa: SLF001 - no public way
    assert [option for option in sorted(options) if f"{option}`" not in PAGE and f"{option} " not in PAGE] == []


def test_page_has_the_retry_waits_of_imds() -> None:
    shown = re.findall(r"or else ([0-9, and]+) s \|", PAGE)
    assert [tuple(map(int, re.findall("[0-9]+", waits))) for waits in shown[:3]] == [
        RETRY_WAITS[ExitCode.IMDS_RATE_LIMITED],
        RETRY_WAITS[ExitCode.IMDS_UPDATING],
        RETRY_WAITS[ExitCode.IMDS_ERROR],
    ]
