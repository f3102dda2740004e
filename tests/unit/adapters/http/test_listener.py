"""Test how a listener stops, how many callers it admits, and how long it waits for one to read."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, suppress
from dataclasses import replace

import gevent
import pytest
from gevent import socket
from gevent.event import Event

from verifier.adapters.http.connections import Connection, Limits, Listener

LIMITS = Limits(connections=1, request_seconds=5, idle_seconds=5)


@pytest.fixture
def server() -> Iterator[socket.socket]:
    with closing(socket.create_server(("127.0.0.1", 0), backlog=64)) as sock:
        yield sock


def test_stop_accepts_the_connections_that_wait_up_to_the_limit(server: socket.socket) -> None:
    """A full listener must not wait for a free place: the worker would neither finish its requests nor end."""
    accepted: list[object] = []
    over = Event()

    def hold(_listener: Listener, client: object, _address: object) -> None:
        accepted.append(client)
        over.wait()

    listener = Listener(server, LIMITS, hold)
    with ExitStack() as callers:
        for _ in range(LIMITS.most_connections + 8):
            callers.enter_context(closing(socket.create_connection(server.getsockname())))
        with gevent.Timeout(2):
            listener.stop()
        gevent.sleep(0)
        assert len(accepted) == LIMITS.most_connections
        over.set()
        gevent.sleep(0.01)
        assert not listener.is_busy
        assert len(accepted) == LIMITS.most_connections


@pytest.mark.parametrize("most", [32, 143, 144, 145, 1000, 73728])
def test_limits_within_a_number_use_as_much_of_it_as_they_can(most: int) -> None:
    limits = LIMITS.within(most)
    assert limits.most_connections <= most
    assert replace(limits, connections=limits.connections + 1).most_connections > most


def test_interim_answer_to_a_caller_that_does_not_read_has_the_deadline_of_an_answer(server: socket.socket) -> None:
    """The answer is 100 Continue, which gunicorn sends by `send`. The idle time, which is longer, does not count."""
    limits = Limits(connections=1, request_seconds=1, idle_seconds=60)
    listener = Listener(server, limits, lambda *_: None)
    ours, theirs = socket.socketpair()
    with closing(theirs), closing(Connection(ours, listener)) as connection:
        connection.settimeout(0)
        with suppress(BlockingIOError):
            while True:
                socket.socket.send(connection, bytes(65536))
        connection.settimeout(limits.idle_seconds)
        sending = gevent.spawn(_error_of, connection.send, b"HTTP/1.1 100 Continue\r\n\r\n")
        gevent.sleep(0.1)
        assert connection.is_waiting
        assert isinstance(sending.get(timeout=5), BrokenPipeError)


def test_closed_connection_is_at_its_end(server: socket.socket) -> None:
    listener = Listener(server, LIMITS, lambda *_: None)
    ours, caller = socket.socketpair()
    with closing(caller), closing(Connection(ours, listener)) as connection:
        connection.close()
        assert connection.recv(1) == b""


def test_caller_that_never_pauses_lets_each_greenlet_go_first_whose_answer_has_arrived(server: socket.socket) -> None:
    """The other greenlet waits for a socket, as one that waits for Redis does."""
    listener = Listener(server, LIMITS, lambda *_: None)
    ours, caller = socket.socketpair()
    waiting, redis = socket.socketpair()
    steps = 0
    with closing(caller), closing(waiting), closing(redis), closing(Connection(ours, listener)) as connection:
        caller.sendall(bytes(100))
        answered = gevent.spawn(lambda: (waiting.recv(1), steps)[1])
        gevent.sleep(0)
        for steps in range(1, 51):
            connection.recv(1)
            if steps == 1:
                redis.send(b"+")
        assert answered.get(timeout=1) <= 3


def _error_of(send: Callable[[bytes], int], data: bytes) -> OSError | None:
    try:
        send(data)
    except OSError as error:
        return error
    return None
