"""Define the route that inspects a document. It answers 200 also for a refused one, and issues no token."""

from datetime import datetime
from typing import Annotated

from flask import Blueprint, Response
from pydantic import BeforeValidator, Field

from verifier.api.admission import Admission
from verifier.api.bodies import read_body, serve_json
from verifier.api.current import current_request
from verifier.api.decision_queries import parse_moment, read_query
from verifier.api.inspection_codec import inspection_json
from verifier.api.json_codec import PolicyName, RequestError, read_attestation
from verifier.api.problems import RequestFault
from verifier.api.request_bodies import RequestBody
from verifier.core.model import RawDocument
from verifier.core.reasons import FormatRefused
from verifier.usecases.inspection import Inspector, Question


class InspectionQuery(RequestBody):
    """The query string of POST /v1/inspections."""

    at: Annotated[datetime, BeforeValidator(parse_moment)] | None = Field(
        default=None, description="Appraise as of this moment. Without it: the present."
    )
    policy: PolicyName | None = Field(default=None, description="One more policy that the document must satisfy.")


def create_inspection_blueprint(inspector: Inspector, admission: Admission, *, maximum_body_bytes: int) -> Blueprint:
    """Create the route. It needs no key in a service without tenants."""
    blueprint = Blueprint("inspections", __name__)

    @blueprint.post("/v1/inspections")
    def inspect() -> Response:
        asked = current_request()
        tenant = admission.admit_inspection()
        query = read_query(InspectionQuery, asked)
        body = read_body(asked, limit=maximum_body_bytes, takes_query=True)
        evidence: RawDocument | FormatRefused
        nonce = policy = None
        try:
            attestation = read_attestation(asked.mimetype, body)
            evidence, nonce, policy = attestation.document, attestation.nonce, attestation.policy
        except FormatRefused as refused:
            evidence = refused
        if None not in {policy, query.policy} and policy != query.policy:
            raise RequestError(
                RequestFault.MALFORMED_REQUEST, "The query string and the body name different policies. Name one."
            )
        tenant_policy, policies = admission.policies_of_inspection(tenant)
        inspection = inspector.inspect(
            evidence,
            Question(at=query.at, nonce=nonce, policy=policy or query.policy, tenant_policy=tenant_policy),
            policies=policies,
        )
        return serve_json(inspection_json(inspection))

    return blueprint
