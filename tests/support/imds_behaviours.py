"""The conformance list: the behaviours of IMDS that Azure's page describes, in its order."""

from datetime import timedelta
from itertools import pairwise

from support.imds_conformance import (
    PUBLIC,
    Behaviour,
    Expectation,
    Request,
    document,
    equals,
    has,
    has_lifetime,
    header,
    keys,
    lacks,
    newest_versions,
    nonce_is_the_expiry,
    ok_json,
    only_strings,
    refusal,
    says,
    says_exactly,
    signer_is_named,
    status,
    text,
)

from verifier.emulator.controls import Conditions
from verifier.emulator.faults import Fault, FaultKind

DOCUMENT = "/metadata/attested/document"
INSTANCE = "/metadata/instance"
TOKEN = "/metadata/identity/oauth2/token"  # noqa: S105 - a path
ENDPOINTS = {
    DOCUMENT: "2018-10-01",
    "/metadata/identity/info": "2018-02-01",
    TOKEN: "2018-02-01",
    INSTANCE: "2017-04-02",
    "/metadata/loadbalancer": "2020-10-01",
    "/metadata/scheduledevents": "2017-08-01",
}

#: Azure page: Supported API versions.
PAGE_VERSIONS = (
    *("2017-03-01", "2017-04-02", "2017-08-01", "2017-10-01", "2017-12-01", "2018-02-01", "2018-04-02", "2018-10-01"),
    *("2019-02-01", "2019-03-11", "2019-04-30", "2019-06-01", "2019-06-04", "2019-08-01", "2019-08-15", "2019-11-01"),
    *("2020-06-01", "2020-07-15", "2020-09-01", "2020-10-01", "2020-12-01"),
)
#: Versions that the page does not list.
LATER_VERSIONS = (
    *("2021-01-01", "2021-02-01", "2021-03-01", "2021-05-01", "2021-08-01", "2021-10-01", "2021-11-01", "2021-11-15"),
    *("2021-12-13", "2023-07-01", "2023-11-15", "2024-03-15", "2024-07-17", "2025-04-07"),
)

#: Azure page: Get VM metadata, Compute.
COMPUTE = {
    "azEnvironment": "2018-10-01",
    "customData": "2019-02-01",
    "evictionPolicy": "2020-12-01",
    "isHostCompatibilityLayerVm": "2020-06-01",
    "licenseType": "2020-09-01",
    "location": "2017-04-02",
    "name": "2017-04-02",
    "offer": "2017-04-02",
    "osProfile/adminUsername": "2020-07-15",
    "osProfile/computerName": "2020-07-15",
    "osProfile/disablePasswordAuthentication": "2020-10-01",
    "osType": "2017-04-02",
    "placementGroupId": "2017-08-01",
    "plan": "2018-04-02",
    "platformUpdateDomain": "2017-04-02",
    "platformFaultDomain": "2017-04-02",
    "priority": "2020-12-01",
    "provider": "2018-10-01",
    "publicKeys": "2018-04-02",
    "publisher": "2017-04-02",
    "resourceGroupName": "2017-08-01",
    "resourceId": "2019-03-11",
    "sku": "2017-04-02",
    "securityProfile/secureBootEnabled": "2020-06-01",
    "securityProfile/virtualTpmEnabled": "2020-06-01",
    "storageProfile": "2019-06-01",
    "subscriptionId": "2017-08-01",
    "tags": "2017-08-01",
    "tagsList": "2019-06-04",
    "version": "2017-04-02",
    "vmId": "2017-04-02",
    "vmScaleSetName": "2017-12-01",
    "vmSize": "2017-04-02",
    "zone": "2017-12-01",
}
#: Azure page: Get VM metadata, Storage profile; since 2019-06-01.
STORAGE = {
    "imageReference": ("id", "offer", "publisher", "sku", "version"),
    "osDisk": (
        *("caching", "createOption", "diffDiskSettings", "diskSizeGB", "image", "lun", "managedDisk", "name"),
        *("vhd", "writeAcceleratorEnabled"),
    ),
    "dataDisks/0": (
        *("caching", "createOption", "diffDiskSettings", "diskSizeGB", "encryptionSettings", "image", "managedDisk"),
        *("name", "osType", "vhd", "writeAcceleratorEnabled"),
    ),
}
NETWORK = (
    "ipv4/ipAddress/0/privateIpAddress",
    "ipv4/ipAddress/0/publicIpAddress",
    "ipv4/subnet/0/address",
    "ipv4/subnet/0/prefix",
    "ipv6/ipAddress",
    "macAddress",
)
CLOUDS = {
    "public-marketplace": ("AzurePublicCloud", "metadata.azure.com"),
    "government": ("AzureUSGovernmentCloud", "metadata.azure.us"),
    "china": ("AzureChinaCloud", "metadata.azure.cn"),
    "germany": ("AzureGermanCloud", "metadata.microsoftazure.de"),
}


