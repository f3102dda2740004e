"""The behaviours of IMDS that Azure's page tells, in its order: the conformance list."""

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
    header,
    keys,
    lacks,
    lives,
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
#: Of which the page does not tell.
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
#: Azure page: Get VM metadata, Storage profile: 2019-06-01 brought it.
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


def of(
    section: str,
    *lines: tuple[str, Request, tuple[Expectation, ...]],
    before: tuple[Request, ...] = (),
    conditions: Conditions | None = None,
    machine: str = PUBLIC,
) -> list[Behaviour]:
    return [
        Behaviour(
            section=section,
            says=told,
            request=request,
            expected=expected,
            before=before,
            conditions=conditions,
            machine=machine,
        )
        for told, request, expected in lines
    ]


def usage() -> list[Behaviour]:
    forwarded = {"Metadata": "true", "X-Forwarded-For": "10.0.0.1"}
    twice = get(INSTANCE, "&api-version=2020-09-01")
    return [
        *of(
            "Usage",
            ("all metadata of an instance", get(INSTANCE), ok_json(keys("", ("compute", "network")))),
        ),
        *of(
            "Usage",
            ("a classic VM has the network portion", get(INSTANCE), ok_json(keys("", ("network",)))),
            ("a classic VM has no compute portion", get(f"{INSTANCE}/compute"), refusal(404)),
            machine="classic",
        ),
        *of(
            "Security and authentication",
            *(
                (
                    f"{path} must get the header Metadata: true",
                    Request(target=f"{path}?api-version=2020-10-01", headers={}),
                    refusal(400, error="Required metadata header not specified"),
                )
                for path in (*ENDPOINTS, "/metadata/versions")
            ),
            ("another value of the header is not it", get(INSTANCE, Metadata="false"), refusal(400)),
            ("the header's value is read without regard to case", get(INSTANCE, Metadata="True"), ok_json()),
            ("X-Forwarded-For is refused", get(INSTANCE, **forwarded), refusal(400, error="X-Forwarded-For")),
            (
                "it is refused for documents too",
                get(DOCUMENT, **forwarded),
                refusal(400, error="X-Forwarded-For"),
            ),
        ),
        *of(
            "Rate limiting",
            ("the sixth request in a second is refused", get(INSTANCE), refusal(429)),
            before=(get(INSTANCE),) * 5,
        ),
        *of(
            "Rate limiting",
            ("the fifth is not", get(INSTANCE), ok_json()),
            before=(get(INSTANCE),) * 4,
        ),
        *of(
            "Rate limiting",
            ("managed identity has 20 a second", get(TOKEN, "&resource=r"), ok_json()),
            before=(get(TOKEN, "&resource=r"),) * 19,
        ),
        *of(
            "Rate limiting",
            ("and no more", get(TOKEN, "&resource=r"), refusal(429)),
            before=(get(TOKEN, "&resource=r"),) * 20,
        ),
        *of(
            "HTTP verbs",
            *(
                (
                    f"{method} is not GET, of {path}",
                    Request(target=f"{path}?api-version=2020-10-01", method=method),
                    refusal(405, more=(header("Allow", "GET"),)),
                )
                for method in ("POST", "PUT", "PATCH", "DELETE", "OPTIONS")
                for path in (DOCUMENT, INSTANCE)
            ),
        ),
        *of(
            "HTTP verbs",
            *(
                (
                    f"HEAD is not GET, of {path}",
                    Request(target=f"{path}?api-version=2020-10-01", method="HEAD"),
                    (status(405), header("Allow", "GET")),
                )
                for path in (DOCUMENT, INSTANCE)
            ),
        ),
        *of("Query parameters", ("duplicate names are refused", twice, refusal(400, error="Duplicate"))),
    ]


