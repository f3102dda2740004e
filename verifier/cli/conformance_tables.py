"""Describe the TOML files of conformance vectors as strict models. vectors/case.schema.json has the same form."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated, Final, Literal, Self, TypeVar

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field, ValidationError, model_validator

from verifier.cli.commands import FIRST_YEAR, LAST_YEAR
from verifier.core.bounds import MAX_NONCE_CHARACTERS, MAX_VM_ID_CHARACTERS
from verifier.core.nonces import NonceMode
from verifier.core.policy import Policies
from verifier.core.reasons import Check, Reason
from verifier.core.tenancy import Tenant
from verifier.core.trust.clouds import SERVED_BY_DEFAULT, Cloud

#: The format of cases that this release reads: `format` in vectors.toml.
FORMAT: Final = 1
#: The tenant that posts.
TENANT: Final = "default"
_MAX_SHOWN: Final = 200


class TableError(ValueError):
    """Report the first fault of a table. The message names the key."""


def _check_year(moment: datetime) -> datetime:
    if not FIRST_YEAR <= moment.year <= LAST_YEAR:
        raise ValueError(f"the year must be between {FIRST_YEAR} and {LAST_YEAR}")
    return moment.astimezone(UTC)


def _check_tenant(name: str) -> str:
    return Tenant(name=name).name


def _check_repetitions(clouds: list[Cloud]) -> list[Cloud]:
    if len(set(clouds)) < len(clouds):
        raise ValueError("a cloud is repeated")
    return clouds


_Moment = Annotated[AwareDatetime, AfterValidator(_check_year)]
_Text = Annotated[str, Field(min_length=1)]
_FileName = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9.-]*$")]
_MediaType = Literal[
    "application/json", "text/plain", "application/pkcs7-mime", "application/cms", "application/octet-stream"
]
# In its strict mode, pydantic takes only members of an enumeration, and not their values.
_Cloud = Annotated[Cloud, Field(strict=False)]


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class IndexTable(_Table):
    """The content of vectors.toml."""

    version: Annotated[str, Field(pattern=r"^[0-9]+\.[0-9]+\.[0-9]+([-+][0-9A-Za-z.+-]+)?$")]
    format: Annotated[int, Field(ge=FORMAT, le=FORMAT)]


class PostTable(_Table):
    body: _FileName
    media_type: _MediaType


class VerifiedTable(_Table):
    verdict: Literal["verified"]
    cloud: _Cloud


class RefusedTable(_Table):
    verdict: Literal["refused"]
    code: Annotated[Reason, Field(strict=False)]
    failing_check: Annotated[Check, Field(strict=False)]
    retryable: bool
    retry_after_seconds: Annotated[int, Field(ge=1)] | None = None

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.retryable is (self.retry_after_seconds is None):
            raise ValueError("retry_after_seconds must be set if retryable is true, and only then")
        return self


class RequestTable(_Table):
    nonce: str | None = None
    policy: str | None = None

    @model_validator(mode="after")
    def _check(self) -> Self:
        if not self.model_fields_set:
            raise ValueError("the table is empty; remove it")
        return self


class NonceTable(_Table):
    value: Annotated[str, Field(min_length=1, max_length=MAX_NONCE_CHARACTERS)]
    issued_at: _Moment
    expires_at: _Moment
    used_at: _Moment | None = None
    vm_id: Annotated[str, Field(min_length=1, max_length=MAX_VM_ID_CHARACTERS)] | None = None
    policy: _Text | None = None
    tenant: Annotated[str, AfterValidator(_check_tenant)] = TENANT

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.expires_at <= self.issued_at:
            raise ValueError("expires_at must be after issued_at")
        if self.used_at is not None and not self.issued_at <= self.used_at <= self.expires_at:
            raise ValueError("used_at must be between issued_at and expires_at")
        return self


class DeniedTable(_Table):
    serial_numbers: list[Annotated[str, Field(pattern="^[0-9a-f]+$")]] = []
    spki_sha256: list[Annotated[str, Field(pattern="^[0-9a-f]{64}$")]] = []

    @model_validator(mode="after")
    def _check(self) -> Self:
        if not self.model_fields_set:
            raise ValueError("the table is empty; remove it")
        return self


class CaseTable(_Table):
    """The content of case.toml. Not checked: the rules of the policies, which the settings check."""

    description: _Text
    at: _Moment
    body: _FileName
    media_type: _MediaType
    expected: Annotated[VerifiedTable | RefusedTable, Field(discriminator="verdict")]
    earlier: Annotated[list[PostTable], Field(min_length=1)] | None = None
    request: RequestTable | None = None
    nonces: list[NonceTable] = []
    nonce_mode: Annotated[NonceMode, Field(strict=False)] = NonceMode.REQUIRED
    policies: dict[str, Annotated[dict[str, object], Field(min_length=1)]] = {}
    tenant_policy: str = Policies.DEFAULT
    clouds: Annotated[list[_Cloud], Field(min_length=1), AfterValidator(_check_repetitions)] = sorted(SERVED_BY_DEFAULT)
    denied: DeniedTable | None = None

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.tenant_policy not in {Policies.DEFAULT, *self.policies}:
            raise ValueError(f"tenant_policy: there is no policy {self.tenant_policy[:_MAX_SHOWN]!r} in the case")
        if len({(nonce.tenant, nonce.value) for nonce in self.nonces}) < len(self.nonces):
            raise ValueError("nonces: it has the same nonce twice")
        return self


_AnyTable = TypeVar("_AnyTable", bound=_Table)


def validate_table(model: type[_AnyTable], fields: Mapping[str, object]) -> _AnyTable:
    """Check the content of a file against its model. Raises TableError."""
    try:
        return model.model_validate(dict(fields))
    except ValidationError as error:
        raise TableError(explain(error)) from error


def explain(error: ValidationError, *within: str) -> str:
    """Name the first wrong key of a table, and its fault. `within` are the keys of the table.

    An unknown key comes first, because it may be a known one with a typing error, which is then missing.
    """
    faults = error.errors(include_url=False, include_input=False)
    first = min(faults, key=lambda fault: fault["type"] != "extra_forbidden")
    place, kind, message = [*within, *first["loc"]], first["type"], first["msg"].removeprefix("Value error, ")
    if kind in {"union_tag_invalid", "union_tag_not_found"}:
        place.append("verdict")
        message = "Input should be 'verified' or 'refused'"
    elif place[:1] == ["expected"]:
        del place[1:2]  # pydantic adds the verdict of the model
    key = ".".join(map(str, place))[:_MAX_SHOWN]
    if kind == "extra_forbidden":
        return f"unknown key {key!r}"
    if kind in {"missing", "union_tag_not_found"}:
        return f"the key {key!r} is missing"
    message = f"{message[:1].lower()}{message[1:]}"
    return f"{key}: {message}" if key else message
