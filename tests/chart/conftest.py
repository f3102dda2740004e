"""What the tests of the chart share."""

import importlib.util
from types import ModuleType

import pytest
from support.chart import CHART


@pytest.fixture(scope="session")
def generator() -> ModuleType:
    """`helm/generate.py`, which writes what is made of the chart."""
    spec = importlib.util.spec_from_file_location("generate_chart", CHART.parent / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
