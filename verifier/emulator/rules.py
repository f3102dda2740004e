"""The rules of IMDS for every request, and its refusals."""

import threading
from collections.abc import Callable
from typing import Final

from flask import Flask, Response, g, jsonify, request
from werkzeug.exceptions import MethodNotAllowed, NotFound

from verifier.emulator.rate_limit import SlidingWindow
from verifier.emulator.versions import API_VERSIONS, NEWEST_VERSIONS

Refusal = tuple[Response, int]

_BAD_REQUEST: Final = "Bad request. "
_INVALID_API_VERSION: Final = (
    "Bad request. api-version is invalid or was not specified in the request. For more information refer to "
    "aka.ms/azureimds"
)
_IDENTITY: Final = "/metadata/identity/"
#: Codes of the OpenAPI description (IdentityErrorResponse). Only that of 400 is recorded.
_IDENTITY_CODES: Final = {
    400: "invalid_request",
    404: "not_found",
    405: "method_not_allowed",
    410: "service_unavailable",
    429: "too_many_requests",
}
# Azure page: Rate limiting.
_PER_SECOND: Final = 5
_IDENTITY_PER_SECOND: Final = 20
_IDENTITY_CONCURRENT: Final = 5


class RequestLimiter:
    """The request limits of the whole emulator. Managed identity has limits of its own. Thread-safe."""

    def __init__(self, *, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._identity_slots = threading.BoundedSemaphore(_IDENTITY_CONCURRENT)
        self.reset()

    def reset(self) -> None:
        """Forget earlier requests. Running requests for managed identity keep their slots."""
        self._window = SlidingWindow(limit=_PER_SECOND, seconds=1.0, monotonic=self._monotonic)
        self._identity_window = SlidingWindow(limit=_IDENTITY_PER_SECOND, seconds=1.0, monotonic=self._monotonic)

    def admit(self) -> bool:
        """Return True if the current request is within its limits. Call `release` when it ends."""
        if not request.path.startswith(_IDENTITY):
            return self._window.admit()
        if not self._identity_window.admit() or not self._identity_slots.acquire(blocking=False):
            return False
        g.identity_slot = True
        return True

    def release(self) -> None:
        if g.pop("identity_slot", False):
            self._identity_slots.release()


def enforce(app: Flask, limiter: RequestLimiter) -> None:
    """Apply the rules before any route of `app`, and before its 404 and 405."""

    @app.before_request
    def refuse_invalid_request() -> Refusal | None:
        if not limiter.admit():
            return refuse(429, "Too many requests")
        # Azure page: Security and authentication. The text is from its Frequently asked questions.
        if request.headers.get("Metadata", "").lower() != "true":
            return refuse(400, "Bad request. Required metadata header not specified")
        if "X-Forwarded-For" in request.headers:
            return refuse(400, "Bad request. X-Forwarded-For header must not be specified")
        # Azure page: HTTP verbs. Flask would answer HEAD with the route of GET.
        if request.url_rule is not None and request.method != "GET":
            raise MethodNotAllowed
        # RFC 3986 section 3.4. The parser of the library fails at bytes that are not UTF-8.
        if not request.query_string.isascii():
            return refuse(400, "Bad request. The query string has bytes that are not ASCII")
        # Azure page: Query parameters.
        if any(len(values) > 1 for _, values in request.args.lists()):
            return refuse(400, "Bad request. Duplicate query parameter names are not allowed")
        return None

    @app.teardown_request
    def release(_: BaseException | None) -> None:
        limiter.release()


def refuse(status: int, error: str, **more: object) -> Refusal:
    """Return an error with the body of the category: managed identity has OAuth's (RFC 6749 5.2), with its codes."""
    if request.path.startswith(_IDENTITY):
        code = _IDENTITY_CODES.get(status, "server_error")
        # Recorded descriptions have no such prefix.
        return jsonify(error=code, error_description=error.removeprefix(_BAD_REQUEST), **more), status
    return jsonify(error=error, **more), status


def refuse_api_version(*, introduced: str, extra: frozenset[str] = frozenset()) -> Refusal | None:
    """Refuse a missing or unsupported api-version (Azure page: Versioning).

    Raises NotFound for a supported version from before `introduced`. `extra` versions are supported here only.
    """
    api_version = request.args.get("api-version")
    if not api_version or api_version not in {*API_VERSIONS, *extra}:
        return refuse(400, _INVALID_API_VERSION, **{"newest-versions": NEWEST_VERSIONS})
    if api_version < introduced:
        raise NotFound
    return None