def routes() -> list[Behaviour]:
    network = f"{INSTANCE}/network/interface"
    public = f"{network}/0/ipv4/ipAddress/0/publicIpAddress"
    listing = "compute/\nnetwork/"
    return [
        *of(
            "Route parameters",
            ("a key filters to its value", get(f"{INSTANCE}/compute"), ok_json(has("vmId"), lacks("compute"))),
            ("an index filters to an element", get(f"{network}/0"), ok_json(keys("", ("ipv4", "ipv6", "macAddress")))),
            ("a leaf is had as text", get(public, "&format=text"), text("192.0.2.4")),
            ("a leaf is not had as JSON", get(public, "&format=json"), refusal(400, error="format=text")),
            ("a leaf is not had by default, which is JSON", get(public), refusal(400, error="format=text")),
        ),
        *of(
            "Data format",
            ("JSON by default", get(f"{INSTANCE}/compute"), ok_json()),
            ("JSON where it is asked for", get(f"{INSTANCE}/compute", "&format=json"), ok_json()),
            ("text lists what has more in it with a slash", get(INSTANCE, "&format=text"), text(listing)),
            ("text lists indexes of an array", get(network, "&format=text"), text("0/")),
            (
                "text lists leaves without one",
                get(f"{network}/0/ipv4/subnet/0", "&format=text"),
                text("address\nprefix"),
            ),
            ("another format is refused", get(INSTANCE, "&format=xml"), refusal(400)),
            ("all primitives are strings", get(INSTANCE, version="2025-04-07"), ok_json(only_strings())),
            ("missing values are empty strings", get(INSTANCE), ok_json(has("compute.customData", ""))),
            ("and had as text, are empty", get(f"{INSTANCE}/compute/customData", "&format=text"), text("")),
        ),
    ]


