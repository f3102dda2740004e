"""Chains with one peculiarity each, and the decision that RFC 5280 or a rule of the project requires."""

from functools import cache

from support.chain_cases import (
    algorithms,
    basic_constraints,
    extensions,
    identifiers,
    name_constraints,
    pathological,
    same_names,
    usages,
    validity,
)
from support.chain_cases.recipe import Case

_MODULES = (
    basic_constraints,
    usages,
    name_constraints,
    extensions,
    validity,
    algorithms,
    identifiers,
    same_names,
)


@cache
def load_cases() -> tuple[Case, ...]:
    """Return the cases that every validator decides."""
    return tuple(case for module in _MODULES for case in module.cases())


@cache
def load_pathological_cases() -> tuple[Case, ...]:
    """Return the cases whose set of authorities makes a search long."""
    return tuple(pathological.cases())