def get(path: str, query: str = "", version: str = "2020-09-01", **headers: str) -> Request:
    named = headers or {"Metadata": "true"}
    return Request(target=f"{path}?api-version={version}{query}", headers=named)


def faulty(kind: FaultKind, **fault: int) -> Conditions:
    return Conditions(faults=(Fault(kind=kind, **fault),))


def lines(
    section: str,
    *entries: tuple[str, Request, tuple[Expectation, ...]],
    before: tuple[Request, ...] = (),
    conditions: Conditions | None = None,
    machine: str = PUBLIC,
) -> list[Behaviour]:
    return [
        Behaviour(
            section=section,
            says=behaviour,
            request=request,
            expected=expected,
            before=before,
            conditions=conditions,
            machine=machine,
        )
        for behaviour, request, expected in entries
    ]


def usage() -> list[Behaviour]:
    forwarded = {"Metadata": "true", "X-Forwarded-For": "10.0.0.1"}
    twice = get(INSTANCE, "&api-version=2020-09-01")
    return [
        *lines(
            "Usage",
            ("an instance has compute and network metadata", get(INSTANCE), ok_json(keys("", ("compute", "network")))),
        ),
        *lines(
            "Usage",
            ("a classic VM has the network portion", get(INSTANCE), ok_json(keys("", ("network",)))),
            ("a classic VM has no compute portion", get(f"{INSTANCE}/compute"), refusal(404)),
            machine="classic",
        ),
        *lines(
            "Security and authentication",
            *(
                (
                    f"{path} requires the header Metadata: true",
                    Request(target=f"{path}?api-version=2020-10-01", headers={}),
                    refusal(400, error="Required metadata header not specified"),
                )
                for path in (*ENDPOINTS, "/metadata/versions")
            ),
            ("another value of the header is refused", get(INSTANCE, Metadata="false"), refusal(400)),
            ("the header's value is case-insensitive", get(INSTANCE, Metadata="True"), ok_json()),
            ("X-Forwarded-For is refused", get(INSTANCE, **forwarded), refusal(400, error="X-Forwarded-For")),
            (
                "X-Forwarded-For is refused for documents",
                get(DOCUMENT, **forwarded),
                refusal(400, error="X-Forwarded-For"),
            ),
        ),
        *lines(
            "Rate limiting",
            ("the sixth request in a second is refused", get(INSTANCE), refusal(429)),
            before=(get(INSTANCE),) * 5,
        ),
        *lines(
            "Rate limiting",
            ("the fifth request in a second is answered", get(INSTANCE), ok_json()),
            before=(get(INSTANCE),) * 4,
        ),
        *lines(
            "Rate limiting",
            ("the 20th request for managed identity in a second is answered", get(TOKEN, "&resource=r"), ok_json()),
            before=(get(TOKEN, "&resource=r"),) * 19,
        ),
        *lines(
            "Rate limiting",
            ("the 21st request for managed identity in a second is refused", get(TOKEN, "&resource=r"), refusal(429)),
            before=(get(TOKEN, "&resource=r"),) * 20,
        ),
        *lines(
            "HTTP verbs",
            *(
                (
                    f"{method} is not allowed for {path}",
                    Request(target=f"{path}?api-version=2020-10-01", method=method),
                    refusal(405, more=(header("Allow", "GET"),)),
                )
                for method in ("POST", "PUT", "PATCH", "DELETE", "OPTIONS")
                for path in (DOCUMENT, INSTANCE)
            ),
        ),
        *lines(
            "HTTP verbs",
            *(
                (
                    f"HEAD is not allowed for {path}",
                    Request(target=f"{path}?api-version=2020-10-01", method="HEAD"),
                    (status(405), header("Allow", "GET")),
                )
                for path in (DOCUMENT, INSTANCE)
            ),
        ),
        *lines("Query parameters", ("duplicate names are refused", twice, refusal(400, error="Duplicate"))),
    ]


