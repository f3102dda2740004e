"""The smaller categories of IMDS, with only the fields that their own Azure pages require."""

from typing import Final

from flask import Blueprint, Response, jsonify

from verifier.emulator.documents import VirtualMachine
from verifier.emulator.rules import Refusal, refuse, refuse_api_version
from verifier.emulator.schema import Array, Leaf, Object, render
from verifier.emulator.versions import (
    API_VERSIONS,
    LOAD_BALANCER_INTRODUCED,
    SCHEDULED_EVENTS_INTRODUCED,
    SCHEDULED_EVENTS_VERSIONS,
)

_TEXT: Final = Leaf()
_NUMBER: Final = Leaf(kind=int)
LOAD_BALANCER: Final = Object(
    {
        "publicIpAddresses": Array(Object({"frontendIpAddress": _TEXT, "privateIpAddress": _TEXT})),
        "inboundRules": Array(
            Object(
                {
                    "frontendIpAddress": _TEXT,
                    "protocol": _TEXT,
                    "frontendPort": _NUMBER,
                    "backendPort": _NUMBER,
                    "privateIpAddress": _TEXT,
                },
            ),
        ),
        "outboundRules": Array(Object({"frontendIpAddress": _TEXT, "privateIpAddress": _TEXT})),
        # No page of IMDS shows it. The members are those of a gateway load balancer in Azure's REST API.
        "tunnelInterfaces": Array(
            Object({"identifier": _NUMBER, "port": _NUMBER, "protocol": _TEXT, "type": _TEXT}), is_optional=True
        ),
    },
)

_NO_LOAD_BALANCER: Final = (
    "No load balancer metadata is found. Please check if your VM is using any non-basic SKU load balancer and retry "
    "later."
)


def create_categories(vm: VirtualMachine) -> Blueprint:
    """Return the routes for versions, scheduled events and load balancer of `vm`."""
    categories = Blueprint("categories", __name__)

    # A client that asks for the versions here gets them with the refusal (Azure page: Versioning).
    # Without OPTIONS, which Flask would add: IMDS has only GET.
    @categories.get("/metadata", provide_automatic_options=False)
    def root() -> Refusal:
        return refuse_api_version(introduced=API_VERSIONS[0]) or refuse(404, "Not Found")

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
            return refusal or refuse(404, _NO_LOAD_BALANCER)
        return jsonify(loadbalancer=render(LOAD_BALANCER, dict(vm.load_balancer), api_version=API_VERSIONS[-1]))

    return categories
