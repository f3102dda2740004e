"""Configure and start gunicorn by arguments instead of a file."""

import gc
import logging
import os
import resource
import signal
import socket
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from functools import partial
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

from flask import Flask
from gevent import monkey
from gunicorn.app.base import BaseApplication
from gunicorn.arbiter import Arbiter
from gunicorn.config import Config
from gunicorn.glogging import Logger

from verifier.adapters.http.connections import Limits
from verifier.adapters.http.options import ServerOptions, UnhandledRequestHandler, WorkerApplication
from verifier.adapters.http.worker import STOPPING, Worker
from verifier.ports.telemetry import METRICS_LISTENER

#: How many connections the listener of metrics and health has at once.
_METRICS_CONNECTIONS = 64
#: Descriptors of a worker besides those of callers and stores: log, metrics, and the other listener with its callers.
_OWN_DESCRIPTORS = 256
#: A worker that can take fewer callers does not start. The smallest value of the setting is the same.
_FEWEST_CONNECTIONS = 16


def serve(
    create: Callable[[], WorkerApplication],
    options: ServerOptions,
    *,
    ready: Callable[[str, str], None],
    worker_ended: Callable[[int], None],
) -> None:
    """Serve until SIGTERM or SIGINT, finish the requests in flight within the graceful time, and exit.

    `create` makes the application in each worker, after the fork, so that workers share no connection. `ready` gets the
    base URLs of the service and of its metrics (or an empty text) when connections are accepted. `worker_ended` gets
    the process id of each worker that has ended. A request on the metrics listener has METRICS_LISTENER in its
    environment.

    Raises RuntimeError if the standard library is not patched: one slow caller would then stop a worker. Raises OSError
    with a sentence for the operator if an address cannot be used, or if the limit of descriptors is too low.
    """
    if not monkey.is_module_patched("socket"):
        raise RuntimeError("the standard library is not patched: start the service by `imds-verifier serve`")
    # Between its fork and its own handlers, a worker has the handlers of the arbiter, which lose a signal.
    os.register_at_fork(after_in_parent=partial(signal.pthread_sigmask, signal.SIG_UNBLOCK, STOPPING))
    addresses = [(options.host, options.port)]
    _require_bindable(options.host, options.port, settings="VERIFIER_HOST and VERIFIER_PORT")
    if options.metrics_port is not None:
        addresses.append((options.metrics_host, options.metrics_port))
        _require_bindable(
            options.metrics_host, options.metrics_port, settings="VERIFIER_METRICS_HOST and VERIFIER_METRICS_PORT"
        )
    _Server(
        create,
        options,
        {
            "bind": [f"[{host}]:{port}" if ":" in host else f"{host}:{port}" for host, port in addresses],
            "workers": options.workers,
            "worker_class": Worker,
            "graceful_timeout": options.graceful_stop_seconds,
            "keepalive": options.keep_alive_seconds,
            # gunicorn would open its control socket under $HOME, which a read-only root does not have.
            "control_socket_disable": True,
            "logger_class": _RootLogger,
            # Requests are small: a document is in the body, and headers are short.
            "limit_request_line": 1024,
            "limit_request_fields": 64,
            "limit_request_field_size": 8190,
            # No header may rewrite a path.
            "forwarder_headers": "",
            "forwarded_allow_ips": "",
            "pre_fork": lambda _arbiter, _worker: signal.pthread_sigmask(signal.SIG_BLOCK, STOPPING),
            "child_exit": lambda _, worker: worker_ended(worker.pid),
            "when_ready": lambda arbiter: _report_ready(arbiter, ready),
        },
    ).run()


def _require_bindable(host: str, port: int, *, settings: str) -> None:
    """Require that the address can be bound. gunicorn would try for 5 s, and its log would not name the settings."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        # As gunicorn does: reuse a port that closed a moment ago.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            shown = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
            raise OSError(f"cannot listen on {shown}: {error.strerror}. Change {settings}") from error


def _report_ready(arbiter: Arbiter, ready: Callable[[str, str], None]) -> None:
    """Report the URLs, and keep the port of the metrics for the workers, which are forked later."""
    urls = []
    for listener in arbiter.LISTENERS:
        host, port = listener.sock.getsockname()[:2]
        urls.append(f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}")
    if len(urls) > 1:
        arbiter.app.metrics_port = urls[1].rpartition(":")[2]
    # All workers share the memory that is loaded by now. The garbage collector would write to its pages and copy them.
    # It is disabled until here, because it leaves free space between these objects, which workers would fill.
    gc.freeze()
    gc.enable()
    ready(urls[0], urls[1] if len(urls) > 1 else "")


class _Server(BaseApplication):  # type: ignore[misc]  # gunicorn ships no types
    #: Those of the application that `load` made in this worker.
    unhandled: UnhandledRequestHandler
    finish: Callable[[], None]

    def __init__(
        self,
        create: Callable[[], WorkerApplication],
        options: ServerOptions,
        settings: Mapping[str, object],
    ) -> None:
        self._create = create
        self._limits = _admit_descriptors(
            Limits(
                connections=options.connections,
                request_seconds=options.request_seconds,
                idle_seconds=options.keep_alive_seconds,
            ),
            own=_OWN_DESCRIPTORS + options.store_connections,
        )
        self._settings = settings
        self.metrics_port = ""
        super().__init__()

    def load_config(self) -> None:
        for name, value in self._settings.items():
            self.cfg.set(name, value)

    def load(self) -> Flask:
        application = self._create()
        app, self.unhandled, self.finish = application.app, application.unhandled, application.finish
        if self.metrics_port:
            app.wsgi_app = partial(_mark_metrics_request, app.wsgi_app, self.metrics_port)  # type: ignore[method-assign]  # as Flask's documentation says
        return app

    def limits_of(self, listener: int) -> Limits:
        return self._limits if listener == 0 else replace(self._limits, connections=_METRICS_CONNECTIONS)


def _admit_descriptors(limits: Limits, *, own: int) -> Limits:
    """Raise the limit of descriptors for this many connections, or lower the number of connections.

    A worker needs `own` descriptors besides. Raises OSError if the limit leaves too few for callers.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = limits.most_connections + own
    limit = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
    if soft != resource.RLIM_INFINITY and soft < limit:
        resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))
    if limit == needed:
        return limits
    lowered = limits.within(limit - own)
    if lowered.connections < _FEWEST_CONNECTIONS:
        least = own + replace(limits, connections=_FEWEST_CONNECTIONS).most_connections
        raise OSError(f"the limit of descriptors (ulimit -n) is {limit}, and a worker needs {least}. Raise the limit")
    logging.getLogger(__name__).warning("the limit of descriptors allows a worker %s connections", lowered.connections)
    return lowered


def _mark_metrics_request(
    app: WSGIApplication, port: str, environ: WSGIEnvironment, start: StartResponse
) -> Iterable[bytes]:
    """Mark a request on the metrics listener. gunicorn takes SERVER_PORT from the socket, never from Host."""
    if environ["SERVER_PORT"] == port:
        environ[METRICS_LISTENER] = True
    return app(environ, start)


class _RootLogger(Logger):  # type: ignore[misc]  # gunicorn ships no types
    """Send gunicorn's messages to the log of the process. There is no access log, because it would hold URLs."""

    def setup(self, cfg: Config) -> None:
        super().setup(cfg)
        self.error_log.handlers = []
        self.error_log.propagate = True
        self.error_log.setLevel(logging.INFO)