def routes() -> list[Behaviour]:
    network = f"{INSTANCE}/network/interface"
    public = f"{network}/0/ipv4/ipAddress/0/publicIpAddress"
    listing = "compute/\nnetwork/"
    return [
        *lines(
            "Route parameters",
            ("a key selects its value", get(f"{INSTANCE}/compute"), ok_json(has("vmId"), lacks("compute"))),
            ("an index selects an element", get(f"{network}/0"), ok_json(keys("", ("ipv4", "ipv6", "macAddress")))),
            ("a leaf is available as text", get(public, "&format=text"), text("192.0.2.4")),
            ("a leaf is not available as JSON", get(public, "&format=json"), refusal(400, error="format=text")),
            ("a leaf is not available by default", get(public), refusal(400, error="format=text")),
        ),
        *lines(
            "Data format",
            ("JSON is the default", get(f"{INSTANCE}/compute"), ok_json()),
            ("JSON is available by format=json", get(f"{INSTANCE}/compute", "&format=json"), ok_json()),
            ("text lists elements that have members with a slash", get(INSTANCE, "&format=text"), text(listing)),
            ("text lists the indexes of an array", get(network, "&format=text"), text("0/")),
            (
                "text lists leaves without a slash",
                get(f"{network}/0/ipv4/subnet/0", "&format=text"),
                text("address\nprefix"),
            ),
            ("another format is refused", get(INSTANCE, "&format=xml"), refusal(400)),
            ("all primitives are strings", get(INSTANCE, version="2025-04-07"), ok_json(only_strings())),
            ("missing values are empty strings", get(INSTANCE), ok_json(has("compute.customData", ""))),
            ("missing values are empty as text", get(f"{INSTANCE}/compute/customData", "&format=text"), text("")),
        ),
    ]


def versions() -> list[Behaviour]:
    missing = (
        "Bad request. api-version was not specified in the request. For more information refer to aka.ms/azureimds"
    )
    return [
        *lines(
            "Versioning",
            *(
                (
                    f"{path} requires an api-version",
                    Request(target=path),
                    refusal(400, error=missing, more=(newest_versions(),)),
                )
                for path in ENDPOINTS
            ),
            *(
                (
                    f"{path} refuses an unsupported api-version",
                    get(path, version="2020-09-02"),
                    refusal(400, more=(newest_versions(),)),
                )
                for path in ENDPOINTS
            ),
        ),
        *lines(
            "Supported API versions",
            *((f"{version} is supported", get(INSTANCE, version=version), ok_json()) for version in PAGE_VERSIONS[1:]),
            *(
                (f"{version} is supported (newer than the page)", get(INSTANCE, version=version), ok_json())
                for version in LATER_VERSIONS
            ),
        ),
        *lines(
            "Endpoint categories",
            *(
                (
                    f"{path} exists since {introduced}",
                    get(path, "&resource=r", version=introduced),
                    ok_json(),
                )
                for path, introduced in ENDPOINTS.items()
            ),
            *(
                (
                    f"{path} does not exist before {introduced}",
                    get(path, version=PAGE_VERSIONS[PAGE_VERSIONS.index(introduced) - 1]),
                    refusal(404),
                )
                for path, introduced in ENDPOINTS.items()
            ),
        ),
        *lines(
            "Versions",
            (
                "the supported versions are listed without an api-version",
                Request(target="/metadata/versions"),
                ok_json(equals({"apiVersions": [*PAGE_VERSIONS, *LATER_VERSIONS]})),
            ),
        ),
    ]


