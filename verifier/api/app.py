"""Create the Flask application, with the handling that all requests and answers share."""

import json
import math
import re
import secrets
from collections.abc import Callable
from datetime import timedelta
from time import perf_counter
from typing import Any, TypeVar

from flask import Flask, Request, Response, g, request
from flask.sessions import NullSession, SessionInterface
from werkzeug.exceptions import HTTPException, MethodNotAllowed, NotFound

from verifier.api.admission import rate_headers
from verifier.api.answers import ProblemJson
from verifier.api.appraisals import Appraisals, Origin
from verifier.api.bodies import INCOMPLETE, serve_json
from verifier.api.current import current_request, current_state
from verifier.api.documentation import create_documentation_blueprint
from verifier.api.json_codec import RequestError
from verifier.api.problem_codec import problem_json, refusal_json
from verifier.api.problems import DOCUMENTATION, Code, Failure, RequestFault
from verifier.api.routes import Service, create_blueprint, create_token_blueprint, route_of
from verifier.core.policy import UnknownPolicyError
from verifier.core.reasons import Refused
from verifier.core.tracing import TraceContext
from verifier.ports.stores import Unavailable
from verifier.ports.telemetry import (
    CURRENT_TRACE,
    METRICS_LISTENER,
    Recorder,
    RequestFailed,
    ResponseSent,
    UnhandledCause,
)

_Function = TypeVar("_Function", bound=Callable[..., Any])

_HIDDEN = "Internal error. Quote this requestId when you report it."
_ORIGIN = re.compile(r"(?i:https?)://[^/?#]*")
_CLIENT_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")


class _NoSessions(SessionInterface):
    """Give every request the same session, which holds no data and sets no cookie."""

    _session = NullSession()

    def open_session(self, app: Flask, request: Request) -> NullSession:
        del app, request
        return self._session


class _Application(Flask):
    """A Flask application without sessions and without async functions, so no request looks for them."""

    session_interface = _NoSessions()

    def ensure_sync(self, func: _Function) -> _Function:
        return func


def create_app(service: Service) -> Flask:
    """Create the application.

    Every answer carries the request id, and by default caches must not store it. Every error is a problem document with
    a code. An unexpected error shows the caller only the request id.
    """
    app = _Application("verifier.api", static_folder=None)
    app.url_map.merge_slashes = False
    app.config["PROVIDE_AUTOMATIC_OPTIONS"] = False
    _begin_requests(app)
    for blueprint in (
        create_blueprint(service),
        create_documentation_blueprint(service.version),
        create_token_blueprint(service.tokens),
        *service.blueprints,
    ):
        app.register_blueprint(blueprint)
    _answer_faults(app, service.recorder)
    _record_answers(app, service)
    return app


_UNHANDLED: dict[UnhandledCause, tuple[Code, str]] = {
    UnhandledCause.MALFORMED: (
        RequestFault.MALFORMED_REQUEST,
        "The request is not valid HTTP, or exceeds a limit of the server.",
    ),
    UnhandledCause.INCOMPLETE: (RequestFault.REQUEST_TIMEOUT, INCOMPLETE),
    UnhandledCause.FAILED: (Failure.INTERNAL, _HIDDEN),
}


def answer_unhandled(
    recorder: Recorder, appraisals: Appraisals, cause: UnhandledCause, error: Exception
) -> tuple[int, dict[str, str], bytes]:
    """Return status, headers and problem document for a request that the application does not answer."""
    request_id = secrets.token_hex(16)
    code, detail = _UNHANDLED[cause]
    if cause is UnhandledCause.FAILED:
        recorder.record(RequestFailed(request_id=request_id, error=error))
    problem = problem_json(code, detail, request_id=request_id)
    headers = {"Content-Type": "application/problem+json", "Cache-Control": "no-store", "X-Request-Id": request_id}
    if cause is UnhandledCause.INCOMPLETE:
        problem |= {"retryable": True, "retryAfterSeconds": 1}
        headers["Retry-After"] = "1"
    status = DOCUMENTATION[code].status
    recorder.record(ResponseSent(request_id=request_id, route="", status=status, code=code.value, seconds=0))
    appraisals.record_problem(Origin(request_id=request_id), code)
    return status, headers, json.dumps(problem).encode()


def _begin_requests(app: Flask) -> None:
    @app.before_request
    def begin() -> None:
        context, asked = current_state(), current_request()
        environ = asked.environ
        client_request_id = environ.get("HTTP_X_REQUEST_ID", "")
        # A caller could send the id of another request, so the service always creates its own.
        context.request_id = secrets.token_hex(16)
        context.client_request_id = client_request_id if _CLIENT_REQUEST_ID.fullmatch(client_request_id) else ""
        context.started = perf_counter()
        context.code = None
        # Admission sets it if the key is one that counts as public.
        context.is_agent = False
        traceparent = environ.get("HTTP_TRACEPARENT")
        context.trace = TraceContext.read(traceparent, span_id=secrets.token_hex(8)) if traceparent else None
        CURRENT_TRACE.set(context.trace)
        _refuse_hidden_slashes(asked)

    @app.teardown_request
    def leave_trace(_: BaseException | None) -> None:
        CURRENT_TRACE.set(None)


