"""Define the routes that show decisions and usage. A backend key sees its tenant's, an admin key those of all."""

from typing import cast

from flask import Blueprint, Response

from verifier.api.admission import Admission
from verifier.api.bodies import refuse_query, serve_json
from verifier.api.current import current_request
from verifier.api.decision_answers import DecisionJson, DecisionPageJson, UsageJson
from verifier.api.decision_queries import DecisionQuery, Period, UsageQuery, read_query
from verifier.api.json_codec import Json, RequestError
from verifier.api.problems import RequestFault
from verifier.core.tenancy import Tenant
from verifier.ports.clock import Clock
from verifier.ports.decisions import Usage
from verifier.usecases.decisions import Decisions

_NOT_KEPT = "This service keeps no decisions: VERIFIER_DECISION_STORE is `none`."
_NOT_FOUND = "There is no decision of this request. It may be too old, or of another tenant."


def create_decision_blueprint(decisions: Decisions | None, admission: Admission, clock: Clock) -> Blueprint:
    """Create the routes. `decisions` is None if the service keeps none."""
    blueprint = Blueprint("decisions", __name__)

    def kept() -> Decisions:
        if decisions is None:
            raise RequestError(RequestFault.NOT_FOUND, _NOT_KEPT)
        return decisions

    @blueprint.get("/v1/decisions")
    def search() -> Response:
        reader = admission.admit_reader()
        query = read_query(DecisionQuery, current_request())
        tenant = _visible(reader, query.tenant)
        page = kept().search(query.selection, tenant=tenant, cursor=query.place, limit=query.limit)
        answer: DecisionPageJson = {
            "decisions": [decision_json(fields) for fields in page.decisions],
            "cursor": None if page.cursor is None else page.cursor.text(),
        }
        return serve_json(answer)

    @blueprint.get("/v1/decisions/<requestId>")
    def find(requestId: str) -> Response:  # noqa: N803 - the name in the JSON
        reader = admission.admit_reader()
        refuse_query(current_request())
        found = kept().find(requestId, tenant=_visible(reader, None))
        if found is None:
            raise RequestError(RequestFault.NOT_FOUND, _NOT_FOUND)
        return serve_json(decision_json(found))

    @blueprint.get("/v1/usage")
    def count() -> Response:
        reader = admission.admit_reader()
        query = read_query(UsageQuery, current_request())
        period = query.period(today=clock.now().date())
        tenant = _visible(reader, query.tenant)
        if tenant is None:
            raise RequestError(RequestFault.MALFORMED_REQUEST, "With an admin key, name a 'tenant'.")
        usage = kept().usage(period.first, period.last, tenant=tenant, by=query.dimension)
        return serve_json(usage_json(usage, query.by, period=period, tenant=tenant))

    return blueprint


def decision_json(fields: Json) -> DecisionJson:
    """Return a stored record. The recording path wrote its fields (AppraisalRecord.fields)."""
    return cast("DecisionJson", dict(fields))


def usage_json(usage: Usage, by: str, *, period: Period, tenant: str) -> UsageJson:
    """Build the answer, with the largest group first."""
    since = usage.counted_since
    groups = sorted(usage.groups.items(), key=lambda group: (-group[1], group[0]))
    return {
        "tenant": tenant,
        "from": period.first.isoformat(),
        "to": period.last.isoformat(),
        "by": by,
        "total": usage.total,
        "groups": [{"value": value, "virtualMachines": number} for value, number in groups],
        "exact": usage.exact,
        "standardError": usage.error,
        "countedSince": None if since is None else since.isoformat(),
        "isComplete": since is not None and since <= period.first,
    }


def _visible(reader: Tenant | None, asked: str | None) -> str | None:
    """Return the tenant whose decisions the caller sees, or None for all. Raises RequestError for another tenant's."""
    if reader is None:
        return asked
    if asked not in {None, reader.name}:
        raise RequestError(RequestFault.FORBIDDEN, "A backend key sees its own tenant only. Remove 'tenant'.")
    return reader.name
