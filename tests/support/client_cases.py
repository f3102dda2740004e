"""The clients of the matrix: what each asks, what it gets, and how it ends with each fault of the emulator.

`documented` names where the client says so: its page or, for details, its source in the package.
"""

import re
from typing import Final

from support.client_endings import Client, Ending

from verifier.emulator import FaultKind

GONE, ERROR, RATE_LIMITED, CUT, SLOW = (
    FaultKind.GONE,
    FaultKind.ERROR,
    FaultKind.RATE_LIMITED,
    FaultKind.CUT,
    FaultKind.SLOW,
)
_VM_ID: Final = "5c08b38e-4d57-4c23-ac45-aca61037f084"
_SUBSCRIPTION: Final = "8d10da13-8125-4ba9-a717-bf7490507b3d"
_IDENTITY: Final = "a1b2c3d4-e5f6-4708-9a1b-2c3d4e5f6071"
_RESOURCE_ID: Final = (
    f"/subscriptions/{_SUBSCRIPTION}/resourceGroups/examplegroup"
    "/providers/Microsoft.Compute/virtualMachines/examplevmname"
)
_TOKEN: Final = re.compile(r"emulated\.[\w-]{43}")
_ASK_TOKEN: Final = "GET /metadata/identity/oauth2/token?api-version=2018-02-01&resource="  # noqa: S105 - a path
_ASK_COMPUTE: Final = "GET /metadata/instance/compute?api-version="
_ASK_INSTANCE: Final = "GET /metadata/instance?api-version="

_AZURE_IDENTITY: Final = Client(
    package="azure-identity",
    registry="PyPI",
    program="azure_identity.py",
    asks=(f"{_ASK_TOKEN}https://management.azure.com&client_id={_IDENTITY}",),
    gets=Ending("a token", asked=1, got={"token": _TOKEN}),
    documented="`retry_total` of azure-core; `ImdsRetryPolicy` and `CredentialUnavailableError` of azure.identity",
    faults={
        kind: Ending("CredentialUnavailableError", asked=3, error="CredentialUnavailableError", says=says)
        for kind, says in ((GONE, "(service_unavailable) Gone"), (ERROR, "(server_error)"), (RATE_LIMITED, "Too many"))
    }
    | {
        CUT: Ending("ClientAuthenticationError", asked=3, error="ClientAuthenticationError", says="IncompleteRead"),
        SLOW: Ending(
            "CredentialUnavailableError", asked=3, error="CredentialUnavailableError", says="no response", seconds=2
        ),
    },
)

_MSAL: Final = Client(
    package="msal",
    registry="PyPI",
    program="msal_python.py",
    asks=(f"{_ASK_TOKEN}https%3A%2F%2Fmanagement.azure.com",),
    gets=Ending("a token", asked=1, got={"access_token": _TOKEN, "expires_in": 86400, "token_type": "Bearer"}),
    documented="`acquire_token_for_client` of `ManagedIdentityClient`: a dict with `error`, and no retry",
    faults={
        kind: Ending(f"error {code}", asked=1, got={"error": code})
        for kind, code in ((GONE, "service_unavailable"), (ERROR, "server_error"), (RATE_LIMITED, "too_many_requests"))
    }
    | {
        CUT: Ending("ChunkedEncodingError of requests", asked=1, error="ChunkedEncodingError"),
        SLOW: Ending("ReadTimeout of requests", asked=1, error="ReadTimeout", seconds=2),
    },
)


def _detector(package: str, registry: str, program: str, *, platform: str) -> Client:
    is_node = registry == "npm"
    empty = Ending("an empty resource", asked=1, got={})
    return Client(
        package=package,
        registry=registry,
        program=program,
        asks=(f"{_ASK_COMPUTE}2021-12-13&format=json",),
        gets=Ending(
            "a resource",
            asked=1,
            got={
                "azure.vm.scaleset.name": "scaleset",
                "azure.vm.sku": "standard",
                "cloud.platform": platform,
                "cloud.provider": "azure",
                "cloud.region": "westus",
                "cloud.resource_id": _RESOURCE_ID,
                "host.id": _VM_ID,
                "host.name": "examplevmname",
                "host.type": "Standard_D2s_v5",
                "os.version": "1.4.2",
            },
        ),
        documented="`detect`: an empty resource if the detection fails; deadline " + ("1 s" if is_node else "0.2 s"),
        faults={
            **dict.fromkeys((GONE, ERROR, RATE_LIMITED), empty),
            CUT: _NO_END if is_node else empty,
            SLOW: Ending("an empty resource", asked=1, got={}, seconds=2),
        },
        calls=5,
    )


