"""Remember what must be accepted once: proofs, and tokens if they are for single use."""

import heapq
import threading
from collections import Counter
from datetime import datetime
from typing import Protocol


class ReplayStoreError(Exception):
    """Report that a store cannot remember now. The verifier then accepts no token that needs the store."""


class ReplayStore(Protocol):
    """Remember identifiers until they expire. Processes that serve one backend must share one store."""

    def remember(self, scope: str, identifier: str, *, now: datetime, until: datetime) -> bool:
        """Store the identifier, and return True if it is new in its scope. Both must be one atomic step.

        `scope` stands for one VM. Both strings have at most 64 characters of base64url.
        Raises ReplayStoreError.
        """
        ...


class MemoryReplayStore:
    """Remember in this process: for one process, and only while it runs.

    An identifier is never evicted before it expires. If a scope is full, only that scope is refused: a VM that floods
    its own scope takes no room from the others.
    """

    def __init__(self, *, max_entries: int = 100_000, max_entries_per_scope: int = 1_000) -> None:
        self._max_entries = max_entries
        self._max_entries_per_scope = max_entries_per_scope
        self._turn = threading.Lock()
        self._until: dict[tuple[str, str], datetime] = {}
        self._by_expiry: list[tuple[datetime, tuple[str, str]]] = []
        self._sizes: Counter[str] = Counter()

    def remember(self, scope: str, identifier: str, *, now: datetime, until: datetime) -> bool:
        entry = (scope, identifier)
        with self._turn:
            self._expire(now)
            if entry in self._until:
                return False
            if len(self._until) >= self._max_entries or self._sizes[scope] >= self._max_entries_per_scope:
                raise ReplayStoreError("the replay store is full")
            self._until[entry] = until
            self._sizes[scope] += 1
            heapq.heappush(self._by_expiry, (until, entry))
            return True

    def _expire(self, now: datetime) -> None:
        while self._by_expiry and self._by_expiry[0][0] < now:
            _, entry = heapq.heappop(self._by_expiry)
            del self._until[entry]
            self._sizes[entry[0]] -= 1
            if not self._sizes[entry[0]]:
                del self._sizes[entry[0]]
