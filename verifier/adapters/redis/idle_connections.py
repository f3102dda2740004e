"""Keep the connections of one process to one Redis server between their uses."""

import os
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from time import monotonic
from typing import Any

import redis

#: A connection of redis-py, which annotates only some of its methods.
Connection = Any

#: A connection that was in use within this number of seconds is not looked at again before its next use. To look costs
#: about as much as a command, and no server restarts in this time.
_FRESH = 0.02


class IdleConnections:
    """Hand out the connection that was in use last, or a new one. Thread-safe.

    The caller limits how many are in use. After a fork, each process opens its own connections.
    """

    def __init__(self, connect: Callable[[], Connection]) -> None:
        self._connect = connect
        self._owner = os.getpid()
        self._idle: deque[tuple[Connection, float]] = deque()

    def take(self) -> Connection:
        """Return a connection. Give it back after each use that did not fail.

        Raises an exception of redis-py if the server cannot be reached.
        """
        if os.getpid() != self._owner:
            self._owner, self._idle = os.getpid(), deque()
        while True:
            try:
                connection, since = self._idle.pop()
            except IndexError:  # there is no idle one, or another thread has just taken it
                return self._connect()
            if monotonic() - since < _FRESH or not _is_spent(connection):
                return connection
            connection.disconnect()

    def give_back(self, connection: Connection) -> None:
        self._idle.append((connection, monotonic()))

    def close(self) -> None:
        """Close the idle connections."""
        with suppress(IndexError):
            while True:
                self._idle.pop()[0].disconnect()


def _is_spent(connection: Connection) -> bool:
    """Return whether the server closed the connection, or sent bytes that nothing asked for."""
    try:
        return bool(connection.can_read(0))
    except (redis.RedisError, OSError):
        return True
