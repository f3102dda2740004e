"""The figures of a bench, each with the bar that it must reach and the aim beyond it, as a table and as JSON."""

import json
import os
import platform
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from statistics import median


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One figure: the median of `samples`. Without a bar it is only for information."""

    part: str
    row: str
    unit: str
    samples: tuple[float, ...]
    bar: float | None = None
    aim: float | None = None
    #: Whether higher is better.
    at_least: bool = False

    @property
    def value(self) -> float:
        return median(self.samples)

    @property
    def reached(self) -> str:
        """Return `aim`, `bar`, `no`, or an empty text if there is no bar."""
        if self.bar is None:
            return ""
        if self.aim is not None and self._reaches(self.aim):
            return "aim"
        return "bar" if self._reaches(self.bar) else "no"

    def _reaches(self, mark: float) -> bool:
        return self.value >= mark if self.at_least else self.value <= mark


def table(figures: Iterable[Figure]) -> str:
    """Return a Markdown table. The range of the samples shows how quiet the machine was."""
    head = ("part", "row", "figure", "unit", "range", "bar", "aim", "reached")
    rows = [head, tuple("-" * len(name) for name in head)]
    for each in figures:
        spread = f"{_short(min(each.samples))} to {_short(max(each.samples))}" if len(each.samples) > 1 else ""
        marks = (_mark(each.bar, each), _mark(each.aim, each))
        rows.append((each.part, each.row, _short(each.value), each.unit, spread, *marks, each.reached))
    widths = [max(len(row[column]) for row in rows) for column in range(len(head))]
    lines = ("| " + " | ".join(map(str.ljust, row, widths)) + " |" for row in rows)
    return "\n".join(lines) + "\n"


def write_json(path: Path, figures: Iterable[Figure], *, options: dict[str, object]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    machine = {
        "python": platform.python_version(),
        "machine": platform.machine(),
        "processors": len(os.sched_getaffinity(0)),
        "load": os.getloadavg(),
    }
    rows = [asdict(each) | {"value": each.value, "reached": each.reached} for each in figures]
    report = {"at": datetime.now(UTC).isoformat(), "machine": machine, "options": options, "figures": rows}
    path.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")


def _short(value: float) -> str:
    """Return three significant digits, and no fraction from 100 on."""
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"  # noqa: PLR2004 - as the docstring says


def _mark(mark: float | None, each: Figure) -> str:
    return "" if mark is None else f"{'>=' if each.at_least else '<='} {_short(mark)}"
