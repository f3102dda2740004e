"""The conformance list: the behaviours of IMDS that Azure's page describes, in its order."""

from datetime import timedelta
from itertools import pairwise

from support.imds_conformance import (
    EVERY_KEY,
    Behaviour,
    Request,
    document,
    equals,
    has,
    has_lifetime,
    header,
    header_like,
    identity_refusal,
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
    stays_open,
    text,
)
from support.imds_identity import identities
from support.imds_lines import DOCUMENT, ENDPOINTS, IDENTITY, INSTANCE, TOKEN, faulty, get, lines
from support.imds_sources import (
    AZURE_SDK,
    CLOUD_INIT,
    DOCUMENTS,
    INFERENCE,
    PAGE_2017,
    PAGE_2021,
    PAGE_2026,
    PAGE_EVENTS,
    PAGE_LOAD_BALANCER,
    RECORDED_ANSWERS,
    RECORDED_EXTENDED,
    RECORDED_INSTANCE,
    RECORDED_NETWORK,
    SWAGGER,
    SWAGGER_NETWORK,
    WAAGENT,
)

from verifier.emulator.faults import FaultKind

#: Azure page: Supported API versions.
PAGE_VERSIONS = (
    *("2017-03-01", "2017-04-02", "2017-08-01", "2017-10-01", "2017-12-01", "2018-02-01", "2018-04-02", "2018-10-01"),
    *("2019-02-01", "2019-03-11", "2019-04-30", "2019-06-01", "2019-06-04", "2019-08-01", "2019-08-15", "2019-11-01"),
    *("2020-06-01", "2020-07-15", "2020-09-01", "2020-10-01", "2020-12-01"),
)
#: Versions that the page of 2026 lists.
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
#: The Swagger and recordings; since 2019-06-01.
STORAGE = {
    "imageReference": ("id", "offer", "publisher", "sku", "version"),
    "osDisk": (
        *("caching", "createOption", "diffDiskSettings", "diskSizeGB", "encryptionSettings", "image", "managedDisk"),
        *("name", "osType", "vhd", "writeAcceleratorEnabled"),
    ),
    "dataDisks/0": (
        *("caching", "createOption", "diskSizeGB", "image", "lun", "managedDisk", "name", "vhd"),
        "writeAcceleratorEnabled",
    ),
}
#: Fields of disks that the page lists, and that only a machine file with a value has.
ABSENT = {"osDisk": ("lun",), "dataDisks/0": ("diffDiskSettings", "encryptionSettings", "osType")}
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
                if path not in IDENTITY
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
            "Security and authentication",
            *(
                (
                    f"{path} requires the header Metadata: true",
                    Request(target=f"{path}?api-version=2020-10-01", headers={}),
                    identity_refusal(400, "invalid_request", "Required metadata header not specified"),
                )
                for path in IDENTITY
            ),
            source=AZURE_SDK,
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
            (
                "the 21st request for managed identity in a second is refused",
                get(TOKEN, "&resource=r"),
                identity_refusal(429, "too_many_requests"),
            ),
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
            "Route parameters",
            *(
                (f"a slash at the end of {path} means the same as none", get(f"{path}/"), ok_json())
                for path in (INSTANCE, f"{INSTANCE}/compute")
            ),
            source=WAAGENT,
        ),
        *lines(
            "Route parameters",
            *(
                (
                    f"a slash at the end of {path} means the same as none",
                    get(f"{path}/", "&resource=r", "2020-10-01"),
                    ok_json(),
                )
                for path in ENDPOINTS
                if path != INSTANCE
            ),
            ("two slashes at the end select no element", get(f"{INSTANCE}/compute//"), refusal(404)),
            source=INFERENCE,
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
        "api-version is invalid or was not specified in the request. For more information refer to aka.ms/azureimds"
    )
    paths = ["/metadata", *(path for path in ENDPOINTS if path not in IDENTITY)]
    return [
        *lines(
            "Versioning",
            *(
                (
                    f"{path} requires an api-version",
                    Request(target=path),
                    refusal(400, error=f"Bad request. {missing}", more=(newest_versions(),)),
                )
                for path in paths
            ),
            *(
                (
                    f"{path} refuses an unsupported api-version",
                    get(path, version="2020-09-02"),
                    refusal(400, error=f"Bad request. {missing}", more=(newest_versions(),)),
                )
                for path in paths
            ),
            source=PAGE_2026,
        ),
        *lines(
            "Versioning",
            *(
                (
                    f"{path} requires an api-version",
                    Request(target=path),
                    (*identity_refusal(400, "invalid_request", missing), newest_versions()),
                )
                for path in IDENTITY
            ),
            *(
                (
                    f"{path} refuses an unsupported api-version",
                    get(path, version="2020-09-02"),
                    (*identity_refusal(400, "invalid_request", missing), newest_versions()),
                )
                for path in IDENTITY
            ),
            ("/metadata has no answer of its own", get("/metadata"), refusal(404)),
            source=INFERENCE,
        ),
        *lines(
            "Supported API versions",
            *((f"{version} is supported", get(INSTANCE, version=version), ok_json()) for version in PAGE_VERSIONS),
        ),
        *lines(
            "Supported API versions",
            *((f"{version} is supported", get(INSTANCE, version=version), ok_json()) for version in LATER_VERSIONS),
            source=PAGE_2026,
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
                if path != INSTANCE
            ),
        ),
        *lines(
            "Endpoint categories",
            *(
                (
                    f"{path} does not exist before {introduced}",
                    get(path, version=PAGE_VERSIONS[PAGE_VERSIONS.index(introduced) - 1]),
                    identity_refusal(404, "not_found") if path in IDENTITY else refusal(404),
                )
                for path, introduced in ENDPOINTS.items()
                if path != INSTANCE
            ),
            source=INFERENCE,
        ),
        *lines(
            "Endpoint categories",
            (
                "/metadata/instance exists since the preview, 2017-03-01, with names of its own",
                get(f"{INSTANCE}/network/interface/0", version="2017-03-01"),
                ok_json(
                    keys("", ("ipv4", "ipv6", "mac")),
                    has("ipv4.ipaddress.0.ipaddress", "10.1.0.4"),
                    has("ipv4.ipaddress.0.publicip", "192.0.2.4"),
                    keys("ipv4.subnet.0", ("address", "dnsservers", "prefix")),
                    has("ipv6.ipaddress", []),
                ),
            ),
            (
                "compute of the preview has the fields of the first version after it",
                get(f"{INSTANCE}/compute", version="2017-03-01"),
                ok_json(keys("", [name for name, version in COMPUTE.items() if version == "2017-04-02"])),
            ),
            (
                "a leaf of the preview is available as text",
                get(f"{INSTANCE}/network/interface/0/ipv4/ipaddress/0/publicip", "&format=text", "2017-03-01"),
                text("192.0.2.4"),
            ),
            source=PAGE_2017,
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
            *(
                (
                    f"{part} has no {name}, unless the machine has it",
                    get(f"{storage}/{part}", version="2025-04-07"),
                    ok_json(lacks(name)),
                )
                for part, names in ABSENT.items()
                for name in names
            ),
            source=SWAGGER,
        ),
        *lines(
            "Get VM metadata, Storage profile",
            *(
                (f"{part} has {name}", get(f"{storage}/{part}", version="2025-04-07"), ok_json(has(name)))
                for part, names in ABSENT.items()
                for name in names
            ),
            source=PAGE_2021,
            machine=EVERY_KEY,
        ),
        *lines(
            "Get VM metadata, Compute",
            (
                "isVmInStandbyPool exists without physicalZone, which only a machine with a value has",
                get(f"{INSTANCE}/compute", version="2023-11-15"),
                ok_json(has("isVmInStandbyPool", ""), lacks("physicalZone")),
            ),
            source=RECORDED_EXTENDED,
        ),
        *lines(
            "Get VM metadata, extended",
            (
                "extended=true adds what provisioning agents read",
                get(INSTANCE, "&extended=true", "2021-03-01"),
                ok_json(has("extended", {"compute": {"hasCustomData": False, "ppsType": "None"}})),
            ),
            source=RECORDED_EXTENDED,
        ),
        *lines(
            "Get VM metadata, extended",
            (
                "extended=true adds no element before 2021-03-01",
                get(INSTANCE, "&extended=true", "2021-02-01"),
                ok_json(keys("", ("compute", "network"))),
            ),
            source=CLOUD_INIT,
        ),
        *lines(
            "Get VM metadata, Network",
            (
                "an interface has ipAddressBlock since 2025-04-07",
                get(f"{network}/interface/0", version="2025-04-07"),
                ok_json(has("ipv4.ipAddressBlock", []), has("ipv6.ipAddressBlock", [])),
            ),
            (
                "an interface has no ipAddressBlock before 2025-04-07",
                get(f"{network}/interface/0", version="2024-07-17"),
                ok_json(lacks("ipv4.ipAddressBlock"), lacks("ipv6.ipAddressBlock")),
            ),
            source=RECORDED_NETWORK,
        ),
        *lines(
            "Get VM metadata, an instance",
            (
                "has the fields and values of a recorded machine",
                get(INSTANCE, version="2021-02-01"),
                ok_json(has("compute.storageProfile.resourceDisk.size"), has("compute.userData")),
            ),
            source=RECORDED_INSTANCE,
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
            ("has the vmId", get(DOCUMENT), document(says(vmId="5c08b38e-4d57-4c23-ac45-aca61037f084"))),
            ("has the plan of a Marketplace image", get(DOCUMENT), document(says(plan=plan))),
            *(
                (f"has the fields of {version}", get(DOCUMENT, version=version), document(says_exactly(*names)))
                for version, names in fields.items()
            ),
        ),
        *lines(
            section,
            ("has a timestamp if no nonce was sent", get(DOCUMENT), document(nonce_is_the_expiry())),
            ("is valid for six hours", get(DOCUMENT), document(has_lifetime(timedelta(hours=6)))),
            source=DOCUMENTS,
        ),
        *lines(
            section,
            ("a nonce of more than 32 characters is refused", get(DOCUMENT, f"&nonce={'1' * 33}"), refusal(400)),
            ("a nonce that is not alphanumeric is refused", get(DOCUMENT, "&nonce=a-b"), refusal(400)),
            source=SWAGGER,
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
    rules = ("inboundRules", "outboundRules", "publicIpAddresses")
    balancer = get("/metadata/loadbalancer", version="2020-10-01")
    return [
        *lines(
            "Load Balancer Metadata",
            ("the load balancer has addresses and rules", balancer, ok_json(keys("loadbalancer", rules))),
            source=PAGE_LOAD_BALANCER,
        ),
        *lines(
            "Load Balancer Metadata",
            (
                "404 without a load balancer",
                balancer,
                refusal(
                    404,
                    error="No load balancer metadata is found. Please check if your VM is using any non-basic SKU load "
                    "balancer and retry later.",
                ),
            ),
            machine="government",
            source=PAGE_LOAD_BALANCER,
        ),
        *lines(
            "Load Balancer Metadata",
            (
                "a machine behind a gateway load balancer has its tunnelInterfaces",
                balancer,
                ok_json(
                    keys("loadbalancer", (*rules, "tunnelInterfaces")),
                    keys("loadbalancer.tunnelInterfaces.0", ("identifier", "port", "protocol", "type")),
                ),
            ),
            machine=EVERY_KEY,
            source=SWAGGER_NETWORK,
        ),
        *lines(
            "Headers",
            *(
                (
                    f"{what} has the headers of IMDS",
                    request,
                    (
                        header("Content-Type", "application/json; charset=utf-8"),
                        header_like("Server", r"IMDS/[0-9]+(\.[0-9]+){3}"),
                        header_like("x-ms-request-id", "[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"),
                        stays_open(),
                    ),
                )
                for what, request in (
                    ("an answer", get(INSTANCE)),
                    ("a refusal", Request(target=INSTANCE)),
                    ("404", get("/metadata/unknown")),
                )
            ),
            source=RECORDED_ANSWERS,
        ),
        *lines(
            "Scheduled events",
            (
                "no event is scheduled",
                get("/metadata/scheduledevents", version="2020-07-01"),
                ok_json(equals({"DocumentIncarnation": 1, "Events": []})),
            ),
            source=PAGE_EVENTS,
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


BEHAVIOURS = [*usage(), *routes(), *versions(), *instance(), *attested(), *identities(), *others()]
