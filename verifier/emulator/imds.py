"""IMDS over HTTP for one virtual machine, by the rules of Azure's page."""

import uuid
from collections.abc import Callable

from flask import Flask, Response, jsonify, request
from werkzeug.exceptions import HTTPException, MethodNotAllowed, NotFound

from verifier.emulator.attested import AttestedDocuments
from verifier.emulator.categories import create_categories
from verifier.emulator.controls import Controls
from verifier.emulator.documents import VirtualMachine
from verifier.emulator.fault_injection import DOCUMENT_PATH, inject_faults
from verifier.emulator.filtering import FormatError, NoSuchElementError, select, to_json, to_text
from verifier.emulator.identity import create_identity
from verifier.emulator.instance import instance_metadata
from verifier.emulator.rules import Refusal, RequestLimiter, enforce, refuse, refuse_api_version
from verifier.emulator.versions import INSTANCE_INTRODUCED


def create_imds(
    *, vm: VirtualMachine, controls: Controls, limiter: RequestLimiter, wait: Callable[[float], object]
) -> Flask:
    """Return an app that answers for `vm`. `wait` delays a slow response by its seconds.

    Not checked: the client. Like IMDS, the app answers every client that can connect.
    """
    app = Flask(__name__, static_folder=None)
    app.json.compact = True  # type: ignore[attr-defined] # of Flask's default provider, which this app has
    # A redirect to a normalised path would not be JSON.
    app.url_map.merge_slashes = False
    # A trailing slash means the same as none.
    app.url_map.strict_slashes = False
    enforce(app, limiter)
    inject_faults(app, controls, wait)
    app.register_blueprint(create_categories(vm))
    app.register_blueprint(create_identity(vm=vm, now=controls.now))
    documents = AttestedDocuments(vm=vm, controls=controls)
    # Without OPTIONS, which Flask would add: GET is the only verb (Azure page: HTTP verbs).
    app.get(DOCUMENT_PATH, provide_automatic_options=False)(documents.answer)

    @app.get("/metadata/instance", defaults={"route": None}, provide_automatic_options=False)
    @app.get("/metadata/instance/<path:route>", provide_automatic_options=False)
    def instance(route: str | None) -> Response | Refusal:
        return _answer_instance(vm, [] if route is None else route.removesuffix("/").split("/"))

    @app.errorhandler(HTTPException)
    def answer_in_json(error: HTTPException) -> Refusal:
        response, status = refuse(error.code or 500, error.name)
        if isinstance(error, MethodNotAllowed):
            response.headers["Allow"] = "GET"  # RFC 9110 15.5.6
        return response, status

    @app.after_request
    def answer_as_recorded(response: Response) -> Response:
        """Give the answer the headers and the last byte of recorded ones. The server adds `Server`."""
        if response.mimetype == "application/json":
            response.content_type = "application/json; charset=utf-8"
            response.set_data(response.get_data().rstrip(b"\n"))
        response.headers["x-ms-request-id"] = str(uuid.uuid4())
        return response

    return app


def _answer_instance(vm: VirtualMachine, route: list[str]) -> Response | Refusal:
    """Answer for an element of instance metadata (Azure page: Get VM metadata, Route parameters, Data format)."""
    refusal = refuse_api_version(introduced=INSTANCE_INTRODUCED)
    if refusal:
        return refusal
    data_format = request.args.get("format", "json")
    if data_format not in {"json", "text"}:
        return refuse(400, "Bad request. format must be json or text")
    try:
        is_extended = request.args.get("extended", "").lower() == "true"
        tree = instance_metadata(vm, api_version=request.args["api-version"], is_extended=is_extended)
        element = select(tree, route)
        return Response(to_text(element), mimetype="text/plain") if data_format == "text" else jsonify(to_json(element))
    except NoSuchElementError:
        raise NotFound from None
    except FormatError as error:
        return refuse(400, str(error))
