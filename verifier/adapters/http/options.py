"""The options of the HTTP server, without gevent, which only `serve` imports."""

from dataclasses import dataclass


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
