"""Define the routes that show and change trust. Each change answers with the trust after it."""

from collections.abc import Callable

from flask import Blueprint, Response, g, request

from verifier.api.authentication import Callers, authorization_of
from verifier.api.bodies import read_body, serve_json
from verifier.api.json_codec import RequestError, parse_request
from verifier.api.problems import RequestFault
from verifier.api.trust_json_codec import (
    PinRequest,
    read_fingerprint,
    read_note,
    read_pem,
    read_version,
    survey_json,
)
from verifier.core.values import dataclass
from verifier.ports.clock import Clock
from verifier.usecases.trust_administration import TrustAdministration, UnknownAuthorityError
from verifier.usecases.trust_feed import TrustFeed
from verifier.usecases.trust_survey import survey_trust


def create_trust_blueprint(
    administration: TrustAdministration,
    feed: TrustFeed,
    callers: Callable[[], Callers],
    clock: Clock,
    *,
    maximum_body_bytes: int,
) -> Blueprint:
    """Create the routes. Each one, also GET, needs an admin key, and checks it before the rest of the request."""
    blueprint = Blueprint("trust", __name__)
    paths = _Paths(administration=administration, feed=feed, clock=clock, maximum_body_bytes=maximum_body_bytes)

    @blueprint.before_request
    def authenticate() -> None:
        g.administrator = callers().authenticate_administrator(authorization_of(request))

    blueprint.get("/v1/trust")(paths.show)
    blueprint.post("/v1/trust/discovered/<sha256>/approve")(paths.approve)
    blueprint.post("/v1/trust/discovered/<sha256>/reject")(paths.reject)
    blueprint.post("/v1/trust/feed/<version>/approve")(paths.approve_version)
    blueprint.post("/v1/trust/feed/<version>/reject")(paths.reject_version)
    blueprint.post("/v1/trust/pins")(paths.pin)
    blueprint.delete("/v1/trust/pins/<sha256>")(paths.unpin)
    blueprint.put("/v1/trust/denied/<what>")(paths.deny)
    blueprint.delete("/v1/trust/denied/<what>")(paths.allow)
    return blueprint


@dataclass(frozen=True, slots=True, kw_only=True)
class _Paths:
    administration: TrustAdministration
    feed: TrustFeed
    clock: Clock
    maximum_body_bytes: int

    def show(self) -> Response:
        return self._answer(lambda: None)

    def approve(self, sha256: str) -> Response:
        return self._answer(lambda: self.administration.approve(read_fingerprint(sha256), by=g.administrator))

    def reject(self, sha256: str) -> Response:
        return self._answer(lambda: self.administration.reject(read_fingerprint(sha256), by=g.administrator))

    def approve_version(self, version: str) -> Response:
        return self._answer(lambda: self.feed.approve(read_version(version), by=g.administrator))

    def reject_version(self, version: str) -> Response:
        return self._answer(lambda: self.feed.reject(read_version(version), by=g.administrator))

    def pin(self) -> Response:
        new = parse_request(PinRequest, request.mimetype, read_body(request, limit=self.maximum_body_bytes))

        def change() -> None:
            certificate, note = read_pem(new.certificate.encode("utf-8")), read_note(new.note)
            self.administration.pin(certificate, frozenset(new.clouds), by=g.administrator, note=note)

        return self._answer(change, takes_body=True)

    def unpin(self, sha256: str) -> Response:
        return self._answer(lambda: self.administration.unpin(read_fingerprint(sha256), by=g.administrator))

    def deny(self, what: str) -> Response:
        trust = self.administration
        return self._answer(lambda: trust.deny(trust.read_denial(what), by=g.administrator))

    def allow(self, what: str) -> Response:
        trust = self.administration
        return self._answer(lambda: trust.allow(trust.read_denial(what), by=g.administrator))

    def _answer(self, change: Callable[[], None], *, takes_body: bool = False) -> Response:
        """Make the change, and answer with the trust after it. Refusals of the use case are faults of the request."""
        if not takes_body and read_body(request, limit=self.maximum_body_bytes):
            raise RequestError(RequestFault.MALFORMED_REQUEST, "This request accepts no body. Remove it.")
        try:
            change()
        except ValueError as error:
            is_unknown = isinstance(error, UnknownAuthorityError)
            fault = RequestFault.NOT_FOUND if is_unknown else RequestFault.MALFORMED_REQUEST
            message = str(error)
            raise RequestError(fault, f"{message[:1].upper()}{message[1:]}.") from error
        return serve_json(survey_json(survey_trust(self.administration, self.feed, at=self.clock.now())))