def instance() -> list[Behaviour]:
    before = {newer: older for older, newer in pairwise(PAGE_VERSIONS)}
    network, storage = f"{INSTANCE}/network", f"{INSTANCE}/compute/storageProfile"
    department = [{"name": "Department", "value": "IT"}, {"name": "ReferenceNumber", "value": "123456"}]
    return [
        *lines(
            "Get VM metadata, Compute",
            *(
                (
                    f"{name} exists since {version}",
                    get(f"{INSTANCE}/compute", version=version),
                    ok_json(has(name.replace("/", "."))),
                )
                for name, version in COMPUTE.items()
            ),
            *(
                (
                    f"{name} does not exist before {version}",
                    get(f"{INSTANCE}/compute", version=before[version]),
                    ok_json(lacks(name.replace("/", "."))),
                )
                for name, version in COMPUTE.items()
                if version != "2017-04-02"
            ),
        ),
        *lines(
            "Get VM metadata, Storage profile",
            *(
                (
                    f"{part} has {name}",
                    get(f"{storage}/{part}", version="2019-06-01"),
                    ok_json(has(name)),
                )
                for part, names in STORAGE.items()
                for name in names
            ),
        ),
        *lines(
            "Get VM metadata, Network",
            *(
                (
                    f"an interface has {name}",
                    get(f"{network}/interface/0", version="2017-04-02"),
                    ok_json(has(name.replace("/", "."))),
                )
                for name in NETWORK
            ),
        ),
        *lines(
            "Get VM metadata, Sample 3",
            (
                "tags are pairs that semicolons separate",
                get(f"{INSTANCE}/compute/tags", "&format=text", version="2017-08-01"),
                text("Department:IT;ReferenceNumber:123456;TestStatus:Pending"),
            ),
            (
                "tagsList is an array of the same pairs",
                get(f"{INSTANCE}/compute/tagsList", version="2019-06-04"),
                ok_json(equals([*department, {"name": "TestStatus", "value": "Pending"}])),
            ),
        ),
        *(
            line
            for machine, (environment, _) in CLOUDS.items()
            for line in lines(
                "Get VM metadata, Sample 5",
                (
                    f"azEnvironment is {environment}",
                    get(f"{INSTANCE}/compute/azEnvironment", "&format=text", version="2018-10-01"),
                    text(environment),
                ),
                machine=machine,
            )
        ),
        *lines(
            "Get VM metadata",
            (
                "a machine with a Hybrid Benefit has its licenseType",
                get(f"{INSTANCE}/compute/licenseType", "&format=text"),
                text("Windows_Server"),
            ),
            machine="hybrid-benefit",
        ),
        *lines(
            "Get VM metadata",
            (
                "an instance of a scale set has the name of the set",
                get(f"{INSTANCE}/compute/vmScaleSetName", "&format=text"),
                text("scaleset"),
            ),
            (
                "an instance of a scale set has its placement group",
                get(f"{INSTANCE}/compute/placementGroupId", "&format=text"),
                text("f67c14ab-e92c-408c-ae2d-da15866ec79a"),
            ),
            machine="scale-set",
        ),
    ]


