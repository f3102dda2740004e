"""Resolve a host once within a time limit."""

import socket
import threading
from collections.abc import Callable, Sequence
from queue import Empty, SimpleQueue

from verifier.ports.trust import FetchFailed

#: The greatest number of concurrent lookups of one name service.
MAX_LOOKUPS = 4


def look_up(host: str) -> tuple[str, ...]:
    """Return the addresses from the system's resolver, without a time limit. Raises OSError."""
    found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP)
    return tuple(str(address[0]) for *_, address in found)


class NameService:
    """Resolve hosts within a time limit, which getaddrinfo does not support.

    Each lookup has its own daemon thread. When the time limit passes, the caller returns and the thread continues until
    the system's resolver gives up (usually 30 seconds). If MAX_LOOKUPS are pending, further lookups fail at once.
    """

    def __init__(self, look_up: Callable[[str], Sequence[str]] = look_up) -> None:
        self._look_up = look_up
        self._free = threading.BoundedSemaphore(MAX_LOOKUPS)

    def resolve(self, host: str, seconds: float) -> Sequence[str]:
        """Return the unchecked addresses of `host` within `seconds`. Raises FetchFailed."""
        if not self._free.acquire(blocking=False):
            raise FetchFailed("The name service does not answer: too many lookups are pending.")
        answers: SimpleQueue[Sequence[str]] = SimpleQueue()
        worker = threading.Thread(target=self._work, args=(host, answers), name="issuer-lookup", daemon=True)
        try:
            worker.start()
        except RuntimeError as error:
            self._free.release()
            raise FetchFailed("No thread is available for a lookup.") from error
        try:
            return answers.get(timeout=seconds)
        except Empty as error:
            raise FetchFailed("The name service did not answer in time.") from error

    def _work(self, host: str, answers: SimpleQueue[Sequence[str]]) -> None:
        found: Sequence[str] = ()
        try:
            found = self._look_up(host)
        except (OSError, UnicodeError):
            pass  # handled like a host without an address
        finally:
            self._free.release()
            answers.put(found)
