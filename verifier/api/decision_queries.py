"""Read the query strings of decisions and usage strictly: unknown, repeated and malformed parameters are refused."""

from datetime import UTC, date, datetime
from typing import Annotated, Literal, Self, TypeVar

from flask import Request
from pydantic import AfterValidator, BeforeValidator, Field

from verifier.api.json_codec import RequestError
from verifier.api.problems import RequestFault, find_code
from verifier.api.request_bodies import InvalidBodyError, RequestBody, validate_fields
from verifier.core.encoding.moments import read_moment
from verifier.core.values import dataclass
from verifier.core.vm_ids import VM_ID_PATTERN, parse_vm_id
from verifier.ports.decisions import KEEP_USAGE, Dimension, Selection, Verdict
from verifier.usecases.decisions import MAX_LIMIT, Cursor

DEFAULT_LIMIT = 50
_FIRST_YEAR, _LAST_YEAR = 2000, 2099
_Query = TypeVar("_Query", bound=RequestBody)


def parse_moment(text: str) -> datetime:
    """Read an RFC 3339 time. Raises ValueError."""
    try:
        moment = read_moment(text)
    except ValueError:
        moment = datetime.min  # noqa: DTZ901 - it is refused
    if moment.utcoffset() is None or not _FIRST_YEAR <= moment.year <= _LAST_YEAR:
        raise ValueError("expected an RFC 3339 time such as 2026-11-30T08:00:00Z; in a URL, write + as %2B")
    return moment.astimezone(UTC)


def parse_day(text: str) -> date:
    """Read a day. Raises ValueError."""
    try:
        day = date.fromisoformat(text)
    except ValueError:
        day = date.min
    if not _FIRST_YEAR <= day.year <= _LAST_YEAR:
        raise ValueError("expected a day such as 2026-11-30")
    return day


def _limit(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) <= len(str(MAX_LIMIT)) and 1 <= int(text) <= MAX_LIMIT):
        raise ValueError(f"expected a number from 1 to {MAX_LIMIT}")
    return int(text)


def parse_code(text: str) -> str:
    """Check that the text is the code of a decision. Raises ValueError."""
    if text != Verdict.VERIFIED:
        try:
            find_code(text[:64])
        except KeyError:
            raise ValueError(
                f"expected {Verdict.VERIFIED}, or the code of a problem (docs/integrate/reasons.md)"
            ) from None
    return text


_Guid = Annotated[str, AfterValidator(parse_vm_id), Field(json_schema_extra={"pattern": VM_ID_PATTERN})]
_Moment = Annotated[datetime, BeforeValidator(parse_moment)]
_Day = Annotated[date, BeforeValidator(parse_day)]
_Limit = Annotated[int, BeforeValidator(_limit), Field(ge=1, le=MAX_LIMIT)]
_Tenant = Annotated[str, Field(max_length=64)]


class DecisionQuery(RequestBody):
    """The query string of GET /v1/decisions."""

    vmId: _Guid | None = Field(default=None, description="Of this VM.")  # noqa: N815 - IMDS's name
    subscriptionId: _Guid | None = Field(default=None, description="Of this subscription.")  # noqa: N815 - as above
    verdict: Literal["verified", "refused", "unavailable"] | None = Field(
        default=None, description="With this verdict."
    )
    code: Annotated[str, AfterValidator(parse_code)] | None = Field(
        default=None, description="With this code: `verified`, or the code of a problem."
    )
    plan: Annotated[str, Field(max_length=128)] | None = Field(
        default=None, description="Of VMs with a plan of this name, in any case."
    )
    since: _Moment | None = Field(default=None, description="Not before this moment.")
    until: _Moment | None = Field(default=None, description="Before this moment.")
    tenant: _Tenant | None = Field(
        default=None,
        description="For admin keys: of this tenant alone. Empty: of requests without a valid key.",
    )
    limit: _Limit = Field(default=DEFAULT_LIMIT, description="At most so many decisions.")
    cursor: Annotated[str, Field(max_length=256)] | None = Field(
        default=None, description="The `cursor` of the page before."
    )

    @property
    def selection(self) -> Selection:
        return Selection(
            vm_id=self.vmId,
            subscription_id=self.subscriptionId,
            verdict=None if self.verdict is None else Verdict(self.verdict),
            code=self.code,
            plan=None if self.plan is None else self.plan.casefold(),
            since=self.since,
            until=self.until,
        )

    @property
    def place(self) -> Cursor | None:
        """Return the cursor. Raises RequestError."""
        try:
            return None if self.cursor is None else Cursor.parse(self.cursor)
        except ValueError as error:
            raise RequestError(RequestFault.MALFORMED_REQUEST, f"Invalid field 'cursor': {error}.") from error


@dataclass(frozen=True, slots=True, kw_only=True)
class Period:
    """The days from `first` to `last`, both included. Raises ValueError if there are none, or too many."""

    first: date
    last: date

    def __post_init__(self) -> None:
        if self.first > self.last:
            raise ValueError("the first day is after the last")
        if self.last - self.first > KEEP_USAGE:
            raise ValueError(f"a period has at most {KEEP_USAGE.days} days: older counts are not kept")

    @classmethod
    def of(cls, first: date | None, last: date | None, *, today: date) -> Self:
        """Return the period up to `last` or today, from `first` or the first day of that month. Raises ValueError."""
        last = last or today
        return cls(first=first or last.replace(day=1), last=last)


class UsageQuery(RequestBody):
    """The query string of GET /v1/usage. Without `from`, it is the first day of the month of `to`."""

    first: _Day | None = Field(default=None, alias="from", description="The first day (UTC).")
    last: _Day | None = Field(default=None, alias="to", description="The last day (UTC), included. Without it: today.")
    by: Literal["plan", "product", "sku", "cloud"] = Field(default="plan", description="What the VMs are grouped by.")
    tenant: _Tenant | None = Field(default=None, description="The tenant. Admin keys must name one.")

    def period(self, *, today: date) -> Period:
        """Return the days. Raises RequestError."""
        try:
            return Period.of(self.first, self.last, today=today)
        except ValueError as error:
            raise RequestError(RequestFault.MALFORMED_REQUEST, f"Invalid period: {error}.") from error

    @property
    def dimension(self) -> Dimension:
        return Dimension(self.by)


def read_query(model: type[_Query], asked: Request) -> _Query:
    """Read the query string of the request. Raises RequestError."""
    if not asked.query_string.isascii():
        # RFC 3986 section 3.4. The parser of the library fails at bytes that are not UTF-8.
        raise RequestError(
            RequestFault.MALFORMED_REQUEST, "The query string has bytes that are not ASCII. Percent-encode them."
        )
    parameters = asked.args.to_dict(flat=False)
    repeated = [name for name, values in parameters.items() if len(values) > 1]
    if repeated:
        raise RequestError(RequestFault.MALFORMED_REQUEST, "The query string names a parameter twice.")
    try:
        return validate_fields(model, {name: value for name, [value] in parameters.items()})
    except InvalidBodyError as error:
        raise RequestError(RequestFault.MALFORMED_REQUEST, str(error)) from error