#: The detector and the agent wait for the event `end` of Node's response, which does not come.
_NO_END: Final = Ending("no end", asked=1, error="NoEnd")

_NEW_RELIC: Final = {"location": "westus", "name": "examplevmname", "vmId": _VM_ID, "vmSize": "Standard_D2s_v5"}
_NO_DATA: Final = Ending("no data", asked=1, got=None)
_FAILED: Final = Ending("an error", asked=1, error="Error", says="Request for metadata failed.")

_ELASTIC: Final = {
    "account": {"id": _SUBSCRIPTION},
    "instance": {"id": _VM_ID, "name": "examplevmname"},
    "project": {"name": "examplegroup"},
    "availability_zone": "1",
    "machine": {"type": "Standard_D2s_v5"},
    "provider": "azure",
    "region": "westus",
}
_NO_CLOUD: Final = Ending("no cloud", asked=1, got={})
_NO_VALUES: Final = Ending(
    "azure, without values", asked=1, got={"provider": "azure", "account": {"id": None}, "instance": {"id": None}}
)
_NOT_AZURE: Final = Ending("not Azure", asked=1, got=False)
_NO_METADATA: Final = Ending("no metadata", asked=2, got={})
_IMAGE: Final = {
    "healthy": True,
    "image": "contoso:contoso-appliance:standard:1.4.2",
    "origin": 3,  # a platform image that is not endorsed
    "vm": _VM_ID,
}
_UNAVAILABLE: Final = "CredentialUnavailableError"

