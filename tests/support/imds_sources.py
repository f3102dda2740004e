"""The sources of what the emulator does, each with its kind of evidence."""

from dataclasses import dataclass
from enum import StrEnum


class Kind(StrEnum):
    """How a source knows what IMDS does: the strongest kind first."""

    RECORDING = "recording"
    SWAGGER = "Swagger"
    PAGE = "page"
    CLIENT = "client"
    INFERENCE = "inference"


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A source: its kind, the name that lines of the conformance list have, and what it is."""

    kind: Kind
    name: str
    description: str

    def __str__(self) -> str:
        return f"{self.kind}: {self.name}" if self.name else str(self.kind)


_DOCS = "https://github.com/MicrosoftDocs"
_RECORDINGS = "[recordings](../../tests/data/imds-recordings/README.md)"

PAGE_2021 = Source(
    kind=Kind.PAGE,
    name="",
    description="Azure's page on IMDS of 2021-01-04, `azure-docs`, `includes/virtual-machines-imds.md`",
)
PAGE_2026 = Source(
    kind=Kind.PAGE,
    name="2026",
    description=f"[the same page of 2026]({_DOCS}/azure-compute-docs/blob/main/articles/virtual-machines/"
    "instance-metadata-service.md)",
)
PAGE_2017 = Source(
    kind=Kind.PAGE,
    name="2017",
    description="the page of the preview of 2017-03-27, "
    "`azure-docs`, `articles/virtual-machines/virtual-machines-instancemetadataservice-overview.md`",
)
PAGE_LOAD_BALANCER = Source(
    kind=Kind.PAGE,
    name="load balancer",
    description=f"[common errors]({_DOCS}/azure-docs/blob/main/articles/load-balancer/"
    "troubleshoot-load-balancer-imds.md) and [sample answers]"
    f"({_DOCS}/azure-docs/blob/main/articles/load-balancer/howto-load-balancer-imds.md)",
)
PAGE_TOKENS = Source(
    kind=Kind.PAGE,
    name="tokens",
    description="`azure-docs`, `articles/active-directory/managed-identities-azure-resources/how-to-use-vm-token.md`",
)
PAGE_EVENTS = Source(kind=Kind.PAGE, name="events", description="Azure's page on scheduled events for Linux")
SWAGGER = Source(
    kind=Kind.SWAGGER,
    name="",
    description="[`imds.json` of 2023-07-01](https://github.com/Azure/azure-rest-api-specs/blob/main/specification/imds/"
    "data-plane/InstanceMetadataService/stable/2023-07-01/imds.json), and its example of 2021-02-01",
)
SWAGGER_NETWORK = Source(
    kind=Kind.SWAGGER,
    name="load balancers",
    description="`GatewayLoadBalancerTunnelInterface` of the REST API of Azure's load balancers. No source shows it in "
    "IMDS",
)
DOCUMENTS = Source(
    kind=Kind.RECORDING,
    name="documents",
    description="[attested documents](../../tests/data/samples/README.md) of real machines",
)
RECORDED_INSTANCE = Source(
    kind=Kind.RECORDING, name="instance", description=f"`instance-2021-02-01.json` of the {_RECORDINGS}"
)
RECORDED_EXTENDED = Source(
    kind=Kind.RECORDING, name="extended", description=f"`instance-2023-11-15-extended.json` of the {_RECORDINGS}"
)
RECORDED_NETWORK = Source(
    kind=Kind.RECORDING, name="network", description=f"`network-2025-04-07.json` of the {_RECORDINGS}"
)
RECORDED_ANSWERS = Source(
    kind=Kind.RECORDING, name="answers", description=f"`answers.json` of the {_RECORDINGS}, with headers"
)
CLOUD_INIT = Source(
    kind=Kind.CLIENT,
    name="cloud-init",
    description="`DataSourceAzure.py` requests `extended=true` from 2021-03-01 on and reads `ppsType`",
)
WAAGENT = Source(
    kind=Kind.CLIENT,
    name="WALinuxAgent",
    description="`imds.py` requests `/metadata/instance/?api-version=2018-02-01`, as published labs do",
)
AZURE_SDK = Source(
    kind=Kind.CLIENT,
    name="azure-sdk",
    description="`ManagedIdentityCredentialTests` of azure-sdk-for-net has these refusals of IMDS",
)
REPORTS = Source(
    kind=Kind.RECORDING, name="reports", description="answers of IMDS that users quote in many public reports"
)
INFERENCE = Source(kind=Kind.INFERENCE, name="", description="no source says it: it follows from the others")

SOURCES = (
    *(PAGE_2021, PAGE_2026, PAGE_2017, PAGE_LOAD_BALANCER, PAGE_TOKENS, PAGE_EVENTS, SWAGGER, SWAGGER_NETWORK),
    *(DOCUMENTS, RECORDED_INSTANCE, RECORDED_EXTENDED, RECORDED_NETWORK, RECORDED_ANSWERS),
    *(REPORTS, CLOUD_INIT, WAAGENT, AZURE_SDK, INFERENCE),
)
