"""What keeps tests on one store apart. The servers are in the suite's own conftest."""

import uuid

import pytest


@pytest.fixture
def tenant() -> str:
    """A tenant that no other test uses."""
    return f"tenant-{uuid.uuid4()}"