def _refuse_hidden_slashes(asked: Request) -> None:
    """Refuse paths that a proxy and this service could read differently.

    Servers decode %2F and remove a second slash at the start, so a filter in front of the service could be bypassed.
    """
    shown = asked.environ.get("RAW_URI", asked.path)
    if not shown.startswith("/"):
        # The absolute form (RFC 9112 section 3.2.2) has the origin before the path.
        shown = _ORIGIN.sub("", shown, count=1)
    shown = shown.partition("?")[0]
    if shown.startswith("//") or "%2f" in shown.lower():
        raise NotFound


def _record_answers(app: Flask, service: Service) -> None:
    @app.after_request
    def complete(response: Response) -> Response:
        context, asked = current_state(), current_request()
        # In one list, because each single assignment compares the names of all headers.
        added: list[tuple[str, str]] = [("X-Request-Id", context.request_id)]
        if context.trace is not None:
            added.append(("traceresponse", context.trace.response_header))
        added.append(("X-Content-Type-Options", "nosniff"))
        if not response.headers.getlist("Cache-Control"):
            added.append(("Cache-Control", "no-store"))
        if "limited" in context:
            added.extend(rate_headers(*context.limited))
        response.headers.extend(added)
        # The rule and not the path, so that callers cannot write into the log.
        route = route_of(asked)
        service.recorder.record(
            ResponseSent(
                request_id=context.request_id,
                client_request_id=context.client_request_id,
                route=route,
                status=response.status_code,
                code=context.code.value if context.code else "",
                seconds=perf_counter() - context.started,
            )
        )
        is_recorded = "appraisal" in context and context.appraisal.is_recorded
        if context.code and not is_recorded and METRICS_LISTENER not in asked.environ:
            tenant, key = service.admission.identify()
            service.appraisals.record_problem(
                Origin(
                    request_id=context.request_id,
                    client_request_id=context.client_request_id,
                    tenant=tenant,
                    key=key,
                    route=route,
                ),
                context.code,
            )
        return response


def _answer_faults(app: Flask, recorder: Recorder) -> None:
    @app.errorhandler(Refused)
    def refuse(refused: Refused) -> Response:
        claims = g.appraisal.claims if "appraisal" in g else None
        return _answer_problem(refusal_json(refused, request_id=g.request_id, is_public=g.is_agent, claims=claims))

    @app.errorhandler(RequestError)
    def reject(error: RequestError) -> Response:
        response = _fault(error.fault, error.detail, retry_after=error.retry_after)
        response.headers.update(error.headers)
        return response

    @app.errorhandler(UnknownPolicyError)
    def reject_policy(error: UnknownPolicyError) -> Response:
        return _fault(RequestFault.MALFORMED_REQUEST, str(error))

    @app.errorhandler(Unavailable)
    def wait(error: Unavailable) -> Response:
        recorder.record(RequestFailed(request_id=g.request_id, error=error))
        return _fault(
            Failure.STORE_UNAVAILABLE,
            "The service is temporarily unavailable. This is not a verdict. A change may or may not have taken effect.",
            retry_after=error.retry_after,
        )

    @app.errorhandler(HTTPException)
    def translate(error: HTTPException) -> Response:
        match error:
            case NotFound():
                return _fault(RequestFault.NOT_FOUND, "This path does not exist.")
            case MethodNotAllowed():
                response = _fault(
                    RequestFault.METHOD_NOT_ALLOWED,
                    f"This path does not accept {request.method}. Use a method in the Allow header.",
                )
                response.headers["Allow"] = ", ".join(sorted(error.valid_methods or ()))
                return response
            case _:
                return _fault(RequestFault.MALFORMED_REQUEST, "The request is malformed.")

    @app.errorhandler(Exception)
    def hide(error: Exception) -> Response:
        recorder.record(RequestFailed(request_id=g.request_id, error=error))
        return _fault(Failure.INTERNAL, _HIDDEN)


def _fault(code: RequestFault | Failure, detail: str, *, retry_after: timedelta | None = None) -> Response:
    # Rounded up: a caller that waits for so long is not refused for the same reason.
    seconds = None if retry_after is None else max(1, math.ceil(retry_after.total_seconds()))
    return _answer_problem(problem_json(code, detail, request_id=g.request_id, retry_after_seconds=seconds))


def _answer_problem(problem: ProblemJson) -> Response:
    g.code = problem["code"]
    response = serve_json(problem, status=problem["status"], media_type="application/problem+json")
    if "retryAfterSeconds" in problem:
        response.headers["Retry-After"] = str(problem["retryAfterSeconds"])
    return response
