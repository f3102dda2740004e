"""docs/agent.md has every end of the agent, with a sentence as it is told, and every option."""

import argparse
import re

import pytest
from support.agent_scenarios import SCENARIOS
from support.agents import ROOT

from verifier.agent.command import configure
from verifier.agent.ends import End
from verifier.agent.imds import _WAITS

PAGE = (ROOT / "docs" / "agent.md").read_text("utf-8")
ROW = re.compile(r"^\| (?P<status>[0-9]+) \| `(?P<name>[A-Z_]+)` \|(?: `(?P<sentence>[^`]+)`)? \|", re.MULTILINE)


def test_has_every_end_with_its_status() -> None:
    assert [(int(row["status"]), row["name"]) for row in ROW.finditer(PAGE)] == [(end.value, end.name) for end in End]


def test_draws_every_end() -> None:
    drawing = (ROOT / "docs" / "images" / "agent.svg").read_text("utf-8")
    ends = re.findall(r'class="(?:code|good)"[^>]*>\s*([0-9]+)</text>', drawing)
    assert sorted(map(int, ends)) == sorted(End)


@pytest.mark.parametrize("end", sorted({scenario.end for scenario in SCENARIOS} - {End.VERIFIED}), ids=lambda e: e.name)
def test_shows_a_sentence_as_the_agents_tell_it(end: End) -> None:
    [shown] = [row["sentence"] for row in ROW.finditer(PAGE) if int(row["status"]) == end]
    assert any(re.fullmatch(scenario.sentence, shown) for scenario in SCENARIOS if scenario.end is end)


def test_the_table_of_faults_has_every_end_but_those_of_whoever_calls() -> None:
    assert set(End) - {scenario.end for scenario in SCENARIOS} == {End.USAGE, End.INTERRUPTED}


def test_names_every_option() -> None:
    parser = argparse.ArgumentParser(add_help=False)
    configure(parser)
    options = {option for action in parser._actions for option in action.option_strings}  # noqa: SLF001 - no public way
    assert [option for option in sorted(options) if f"{option}`" not in PAGE and f"{option} " not in PAGE] == []


def test_says_how_long_imds_is_waited_for() -> None:
    told = re.findall(r"or else ([0-9, and]+) s \|", PAGE)
    assert [tuple(map(int, re.findall("[0-9]+", waits))) for waits in told[:3]] == [
        _WAITS[End.IMDS_LIMITING],
        _WAITS[End.IMDS_UPDATING],
        _WAITS[End.IMDS_FAILING],
    ]
