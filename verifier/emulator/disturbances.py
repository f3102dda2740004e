"""The faults of a plan, done to the answers of an app."""

from collections.abc import Callable, Iterator
from typing import Final

from flask import Flask, Response, request

from verifier.emulator.faults import Fault, FaultKind
from verifier.emulator.rules import Refusal, refuse

DOCUMENT_PATH: Final = "/metadata/attested/document"

_REFUSING: Final = {
    FaultKind.GONE: (410, "Gone"),
    FaultKind.ERROR: (500, "Internal Server Error"),
    FaultKind.RATE_LIMITED: (429, "Too many requests"),
}
#: Where the WSGI environment of a request holds the kind of fault that its answer is to have.
_KEY: Final = "verifier.emulator.fault"


def disturb(app: Flask, take_fault: Callable[[bool], Fault | None], wait: Callable[[float], object]) -> None:
    """Each request that the rules let pass meets the fault that `take_fault` gives for it.

    It is told whether the request is for a document; `wait` is told the seconds of a slow answer. To be called after
    `rules.enforce`: what IMDS refuses by itself uses up no fault.
    """

    @app.before_request
    def meet() -> Refusal | None:
        # Without a rule it is a 404 or a 405, whatever happens.
        fault = None if request.url_rule is None else take_fault(request.path == DOCUMENT_PATH)
        if fault is None:
            return None
        if fault.kind in _REFUSING:
            return refuse(*_REFUSING[fault.kind])
        request.environ[_KEY] = fault.kind
        if fault.kind is FaultKind.SLOW:
            wait(fault.seconds)
        return None

    @app.after_request
    def cut(response: Response) -> Response:
        if has_fault(FaultKind.CUT):
            _cut(response)
        return response


def has_fault(kind: FaultKind) -> bool:
    """Whether this is the fault of the request that is being answered."""
    return request.environ.get(_KEY) is kind


def _cut(response: Response) -> None:
    """Half of the body will be sent, and then the connection ends, although the length of all of it was told."""
    body = response.get_data()

    def half() -> Iterator[bytes]:
        yield body[: len(body) // 2]
        # werkzeug's server takes this for a client that went, and closes without a word.
        raise ConnectionError

    response.response = half()
    response.headers["Content-Length"] = str(len(body))
