"""Each failure again in one line, as the last lines of a run: a pytest plugin.

Whoever reads only the end of a log finds the reason there, also if pytest itself fails and prints no summary.
"""

import os
import sys
from collections.abc import Generator
from typing import Protocol

import pytest

_LINE = 300
_FAILURES: list[str] = []


class _Representation(Protocol):
    def __str__(self) -> str: ...


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    if report.failed:
        crash = getattr(report.longrepr, "reprcrash", None)
        _keep(f"{report.nodeid} ({report.when})", getattr(crash, "message", report.longreprtext))


def pytest_internalerror(excrepr: _Representation) -> None:
    """Of pytest itself, here or in a process of pytest-xdist, which sends its traceback as a text."""
    lines = str(excrepr).splitlines()
    _keep("pytest failed", "\n".join([line[1:] for line in lines if line.startswith("E ")][-3:] or lines[-1:]))


@pytest.hookimpl(wrapper=True)
def pytest_report_to_serializable() -> Generator[None, object, object]:
    """Make a report that pytest-xdist can send. A surrogate in the message of one test would end the process."""
    return _without_surrogates((yield))


def _without_surrogates(value: object) -> object:
    match value:
        case str():
            return value.encode("utf-8", "backslashreplace").decode()
        case dict():
            return {key: _without_surrogates(item) for key, item in value.items()}
        case list() | tuple():
            return type(value)(_without_surrogates(item) for item in value)
        case _:
            return value


def pytest_unconfigure() -> None:
    if "PYTEST_XDIST_WORKER" not in os.environ:
        for failure in _FAILURES:
            print(failure, file=sys.__stderr__)
        _FAILURES.clear()


def _keep(what: str, why: str) -> None:
    _FAILURES.append(f"FAILED {what}: {' '.join(why.split())[:_LINE]}")
