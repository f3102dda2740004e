"""Read the decisions that a service left in its SQLite file."""

from collections.abc import Mapping
from contextlib import closing
from pathlib import Path

from verifier.adapters.sqlite.decision_store import SqliteDecisionStore
from verifier.ports.decisions import Selection

_MOST = 100_000


def decisions_in(path: Path, *, tenant: str) -> list[Mapping[str, object]]:
    """Return the tenant's decisions, newest first."""
    with closing(SqliteDecisionStore(path, bytes_per_tenant=2**30)) as store:
        scan = store.scan(Selection(), tenant=tenant, before=None, limit=_MOST, most=_MOST)
        return [decision.fields for decision in scan.decisions]
