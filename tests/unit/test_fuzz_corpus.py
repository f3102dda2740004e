"""The kept corpus of each fuzzing harness has its property. `make fuzz` looks for inputs that violate it."""

import importlib
from pathlib import Path
from typing import Protocol, cast

import pytest
import yaml  # type: ignore[import-untyped]  # its stubs are a package of their own, for one call

FUZZ = Path(__file__).parents[2] / "fuzz"
TARGETS = sorted(file.stem for file in (FUZZ / "harnesses").glob("*.py"))
MOST_BYTES = 1024 * 1024


class Harness(Protocol):
    def check(self, data: bytes) -> bool:
        """Check the property for one input, and return whether it is accepted."""


def harness_of(target: str) -> Harness:
    return cast("Harness", importlib.import_module(f"harnesses.{target}"))


def inputs_of(target: str) -> list[bytes]:
    return [file.read_bytes() for file in sorted((FUZZ / "corpus" / target).iterdir())]


@pytest.mark.parametrize("target", TARGETS)
def test_kept_inputs_have_the_property(target: str) -> None:
    check = harness_of(target).check
    # Each corpus reaches both ends of its reader.
    assert {check(data) for data in inputs_of(target)} == {True, False}


@pytest.mark.parametrize("target", TARGETS)
def test_an_input_without_bytes_has_the_property(target: str) -> None:
    # Every setting has a default.
    assert harness_of(target).check(b"") is (target == "settings")


def test_the_corpus_is_small() -> None:
    files = [file for file in (FUZZ / "corpus").rglob("*") if file.is_file()]
    assert sum(file.stat().st_size for file in files) <= MOST_BYTES


def test_every_corpus_has_a_harness() -> None:
    assert sorted(directory.name for directory in (FUZZ / "corpus").iterdir()) == TARGETS


@pytest.mark.parametrize(
    ("target", "module", "name"),
    [
        ("envelope", "harnesses.envelope", "encode_signed_data"),
        ("strict_json", "json", "loads"),
    ],
)
def test_a_violation_is_found(target: str, module: str, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Compare with a result that is wrong."""
    harness, inputs = harness_of(target), inputs_of(target)
    monkeypatch.setattr(importlib.import_module(module), name, lambda *_, **__: None)
    with pytest.raises(AssertionError):
        list(map(harness.check, inputs))


def test_the_workflow_fuzzes_every_target() -> None:
    workflow = yaml.safe_load((FUZZ.parent / ".github" / "workflows" / "fuzz.yml").read_text("utf-8"))
    assert workflow["jobs"]["fuzz"]["strategy"]["matrix"]["target"] == TARGETS
