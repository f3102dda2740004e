"""What is changed, which tests run, and which survivors are known to be equivalent."""

import fnmatch
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from changes import Mutant

#: Of the mutants of a part, in percent.
MOST_EQUIVALENT = 3

_Key = tuple[str, str, str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Wording:
    """Mutants that only change what a message says."""

    module: str
    function: str
    before: str
    after: str

    def fits(self, path: str, mutant: Mutant) -> bool:
        return (
            fnmatch.fnmatchcase(path, self.module)
            and fnmatch.fnmatchcase(mutant.function, self.function)
            and self.before in mutant.before
            and self.after in mutant.after
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """Some modules, and the least score that they must have, in percent."""

    name: str
    score: float
    modules: tuple[str, ...]
    left_out: Mapping[str, str]
    tests: Mapping[str, tuple[str, ...]]
    wording: tuple[Wording, ...]
    #: Names of tests that take long, and do not run.
    slow: tuple[str, ...]

    def tests_of(self, path: str) -> tuple[str, ...]:
        """Return the tests of a module: those of the same name, and those that are listed for it."""
        directory, _, name = path.removeprefix("verifier/").rpartition("/")
        own = Path("tests/unit", directory, f"test_{name}")
        listed = self.tests.get(path, ())
        found = (*([str(own)] if own.exists() else []), *listed)
        return (*found, "-k", f"not ({' or '.join(self.slow)})") if found and self.slow else found

    def is_wording(self, path: str, mutant: Mutant) -> bool:
        return any(one.fits(path, mutant) for one in self.wording)


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    mutants: int = 0
    killed: int = 0
    equivalent: int = 0

    def __add__(self, other: "Score") -> "Score":
        return Score(
            mutants=self.mutants + other.mutants,
            killed=self.killed + other.killed,
            equivalent=self.equivalent + other.equivalent,
        )

    @property
    def percent(self) -> float:
        """Killed mutants of those that are not listed as equivalent."""
        counted = self.mutants - self.equivalent
        return 100 * self.killed / counted if counted else 100.0

    def row(self, name: str) -> str:
        left = self.mutants - self.killed - self.equivalent
        return f"{name:44} {self.mutants:7} {self.killed:6} {self.equivalent:5} {left:4} {self.percent:5.1f}%"

    def faults(self, part: Part) -> list[str]:
        found = []
        if self.percent < part.score:
            found.append(f"{part.name}: the score is {self.percent:.1f} %, and {part.score} % is required")
        if self.equivalent * 100 > self.mutants * MOST_EQUIVALENT:
            found.append(f"{part.name}: {self.equivalent} mutants are listed: more than {MOST_EQUIVALENT} %")
        return found


@dataclass(frozen=True, slots=True)
class Listing:
    """The mutants that no test can notice, by module."""

    entries: Mapping[str, frozenset[_Key]]

    def of(self, path: str) -> frozenset[_Key]:
        return self.entries.get(path, frozenset())


def read_listing(file: Path) -> Listing:
    found: dict[str, set[_Key]] = {}
    for entry in tomllib.loads(file.read_text("utf-8")).get("equivalent", []):
        if not entry["reason"]:
            raise ValueError(f"no reason: {entry}")
        for change in entry["changes"]:
            before, _, after = change.partition("  ->  ")
            after, _, number = after.partition("  #")
            key = (entry.get("function", ""), before, after, int(number or 1))
            found.setdefault(entry["module"], set()).add(key)
    return Listing({module: frozenset(keys) for module, keys in found.items()})


def read_warm(file: Path) -> list[str]:
    """Return the modules to import once, before the forks. None of them may import the package."""
    found: list[str] = tomllib.loads(file.read_text("utf-8")).get("warm", [])
    return found


def read_parts(file: Path) -> list[Part]:
    fields = tomllib.loads(file.read_text("utf-8"))
    wording = tuple(
        Wording(
            module=one["module"],
            function=one.get("function", "*"),
            before=one.get("before", ""),
            after=one.get("after", ""),
        )
        for one in fields.get("wording", [])
    )
    return [_part(one, wording, fields.get("slow", [])) for one in fields["part"]]


def _part(fields: Mapping[str, Any], wording: Sequence[Wording], slow: Sequence[str]) -> Part:
    return Part(
        name=fields["name"],
        score=fields["score"],
        modules=tuple(fields["modules"]),
        left_out=fields.get("left_out", {}),
        tests={path: tuple(tests) for path, tests in fields.get("tests", {}).items()},
        wording=tuple(wording),
        slow=tuple(slow),
    )


def choose_modules(part: Part) -> list[str]:
    """Return the modules of a part, in the order of its patterns."""
    found: dict[str, None] = {}
    for pattern in part.modules:
        paths = sorted(str(path) for path in Path().glob(pattern))
        if not paths:
            raise ValueError(f"no module is {pattern}")
        found.update(dict.fromkeys(path for path in paths if path not in part.left_out))
    return list(found)
