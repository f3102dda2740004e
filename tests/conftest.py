"""What the whole suite shares."""

from collections.abc import Iterator

import pytest
from support.redis_server import RedisServer, running_redis_server


@pytest.fixture(scope="session")
def redis_server() -> Iterator[RedisServer]:
    """One server for all tests, which keep apart by their keys. Who stops or counts takes one of their own."""
    with running_redis_server() as server:
        yield server


@pytest.fixture(scope="session")
def redis_url(redis_server: RedisServer) -> str:
    return redis_server.url
