"""The part of the conformance list on managed identity."""

import tomllib

from support.imds_conformance import (
    EVERY_KEY,
    Behaviour,
    Request,
    header,
    identity_refusal,
    keys,
    machine_file,
    ok_json,
    token_is_the_one_before,
    token_of,
)
from support.imds_lines import TOKEN, faulty, get, lines
from support.imds_sources import AZURE_SDK, INFERENCE, PAGE_TOKENS, RECORDED_ANSWERS, REPORTS, SWAGGER

from verifier.emulator.faults import FaultKind

#: Client id, object id and resource id of the identities in examples/emulator/user-assigned.toml.
USER_ASSIGNED = tuple(
    (one["clientId"], one["objectId"], one["resourceId"])
    for one in tomllib.loads(machine_file("user-assigned").read_text("utf-8"))["identity"]["userAssigned"]
)


def identities() -> list[Behaviour]:
    section, resource = "Managed identity", "&resource=https://vault.azure.net"
    token = get(TOKEN, resource)
    named = ("access_token", "client_id", "expires_in", "expires_on", "ext_expires_in", "not_before")
    first, second = USER_ASSIGNED
    return [
        *lines(
            section,
            ("a token is issued for a resource", token, ok_json(keys("", (*named, "resource", "token_type")))),
            source=RECORDED_ANSWERS,
        ),
        *lines(
            section,
            (
                "a token requires a resource",
                get(TOKEN),
                identity_refusal(400, "invalid_request", "Required query variable 'resource' is missing"),
            ),
            source=AZURE_SDK,
        ),
        *lines(
            section,
            ("the tenant is available", get("/metadata/identity/info"), ok_json(keys("", ("tenantId",)))),
            source=SWAGGER,
        ),
        *lines(
            section,
            (
                "the tenant is available without a system-assigned identity",
                get("/metadata/identity/info"),
                ok_json(keys("", ("tenantId",))),
            ),
            machine="user-assigned",
            source=INFERENCE,
        ),
        *lines(
            section,
            (
                "a machine without an identity gets no token",
                token,
                identity_refusal(400, "invalid_request", "Identity not found"),
            ),
            machine="government",
            source=RECORDED_ANSWERS,
        ),
        *lines(
            section,
            *(
                (f"{name} selects an identity", get(TOKEN, f"{resource}&{name}={value}"), token_of(second[0], **echoed))
                for name, value, echoed in (
                    ("client_id", second[0], {}),
                    ("object_id", second[1], {"object_id": second[1]}),
                    ("msi_res_id", second[2], {"msi_res_id": second[2]}),
                )
            ),
            (
                "the parameters that select an identity are mutually exclusive",
                get(TOKEN, f"{resource}&client_id={first[0]}&object_id={first[1]}"),
                identity_refusal(400, "invalid_request", "mutually exclusive"),
            ),
            (
                "another value of bypass_cache is refused",
                get(TOKEN, f"{resource}&client_id={first[0]}&bypass_cache=false"),
                identity_refusal(400, "invalid_request", "bypass_cache"),
            ),
            source=SWAGGER,
            machine="user-assigned",
        ),
        *lines(
            section,
            ("mi_res_id selects an identity", get(TOKEN, f"{resource}&mi_res_id={first[2]}"), token_of(first[0])),
            source=PAGE_TOKENS,
            machine="user-assigned",
        ),
        *lines(
            section,
            *(
                (
                    f"an unknown {name} is refused",
                    get(TOKEN, f"{resource}&{name}=00000000-0000-4000-8000-000000000000"),
                    identity_refusal(400, "invalid_request", "Identity not found"),
                )
                for name in ("client_id", "object_id", "msi_res_id")
            ),
            source=RECORDED_ANSWERS,
            machine="user-assigned",
        ),
        *lines(
            section,
            (
                "one of several user-assigned identities must be selected",
                token,
                identity_refusal(
                    400,
                    "invalid_request",
                    "Multiple user assigned identities exist, please specify the clientId / resourceId of the identity "
                    "in the token request",
                ),
            ),
            source=REPORTS,
            machine="user-assigned",
        ),
        *lines(
            section,
            (
                "the system-assigned identity is the default beside user-assigned ones",
                token,
                token_of("7e9a4d2c-8f31-4c60-b5d8-1b2e3f4a5c6d"),
            ),
            (
                "the system-assigned identity can be selected",
                get(TOKEN, f"{resource}&client_id=7e9a4d2c-8f31-4c60-b5d8-1b2e3f4a5c6d"),
                token_of("7e9a4d2c-8f31-4c60-b5d8-1b2e3f4a5c6d"),
            ),
            machine=EVERY_KEY,
            source=PAGE_TOKENS,
        ),
        *lines(
            section,
            ("a token is cached", token, (*ok_json(), token_is_the_one_before(expected=True))),
            before=(token,),
            source=PAGE_TOKENS,
        ),
        *lines(
            section,
            (
                "bypass_cache=true makes another token",
                get(TOKEN, f"{resource}&bypass_cache=true"),
                (*ok_json(), token_is_the_one_before(expected=False)),
            ),
            before=(token,),
            source=SWAGGER,
        ),
        *lines(
            section,
            (
                "another method is refused with the error body of managed identity",
                Request(target=f"{TOKEN}?api-version=2020-09-01", method="POST"),
                (*identity_refusal(405, "method_not_allowed"), header("Allow", "GET")),
            ),
            (
                "404 has the error body of managed identity",
                get("/metadata/identity/x"),
                identity_refusal(404, "not_found"),
            ),
            source=SWAGGER,
        ),
        *(
            line
            for kind, code, error in (
                (FaultKind.GONE, 410, "service_unavailable"),
                (FaultKind.ERROR, 500, "server_error"),
                (FaultKind.RATE_LIMITED, 429, "too_many_requests"),
            )
            for line in lines(
                section,
                (f"{code} has the error body of managed identity", token, identity_refusal(code, error)),
                conditions=faulty(kind, requests=1),
                source=SWAGGER,
            )
        ),
    ]
