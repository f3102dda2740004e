"""The Flask application: what every request and every answer has in common."""

import json
import re
import secrets
from dataclasses import dataclass
from datetime import timedelta
from time import perf_counter

from flask import Blueprint, Flask, Response, g, jsonify, request
from werkzeug.exceptions import HTTPException, MethodNotAllowed, NotFound

from verifier.api import routes
from verifier.api.admission import Admission
from verifier.api.appraisals import Appraisals
from verifier.api.bodies import INCOMPLETE
from verifier.api.documentation import create_documentation_blueprint
from verifier.api.problems import DOCUMENTATION, Code, Failure, RequestFault
from verifier.api.token_routes import create_token_blueprint
from verifier.api.wire import Json, RequestError, problem_json, refusal_json
from verifier.core.policy import UnknownPolicyError
from verifier.core.reasons import Refused
from verifier.core.tracing import TraceContext
from verifier.ports import CURRENT_TRACE, Exchange, Recorder, StoreUnavailable, Unserved
from verifier.service import Readiness, Verifier
from verifier.token_ports import TokenIssuer

_HIDDEN = "Something went wrong here; the log tells it under this requestId."
_ORIGIN = re.compile(r"(?i:https?)://[^/?#]*")
_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """What the application serves, wired."""

    verifier: Verifier
    readiness: Readiness
    recorder: Recorder
    appraisals: Appraisals
    admission: Admission
    maximum_body_octets: int
    #: Of this software, as the OpenAPI description names it.
    version: str
    #: None where results are not signed.
    tokens: TokenIssuer | None = None
    blueprints: tuple[Blueprint, ...] = ()


def create_app(service: Service) -> Flask:
    """The application. Every answer carries its request's id and is not to be cached; every fault is a problem
    document with a code; of an unexpected error the caller is told nothing but the id to ask for it by."""
    app = Flask("verifier.api", static_folder=None)
    app.json.sort_keys = False  # type: ignore[attr-defined]  # the default provider has it
    app.url_map.merge_slashes = False
    app.config["PROVIDE_AUTOMATIC_OPTIONS"] = False
    _identify_requests(app)
    _refuse_hidden_slashes(app)
    app.register_blueprint(
        routes.create_blueprint(
            service.verifier,
            service.readiness,
            service.appraisals,
            service.admission,
            service.tokens,
            service.maximum_body_octets,
        )
    )
    documentation, tokens = create_documentation_blueprint(service.version), create_token_blueprint(service.tokens)
    for blueprint in (documentation, tokens, *service.blueprints):
        app.register_blueprint(blueprint)
    _answer_faults(app, service.recorder)
    _record_answers(app, service.recorder)
    return app


_UNSERVED: dict[Unserved, tuple[Code, str]] = {
    Unserved.MALFORMED: (RequestFault.MALFORMED_REQUEST, "The request is not HTTP as this service reads it."),
    Unserved.INCOMPLETE: (RequestFault.REQUEST_TIMEOUT, INCOMPLETE),
    Unserved.FAILED: (Failure.INTERNAL, _HIDDEN),
}


def refuse_unserved(recorder: Recorder, cause: Unserved, error: Exception) -> tuple[int, dict[str, str], bytes]:
    """Return status, headers and problem document for a request that the application does not answer."""
    request_id = secrets.token_hex(16)
    code, detail = _UNSERVED[cause]
    if cause is Unserved.FAILED:
        recorder.failed(request_id, error)
    problem = problem_json(code, detail, request_id=request_id)
    headers = {"Content-Type": "application/problem+json", "Cache-Control": "no-store", "X-Request-Id": request_id}
    if cause is Unserved.INCOMPLETE:
        problem |= {"retryable": True, "retryAfterSeconds": 1}
        headers["Retry-After"] = "1"
    status = DOCUMENTATION[code].status
    recorder.answered(Exchange(request_id=request_id, route="", status=status, code=code.value, seconds=0))
    return status, headers, json.dumps(problem).encode()


