"""Read the list of differences between what is expected of a chain case and what one of four decides."""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

from support.chain_cases.deciders import Decision
from support.chain_cases.recipe import Case

FILE: Final = Path(__file__).parents[2] / "data" / "chain-cases" / "divergences.toml"


@dataclass(frozen=True, slots=True, kw_only=True)
class Divergence:
    """One kind of difference: what these deciders decide in these cases, and why that is as it should be."""

    why: str
    explanation: str
    decision: str
    deciders: tuple[str, ...]
    cases: tuple[str, ...]


@cache
def load_divergences() -> tuple[Divergence, ...]:
    listed = tomllib.loads(FILE.read_text("utf-8"))["divergences"]
    return tuple(
        Divergence(**{**one, "deciders": tuple(one["deciders"]), "cases": tuple(one["cases"])}) for one in listed
    )


def find_faults(case: Case, decisions: Mapping[str, Decision], divergences: tuple[Divergence, ...]) -> list[str]:
    """Return each difference that is not listed, and each listed one that is gone."""
    faults = []
    for name, made in decisions.items():
        listed = [one.decision for one in divergences if case.name in one.cases and name in one.deciders]
        if made.decision != case.expected and listed != [made.decision]:
            faults.append(f"{name}: {made.decision}, expected {case.expected}, and not listed; {made.words}")
        if made.decision == case.expected and listed:
            faults.append(f"{name}: listed as {listed[0]}, and decides as expected")
    return faults
