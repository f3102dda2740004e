"""The categories that Azure's page refers to other pages for: in the least shape that those pages document."""

import secrets
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Final

from flask import Blueprint, Response, jsonify, request

from verifier.emulator.documents import VirtualMachine
from verifier.emulator.rules import Refusal, refuse, refuse_api_version
from verifier.emulator.schema import ALWAYS, Array, Leaf, Object, render
from verifier.emulator.versions import (
    API_VERSIONS,
    IDENTITY_INTRODUCED,
    LOAD_BALANCER_INTRODUCED,
    SCHEDULED_EVENTS_INTRODUCED,
    SCHEDULED_EVENTS_VERSIONS,
)

_TEXT: Final = Leaf()
_PORT: Final = Leaf(ALWAYS, int)
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

_TOKEN_LIFE: Final = timedelta(hours=24)


def create_categories(*, vm: VirtualMachine, now: Callable[[], datetime]) -> Blueprint:
    """Versions, scheduled events, load balancer and managed identity of `vm`."""
    categories = Blueprint("categories", __name__)

    # None of OPTIONS, which Flask adds by itself.
    @categories.get("/metadata/versions", provide_automatic_options=False)
    def versions() -> Response:
        return jsonify(apiVersions=API_VERSIONS)

    @categories.get("/metadata/scheduledevents", provide_automatic_options=False)
    def scheduled_events() -> Response | Refusal:
        """No event is ever scheduled."""
        refusal = refuse_api_version(introduced=SCHEDULED_EVENTS_INTRODUCED, also=SCHEDULED_EVENTS_VERSIONS)
        return refusal or jsonify(DocumentIncarnation=1, Events=[])

    @categories.get("/metadata/loadbalancer", provide_automatic_options=False)
    def load_balancer() -> Response | Refusal:
        return refuse_api_version(introduced=LOAD_BALANCER_INTRODUCED) or _tell_load_balancer(vm)

    @categories.get("/metadata/identity/info", provide_automatic_options=False)
    def identity_info() -> Response | Refusal:
        return refuse_api_version(introduced=IDENTITY_INTRODUCED) or _tell_identity(vm)

    @categories.get("/metadata/identity/oauth2/token", provide_automatic_options=False)
    def identity_token() -> Response | Refusal:
        return refuse_api_version(introduced=IDENTITY_INTRODUCED) or _tell_token(vm, now())

    return categories


def _tell_load_balancer(vm: VirtualMachine) -> Response | Refusal:
    if vm.load_balancer is None:
        return refuse(404, "No load balancer metadata is found")
    return jsonify(loadbalancer=render(LOAD_BALANCER, dict(vm.load_balancer), api_version=API_VERSIONS[-1]))


def _tell_identity(vm: VirtualMachine) -> Response | Refusal:
    return _refuse_identity() if vm.identity is None else jsonify(tenantId=vm.identity.tenant_id)


def _tell_token(vm: VirtualMachine, now: datetime) -> Response | Refusal:
    """A token of the documented shape that nothing accepts."""
    resource = request.args.get("resource")
    if not resource:
        return _refuse_as_oauth("Required query variable 'resource' is missing")
    if vm.identity is None:
        return _refuse_identity()
    seconds = f"{_TOKEN_LIFE.total_seconds():.0f}"
    return jsonify(
        access_token=f"emulated.{secrets.token_urlsafe(32)}",
        client_id=vm.identity.client_id,
        expires_in=seconds,
        expires_on=f"{(now + _TOKEN_LIFE).timestamp():.0f}",
        ext_expires_in=seconds,
        not_before=f"{now.timestamp():.0f}",
        resource=resource,
        token_type="Bearer",  # noqa: S106 - the type of a token
    )


def _refuse_identity() -> Refusal:
    return _refuse_as_oauth("Identity not found")


def _refuse_as_oauth(description: str) -> Refusal:
    """In the form of OAuth (RFC 6749 5.2), which managed identity has instead of the others' `error` alone."""
    return jsonify(error="invalid_request", error_description=description), 400
