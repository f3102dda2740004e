"""The emulator's own paths, under `/emulator`, apart from IMDS: what a test changes, and the issuers' certificates.

`GET /emulator/controls` tells the conditions that hold, `PUT` puts others in their place (what it does not name is as
at the start), `DELETE` goes back to the start, and the rate limit forgets what was asked. Only this machine may.

    {"faults": [{"kind": "gone", "requests": 2}, {"kind": "slow", "seconds": 3}],
     "clockOffsetSeconds": -90,
     "chain": {"scenario": "unknown-issuer", "embedIssuer": true, "issuerUrls": ["http://127.0.0.1/ca.crt"]}}
"""

import ipaddress
from collections.abc import Callable
from datetime import timedelta
from enum import StrEnum
from typing import Final, TypeVar, cast

from cryptography.hazmat.primitives.serialization import Encoding
from flask import Flask, Response, jsonify, request
from werkzeug.exceptions import HTTPException, NotFound

from verifier.emulator.controls import Conditions, Controls
from verifier.emulator.faults import Fault, FaultKind
from verifier.emulator.scenarios import ChainChoice, Scenario

ROOT: Final = "/emulator"
_LIMIT_OCTETS: Final = 65_536
_LARGEST_NUMBER: Final = 1e9  # of seconds: beyond what either use of one allows, and within what a timedelta holds

_T = TypeVar("_T")
_Member = TypeVar("_Member", bound=StrEnum)


def create_control(controls: Controls, *, reset: Callable[[], None]) -> Flask:
    """An app for below `/emulator`. `reset` puts everything back to the start."""
    app = Flask(__name__, static_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = _LIMIT_OCTETS

    @app.get("/issuers/<name>.crt")
    def issuer(name: str) -> Response:
        """As authorities publish them (RFC 5280 4.2.2.1): DER."""
        certificate = controls.authorities.issuer_certificates().get(name)
        if certificate is None:
            raise NotFound
        return Response(certificate.public_bytes(Encoding.DER), mimetype="application/pkix-cert")

    @app.route("/controls", methods=["GET", "PUT", "DELETE"])
    def conditions() -> Response | tuple[Response, int]:
        if not _is_from_this_machine():
            return jsonify(error="Only this machine controls the emulator"), 403
        try:
            if request.method == "PUT":
                controls.put(read_conditions(request.get_json()))
            elif request.method == "DELETE":
                reset()
        except ValueError as error:
            return jsonify(error=str(error)), 400
        return jsonify(tell_conditions(controls.conditions()))

    @app.errorhandler(HTTPException)
    def tell_in_json(error: HTTPException) -> tuple[Response, int]:
        return jsonify(error=error.name), error.code or 500

    return app


def read_conditions(value: object) -> Conditions:
    """Raises ValueError, which says what is wrong where."""
    fields = _Fields("the body", value)
    faults = tuple(_read_fault(fault) for fault in fields.take("faults", list, []))
    offset = fields.take_number("clockOffsetSeconds")
    chain = _read_chain(fields.take("chain", dict, {}))
    fields.finish()
    return Conditions(faults=faults, clock_offset=timedelta(seconds=offset), chain=chain)


def tell_conditions(conditions: Conditions) -> dict[str, object]:
    chain = conditions.chain
    urls = {} if chain.issuer_urls is None else {"issuerUrls": list(chain.issuer_urls)}
    return {
        "faults": [_tell_fault(fault) for fault in conditions.faults],
        "clockOffsetSeconds": conditions.clock_offset.total_seconds(),
        "chain": {"scenario": chain.scenario, "embedIssuer": chain.embed_issuer, **urls},
    }


def _read_fault(value: object) -> Fault:
    fields = _Fields("a fault", value)
    kind = fields.take_member("kind", FaultKind)
    requests = fields.take_optional("requests", int)
    seconds = fields.take_number("seconds")
    fields.finish()
    return Fault(kind=kind, requests=requests, seconds=seconds)


def _tell_fault(fault: Fault) -> dict[str, object]:
    requests = {} if fault.requests is None else {"requests": fault.requests}
    seconds = {"seconds": fault.seconds} if fault.seconds else {}
    return {"kind": fault.kind, **requests, **seconds}


def _read_chain(value: object) -> ChainChoice:
    fields = _Fields("chain", value)
    scenario = fields.take_member("scenario", Scenario, default=Scenario.STABLE)
    embed_issuer = fields.take("embedIssuer", bool, False)  # noqa: FBT003 - the default
    urls = fields.take_optional("issuerUrls", list)
    fields.finish()
    if urls is not None and not all(type(url) is str for url in urls):
        raise ValueError("chain: issuerUrls must be strings")
    return ChainChoice(
        scenario=scenario,
        embed_issuer=embed_issuer,
        issuer_urls=None if urls is None else tuple(urls),
    )


class _Fields:
    """A JSON object, taken key by key; `finish` refuses the rest by name. Raises ValueError."""

    def __init__(self, place: str, value: object) -> None:
        if not isinstance(value, dict):
            raise ValueError(f"{place} must be an object")  # noqa: TRY004 - of what was sent, as everywhere here
        self._place = place
        self._values = cast("dict[str, object]", dict(value))

    def take(self, name: str, kind: type[_T], default: _T) -> _T:
        value = self.take_optional(name, kind)
        return default if value is None else value

    def take_optional(self, name: str, kind: type[_T]) -> _T | None:
        value = self._values.pop(name, None)
        if value is not None and type(value) is not kind:  # exactly: True is an int to isinstance
            raise ValueError(f"{self._place}: {name} must be {_KINDS[kind]}")
        return value

    def take_member(self, name: str, kind: type[_Member], *, default: _Member | None = None) -> _Member:
        value = self.take(name, str, "" if default is None else default.value)
        try:
            return kind(value)
        except ValueError:
            raise ValueError(f"{self._place}: {name} must be one of {', '.join(kind)}") from None

    def take_number(self, name: str) -> float:
        value = self._values.pop(name, 0)
        if type(value) not in {int, float} or not abs(cast("float", value)) <= _LARGEST_NUMBER:
            raise ValueError(f"{self._place}: {name} must be a number of seconds")
        return float(cast("float", value))

    def finish(self) -> None:
        if self._values:
            raise ValueError(f"{self._place}: unknown key {', '.join(sorted(self._values))}")


_KINDS: Final = {bool: "true or false", dict: "an object", int: "an integer", list: "an array", str: "a string"}


def _is_from_this_machine() -> bool:
    """A proxy on this machine that passes others' requests on says so, and is taken for them."""
    if "X-Forwarded-For" in request.headers or "Forwarded" in request.headers:
        return False
    try:
        address = ipaddress.ip_address(request.remote_addr or "")
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return bool((mapped or address).is_loopback)
