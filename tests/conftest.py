"""What the whole suite shares."""

import os
from collections.abc import Iterator
from itertools import islice

import pytest
from hypothesis import HealthCheck, settings

# Hooks: the last lines of a run name each failure.
from support.failures import (
    pytest_internalerror,
    pytest_report_to_serializable,
    pytest_runtest_logreport,
    pytest_unconfigure,
)
from support.redis_server import RedisServer, running_redis_server

# Hooks: every line that the run logs is held against its nonces and documents.
from support.session_log import (
    pytest_configure,
    pytest_sessionfinish,
    pytest_terminal_summary,
    pytest_testnodedown,
)

__all__ = [
    "pytest_configure",
    "pytest_internalerror",
    "pytest_report_to_serializable",
    "pytest_runtest_logreport",
    "pytest_sessionfinish",
    "pytest_terminal_summary",
    "pytest_testnodedown",
    "pytest_unconfigure",
]

# The machine may do other work, so the time of one example says nothing. Tests of costs compare ratios.
settings.register_profile("suite", deadline=None)
# `make fuzz`: many examples, and other ones in each run, also where CI is set.
settings.register_profile(
    "fuzz",
    deadline=None,
    derandomize=False,
    print_blob=True,
    max_examples=int(os.environ.get("FUZZ_EXAMPLES", "5000")),
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "suite"))


#: They take long, and mostly wait. If one began last, the other processes would have nothing to do.
_LONG = (
    "pages/test_tutorial",
    "pages/test_readme",
    "pages/test_contributing",
    "system/test_appliance",
    "system/test_backup",
    "system/test_decisions_page",
    "system/test_incidents",
    "system/test_inspector_page",
    "system/test_openapi",
    "system/test_trust_page",
    "system/test_two_regions",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let each process of pytest-xdist, which gets one stretch of the tests, begin with some of the long modules."""
    processes = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    long = [[item for item in items if item.nodeid.startswith(f"tests/{module}.py")] for module in _LONG]
    found = {id(item) for module in long for item in module}
    others = iter([item for item in items if id(item) not in found])
    ordered: list[pytest.Item] = []
    for number in range(processes):
        begun = [item for module in long[number::processes] for item in module]
        ordered += [*begun, *islice(others, max(0, len(items) // processes - len(begun)))]
    items[:] = [*ordered, *others]


@pytest.fixture(scope="session")
def redis_server() -> Iterator[RedisServer]:
    """One server for all tests, which keep apart by their keys. Who stops or counts takes one of their own."""
    with running_redis_server() as server:
        yield server


@pytest.fixture(scope="session")
def redis_url(redis_server: RedisServer) -> str:
    return redis_server.url