#: The slow ones first, because few run side by side.
CLIENTS: Final = (
    Client(
        package="waagent",
        registry="Debian",
        program="waagent_imds.py",
        asks=(f"{_ASK_INSTANCE}2018-02-01", f"{_ASK_COMPUTE}2018-02-01"),
        gets=Ending("healthy, and the image", asked=2, got=_IMAGE),
        documented="`restutil.py`: 6 attempts after 500, 25 after 429, 10 s each; `imds.py`: 410 is a service error",
        faults={
            GONE: Ending("unhealthy: 410", asked=1, got={"healthy": False, "text": re.compile(r".* 410: Gone")}),
            ERROR: Ending("retries, healthy", asked=4, got=_IMAGE, faulty=2),
            RATE_LIMITED: Ending("retries, healthy", asked=4, got=_IMAGE, faulty=2),
            CUT: Ending("IncompleteRead", asked=1, error="IncompleteRead"),
            SLOW: Ending("waits, healthy", asked=2, got=_IMAGE, seconds=1),
        },
    ),
    Client(
        package="cloud-init",
        registry="Debian",
        program="cloud_init_azure.py",
        asks=(f"{_ASK_INSTANCE}2021-08-01&extended=true",),
        gets=Ending(
            "metadata",
            asked=1,
            got={
                "compute": {"vmId": _VM_ID, "osProfile": {"computerName": "examplevmname"}, "userData": "dXNlcg=="},
                "network": {"interface": [{"macAddress": "000D3AF806EC"}]},
                "extended": {"compute": {"hasCustomData": True, "ppsType": "Running"}},
            },
        ),
        documented="`IMDS_RETRY_CODES` and `IMDS_TIMEOUT_IN_SECONDS` of `DataSourceAzure.py`; {} if it fails",
        faults={
            **dict.fromkeys((GONE, ERROR, RATE_LIMITED), _NO_METADATA),
            CUT: Ending("no metadata", asked=1, got={}),
            SLOW: Ending("no metadata", asked=2, got={}, seconds=3),
        },
    ),
    Client(
        package="@azure/identity",
        registry="npm",
        program="azure_identity.mjs",
        asks=(f"{_ASK_TOKEN}https%3A%2F%2Fvault1.vault.azure.net&client_id={_IDENTITY}",),
        gets=Ending("a token", asked=1, got={"token": _TOKEN}),
        documented="`retryOptions`; `imdsRetryPolicy`: 404 and 410 are retried; without Retry-After, 429 is not",
        faults={
            GONE: Ending(_UNAVAILABLE, asked=2, error=_UNAVAILABLE, says="Gone"),
            ERROR: Ending(_UNAVAILABLE, asked=2, error=_UNAVAILABLE, says="server_error"),
            RATE_LIMITED: Ending(_UNAVAILABLE, asked=1, error=_UNAVAILABLE, says="too_many_requests"),
            CUT: Ending(_UNAVAILABLE, asked=1, error=_UNAVAILABLE, says="network_error"),
            SLOW: Ending("waits, a token", asked=1, got={"token": _TOKEN}, seconds=1),
        },
    ),
    Client(
        package="elastic-apm-node",
        registry="npm",
        program="elastic_apm.mjs",
        asks=(f"{_ASK_INSTANCE}2020-09-01",),
        gets=Ending("the cloud", asked=1, got=_ELASTIC),
        documented="`lib/cloud-metadata`: the status is not read; 1 s for a response, 3 s in all",
        faults={
            **dict.fromkeys((GONE, ERROR, RATE_LIMITED), _NO_VALUES),
            CUT: Ending("an error", asked=1, error="Error", says="callback coordination reached timeout"),
            SLOW: Ending("an error", asked=1, error="Error", says="no cloud metadata will be set", seconds=2),
        },
        calls=5,
    ),
    _detector("@opentelemetry/resource-detector-azure", "npm", "otel_detector.mjs", platform="azure.vm"),
    Client(
        package="newrelic",
        registry="npm",
        program="newrelic_utilization.mjs",
        asks=(f"{_ASK_COMPUTE}2017-03-01",),
        gets=Ending("location, name, vmId, vmSize", asked=1, got=_NEW_RELIC),
        documented="`lib/utilization/common.js`: an error for each status but 200; 1 s",
        faults={
            **dict.fromkeys((GONE, ERROR, RATE_LIMITED), _FAILED),
            CUT: _NO_END,
            SLOW: Ending("an error", asked=1, error="Error", says="socket hang up", seconds=2),
        },
        calls=5,
    ),
    _AZURE_IDENTITY,
    _MSAL,
    _detector("opentelemetry-resource-detector-azure", "PyPI", "otel_detector.py", platform="azure_vm"),
    Client(
        package="newrelic",
        registry="PyPI",
        program="newrelic_utilization.py",
        asks=(f"{_ASK_COMPUTE}2017-03-01",),
        gets=Ending("location, name, vmId, vmSize", asked=1, got=_NEW_RELIC),
        documented="`AzureUtilization`: no data if the request fails; `FETCH_TIMEOUT` of 0.4 s",
        faults={
            **dict.fromkeys((GONE, ERROR, RATE_LIMITED, CUT), _NO_DATA),
            SLOW: Ending("no data", asked=1, got=None, seconds=2),
        },
        calls=5,
    ),
    Client(
        package="elastic-apm",
        registry="PyPI",
        program="elastic_apm.py",
        asks=(f"{_ASK_COMPUTE}2019-08-15",),
        gets=Ending("the cloud", asked=1, got=_ELASTIC),
        documented="`azure_metadata`: an empty dict without metadata, after 1 s",
        faults={
            **dict.fromkeys((GONE, ERROR, RATE_LIMITED, CUT), _NO_CLOUD),
            SLOW: Ending("no cloud", asked=1, got={}, seconds=2),
        },
        calls=5,
    ),
    Client(
        package="cloud-detect",
        registry="PyPI",
        program="cloud_detect_provider.py",
        asks=(f"{_ASK_INSTANCE}2017-12-01",),
        gets=Ending("Azure", asked=1, got=True),
        documented="`check_metadata_server`: False for each failure, also for the timeout of the caller",
        faults={
            **dict.fromkeys((GONE, ERROR, RATE_LIMITED, CUT), _NOT_AZURE),
            SLOW: Ending("not Azure", asked=1, got=False, seconds=3),
        },
    ),
)
