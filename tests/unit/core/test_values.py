"""Test that the project's `dataclass` does what the standard library's does."""

import dataclasses
from collections.abc import Callable
from dataclasses import FrozenInstanceError, field, replace
from typing import Any

import pytest

from verifier.core import values

_Decorator = Callable[..., Callable[[type], type]]


def _classes(dataclass: _Decorator) -> dict[str, Any]:
    """Return the same classes, made with either decorator."""

    @dataclass(frozen=True, slots=True, kw_only=True)
    class Plain:
        first: int
        second: str = "default"
        third: list[int] = field(default_factory=list)

    @dataclass(frozen=True, slots=True, kw_only=True)
    class Special:
        compared: int
        ignored: int = field(default=0, compare=False)
        hidden: str = field(default="", repr=False)
        own: list[int] = field(default_factory=list, init=False, compare=False)
        fixed: int = field(default=7, init=False)
        late: int = field(init=False, compare=False)

        def __post_init__(self) -> None:
            object.__setattr__(self, "late", self.compared * 2)
            if self.compared < 0:
                raise ValueError("negative")

    @dataclass(frozen=True, slots=True, kw_only=True)
    class Derived(Plain):
        fourth: int = 4

        def __repr__(self) -> str:
            return "my own"

    @dataclass(frozen=True, slots=True)
    class Positional:
        first: int
        second: int = 2

    @dataclass(frozen=True, slots=True, kw_only=True)
    class Single:
        only: int

    @dataclass(frozen=True, slots=True, kw_only=True)
    class Empty:
        pass

    return {each.__name__: each for each in (Plain, Special, Derived, Positional, Single, Empty)}


OURS, THEIRS = _classes(values.dataclass), _classes(dataclasses.dataclass)


def _outcome(act: Callable[[dict[str, Any]], object], classes: dict[str, Any]) -> object:
    try:
        return act(classes)
    except (TypeError, ValueError, AttributeError) as error:
        return type(error), str(error)


@pytest.mark.parametrize(
    "act",
    [
        lambda c: repr(c["Plain"](first=1)),
        lambda c: repr(c["Plain"](first=1, second="x", third=[3])),
        lambda c: repr(c["Special"](compared=1, hidden="x", ignored=2)),
        lambda c: repr(c["Derived"](first=1)),
        lambda c: c["Derived"](first=1, fourth=5).fourth,
        lambda c: repr(c["Positional"](1)),
        lambda c: repr(c["Positional"](1, second=3)),
        lambda c: repr(c["Empty"]()),
        lambda c: c["Plain"](),
        lambda c: c["Plain"](first=1, other=2),
        lambda c: c["Plain"](1),
        lambda c: c["Special"](compared=1, own=[]),
        lambda c: c["Special"](compared=-1),
        lambda c: replace(c["Special"](compared=1), compared=-1),
        lambda c: repr(replace(c["Plain"](first=1), second="changed")),
        lambda c: c["Special"](compared=1).fixed,
        lambda c: c["Special"](compared=1).late,
        lambda c: c["Special"](compared=1).own is c["Special"](compared=1).own,
        lambda c: c["Special"](compared=1, ignored=1) == c["Special"](compared=1, ignored=2),
        lambda c: c["Special"](compared=1, hidden="a") == c["Special"](compared=1, hidden="b"),
        lambda c: c["Plain"](first=1) == c["Derived"](first=1),
        lambda c: c["Single"](only=1) == c["Single"](only=1),
        lambda c: c["Single"](only=1) == 1,
        lambda c: c["Empty"]() == c["Empty"](),
        lambda c: hash(c["Single"](only=1)),
        lambda c: hash(c["Special"](compared=1, ignored=1)) == hash(c["Special"](compared=1, ignored=2)),
        lambda c: hash(c["Plain"](first=1)),
        lambda c: setattr(c["Plain"](first=1), "first", 2),
        lambda c: delattr(c["Plain"](first=1), "first"),
        lambda c: hasattr(c["Plain"](first=1), "__dict__"),
        lambda c: c["Plain"].__match_args__,
        lambda c: c["Positional"].__match_args__,
        lambda c: [each.name for each in dataclasses.fields(c["Derived"])],
    ],
)
def test_value_class_behaves_as_that_of_the_standard_library(act: Callable[[dict[str, Any]], object]) -> None:
    assert _outcome(act, OURS) == _outcome(act, THEIRS)


def test_all_classes_share_one_repr_so_that_no_class_compiles_its_own() -> None:
    assert OURS["Plain"].__repr__ is OURS["Special"].__repr__
    assert THEIRS["Plain"].__repr__ is not THEIRS["Special"].__repr__


def test_value_refuses_any_change() -> None:
    value = OURS["Plain"](first=1)
    for name in ("first", "unknown"):
        with pytest.raises(FrozenInstanceError):
            setattr(value, name, 2)
        with pytest.raises(FrozenInstanceError):
            delattr(value, name)
    assert value.first == 1


@pytest.mark.parametrize("parameters", [{"frozen": False, "slots": True}, {"frozen": True, "slots": False}])
def test_class_that_is_mutable_or_has_no_slots_is_refused(parameters: dict[str, bool]) -> None:
    with pytest.raises(TypeError, match="a value class is frozen and has slots"):
        values.dataclass(**parameters)
