"""IMDS over HTTP: `GET /metadata/attested/document` by the rules of Azure's page."""

import base64
import re
from collections.abc import Callable
from datetime import datetime
from typing import Final

from flask import Flask, Response, jsonify, request
from werkzeug.exceptions import HTTPException, MethodNotAllowed, NotFound

from verifier.emulator import cms, documents
from verifier.emulator.documents import VirtualMachine
from verifier.emulator.pki import Identity
from verifier.emulator.rate_limit import SlidingWindow

# Azure page: Supported API versions; and from 2021 on, those that the page does not list yet.
API_VERSIONS: Final = (
    "2017-03-01",
    "2017-04-02",
    "2017-08-01",
    "2017-10-01",
    "2017-12-01",
    "2018-02-01",
    "2018-04-02",
    "2018-10-01",
    "2019-02-01",
    "2019-03-11",
    "2019-04-30",
    "2019-06-01",
    "2019-06-04",
    "2019-08-01",
    "2019-08-15",
    "2019-11-01",
    "2020-06-01",
    "2020-07-15",
    "2020-09-01",
    "2020-10-01",
    "2020-12-01",
    "2021-01-01",
    "2021-02-01",
    "2021-03-01",
    "2021-05-01",
    "2021-08-01",
    "2021-10-01",
    "2021-11-01",
    "2021-11-15",
    "2021-12-13",
    "2023-07-01",
    "2023-11-15",
    "2024-03-15",
    "2024-07-17",
    "2025-04-07",
)

_NEWEST_VERSIONS: Final = API_VERSIONS[:-4:-1]
_MORE: Final = "For more information refer to aka.ms/azureimds"
# The page says 10 digits; the service's OpenAPI description says up to 32 alphanumeric characters.
_NONCE: Final = re.compile(r"[0-9A-Za-z]{1,32}", re.ASCII)
# Azure page: Rate limiting.
_REQUESTS_PER_SECOND: Final = 5


def create_app(
    *,
    signer: Identity,
    vm: VirtualMachine,
    clock: Callable[[], datetime],
    monotonic: Callable[[], float],
) -> Flask:
    """An app that answers for `vm` with documents signed by `signer`; every answer is JSON.

    `clock` gives aware datetimes, for the documents; `monotonic` seconds, for the rate limit, which is per app.
    Nothing is checked about who asks: like IMDS, it answers whoever reaches it.
    """
    app = Flask(__name__, static_folder=None)
    app.json.compact = True  # type: ignore[attr-defined] # of Flask's default provider, which this app has
    # A redirect to a tidied path would be an answer that is not JSON.
    app.url_map.merge_slashes = False
    window = SlidingWindow(limit=_REQUESTS_PER_SECOND, seconds=1.0, monotonic=monotonic)

    @app.before_request
    def refuse_improper_requests() -> tuple[Response, int] | None:
        return _refuse_improper_request(window)

    # None of HEAD and OPTIONS, which Flask adds by itself: GET is the one verb (Azure page: HTTP verbs).
    @app.get("/metadata/attested/document", provide_automatic_options=False)
    def attested_document() -> Response | tuple[Response, int]:
        refusal = _refuse_api_version(introduced=documents.INTRODUCED) or _refuse_nonce()
        if refusal:
            return refusal
        content = documents.make_content(
            vm,
            now=clock(),
            api_version=request.args["api-version"],
            # "If no value is provided": an empty value is none.
            nonce=request.args.get("nonce") or None,
        )
        evidence = cms.signed_data(content, certificate=signer.certificate, key=signer.key).encode()
        return jsonify(encoding="pkcs7", signature=base64.b64encode(evidence).decode("ascii"))

    @app.errorhandler(HTTPException)
    def tell_in_json(error: HTTPException) -> Response:
        response = jsonify(error=error.name)
        response.status_code = error.code or 500
        if isinstance(error, MethodNotAllowed):
            response.headers["Allow"] = "GET"  # RFC 9110 15.5.6
        return response

    return app


def _refuse_improper_request(window: SlidingWindow) -> tuple[Response, int] | None:
    """Refuses what no endpoint answers. Runs before the routing's own 404 and 405."""
    if not window.admit():
        return _refuse(429, "Too many requests")
    # Azure page: Security and authentication; the text is that of Frequently asked questions.
    if request.headers.get("Metadata", "").lower() != "true":
        return _refuse(400, "Bad request. Required metadata header not specified")
    if "X-Forwarded-For" in request.headers:
        return _refuse(400, "Bad request. X-Forwarded-For header must not be specified")
    # Azure page: HTTP verbs. HEAD reaches the endpoint of a GET.
    if request.url_rule is not None and request.method != "GET":
        raise MethodNotAllowed
    # Azure page: Query parameters.
    if any(len(values) > 1 for _, values in request.args.lists()):
        return _refuse(400, "Bad request. Duplicate query parameter names are not allowed")
    return None


def _refuse_api_version(*, introduced: str) -> tuple[Response, int] | None:
    """Azure page: Versioning. A version older than the endpoint is supported, but has no such element."""
    api_version = request.args.get("api-version")
    if not api_version:
        return _refuse_with_versions(f"Bad request. api-version was not specified in the request. {_MORE}")
    if api_version not in API_VERSIONS:
        return _refuse_with_versions(f"Bad request. api-version is not supported. {_MORE}")
    if api_version < introduced:
        raise NotFound
    return None


def _refuse_nonce() -> tuple[Response, int] | None:
    nonce = request.args.get("nonce")
    if nonce and not _NONCE.fullmatch(nonce):
        return _refuse(400, "Bad request. nonce must be at most 32 alphanumeric characters")
    return None


def _refuse(status: int, error: str) -> tuple[Response, int]:
    return jsonify(error=error), status


def _refuse_with_versions(error: str) -> tuple[Response, int]:
    return jsonify({"error": error, "newest-versions": _NEWEST_VERSIONS}), 400