def _identify_requests(app: Flask) -> None:
    @app.before_request
    def identify() -> None:
        asked = request.headers.get("X-Request-Id", "")
        g.request_id = asked if _REQUEST_ID.fullmatch(asked) else secrets.token_hex(16)
        g.started = perf_counter()
        g.code = ""
        g.trace = TraceContext.read(request.headers.get("traceparent", ""), span_id=secrets.token_hex(8))
        CURRENT_TRACE.set(g.trace)

    @app.teardown_request
    def leave_trace(_: BaseException | None) -> None:
        CURRENT_TRACE.set(None)


def _refuse_hidden_slashes(app: Flask) -> None:
    """A path has the segments that it shows: whoever filters by path on the way reads the same one. Servers decode
    %2F, and drop a slash that is doubled at the start."""

    @app.before_request
    def compare() -> None:
        # In absolute form (RFC 9112 section 3.2.2) the origin stands before it.
        shown = _ORIGIN.sub("", request.environ.get("RAW_URI", request.path), count=1).partition("?")[0]
        if shown.startswith("//") or "%2f" in shown.lower():
            raise NotFound


def _record_answers(app: Flask, recorder: Recorder) -> None:
    @app.after_request
    def complete(response: Response) -> Response:
        response.headers["X-Request-Id"] = g.request_id
        if g.trace is not None:
            response.headers["traceresponse"] = g.trace.response_header
        response.headers["X-Content-Type-Options"] = "nosniff"
        response.headers.setdefault("Cache-Control", "no-store")
        recorder.answered(
            Exchange(
                request_id=g.request_id,
                # The rule, not the path: what a caller makes up is not for the log.
                route=f"{request.method} {request.url_rule}" if request.url_rule else "",
                status=response.status_code,
                code=g.code,
                seconds=perf_counter() - g.started,
            )
        )
        return response


def _answer_faults(app: Flask, recorder: Recorder) -> None:
    @app.errorhandler(Refused)
    def refuse(refused: Refused) -> Response:
        problem = refusal_json(refused, request_id=g.request_id)
        return _problem(refused.reason, problem, retry_after=problem.get("retryAfterSeconds"))

    @app.errorhandler(RequestError)
    def reject(error: RequestError) -> Response:
        response = _fault(error.fault, error.detail, retry_after=error.retry_after)
        if error.fault is RequestFault.UNAUTHENTICATED:
            response.headers["WWW-Authenticate"] = "Bearer"  # RFC 9110 section 11.6.1
        return response

    @app.errorhandler(UnknownPolicyError)
    def reject_policy(error: UnknownPolicyError) -> Response:
        return _fault(RequestFault.MALFORMED_REQUEST, str(error))

    @app.errorhandler(StoreUnavailable)
    def wait(error: StoreUnavailable) -> Response:
        recorder.failed(g.request_id, error)
        return _fault(
            Failure.STORE_UNAVAILABLE,
            "A store does not answer. There is no verdict; whether a change took effect is not known.",
            retry_after=error.retry_after,
        )

    @app.errorhandler(HTTPException)
    def translate(error: HTTPException) -> Response:
        match error:
            case NotFound():
                return _fault(RequestFault.NOT_FOUND, "There is nothing at this path.")
            case MethodNotAllowed():
                response = _fault(RequestFault.METHOD_NOT_ALLOWED, f"This path does not take {request.method}.")
                response.headers["Allow"] = ", ".join(sorted(error.valid_methods or ()))
                return response
            case _:
                return _fault(RequestFault.MALFORMED_REQUEST, "The request is not understood.")

    @app.errorhandler(Exception)
    def hide(error: Exception) -> Response:
        recorder.failed(g.request_id, error)
        return _fault(Failure.INTERNAL, _HIDDEN)


def _fault(code: RequestFault | Failure, detail: str, *, retry_after: timedelta | None = None) -> Response:
    problem = problem_json(code, detail, request_id=g.request_id)
    if retry_after is None:
        return _problem(code, problem)
    seconds = max(1, round(retry_after.total_seconds()))
    return _problem(code, problem | {"retryable": True, "retryAfterSeconds": seconds}, retry_after=seconds)


def _problem(code: Code, problem: Json, *, retry_after: object = None) -> Response:
    g.code = code.value
    response = jsonify(problem)
    response.status_code = DOCUMENTATION[code].status
    response.mimetype = "application/problem+json"
    if retry_after is not None:
        response.headers["Retry-After"] = str(retry_after)
    return response