def versions() -> list[Behaviour]:
    missing = (
        "Bad request. api-version was not specified in the request. For more information refer to aka.ms/azureimds"
    )
    return [
        *of(
            "Versioning",
            *(
                (
                    f"{path} needs an api-version",
                    Request(target=path),
                    refusal(400, error=missing, more=(newest_versions(),)),
                )
                for path in ENDPOINTS
            ),
            *(
                (
                    f"{path} refuses one that is not supported",
                    get(path, version="2020-09-02"),
                    refusal(400, more=(newest_versions(),)),
                )
                for path in ENDPOINTS
            ),
        ),
        *of(
            "Supported API versions",
            *((f"{version} is supported", get(INSTANCE, version=version), ok_json()) for version in PAGE_VERSIONS[1:]),
            *(
                (f"{version}, which came later, is", get(INSTANCE, version=version), ok_json())
                for version in LATER_VERSIONS
            ),
        ),
        *of(
            "Endpoint categories",
            *(
                (
                    f"{path} came with {introduced}",
                    get(path, "&resource=r", version=introduced),
                    ok_json(),
                )
                for path, introduced in ENDPOINTS.items()
            ),
            *(
                (
                    f"{path} was not there before it",
                    get(path, version=PAGE_VERSIONS[PAGE_VERSIONS.index(introduced) - 1]),
                    refusal(404),
                )
                for path, introduced in ENDPOINTS.items()
            ),
        ),
        *of(
            "Versions",
            (
                "the set of supported versions, without an api-version",
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
        *of(
            "Get VM metadata, Compute",
            *(
                (
                    f"{name} came with {version}",
                    get(f"{INSTANCE}/compute", version=version),
                    ok_json(has(name.replace("/", "."))),
                )
                for name, version in COMPUTE.items()
            ),
            *(
                (
                    f"{name} was not there before",
                    get(f"{INSTANCE}/compute", version=before[version]),
                    ok_json(lacks(name.replace("/", "."))),
                )
                for name, version in COMPUTE.items()
                if version != "2017-04-02"
            ),
        ),
        *of(
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
        *of(
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
        *of(
            "Get VM metadata, Sample 3",
            (
                "tags are pairs by semicolons",
                get(f"{INSTANCE}/compute/tags", "&format=text", version="2017-08-01"),
                text("Department:IT;ReferenceNumber:123456;TestStatus:Pending"),
            ),
            (
                "tagsList is an array of them",
                get(f"{INSTANCE}/compute/tagsList", version="2019-06-04"),
                ok_json(equals([*department, {"name": "TestStatus", "value": "Pending"}])),
            ),
        ),
        *(
            line
            for machine, (environment, _) in CLOUDS.items()
            for line in of(
                "Get VM metadata, Sample 5",
                (
                    f"azEnvironment of {environment}",
                    get(f"{INSTANCE}/compute/azEnvironment", "&format=text", version="2018-10-01"),
                    text(environment),
                ),
                machine=machine,
            )
        ),
        *of(
            "Get VM metadata",
            (
                "a machine with a Hybrid Benefit has its licenseType",
                get(f"{INSTANCE}/compute/licenseType", "&format=text"),
                text("Windows_Server"),
            ),
            machine="hybrid-benefit",
        ),
        *of(
            "Get VM metadata",
            (
                "an instance of a scale set has its name",
                get(f"{INSTANCE}/compute/vmScaleSetName", "&format=text"),
                text("scaleset"),
            ),
            (
                "and its placement group",
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
        *of(
            section,
            ("a document in PKCS #7", get(DOCUMENT), document()),
            ("with the nonce that was sent", nonce, document(says(nonce="1234567890"))),
            ("without one, with a timestamp", get(DOCUMENT), document(nonce_is_the_expiry())),
            ("for six hours", get(DOCUMENT), document(lives(timedelta(hours=6)))),
            ("with the vmId", get(DOCUMENT), document(says(vmId="5c08b38e-4d57-4c23-ac45-aca61037f084"))),
            ("with the plan of a Marketplace image", get(DOCUMENT), document(says(plan=plan))),
            *(
                (f"with the fields of {version}", get(DOCUMENT, version=version), document(says_exactly(*names)))
                for version, names in fields.items()
            ),
            ("a nonce of more than 32 characters is refused", get(DOCUMENT, f"&nonce={'1' * 33}"), refusal(400)),
            ("and one that is not alphanumeric", get(DOCUMENT, "&nonce=a-b"), refusal(400)),
        ),
        *of(
            section,
            ("a nonce that was cached may come back", nonce, document(says(nonce="1111111111"))),
            before=(get(DOCUMENT, "&nonce=1111111111"),),
            conditions=faulty(FaultKind.CACHED_NONCE, requests=1),
        ),
        *of(
            section,
            ("the plan of another image is empty", get(DOCUMENT), document(says(plan=no_plan))),
            machine="government",
        ),
        *of(
            section,
            ("the licenseType of a Hybrid Benefit", get(DOCUMENT), document(says(licenseType="Windows_Server"))),
            machine="hybrid-benefit",
        ),
        *of(
            section,
            ("of a classic VM the vmId alone is sure", nonce, document(says_exactly("nonce", "vmId"))),
            machine="classic",
        ),
        *(
            line
            for machine, (environment, domain) in CLOUDS.items()
            for line in of(
                "Attested data, Sample 1",
                (f"the certificate of {environment}", get(DOCUMENT), document(signer_is_named(domain))),
                machine=machine,
            )
        ),
    ]


def others() -> list[Behaviour]:
    token = get(TOKEN, "&resource=https://vault.azure.net")
    named = ("access_token", "client_id", "expires_in", "expires_on", "ext_expires_in", "not_before")
    rules = ("inboundRules", "outboundRules", "publicIpAddresses")
    return [
        *of(
            "Managed identity",
            ("a token for a resource", token, ok_json(keys("", (*named, "resource", "token_type")))),
            ("needs a resource", get(TOKEN), refusal(400, error="invalid_request")),
            ("the tenant", get("/metadata/identity/info"), ok_json(keys("", ("tenantId",)))),
        ),
        *of(
            "Managed identity",
            ("a machine without one gets no token", token, refusal(400, error="invalid_request")),
            machine="government",
        ),
        *of(
            "Load Balancer Metadata",
            (
                "addresses and rules",
                get("/metadata/loadbalancer", version="2020-10-01"),
                ok_json(keys("loadbalancer", rules)),
            ),
        ),
        *of(
            "Load Balancer Metadata",
            ("a machine behind none has none", get("/metadata/loadbalancer", version="2020-10-01"), refusal(404)),
            machine="government",
        ),
        *of(
            "Scheduled events",
            (
                "none is scheduled",
                get("/metadata/scheduledevents", version="2020-07-01"),
                ok_json(equals({"DocumentIncarnation": 1, "Events": []})),
            ),
        ),
        *of(
            "Errors and debugging",
            ("404: the element does not exist", get(f"{INSTANCE}/compute/nothing"), refusal(404)),
            ("404: the array ends before it", get(f"{INSTANCE}/network/interface/1"), refusal(404)),
            ("404: no such endpoint", get("/metadata/nothing"), refusal(404)),
        ),
        *(
            line
            for kind, code, means in (
                (FaultKind.GONE, 410, "retry after some time, for at most 70 seconds"),
                (FaultKind.ERROR, 500, "retry after some time"),
                (FaultKind.RATE_LIMITED, 429, "too many requests"),
            )
            for line in of(
                "Errors and debugging",
                (f"{code}: {means} (a fault that was asked for)", get(DOCUMENT), refusal(code)),
                conditions=faulty(kind, requests=1),
            )
        ),
        *of(
            "Errors and debugging",
            ("after a 410 it answers again", get(DOCUMENT), document()),
            before=(get(DOCUMENT),),
        ),
    ]


BEHAVIOURS = [*usage(), *routes(), *versions(), *instance(), *attested(), *others()]
