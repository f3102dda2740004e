"""IMDS over HTTP, by the rules of Azure's page, for one virtual machine."""

from collections.abc import Callable
from datetime import datetime
from typing import Protocol

from flask import Flask, Response, jsonify, request
from werkzeug.exceptions import HTTPException, MethodNotAllowed, NotFound

from verifier.emulator.attested import AttestedDocuments
from verifier.emulator.categories import create_categories
from verifier.emulator.disturbances import DOCUMENT_PATH, disturb
from verifier.emulator.documents import VirtualMachine
from verifier.emulator.faults import Fault
from verifier.emulator.filtering import FormatError, NoSuchElementError, check_json, select, tell_text
from verifier.emulator.instance import instance_metadata
from verifier.emulator.pki import Identity
from verifier.emulator.rules import Admission, Refusal, enforce, refuse, refuse_api_version
from verifier.emulator.scenarios import Chain
from verifier.emulator.versions import INSTANCE_INTRODUCED


class Circumstances(Protocol):
    """What may be another thing with the next request."""

    def now(self) -> datetime: ...
    def chain(self) -> Chain: ...
    def take_fault(self, is_for_a_document: bool, /) -> Fault | None: ...  # noqa: FBT001 - the one argument


def create_app(
    *,
    signer: Identity,
    vm: VirtualMachine,
    clock: Callable[[], datetime],
    monotonic: Callable[[], float],
) -> Flask:
    """An app whose signer stays, and that has no faults.

    `clock` gives aware datetimes, for the documents; `monotonic` seconds, for the rate limit, which is per app.
    """
    return create_imds(
        vm=vm,
        circumstances=_Undisturbed(signer, clock),
        admission=Admission(monotonic=monotonic),
        wait=lambda _: None,
    )


def create_imds(
    *,
    vm: VirtualMachine,
    circumstances: Circumstances,
    admission: Admission,
    wait: Callable[[float], object],
) -> Flask:
    """An app that answers for `vm`, in JSON but for what was asked for in text.

    `wait` is told the seconds of a slow answer. Nothing is checked about who asks: like IMDS, it answers whoever
    reaches it.
    """
    app = Flask(__name__, static_folder=None)
    app.json.compact = True  # type: ignore[attr-defined] # of Flask's default provider, which this app has
    # A redirect to a tidied path would be an answer that is not JSON.
    app.url_map.merge_slashes = False
    enforce(app, admission)
    disturb(app, circumstances.take_fault, wait)
    app.register_blueprint(create_categories(vm=vm, now=circumstances.now))
    documents = AttestedDocuments(vm=vm, now=circumstances.now, chain=circumstances.chain)

    # None of HEAD and OPTIONS, which Flask adds by itself: GET is the one verb (Azure page: HTTP verbs).
    @app.get(DOCUMENT_PATH, provide_automatic_options=False)
    def attested_document() -> Response | Refusal:
        return documents.answer()

    @app.get("/metadata/instance", defaults={"route": None}, provide_automatic_options=False)
    @app.get("/metadata/instance/<path:route>", provide_automatic_options=False)
    def instance(route: str | None) -> Response | Refusal:
        return _tell_instance(vm, [] if route is None else route.split("/"))

    @app.errorhandler(HTTPException)
    def tell_in_json(error: HTTPException) -> Response:
        response = jsonify(error=error.name)
        response.status_code = error.code or 500
        if isinstance(error, MethodNotAllowed):
            response.headers["Allow"] = "GET"  # RFC 9110 15.5.6
        return response

    return app


class _Undisturbed:
    def __init__(self, signer: Identity, clock: Callable[[], datetime]) -> None:
        self._chain = Chain(signer=signer)
        self.now = clock

    def chain(self) -> Chain:
        return self._chain

    def take_fault(self, _: bool, /) -> Fault | None:  # noqa: FBT001 - as in Circumstances
        return None


def _tell_instance(vm: VirtualMachine, route: list[str]) -> Response | Refusal:
    """Azure page: Get VM metadata, Route parameters, Data format."""
    refusal = refuse_api_version(introduced=INSTANCE_INTRODUCED)
    if refusal:
        return refusal
    wanted = request.args.get("format", "json")
    if wanted not in {"json", "text"}:
        return refuse(400, "Bad request. format must be json or text")
    try:
        element = select(instance_metadata(vm, api_version=request.args["api-version"]), route)
        return Response(tell_text(element), mimetype="text/plain") if wanted == "text" else jsonify(check_json(element))
    except NoSuchElementError:
        raise NotFound from None
    except FormatError as error:
        return refuse(400, str(error))
