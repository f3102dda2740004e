"""Define the routes that show and change trust. Each change answers with the trust after it."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from flask import Blueprint, Response, g, jsonify, request

from verifier.api import trust_json_codec
from verifier.api.authentication import Callers
from verifier.api.bodies import read_body
from verifier.api.json_codec import RequestError
from verifier.api.problems import RequestFault
from verifier.core.trust.bundle import Denials
from verifier.ports.clock import Clock
from verifier.usecases.trust_administration import TrustAdministration, UnfitAuthorityError, UnknownAuthorityError
from verifier.usecases.trust_survey import survey_trust


def create_trust_blueprint(
    administration: TrustAdministration, callers: Callable[[], Callers], clock: Clock, *, maximum_body_bytes: int
) -> Blueprint:
    """Create the routes. Each one, also GET, needs an admin key, and checks it before the rest of the request."""
    blueprint = Blueprint("trust", __name__)
    paths = _Paths(administration=administration, clock=clock, maximum_body_bytes=maximum_body_bytes)

    @blueprint.before_request
    def authenticate() -> None:
        g.administrator = callers().authenticate_administrator(request.headers.getlist("Authorization"))

    blueprint.get("/v1/trust")(paths.show)
    blueprint.post("/v1/trust/discovered/<sha256>/approve")(paths.approve)
    blueprint.post("/v1/trust/discovered/<sha256>/reject")(paths.reject)
    blueprint.post("/v1/trust/pins")(paths.pin)
    blueprint.delete("/v1/trust/pins/<sha256>")(paths.unpin)
    blueprint.put("/v1/trust/denied/<what>")(paths.deny)
    blueprint.delete("/v1/trust/denied/<what>")(paths.allow)
    return blueprint


@dataclass(frozen=True, slots=True, kw_only=True)
class _Paths:
    administration: TrustAdministration
    clock: Clock
    maximum_body_bytes: int

    def show(self) -> Response:
        self._expect_no_body()
        return self._answer()

    def approve(self, sha256: str) -> Response:
        self._expect_no_body()
        with _refusals_as_problems():
            self.administration.approve(trust_json_codec.read_fingerprint(sha256), by=g.administrator)
        return self._answer()

    def reject(self, sha256: str) -> Response:
        self._expect_no_body()
        with _refusals_as_problems():
            self.administration.reject(trust_json_codec.read_fingerprint(sha256), by=g.administrator)
        return self._answer()

    def pin(self) -> Response:
        body = read_body(request, limit=self.maximum_body_bytes)
        new = trust_json_codec.read_pin_request(request.mimetype, body)
        with _refusals_as_problems():
            self.administration.pin(new.certificate, new.clouds, by=g.administrator, note=new.note)
        return self._answer()

    def unpin(self, sha256: str) -> Response:
        self._expect_no_body()
        with _refusals_as_problems():
            self.administration.unpin(trust_json_codec.read_fingerprint(sha256), by=g.administrator)
        return self._answer()

    def deny(self, what: str) -> Response:
        self._expect_no_body()
        with _refusals_as_problems():
            self.administration.deny(self._read_denial(what), by=g.administrator)
        return self._answer()

    def allow(self, what: str) -> Response:
        self._expect_no_body()
        with _refusals_as_problems():
            denials = self._read_denial(what)
            if not trust_json_codec.are_denied(denials, self.administration.decisions().denials):
                raise UnknownAuthorityError("this key or serial number is not denied")
            self.administration.allow(denials, by=g.administrator)
        return self._answer()

    def _answer(self) -> Response:
        return jsonify(trust_json_codec.survey_json(survey_trust(self.administration, at=self.clock.now())))

    def _expect_no_body(self) -> None:
        if read_body(request, limit=self.maximum_body_bytes):
            raise RequestError(RequestFault.MALFORMED_REQUEST, "This request accepts no body. Remove it.")

    def _read_denial(self, text: str) -> Denials:
        return trust_json_codec.read_denial_of(text, self.administration.known_authorities())


@contextmanager
def _refusals_as_problems() -> Iterator[None]:
    """Turn the exceptions of the use cases into faults of the request."""
    try:
        yield
    except UnknownAuthorityError as error:
        raise RequestError(RequestFault.NOT_FOUND, _sentence(error)) from error
    except UnfitAuthorityError as error:
        raise RequestError(RequestFault.MALFORMED_REQUEST, _sentence(error)) from error
    except RequestError:
        raise
    except ValueError as error:
        raise RequestError(RequestFault.MALFORMED_REQUEST, _sentence(error)) from error


def _sentence(error: ValueError) -> str:
    message = str(error)
    return f"{message[:1].upper()}{message[1:]}."
