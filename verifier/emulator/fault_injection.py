"""Inject the planned faults into the responses of an app."""

from collections.abc import Callable, Iterator
from typing import Final

from flask import Flask, Response, request

from verifier.emulator.controls import Controls
from verifier.emulator.faults import FaultKind
from verifier.emulator.rules import Refusal, refuse

DOCUMENT_PATH: Final = "/metadata/attested/document"

_ERRORS: Final = {
    FaultKind.GONE: (410, "Gone"),
    FaultKind.ERROR: (500, "Internal Server Error"),
    FaultKind.RATE_LIMITED: (429, "Too many requests"),
}
#: The key of the request's fault in the WSGI environment.
_ENVIRON_KEY: Final = "verifier.emulator.fault"


def inject_faults(app: Flask, controls: Controls, wait: Callable[[float], object]) -> None:
    """Apply the next fault of `controls` to each request. `wait` delays a slow response by its seconds.

    Call it after `rules.enforce`, so that a request that IMDS itself refuses uses up no fault.
    """

    @app.before_request
    def apply_fault() -> Refusal | None:
        # A request without a route gets 404 or 405 and uses up no fault.
        if request.url_rule is None:
            return None
        fault = controls.take_fault(is_for_a_document=request.url_rule.rule == DOCUMENT_PATH)
        if fault is None:
            return None
        if fault.kind in _ERRORS:
            return refuse(*_ERRORS[fault.kind])
        request.environ[_ENVIRON_KEY] = fault.kind
        if fault.kind is FaultKind.SLOW:
            wait(fault.seconds)
        return None

    @app.after_request
    def cut(response: Response) -> Response:
        """Announce the whole length, send half of the body, and close the connection."""
        if has_fault(FaultKind.CUT):
            body = response.get_data()
            response.response = _half(body)
            response.headers["Content-Length"] = str(len(body))
        return response


def has_fault(kind: FaultKind) -> bool:
    """Return True if the current request has this fault."""
    return request.environ.get(_ENVIRON_KEY) is kind


def _half(body: bytes) -> Iterator[bytes]:
    yield body[: len(body) // 2]
    # werkzeug treats this as a client that disconnected: it closes the connection without a log line.
    raise ConnectionError
