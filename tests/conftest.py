"""What the whole suite shares."""

import os
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings
from support.redis_server import RedisServer, running_redis_server

# Hooks: every line that the run logs is held against its nonces and documents.
from support.session_log import (
    pytest_configure,
    pytest_sessionfinish,
    pytest_terminal_summary,
    pytest_testnodedown,
)

__all__ = ["pytest_configure", "pytest_sessionfinish", "pytest_terminal_summary", "pytest_testnodedown"]

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


@pytest.fixture(scope="session")
def redis_server() -> Iterator[RedisServer]:
    """One server for all tests, which keep apart by their keys. Who stops or counts takes one of their own."""
    with running_redis_server() as server:
        yield server


@pytest.fixture(scope="session")
def redis_url(redis_server: RedisServer) -> str:
    return redis_server.url
