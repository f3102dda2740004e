"""Define the JSON shapes of decisions and usage, as `answers` does for the other answers."""

from typing import Annotated

from pydantic import Field

# pydantic requires this TypedDict before Python 3.12.
from typing_extensions import TypedDict

from verifier.api.answers import Moment, PolicyDenialJson
from verifier.ports.decisions import Verdict


class KeptPlanJson(TypedDict):
    """The Marketplace plan of the VM. The texts are empty if it is unknown."""

    publisher: str
    product: str
    name: str


class DecisionJson(TypedDict):
    """The record of one appraisal, or of a request that was refused before. A field is empty if it is unknown.

    The document's own claims are there only if the chain check passed: then a cloud's IMDS signed them.
    """

    version: Annotated[int, Field(ge=1, description="The version of this form.")]
    time: Moment
    requestId: str
    clientRequestId: Annotated[str, Field(description="The X-Request-Id that the caller sent.")]
    tenant: str
    key: Annotated[str, Field(description="The kind of the API key, and the start of its SHA-256.")]
    route: str
    verdict: Verdict
    code: str
    detail: str
    failedCheck: Annotated[str, Field(description="The check that refused the document.")]
    vmId: str
    subscriptionId: str
    plan: KeptPlanJson
    sku: str
    licenseType: str
    cloud: str
    signerSerial: str
    issuer: str
    policies: list[str]
    denial: PolicyDenialJson | None
    documentSha256: str
    milliseconds: float
    steps: Annotated[dict[str, float], Field(description="The milliseconds of each check that started.")]


class DecisionPageJson(TypedDict):
    """A page of decisions, newest first. A page can be empty and still have a `cursor`."""

    decisions: list[DecisionJson]
    cursor: Annotated[str | None, Field(description="For the next page. Null on the last page.")]


class UsageGroupJson(TypedDict):
    """The distinct VMs with one value: a plan is `publisher/product/name`, a product `publisher/product`."""

    value: str
    virtualMachines: Annotated[int, Field(ge=0)]


Day = Annotated[str, Field(pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}$", json_schema_extra={"format": "date"})]

#: `from` is a keyword of Python.
UsageJson = TypedDict(
    "UsageJson",
    {
        "tenant": str,
        "from": Day,
        "to": Day,
        "by": str,
        "total": Annotated[int, Field(ge=0, description="The distinct VMs. One with two plans counts once.")],
        "groups": list[UsageGroupJson],
        "exact": Annotated[bool, Field(description="False if the numbers are estimates.")],
        "standardError": Annotated[float, Field(ge=0, description="The relative standard error of an estimate.")],
        "countedSince": Annotated[Day | None, Field(description="The first day with every count.")],
        "isComplete": Annotated[bool, Field(description="Whether every day of the period was counted.")],
    },
)
