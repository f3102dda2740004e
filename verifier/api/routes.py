"""The paths of the service, each one use case."""

from collections.abc import Callable

from flask import Blueprint, Response, jsonify, request
from werkzeug.exceptions import NotFound

from verifier.api import wire
from verifier.api.bodies import read_body
from verifier.api.problems import DOCUMENTATION, find_code
from verifier.service import Readiness, Verifier


def create_blueprint(verifier: Verifier, readiness: Readiness, maximum_body_octets: int) -> Blueprint:
    blueprint = Blueprint("v1", __name__)

    @blueprint.post("/v1/nonces")
    def issue_nonce() -> tuple[Response, int]:
        body = read_body(request, limit=maximum_body_octets)
        binding = wire.read_nonce_request(request.mimetype, body)
        return jsonify(wire.nonce_json(verifier.issue_nonce(binding=binding))), 201

    @blueprint.post("/v1/attestations")
    def appraise() -> Response:
        body = read_body(request, limit=maximum_body_octets)
        asked = wire.read_attestation(request.mimetype, body)
        return jsonify(wire.result_json(verifier.appraise(asked.document, nonce=asked.nonce, policy=asked.policy)))

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


def create_metrics_blueprint(render: Callable[[], tuple[bytes, str]]) -> Blueprint:
    """`render` gives the metrics and their media type."""
    blueprint = Blueprint("metrics", __name__)

    @blueprint.get("/metrics")
    def metrics() -> Response:
        body, media_type = render()
        return Response(body, content_type=media_type)

    return blueprint
