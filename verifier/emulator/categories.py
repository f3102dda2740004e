"""The smaller categories of IMDS, with only the fields that their own Azure pages require."""

import secrets
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Final

from flask import Blueprint, Response, jsonify, request

from verifier.emulator.documents import VirtualMachine
from verifier.emulator.rules import Refusal, refuse, refuse_api_version
from verifier.emulator.schema import FIRST_VERSION, Array, Leaf, Object, render
from verifier.emulator.versions import (
    API_VERSIONS,
    IDENTITY_INTRODUCED,
    LOAD_BALANCER_INTRODUCED,
    SCHEDULED_EVENTS_INTRODUCED,
    SCHEDULED_EVENTS_VERSIONS,
)

_TEXT: Final = Leaf()
_PORT: Final = Leaf(FIRST_VERSION, int)
LOAD_BALANCER: Final = Object(
    {
        "publicIpAddresses": Array(Object({"frontendIpAddress": _TEXT, "privateIpAddress": _TEXT})),
        "inboundRules": Array(
            Object(
                {
                    "frontendIpAddress": _TEXT,
                    "protocol": _TEXT,
                    "frontendPort": _PORT,
                    "backendPort": _PORT,
                    "privateIpAddress": _TEXT,
                },
            ),
        ),
        "outboundRules": Array(Object({"frontendIpAddress": _TEXT, "privateIpAddress": _TEXT})),
    },
)

_TOKEN_LIFETIME: Final = timedelta(hours=24)


def create_categories(*, vm: VirtualMachine, now: Callable[[], datetime]) -> Blueprint:
    """Return the routes for versions, scheduled events, load balancer and managed identity of `vm`."""
    categories = Blueprint("categories", __name__)

    # Without OPTIONS, which Flask would add: IMDS has only GET.
    @categories.get("/metadata/versions", provide_automatic_options=False)
    def versions() -> Response:
        return jsonify(apiVersions=API_VERSIONS)

    @categories.get("/metadata/scheduledevents", provide_automatic_options=False)
    def scheduled_events() -> Response | Refusal:
        refusal = refuse_api_version(introduced=SCHEDULED_EVENTS_INTRODUCED, extra=SCHEDULED_EVENTS_VERSIONS)
        return refusal or jsonify(DocumentIncarnation=1, Events=[])

    @categories.get("/metadata/loadbalancer", provide_automatic_options=False)
    def load_balancer() -> Response | Refusal:
        refusal = refuse_api_version(introduced=LOAD_BALANCER_INTRODUCED)
        if refusal or vm.load_balancer is None:
            return refusal or refuse(404, "No load balancer metadata is found")
        return jsonify(loadbalancer=render(LOAD_BALANCER, dict(vm.load_balancer), api_version=API_VERSIONS[-1]))

    @categories.get("/metadata/identity/info", provide_automatic_options=False)
    def identity_info() -> Response | Refusal:
        refusal = refuse_api_version(introduced=IDENTITY_INTRODUCED)
        if refusal or vm.identity is None:
            return refusal or _refuse_identity()
        return jsonify(tenantId=vm.identity.tenant_id)

    @categories.get("/metadata/identity/oauth2/token", provide_automatic_options=False)
    def identity_token() -> Response | Refusal:
        return refuse_api_version(introduced=IDENTITY_INTRODUCED) or _answer_token(vm, now())

    return categories


def _answer_token(vm: VirtualMachine, now: datetime) -> Response | Refusal:
    """Return a token of the documented shape. No service accepts it."""
    resource = request.args.get("resource")
    if not resource:
        return _refuse_as_oauth("Required query variable 'resource' is missing")
    if vm.identity is None:
        return _refuse_identity()
    seconds = f"{_TOKEN_LIFETIME.total_seconds():.0f}"
    return jsonify(
        access_token=f"emulated.{secrets.token_urlsafe(32)}",
        client_id=vm.identity.client_id,
        expires_in=seconds,
        expires_on=f"{(now + _TOKEN_LIFETIME).timestamp():.0f}",
        ext_expires_in=seconds,
        not_before=f"{now.timestamp():.0f}",
        resource=resource,
        token_type="Bearer",  # noqa: S106 - the type of a token
    )


def _refuse_identity() -> Refusal:
    return _refuse_as_oauth("Identity not found")


def _refuse_as_oauth(description: str) -> Refusal:
    """Return an OAuth error (RFC 6749 5.2), which only managed identity uses."""
    return jsonify(error="invalid_request", error_description=description), 400
