"""What the whole suite shares."""

from collections.abc import Iterator

import pytest
from support.redis_server import RedisServer, running_redis_server

# Hooks: every line that the run logs is held against its nonces and documents.
from support.session_log import (
    pytest_configure,
    pytest_sessionfinish,
    pytest_terminal_summary,
    pytest_testnodedown,
)

__all__ = ["pytest_configure", "pytest_sessionfinish", "pytest_terminal_summary", "pytest_testnodedown"]


@pytest.fixture(scope="session")
def redis_server() -> Iterator[RedisServer]:
    """One server for all tests, which keep apart by their keys. Who stops or counts takes one of their own."""
    with running_redis_server() as server:
        yield server


@pytest.fixture(scope="session")
def redis_url(redis_server: RedisServer) -> str:
    return redis_server.url
