"""Define the JSON shape of an inspection. Answers are open, as those of `answers`."""

from typing import Annotated, Literal, NotRequired

from pydantic import Field

# pydantic requires this TypedDict before Python 3.12.
from typing_extensions import TypedDict

from verifier.api.answers import (
    ChainLinkJson,
    CheckResultJson,
    ClaimsJson,
    Moment,
    PolicyDenialJson,
    Sha256,
    SignerJson,
)
from verifier.core.reasons import Reason
from verifier.core.trust.clouds import Cloud


class InspectedSignerJson(SignerJson):
    """The certificate that the document names as its signer."""

    notBefore: Moment  # noqa: N815 - the name in the JSON; ruff does not see that this is a TypedDict


class InspectedNameJson(TypedDict):
    """One name of the signer. `cloud` is the cloud whose domain contains it, or null."""

    kind: Literal["commonName", "dNSName"]
    value: str
    cloud: Cloud | None


class InspectedLinkJson(ChainLinkJson):
    """One certificate authority of the accepted chain."""

    notBefore: Moment  # noqa: N815 - the name in the JSON; ruff does not see that this is a TypedDict


class AuthenticJson(TypedDict):
    """The document passed the chain check: Azure signed these claims. Other checks may have failed."""

    cloud: Cloud
    claims: ClaimsJson
    document: Annotated[
        dict[str, object],
        Field(description="The JSON object that Azure signed. A number with a fraction is the nearest double."),
    ]
    signer: InspectedSignerJson
    names: list[InspectedNameJson]
    chain: Annotated[list[InspectedLinkJson], Field(min_length=1)]
    trustGeneration: str


class EmbeddedCertificateJson(TypedDict):
    """One certificate that the document carries besides its signer's."""

    subject: str
    issuer: str
    sha256: Sha256
    notBefore: Moment
    notAfter: Moment


class UnverifiedJson(TypedDict):
    """The document failed a check up to the chain check: anyone can forge each value in here."""

    cloud: Annotated[Cloud | None, Field(description="The cloud that the signer's names claim, or null.")]
    claims: Annotated[ClaimsJson | None, Field(description="Null if the content is not a JSON object of claims.")]
    content: Annotated[str, Field(description="The content as text. Bytes that are not UTF-8 are escaped.")]
    signer: InspectedSignerJson
    names: list[InspectedNameJson]
    certificates: Annotated[
        list[EmbeddedCertificateJson],
        Field(description="The other embedded certificates in their order, without those that cannot be read."),
    ]


class StructureNodeJson(TypedDict):
    """One element of the document's DER.

    The bytes of the element are those from `offset` to `offset + headerLength + length`.
    """

    offset: Annotated[int, Field(ge=0)]
    headerLength: Annotated[int, Field(ge=0, description="The bytes of tag and length.")]
    length: Annotated[int, Field(ge=0, description="The bytes of the contents that are present.")]
    tag: Annotated[str, Field(description="The ASN.1 type, or the class and number of the tag, such as `[0]`.")]
    name: NotRequired[Annotated[str, Field(description="The field's name in RFC 5652 or RFC 5280.")]]
    value: NotRequired[Annotated[str, Field(description="A short text, or the start of the contents in hex.")]]
    error: NotRequired[Annotated[str, Field(description="Why the bytes at this offset are not DER.")]]
    children: NotRequired[list["StructureNodeJson"]]


class StructureJson(TypedDict):
    """The elements of the document. `truncated` is true if there are more than the answer shows."""

    truncated: bool
    root: StructureNodeJson


class InspectionJson(TypedDict):
    """What an appraisal of the document finds. It is no attestation result: no nonce was redeemed.

    `authentic` is not null if the chain check passed. Otherwise, if the document could be read, `unverified` is.
    """

    verdict: Literal["verified", "refused"]
    code: Annotated[Reason | None, Field(description="Why the document is refused; null if it is not.")]
    detail: Annotated[str, Field(description="The sentence of the failed check; empty if none failed.")]
    evaluatedAt: Moment
    sha256: Annotated[Sha256 | None, Field(description="Of the DER; null if the evidence has none.")]
    checks: list[CheckResultJson]
    policies: Annotated[
        list[str],
        Field(
            min_length=1,
            json_schema_extra={"uniqueItems": True},
            description="The policies that the document must satisfy, the tenant's first.",
        ),
    ]
    denial: NotRequired[Annotated[PolicyDenialJson, Field(description="Present if a policy refused the document.")]]
    authentic: AuthenticJson | None
    unverified: UnverifiedJson | None
    structure: Annotated[StructureJson | None, Field(description="Null if the evidence has no DER.")]
