"""What the tests of the chart share."""

from types import ModuleType

import pytest
from support.scripts import load_script


@pytest.fixture(scope="session")
def generator() -> ModuleType:
    """`helm/generate.py`, which writes what is made of the chart."""
    return load_script("helm/generate.py")
