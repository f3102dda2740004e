"""The emulator's own paths, under `/emulator`: the conditions that a test sets, and the certificates of the issuers.

`GET /emulator/controls` returns the conditions. `PUT` replaces them; a missing member gets its default. `DELETE`
restores the start and resets the rate limit. Only clients on this machine may use it.
"""

import ipaddress
from collections.abc import Callable
from datetime import timedelta
from typing import Annotated, Final

from cryptography.hazmat.primitives.serialization import Encoding
from flask import Flask, Response, jsonify, request
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic.alias_generators import to_camel
from werkzeug.exceptions import HTTPException, NotFound, UnsupportedMediaType

from verifier.emulator.controls import Conditions, Controls
from verifier.emulator.faults import Fault, FaultKind
from verifier.emulator.scenarios import ChainChoice, Scenario

ROOT: Final = "/emulator"
LOCAL_ADDRESS: Final = "verifier.emulator.local_address"
"""The key of the address that the client connected to, in the WSGI environment."""

_MAX_BYTES: Final = 65_536
#: Within the range of a timedelta. `Fault` and `Conditions` have lower limits.
_Seconds = Annotated[float, Field(ge=-1e9, le=1e9, allow_inf_nan=False)]


class _Json(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, alias_generator=to_camel)


class _FaultJson(_Json):
    kind: FaultKind
    requests: int | None = None
    seconds: _Seconds = 0.0


class _ChainJson(_Json):
    scenario: Scenario = Scenario.STABLE
    embed_issuer: bool = False
    issuer_urls: tuple[str, ...] | None = None


class _ConditionsJson(_Json):
    faults: tuple[_FaultJson, ...] = ()
    clock_offset_seconds: _Seconds = 0.0
    chain: _ChainJson = _ChainJson()


def create_control_api(controls: Controls, *, reset: Callable[[], None]) -> Flask:
    """Return the app to mount at `ROOT`. `reset` restores the start of the whole emulator."""
    app = Flask(__name__, static_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = _MAX_BYTES

    @app.get("/issuers/<name>.crt")
    def issuer(name: str) -> Response:
        """Return a certificate as DER, as authorities publish it (RFC 5280 4.2.2.1)."""
        certificate = controls.authorities.issuer_certificates().get(name)
        if certificate is None:
            raise NotFound
        return Response(certificate.public_bytes(Encoding.DER), mimetype="application/pkix-cert")

    @app.route("/controls", methods=["GET", "PUT", "DELETE"])
    def conditions() -> Response | tuple[Response, int]:
        if not _is_from_this_machine():
            return jsonify(error="Only clients on this machine can control the emulator"), 403
        try:
            if request.method == "PUT":
                # A page of another origin cannot send this type without permission, so it cannot change anything.
                if not request.is_json:
                    raise UnsupportedMediaType
                controls.put(_parse_conditions(request.get_data()))
            elif request.method == "DELETE":
                reset()
        except ValueError as error:
            return jsonify(error=str(error)), 400
        return jsonify(_conditions_json(controls.conditions()))

    @app.errorhandler(HTTPException)
    def answer_in_json(error: HTTPException) -> tuple[Response, int]:
        return jsonify(error=error.name), error.code or 500

    return app


def _parse_conditions(body: bytes) -> Conditions:
    """Parse the body of a PUT. Raises ValueError with the path of the invalid member."""
    try:
        parsed = _ConditionsJson.model_validate_json(body)
    except ValidationError as error:
        first = error.errors()[0]
        raise ValueError(": ".join(filter(None, (".".join(map(str, first["loc"])), first["msg"])))) from error
    return Conditions(
        faults=tuple(Fault(**dict(fault)) for fault in parsed.faults),
        clock_offset=timedelta(seconds=parsed.clock_offset_seconds),
        chain=ChainChoice(**dict(parsed.chain)),
    )


def _conditions_json(conditions: Conditions) -> dict[str, object]:
    chain = conditions.chain
    urls = {} if chain.issuer_urls is None else {"issuerUrls": list(chain.issuer_urls)}
    return {
        "faults": [_fault_json(fault) for fault in conditions.faults],
        "clockOffsetSeconds": conditions.clock_offset.total_seconds(),
        "chain": {"scenario": chain.scenario, "embedIssuer": chain.embed_issuer, **urls},
    }


def _fault_json(fault: Fault) -> dict[str, object]:
    requests = {} if fault.requests is None else {"requests": fault.requests}
    seconds = {"seconds": fault.seconds} if fault.seconds else {}
    return {"kind": fault.kind, **requests, **seconds}


def _is_from_this_machine() -> bool:
    """Return True for a client with an address of this machine: a loopback one, or the one that it connected to.

    A proxy may forward for other machines, so its requests do not count.
    """
    if "X-Forwarded-For" in request.headers or "Forwarded" in request.headers:
        return False
    client = _parse_address(request.remote_addr)
    return client is not None and (client.is_loopback or client == _parse_address(request.environ.get(LOCAL_ADDRESS)))


def _parse_address(text: str | None) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """Return an address, IPv4 if it is an IPv4-mapped one, or None for any other text."""
    try:
        address = ipaddress.ip_address(text or "")
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address
