"""One figure of the benchmark, and the table and the JSON of all figures."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

#: A worker that takes longer than its caller is compared in CPU time of all its threads.
_NANOSECONDS = 1e9


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """A measured value. `bar` must be reached; `at_least` says on which side of it. None: the figure has no bar."""

    part: str
    name: str
    value: float
    unit: str = ""
    bar: float | None = None
    at_least: bool = False

    @property
    def verdict(self) -> str:
        if self.bar is None:
            return ""
        is_reached = self.value >= self.bar if self.at_least else self.value <= self.bar
        return "reached" if is_reached else "missed"


def cpu_seconds(process_id: int) -> float:
    """Return the CPU time of all threads of a process (proc_pid_schedstat: nanoseconds on a CPU)."""
    tasks = Path(f"/proc/{process_id}/task").iterdir()
    return sum(int((task / "schedstat").read_text("ascii").split()[0]) for task in tasks) / _NANOSECONDS


def table(figures: Iterable[Figure]) -> str:
    """Return the figures as a table."""
    rows: list[Sequence[str]] = [("part", "figure", "value", "bar", "")]
    for one in figures:
        bar = "" if one.bar is None else f"{'at least' if one.at_least else 'at most'} {one.bar:g}"
        rows.append((one.part, one.name, f"{one.value:.3g} {one.unit}".strip(), bar, one.verdict))
    widths = [max(len(row[column]) for row in rows) for column in range(5)]
    return "".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() + "\n" for row in rows
    )


def as_json(figures: Iterable[Figure]) -> str:
    return json.dumps([{**asdict(one), "verdict": one.verdict} for one in figures], indent=1) + "\n"
