"""What a client of the matrix is, and how one of its calls can end."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from verifier.emulator import FaultKind


@dataclass(frozen=True, slots=True)
class Ending:
    """How a call of a client ends: in words, after so many requests, with a value or with an error."""

    text: str
    asked: int
    #: The value. Of an object, only these members count; a pattern stands for the strings that match it.
    got: object = None
    #: The type of the error, and a part of its text. None: there is a value.
    error: str | None = None
    says: str = ""
    #: How many requests have the fault. None: all.
    faulty: int | None = None
    #: The delay of the fault `slow`.
    seconds: float = 0.0

    def is_of(self, answer: Mapping[str, Any]) -> bool:
        if self.error is not None:
            return answer.get("error") == self.error and self.says in answer["text"]
        return "got" in answer and _has(answer["got"], self.got)

    def __str__(self) -> str:
        return f"{self.text}; {self.asked} request{'' if self.asked == 1 else 's'}"


def _has(found: object, expected: object) -> bool:
    if isinstance(expected, re.Pattern):
        return isinstance(found, str) and expected.fullmatch(found) is not None
    # An empty object has no members.
    if isinstance(expected, Mapping) and expected:
        return isinstance(found, Mapping) and all(
            name in found and _has(found[name], value) for name, value in expected.items()
        )
    if isinstance(expected, list):
        return isinstance(found, list) and len(found) == len(expected) and all(map(_has, found, expected))
    return type(found) is type(expected) and found == expected


# Each is one client, so it is compared and hashed as an object.
@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Client:
    """A client: the package, the program in tests/clients/programs that calls it, and how its calls end."""

    package: str
    registry: str
    program: str
    #: The requests of a call without a fault, in order.
    asks: tuple[str, ...]
    gets: Ending
    faults: Mapping[FaultKind, Ending]
    #: Where the client says how a call ends.
    documented: str
    #: How often the program may call it without a fault. More than 1: its own deadline is fixed and short, and a busy
    #: machine can miss it.
    calls: int = 1

    def __str__(self) -> str:
        return f"{self.package} ({self.registry})"


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What one call of a client did: the answer of its program, and the requests that the emulator got."""

    answer: Mapping[str, Any]
    asked: tuple[str, ...]


Run = Mapping[FaultKind | None, Seen]
"""What a client did without a fault (None) and with each fault."""
