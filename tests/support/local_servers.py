"""Run a server of the standard library in a thread of the test."""

from collections.abc import Iterator
from contextlib import contextmanager
from socketserver import BaseServer
from threading import Thread


@contextmanager
def serving_in_thread(server: BaseServer) -> Iterator[None]:
    """Serve until the context ends. The caller closes the server."""
    # Polling often only makes the shutdown quick.
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        thread.join()
