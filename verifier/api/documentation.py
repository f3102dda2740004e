"""Serve the OpenAPI document and the documentation page. Both are built once, and caches may keep them for an hour."""

import hashlib
import json

from flask import Blueprint, Response, request

from verifier.api.docs_page import STYLE_HASH, make_page
from verifier.api.openapi import make_document

_KEPT = "public, max-age=3600"


def create_documentation_blueprint(version: str) -> Blueprint:
    """Create both routes. They need no key, because their content is public in the source code."""
    blueprint = Blueprint("documentation", __name__)
    description = make_document(version)
    document = json.dumps(description, ensure_ascii=False, separators=(",", ":")).encode()
    page = make_page(description).encode()

    @blueprint.get("/openapi.json")
    def show_document() -> Response:
        return _serve(document, "application/json")

    @blueprint.get("/docs")
    def show_page() -> Response:
        response = _serve(page, "text/html")
        response.headers["Content-Security-Policy"] = (
            f"default-src 'none'; style-src '{STYLE_HASH}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
        )
        response.headers["Referrer-Policy"] = "no-referrer"
        return response

    return blueprint


def _serve(body: bytes, media_type: str) -> Response:
    """Answer with the body, or with 304 if the caller already has it (RFC 9110 section 13.1.2)."""
    response = Response(body, mimetype=media_type, headers={"Cache-Control": _KEPT})
    response.set_etag(hashlib.sha256(body).hexdigest()[:32])
    response.make_conditional(request)
    return response
