"""gunicorn, told by arguments rather than by a file: the one place that knows its settings."""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from flask import Flask
from gunicorn.app.base import BaseApplication
from gunicorn.arbiter import Arbiter
from gunicorn.config import Config
from gunicorn.glogging import Logger


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerOptions:
    host: str
    port: int
    workers: int
    threads: int
    graceful_stop_seconds: int


def serve(create: Callable[[], Flask], options: ServerOptions, *, ready: Callable[[str], None]) -> None:
    """Serves until SIGTERM or SIGINT; then no new connection is taken, and requests in flight are finished
    within the graceful time. `create` makes the application in each worker, after the fork, so that no
    connection is shared; `ready` is told the base URL once connections are accepted. Does not return.
    """
    host = f"[{options.host}]" if ":" in options.host else options.host
    _Server(
        create,
        {
            "bind": [f"{host}:{options.port}"],
            "workers": options.workers,
            "worker_class": "gthread",
            "threads": options.threads,
            "graceful_timeout": options.graceful_stop_seconds,
            "keepalive": 5,
            # Its control socket would be opened under $HOME, which a read-only root does not have.
            "control_socket_disable": True,
            "logger_class": _RootLogger,
            # Requests are small: a document goes in the body, and nothing long in a header.
            "limit_request_line": 1024,
            "limit_request_fields": 64,
            "limit_request_field_size": 8190,
            # A path is a path: no header may rewrite it.
            "forwarder_headers": "",
            "forwarded_allow_ips": "",
            "when_ready": lambda arbiter: ready(_base_url(arbiter)),
        },
    ).run()


def _base_url(arbiter: Arbiter) -> str:
    host, port = arbiter.LISTENERS[0].sock.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


class _Server(BaseApplication):  # type: ignore[misc]  # gunicorn ships no types
    def __init__(self, create: Callable[[], Flask], settings: Mapping[str, object]) -> None:
        self._create = create
        self._settings = settings
        super().__init__()

    def load_config(self) -> None:
        for name, value in self._settings.items():
            self.cfg.set(name, value)

    def load(self) -> Flask:
        return self._create()


class _RootLogger(Logger):  # type: ignore[misc]  # gunicorn ships no types
    """gunicorn's messages go where the process's log goes; it keeps no access log, which would hold URLs."""

    def setup(self, cfg: Config) -> None:
        super().setup(cfg)
        self.error_log.handlers = []
        self.error_log.propagate = True
        self.error_log.setLevel(logging.INFO)
