"""Serve the public keys of the result tokens to relying parties."""

import json

from flask import Blueprint, Response

from verifier.api.bodies import serve_cached
from verifier.api.json_codec import key_set_json
from verifier.ports.tokens import JWKS_LIFETIME, TokenIssuer

#: RFC 7517 section 8.5.2.
KEY_SET_TYPE = "application/jwk-set+json"


def create_token_blueprint(tokens: TokenIssuer | None) -> Blueprint:
    """Create the route. The key set is empty if `tokens` is None."""
    blueprint = Blueprint("tokens", __name__)

    @blueprint.get("/.well-known/jwks.json")
    def show_keys() -> Response:
        body = json.dumps(key_set_json(() if tokens is None else tokens.published())).encode()
        return serve_cached(body, KEY_SET_TYPE, seconds=int(JWKS_LIFETIME.total_seconds()))

    return blueprint
