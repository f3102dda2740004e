"""Serve the application of the service on loopback, in the state that `PUT /state` sets.

This is the adapter that docs/integrate/vectors.md describes: the clock, the nonces, the policies and the trust settings
are those of one case, and the tenant `default` posts.
"""

import json
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING
from wsgiref.simple_server import WSGIRequestHandler, make_server

from support.local_servers import serving_in_thread
from support.vectors import VECTORS

from verifier.cli.conformance_cases import Case, build_case
from verifier.wiring.conformance import ConformanceService

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIEnvironment

_ANY_CASE = VECTORS / "verified" / "json"
_MOMENTS = frozenset({"at", "issued_at", "expires_at", "used_at"})


class _Silent(WSGIRequestHandler):
    def log_message(self, *_: object) -> None:
        """Write no log."""


class Adapter:
    """The WSGI application: `PUT /state` sets the state, and all other requests go to the service."""

    def __init__(self, service: ConformanceService, state: ExitStack) -> None:
        self._service = service
        self._state = state
        self._set(state_case({"at": "2026-11-23T08:00:00Z"}))

    def __call__(self, environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        if environ["PATH_INFO"] != "/state":
            environ["HTTP_AUTHORIZATION"] = self._authorization
            return self._application(environ, start_response)
        body = environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"]))
        self._state.close()
        self._set(state_case(json.loads(body)))
        start_response("204 No Content", [])
        return []

    def _set(self, case: Case) -> None:
        self._application, headers = self._state.enter_context(self._service.serve(case))
        self._authorization = headers["Authorization"]


def state_case(state: dict[str, object]) -> Case:
    """Return a case with this state."""
    state.pop("case", None)
    usual = {"description": "-", "body": "body.json", "media_type": "application/json"}
    expected = {"verdict": "verified", "cloud": "AzurePublicCloud"}
    return build_case(Path(_ANY_CASE), {**usual, "expected": expected, **with_moments(state)})


def with_moments(fields: dict[str, object]) -> dict[str, object]:
    """Return the fields with the times as TOML reads them."""
    found: dict[str, object] = {}
    for name, value in fields.items():
        if name in _MOMENTS and isinstance(value, str):
            found[name] = datetime.fromisoformat(value)
        elif isinstance(value, list):
            found[name] = [with_moments(one) if isinstance(one, dict) else one for one in value]
        else:
            found[name] = value
    return found


@contextmanager
def serve(service: ConformanceService) -> Iterator[str]:
    """Serve until the context ends, and return the address, e.g. http://127.0.0.1:8080."""
    with (
        ExitStack() as state,
        make_server("127.0.0.1", 0, Adapter(service, state), handler_class=_Silent) as server,
        serving_in_thread(server),
    ):
        yield f"http://127.0.0.1:{server.server_port}"