def attested() -> list[Behaviour]:
    plan = {"name": "standard", "product": "contoso-appliance", "publisher": "contoso"}
    no_plan = {"name": "", "product": "", "publisher": ""}
    oldest = ("nonce", "plan", "timeStamp", "vmId")
    section = "Get Attested data"
    fields = {
        "2018-10-01": oldest,
        "2019-03-11": oldest,
        "2019-04-30": (*oldest, "subscriptionId"),
        "2019-11-01": (*oldest, "subscriptionId", "sku"),
        "2020-07-15": (*oldest, "subscriptionId", "sku"),
        "2020-09-01": (*oldest, "subscriptionId", "sku", "licenseType"),
        "2025-04-07": (*oldest, "subscriptionId", "sku", "licenseType"),
    }
    nonce = get(DOCUMENT, "&nonce=1234567890")
    return [
        *lines(
            section,
            ("a document is PKCS #7", get(DOCUMENT), document()),
            ("has the nonce that was sent", nonce, document(says(nonce="1234567890"))),
            ("has a timestamp if no nonce was sent", get(DOCUMENT), document(nonce_is_the_expiry())),
            ("is valid for six hours", get(DOCUMENT), document(has_lifetime(timedelta(hours=6)))),
            ("has the vmId", get(DOCUMENT), document(says(vmId="5c08b38e-4d57-4c23-ac45-aca61037f084"))),
            ("has the plan of a Marketplace image", get(DOCUMENT), document(says(plan=plan))),
            *(
                (f"has the fields of {version}", get(DOCUMENT, version=version), document(says_exactly(*names)))
                for version, names in fields.items()
            ),
            ("a nonce of more than 32 characters is refused", get(DOCUMENT, f"&nonce={'1' * 33}"), refusal(400)),
            ("a nonce that is not alphanumeric is refused", get(DOCUMENT, "&nonce=a-b"), refusal(400)),
        ),
        *lines(
            section,
            ("a cached document may have an earlier nonce", nonce, document(says(nonce="1111111111"))),
            before=(get(DOCUMENT, "&nonce=1111111111"),),
            conditions=faulty(FaultKind.CACHED_NONCE, requests=1),
        ),
        *lines(
            section,
            ("has an empty plan for other images", get(DOCUMENT), document(says(plan=no_plan))),
            machine="government",
        ),
        *lines(
            section,
            ("has the licenseType of a Hybrid Benefit", get(DOCUMENT), document(says(licenseType="Windows_Server"))),
            machine="hybrid-benefit",
        ),
        *lines(
            section,
            ("has the licenseType of a Linux Hybrid Benefit", get(DOCUMENT), document(says(licenseType="RHEL_BYOS"))),
            machine="hybrid-benefit-linux",
        ),
        *lines(
            section,
            ("has only nonce and vmId for a classic VM", nonce, document(says_exactly("nonce", "vmId"))),
            machine="classic",
        ),
        *(
            line
            for machine, (environment, domain) in CLOUDS.items()
            for line in lines(
                "Attested data, Sample 1",
                (f"the signer of {environment} has its domain", get(DOCUMENT), document(signer_is_named(domain))),
                machine=machine,
            )
        ),
    ]


def others() -> list[Behaviour]:
    token = get(TOKEN, "&resource=https://vault.azure.net")
    named = ("access_token", "client_id", "expires_in", "expires_on", "ext_expires_in", "not_before")
    rules = ("inboundRules", "outboundRules", "publicIpAddresses")
    return [
        *lines(
            "Managed identity",
            ("a token is issued for a resource", token, ok_json(keys("", (*named, "resource", "token_type")))),
            ("a token requires a resource", get(TOKEN), refusal(400, error="invalid_request")),
            ("the tenant is available", get("/metadata/identity/info"), ok_json(keys("", ("tenantId",)))),
        ),
        *lines(
            "Managed identity",
            ("a machine without an identity gets no token", token, refusal(400, error="invalid_request")),
            machine="government",
        ),
        *lines(
            "Load Balancer Metadata",
            (
                "the load balancer has addresses and rules",
                get("/metadata/loadbalancer", version="2020-10-01"),
                ok_json(keys("loadbalancer", rules)),
            ),
        ),
        *lines(
            "Load Balancer Metadata",
            ("404 without a load balancer", get("/metadata/loadbalancer", version="2020-10-01"), refusal(404)),
            machine="government",
        ),
        *lines(
            "Scheduled events",
            (
                "no event is scheduled",
                get("/metadata/scheduledevents", version="2020-07-01"),
                ok_json(equals({"DocumentIncarnation": 1, "Events": []})),
            ),
        ),
        *lines(
            "Errors and debugging",
            ("404 for an element that does not exist", get(f"{INSTANCE}/compute/unknown"), refusal(404)),
            ("404 for an index past the end of an array", get(f"{INSTANCE}/network/interface/1"), refusal(404)),
            ("404 for an endpoint that does not exist", get("/metadata/unknown"), refusal(404)),
        ),
        *(
            line
            for kind, code, means in (
                (FaultKind.GONE, 410, "retry after some time, for at most 70 seconds"),
                (FaultKind.ERROR, 500, "retry after some time"),
                (FaultKind.RATE_LIMITED, 429, "too many requests"),
            )
            for line in lines(
                "Errors and debugging",
                (f"{code}: {means} (an injected fault)", get(DOCUMENT), refusal(code)),
                conditions=faulty(kind, requests=1),
            )
        ),
        *lines(
            "Errors and debugging",
            ("IMDS answers again after a 410", get(DOCUMENT), document()),
            before=(get(DOCUMENT),),
        ),
    ]


BEHAVIOURS = [*usage(), *routes(), *versions(), *instance(), *attested(), *others()]
