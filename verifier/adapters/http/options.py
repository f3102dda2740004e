"""The options of the HTTP server, without gevent, which only `serve` imports."""

from collections.abc import Callable, Mapping

from flask import Flask

from verifier.core.values import dataclass
from verifier.ports.telemetry import UnhandledCause

#: Returns status, headers and problem document for a request that the application does not answer.
UnhandledRequestHandler = Callable[[UnhandledCause, Exception], tuple[int, Mapping[str, str], bytes]]


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerApplication:
    """What one worker serves. The worker calls `finish` when it answered its last request, before it ends."""

    app: Flask
    unhandled: UnhandledRequestHandler
    finish: Callable[[], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerOptions:
    host: str
    port: int
    workers: int
    #: If a worker has more callers, it closes those that have kept it waiting longest.
    connections: int
    #: How many connections to stores a worker may hold.
    store_connections: int
    #: How long a caller may take to send one request.
    request_seconds: int
    keep_alive_seconds: int
    graceful_stop_seconds: int
    metrics_host: str = ""
    #: None if metrics and health have no listener of their own.
    metrics_port: int | None = None
