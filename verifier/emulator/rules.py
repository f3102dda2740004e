"""What IMDS asks of every request before it looks at what it is for, and how it says no."""

import threading
from collections.abc import Callable
from typing import Final

from flask import Flask, Response, g, jsonify, request
from werkzeug.exceptions import MethodNotAllowed, NotFound

from verifier.emulator.rate_limit import SlidingWindow
from verifier.emulator.versions import API_VERSIONS, NEWEST_VERSIONS

Refusal = tuple[Response, int]

_MORE: Final = "For more information refer to aka.ms/azureimds"
_IDENTITY: Final = "/metadata/identity/"
# Azure page: Rate limiting.
_PER_SECOND: Final = 5
_IDENTITY_PER_SECOND: Final = 20
_IDENTITY_AT_ONCE: Final = 5


class Admission:
    """Requests a second, for the whole emulator; managed identity is counted apart. Thread-safe."""

    def __init__(self, *, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._identity_slots = threading.BoundedSemaphore(_IDENTITY_AT_ONCE)
        self.reset()

    def reset(self) -> None:
        """What was asked before counts no more; requests of managed identity that are under way still hold a slot."""
        self._window = SlidingWindow(limit=_PER_SECOND, seconds=1.0, monotonic=self._monotonic)
        self._identity_window = SlidingWindow(limit=_IDENTITY_PER_SECOND, seconds=1.0, monotonic=self._monotonic)

    def admit(self) -> bool:
        """Whether the request is within its limits. What this takes is given back by `leave`."""
        if not request.path.startswith(_IDENTITY):
            return self._window.admit()
        if not self._identity_window.admit() or not self._identity_slots.acquire(blocking=False):
            return False
        g.identity_slot = True
        return True

    def leave(self) -> None:
        if g.pop("identity_slot", False):
            self._identity_slots.release()


def enforce(app: Flask, admission: Admission) -> None:
    """No request that no endpoint answers gets to an endpoint of `app`, nor to its 404 and 405."""

    @app.before_request
    def refuse_improper_request() -> Refusal | None:
        return _refuse_improper_request(admission)

    @app.teardown_request
    def leave(_: BaseException | None) -> None:
        admission.leave()


def refuse(status: int, error: str) -> Refusal:
    return jsonify(error=error), status


def refuse_api_version(*, introduced: str, also: frozenset[str] = frozenset()) -> Refusal | None:
    """Azure page: Versioning. A version older than the endpoint is supported, but has no such element."""
    api_version = request.args.get("api-version")
    if not api_version:
        return _refuse_with_versions(f"Bad request. api-version was not specified in the request. {_MORE}")
    if api_version not in API_VERSIONS and api_version not in also:
        return _refuse_with_versions(f"Bad request. api-version is not supported. {_MORE}")
    if api_version < introduced:
        raise NotFound
    return None


def _refuse_improper_request(admission: Admission) -> Refusal | None:
    if not admission.admit():
        return refuse(429, "Too many requests")
    # Azure page: Security and authentication; the text is that of Frequently asked questions.
    if request.headers.get("Metadata", "").lower() != "true":
        return refuse(400, "Bad request. Required metadata header not specified")
    if "X-Forwarded-For" in request.headers:
        return refuse(400, "Bad request. X-Forwarded-For header must not be specified")
    # Azure page: HTTP verbs. HEAD reaches the endpoint of a GET.
    if request.url_rule is not None and request.method != "GET":
        raise MethodNotAllowed
    # Azure page: Query parameters.
    if any(len(values) > 1 for _, values in request.args.lists()):
        return refuse(400, "Bad request. Duplicate query parameter names are not allowed")
    return None


def _refuse_with_versions(error: str) -> Refusal:
    return jsonify({"error": error, "newest-versions": NEWEST_VERSIONS}), 400
