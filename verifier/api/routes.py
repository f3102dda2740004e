"""Define the routes of nonces, attestations, health, problem pages, public keys and metrics."""

import json
from collections.abc import Callable

from flask import Blueprint, Request, Response, request
from werkzeug.exceptions import NotFound

from verifier.api import json_codec
from verifier.api.admission import Admission
from verifier.api.answers import AliveJson
from verifier.api.appraisals import Appraisals, Origin
from verifier.api.bodies import read_body, serve_cached, serve_json
from verifier.api.current import current_request, current_state
from verifier.api.problems import DOCUMENTATION, find_code
from verifier.core.tenancy import LimitedPath
from verifier.core.values import dataclass
from verifier.ports.telemetry import METRICS_LISTENER, Recorder
from verifier.ports.tokens import JWKS_LIFETIME, TokenIssuer
from verifier.usecases.appraise import Verifier
from verifier.usecases.readiness import Readiness

#: RFC 7517 section 8.5.2.
KEY_SET_TYPE = "application/jwk-set+json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """The wired components that the application serves."""

    verifier: Verifier
    readiness: Readiness
    recorder: Recorder
    appraisals: Appraisals
    admission: Admission
    maximum_body_bytes: int
    #: The version of this software, for the OpenAPI document.
    version: str
    #: None if the service does not sign results.
    tokens: TokenIssuer | None = None
    blueprints: tuple[Blueprint, ...] = ()


def route_of(answered: Request) -> str:
    """Return the method and the rule of the path, which no caller can choose. It is empty for an unknown path."""
    rule = answered.url_rule
    return f"{answered.method} {rule.rule}" if rule else ""


def create_blueprint(service: Service) -> Blueprint:
    blueprint = Blueprint("v1", __name__)

    @blueprint.post("/v1/nonces")
    def issue_nonce() -> Response:
        asked = current_request()
        caller = service.admission.admit(LimitedPath.NONCES)
        body = read_body(asked, limit=service.maximum_body_bytes)
        binding = json_codec.read_nonce_request(asked.mimetype, body)
        _, policies = service.admission.current_policies(caller.tenant)
        issued = service.verifier.issue_nonce(
            tenant=caller.tenant.name,
            binding=binding,
            policies=policies,
            reserve=service.admission.nonce_reservation(caller),
        )
        return serve_json(json_codec.nonce_json(issued), status=201)

    @blueprint.post("/v1/attestations")
    def appraise() -> Response:
        context, asked = current_state(), current_request()
        caller = service.admission.admit(LimitedPath.ATTESTATIONS)
        tenant = caller.tenant
        origin = Origin(
            request_id=context.request_id,
            client_request_id=context.client_request_id,
            tenant=tenant.name,
            key=caller.key,
            route=route_of(asked),
        )
        with service.appraisals.watch(origin) as appraisal:
            context.appraisal = appraisal
            body = read_body(asked, limit=service.maximum_body_bytes)
            attestation = json_codec.read_attestation(asked.mimetype, body)
            appraisal.receive(attestation.document)
            tenant_policy, policies = service.admission.current_policies(tenant)
            result = service.verifier.appraise(
                attestation.document,
                tenant=tenant.name,
                tenant_policy=tenant_policy,
                policies=policies,
                nonce=attestation.nonce,
                policy=attestation.policy,
                admit=service.admission.document_admission(caller),
                observer=appraisal,
            )
            appraisal.conclude(result)
            token = ""
            if service.tokens is not None:
                # A backend that refuses the token logs its jti, which then leads to the decision record.
                token = service.tokens.issue(result, tenant=tenant.name, jti=context.request_id)
        return serve_json(json_codec.result_json(result, token=token))

    @blueprint.get("/healthz")
    def healthz() -> Response:
        alive: AliveJson = {"status": "alive"}
        return serve_json(alive)

    @blueprint.get("/readyz")
    def readyz() -> Response:
        detailed = service.admission.knows_caller()
        answer = json_codec.readiness_json(service.readiness.look(), detailed=detailed)
        return serve_json(answer, status=200 if answer["status"] == "ready" else 503)

    @blueprint.get("/problems/<code>")
    def explain(code: str) -> Response:
        try:
            documentation = DOCUMENTATION[find_code(code)]
        except KeyError as error:
            raise NotFound from error
        text = (
            f"{documentation.title}\n\ncode: {code}\nstatus: {documentation.status}\n\n"
            f"{documentation.meaning}\n\nWhat to do: {documentation.remedy}\n"
        )
        return Response(text, mimetype="text/plain", headers={"Cache-Control": "public, max-age=86400"})

    return blueprint


def create_token_blueprint(tokens: TokenIssuer | None) -> Blueprint:
    """Create the route of the public keys of result tokens. The key set is empty if `tokens` is None."""
    blueprint = Blueprint("tokens", __name__)

    @blueprint.get("/.well-known/jwks.json")
    def show_keys() -> Response:
        keys = json_codec.key_set_json(() if tokens is None else tokens.published())
        return serve_cached(json.dumps(keys).encode(), KEY_SET_TYPE, seconds=int(JWKS_LIFETIME.total_seconds()))

    return blueprint


def create_metrics_blueprint(render: Callable[[], tuple[bytes, str]], *, own_listener: bool = False) -> Blueprint:
    """Create the route of the metrics. `render` returns them with their media type.

    If the metrics have their own listener, that listener serves them and health only, and the other one serves no
    metrics.
    """
    blueprint = Blueprint("metrics", __name__)

    if own_listener:

        @blueprint.before_app_request
        def keep_apart() -> None:
            is_apart = METRICS_LISTENER in request.environ
            is_health = request.endpoint in {"v1.healthz", "v1.readyz"}
            if is_apart != (request.endpoint == "metrics.metrics") and not (is_apart and is_health):
                raise NotFound

    @blueprint.get("/metrics")
    def metrics() -> Response:
        body, media_type = render()
        return Response(body, content_type=media_type)

    return blueprint
