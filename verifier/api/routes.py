"""The paths of the service, each one use case."""

from collections.abc import Callable

from flask import Blueprint, Response, g, jsonify, request
from werkzeug.exceptions import NotFound

from verifier.api import wire
from verifier.api.admission import Admission, tell_allowance
from verifier.api.appraisals import Appraisals
from verifier.api.bodies import read_body
from verifier.api.problems import DOCUMENTATION, find_code
from verifier.core.tenancy import LimitedPath
from verifier.ports import METRICS_LISTENER
from verifier.service import Readiness, Verifier
from verifier.token_ports import TokenIssuer


def create_blueprint(
    verifier: Verifier,
    readiness: Readiness,
    appraisals: Appraisals,
    admission: Admission,
    tokens: TokenIssuer | None,
    maximum_body_octets: int,
) -> Blueprint:
    blueprint = Blueprint("v1", __name__)
    blueprint.after_request(tell_allowance)

    @blueprint.post("/v1/nonces")
    def issue_nonce() -> tuple[Response, int]:
        tenant = admission.admit(LimitedPath.NONCES)
        body = read_body(request, limit=maximum_body_octets)
        binding = wire.read_nonce_request(request.mimetype, body)
        return jsonify(wire.nonce_json(verifier.issue_nonce(tenant=tenant.name, binding=binding))), 201

    @blueprint.post("/v1/attestations")
    def appraise() -> Response:
        tenant = admission.admit(LimitedPath.ATTESTATIONS)
        with appraisals.watch(request_id=g.request_id, tenant=tenant.name) as appraisal:
            body = read_body(request, limit=maximum_body_octets)
            asked = wire.read_attestation(request.mimetype, body)
            appraisal.receive(asked.document)
            result = verifier.appraise(
                asked.document,
                tenant=tenant.name,
                nonce=asked.nonce,
                policy=asked.policy,
                default_policy=tenant.policy,
                observer=appraisal,
            )
            appraisal.conclude(result)
            token = "" if tokens is None else tokens.issue(result, tenant=tenant.name)
        return jsonify(wire.result_json(result, token=token))

    @blueprint.get("/healthz")
    def healthz() -> Response:
        return jsonify({"status": "alive"})

    @blueprint.get("/readyz")
    def readyz() -> tuple[Response, int]:
        conditions = readiness.look()
        ready = all(condition.ready for condition in conditions)
        answer = {
            "status": "ready" if ready else "not-ready",
            "conditions": [
                {"name": condition.name, "ready": condition.ready, "detail": condition.detail}
                for condition in conditions
            ],
        }
        return jsonify(answer), 200 if ready else 503

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


def create_metrics_blueprint(render: Callable[[], tuple[bytes, str]], *, own_listener: bool = False) -> Blueprint:
    """Serve what `render` returns: the metrics and their media type.

    With a listener of their own, the metrics are on no other, and it serves health besides and nothing else.
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
