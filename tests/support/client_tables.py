"""The matrix of clients as a table: as its cases say, for the page, and as it was seen, for the terminal."""

from collections.abc import Mapping
from typing import Final
from urllib.parse import unquote

from support.client_cases import CLIENTS
from support.client_endings import Client, Ending, Run, Seen
from support.client_environment import pinned_versions

from verifier.emulator import FaultKind

_FAULTS: Final = (FaultKind.GONE, FaultKind.ERROR, FaultKind.RATE_LIMITED, FaultKind.CUT, FaultKind.SLOW)


def table_of_clients(runs: Mapping[Client, Run] | None = None) -> str:
    """Return the rows of the clients in `runs`, as they ended, or of all clients, as they should end."""
    head = ("client", "version", "requests", "result", *(f"`{kind}`" for kind in _FAULTS), "documented in")
    rows = [
        _row(client, None if runs is None else runs[client]) for client in CLIENTS if runs is None or client in runs
    ]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in (head, ["---"] * len(head), *rows))


def _row(client: Client, run: Run | None) -> list[str]:
    asked = client.asks if run is None else run[None].asked
    return [
        str(client),
        pinned_versions(client.registry)[client.package],
        ", ".join(f"`{unquote(line.removeprefix('GET /metadata'))}`" for line in asked),
        client.gets.text if run is None else _ended(client.gets, run[None]).rpartition(";")[0],
        *(str(client.faults[kind]) if run is None else _ended(client.faults[kind], run[kind]) for kind in _FAULTS),
        client.documented,
    ]


def _ended(ending: Ending, seen: Seen) -> str:
    text = ending.text if ending.is_of(seen.answer) else f"FAILED: {seen.answer}"
    return str(Ending(text, asked=len(seen.asked)))
