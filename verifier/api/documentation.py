"""Serve the OpenAPI document and the documentation page. Caches may keep them for an hour.

Both are built when they are first asked for: that takes a tenth of a second, and few workers are asked.
"""

import json
from functools import cache

from flask import Blueprint, Response

from verifier.api.bodies import serve_cached
from verifier.api.docs_page import STYLE_HASH, make_page
from verifier.api.openapi import make_document

_CACHE_SECONDS = 3600


def create_documentation_blueprint(version: str) -> Blueprint:
    """Create both routes. They need no key, because their content is public in the source code."""
    blueprint = Blueprint("documentation", __name__)

    @cache
    def document() -> bytes:
        return json.dumps(make_document(version), ensure_ascii=False, separators=(",", ":")).encode()

    @cache
    def page() -> bytes:
        return make_page(make_document(version)).encode()

    @blueprint.get("/openapi.json")
    def show_document() -> Response:
        return serve_cached(document(), "application/json", seconds=_CACHE_SECONDS)

    @blueprint.get("/docs")
    def show_page() -> Response:
        response = serve_cached(page(), "text/html", seconds=_CACHE_SECONDS)
        response.headers["Content-Security-Policy"] = (
            f"default-src 'none'; style-src '{STYLE_HASH}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
        )
        response.headers["Referrer-Policy"] = "no-referrer"
        return response

    return blueprint
