"""Serve the pages for people: the inspector, decisions and trust, with their scripts and styles.

The pages hold no data. Their scripts ask the `/v1` paths with the key that a person types in.
"""

import hashlib
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Final

from flask import Blueprint, Response, render_template, request
from werkzeug.exceptions import NotFound

from verifier.api.pages.checks import CHECKS
from verifier.api.pages.examples import EXAMPLES
from verifier.core.trust.clouds import Cloud

_STATIC: Final = Path(__file__).parent / "static"
_TYPES: Final[Mapping[str, str]] = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".svg": "image/svg+xml",
}
#: The assets that exist: no other file of the directory, and none outside, can be asked for.
ASSETS: Final[Mapping[str, Path]] = {
    file.name: file
    for folder in (_STATIC, _STATIC / "examples")
    for file in sorted(folder.iterdir())
    if file.suffix in _TYPES
}
_DOMAINS: Final = {cloud.value: cloud.domain for cloud in Cloud}
#: No inline script or style, no other host, and no HTML made from text.
_SOURCES: Final[Mapping[str, str]] = {
    "default-src": "'none'",
    "script-src": "'self'",
    "style-src": "'self'",
    "connect-src": "'self'",
    "img-src": "'self'",
    "base-uri": "'none'",
    "form-action": "'none'",
    "frame-ancestors": "'none'",
    "require-trusted-types-for": "'script'",
}
CONTENT_SECURITY_POLICY: Final = "; ".join(f"{kind} {allowed}" for kind, allowed in _SOURCES.items())


def create_pages_blueprint(version: str) -> Blueprint:
    """Create the routes. They need no key, because their content is public in the source code."""
    blueprint = Blueprint("pages", __name__, template_folder="templates")

    @cache
    def page(name: str) -> bytes:
        text = render_template(
            f"{name}.html", version=version, here=name, checks=CHECKS, examples=EXAMPLES, domains=_DOMAINS
        )
        return text.encode()

    def show(name: str) -> Callable[[], Response]:
        return lambda: _serve(page(name), "text/html; charset=utf-8")

    blueprint.get("/", endpoint="inspector")(show("inspector"))
    blueprint.get("/decisions", endpoint="decisions")(show("decisions"))
    blueprint.get("/trust", endpoint="trust")(show("trust"))

    @blueprint.get("/assets/<file>")
    def asset(file: str) -> Response:
        path = ASSETS.get(file)
        if path is None:
            raise NotFound
        return _serve(_read(path), _TYPES[path.suffix])

    return blueprint


@cache
def _read(path: Path) -> bytes:
    return path.read_bytes()


def _serve(body: bytes, content_type: str) -> Response:
    """Answer with the body, or with 304 if the caller already has it (RFC 9110 section 13.1.2).

    Caches ask each time, so that the scripts of two releases are never mixed.
    """
    headers = {
        "Cache-Control": "no-cache",
        "Content-Security-Policy": CONTENT_SECURITY_POLICY,
        "Cross-Origin-Opener-Policy": "same-origin",
        "Cross-Origin-Resource-Policy": "same-origin",
        "Referrer-Policy": "no-referrer",
    }
    response = Response(body, content_type=content_type, headers=headers)
    response.set_etag(hashlib.sha256(body).hexdigest()[:32])
    response.make_conditional(request)
    return response
