"""What keeps tests on one store apart. The servers are in the suite's own conftest."""

import uuid
from collections.abc import Iterator

import pytest
from support.redis_groups import ClusterGroup, SentinelGroup, running_cluster, running_sentinel_group


@pytest.fixture
def tenant() -> str:
    """A tenant that no other test uses."""
    return f"tenant-{uuid.uuid4()}"


@pytest.fixture(scope="session")
def sentinel_group() -> Iterator[SentinelGroup]:
    """For tests that make nothing fail over for good."""
    with running_sentinel_group() as group:
        yield group


@pytest.fixture(scope="session")
def redis_cluster() -> Iterator[ClusterGroup]:
    """As above. Its nodes wait long for each other, so that a busy machine causes no failover."""
    with running_cluster(node_milliseconds=15_000) as group:
        yield group
