"""Read one table of a trust manifest, and check the type of each key."""

from collections import Counter
from datetime import datetime
from enum import StrEnum
from typing import TypeVar, cast

from verifier.core.trust.bundle import TrustError

#: The TOML names of the types in a manifest.
_TYPES: dict[type, str] = {
    str: "a string",
    int: "an integer",
    list: "an array",
    dict: "a table",
    datetime: "a date and time",
}

_T = TypeVar("_T")
_Member = TypeVar("_Member", bound=StrEnum)


class Table:
    """Take the keys of one TOML table with their types. `finish` refuses the keys that are left.

    `place` names the table in errors.
    """

    def __init__(self, place: str, values: object) -> None:
        self.place = place
        if not isinstance(values, dict):
            raise self.error("must be a table")
        self._values = cast("dict[str, object]", dict(values))

    def error(self, detail: str) -> TrustError:
        return TrustError(f"{self.place}: {detail}")

    def take(self, key: str, kind: type[_T]) -> _T:
        value = self.take_optional(key, kind)
        if value is None:
            raise self.error(f"{key} is missing")
        return value

    def take_optional(self, key: str, kind: type[_T]) -> _T | None:
        value = self._values.pop(key, None)  # TOML has no null, so None is a missing key
        if value is None:
            return None
        if type(value) is not kind:  # exactly: True is an int to isinstance
            raise self.error(f"{key} must be {_TYPES[kind]}")
        return value

    def take_texts(self, key: str) -> tuple[str, ...]:
        """Take one or more strings without duplicates."""
        values = self.take(key, list)
        if not values or not all(type(value) is str for value in values):
            raise self.error(f"{key} must be one or more strings")
        texts = cast("list[str]", values)
        for text, count in Counter(texts).items():
            if count > 1:
                raise self.error(f"{key} names {text!r} twice")
        return tuple(texts)

    def take_member(self, key: str, kind: type[_Member]) -> _Member:
        return self.member(self.take(key, str), kind)

    def member(self, value: str, kind: type[_Member]) -> _Member:
        try:
            return kind(value)
        except ValueError as error:
            raise self.error(f"{value!r} is not one of: {', '.join(kind)}") from error

    def finish(self) -> None:
        if self._values:
            raise self.error(f"unknown key {', '.join(map(repr, sorted(self._values)))}")
