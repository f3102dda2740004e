"""Read a directory of conformance vectors, whose format docs/integrate/vectors.md describes."""

import json
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import field
from datetime import datetime
from pathlib import Path
from typing import Final, TypeVar, cast

from verifier.cli.commands import UsageError, read_bounded
from verifier.core.encoding.moments import moment_json
from verifier.core.nonces import NonceMode, NonceRecord
from verifier.core.policy import Policies
from verifier.core.reasons import Check, Reason
from verifier.core.trust.bundle import Denials
from verifier.core.trust.clouds import SERVED_BY_DEFAULT, Cloud
from verifier.core.values import dataclass
from verifier.ports.stores import NonceKey

_Value = TypeVar("_Value")

#: The format of cases that this release reads: `format` in vectors.toml.
FORMAT: Final = 1
#: The subdirectory of the vectors with their trust directory.
TRUST: Final = "trust"
#: The tenant that posts.
TENANT: Final = "default"
#: The keys of a case that describe the state of the verifier.
_STATE: Final = frozenset({"at", "clouds", "denied", "nonce_mode", "nonces", "policies", "tenant_policy"})
_INDEX: Final = "vectors.toml"
_CASE: Final = "case.toml"
#: No file of a case is larger. A body must be larger than the bound of the service to be refused for its size.
_MAX_FILE_BYTES: Final = 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Post:
    """One request: its body and its Content-Type."""

    media_type: str
    body: bytes = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownNonce:
    """One nonce that the store has before the post. `used_at` is None if it is unused."""

    key: NonceKey
    record: NonceRecord
    used_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """The expected answer. An accepted document has a `cloud`, and a refused one has the other fields."""

    cloud: Cloud | None = None
    code: Reason | None = None
    failing_check: Check | None = None
    retryable: bool = False
    retry_after_seconds: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One vector: the post, the state of the verifier before it, and the expected answer.

    The verifier must accept the `earlier` posts. `fields` is the content of case.toml.
    """

    name: str
    description: str
    #: The time of the verifier's clock at all posts.
    at: datetime
    post: Post
    expected: Expected
    earlier: tuple[Post, ...] = ()
    request: Mapping[str, str]
    nonces: tuple[KnownNonce, ...]
    nonce_mode: NonceMode
    policies: Mapping[str, object]
    tenant_policy: str
    clouds: frozenset[Cloud]
    denials: Denials
    fields: Mapping[str, object] = field(repr=False)

    @property
    def needs_state(self) -> bool:
        """Whether the answer depends on the clock, the nonces, the trust or the policies of the verifier.

        It does not if one of the first four checks refuses the document.
        """
        return self.expected.failing_check not in (Check.FORMAT, Check.SIGNATURE, Check.SIGNER_NAME, Check.CLAIMS)

    def state_json(self) -> str:
        """Return the state that the verifier must have before the posts, as JSON with times of RFC 3339."""
        state = {name: value for name, value in self.fields.items() if name in _STATE}
        return json.dumps({"case": self.name, **state}, default=moment_json)


def read_version(directory: Path) -> str:
    """Return the version of the vectors. Raises UsageError if the directory has none, or a newer format."""
    index = _table(directory / _INDEX)
    if index.get("format") != FORMAT:
        raise UsageError(
            f"{directory / _INDEX}: format {index.get('format')!r} is unknown; this release reads {FORMAT}"
        )
    return str(index.get("version"))


def read_cases(directory: Path) -> list[Case]:
    """Read all cases in the order of their names. Raises UsageError for a file that is not as the format says."""
    files = sorted(directory.glob(f"*/*/{_CASE}"))
    if not files:
        raise UsageError(f"{directory}: no case: a case is CODE/NAME/{_CASE} in this directory")
    return [read_case(file.parent) for file in files]


def read_case(directory: Path) -> Case:
    """Read the case in this directory. Raises UsageError."""
    file = directory / _CASE
    fields = _table(file)
    try:
        return build_case(directory, fields)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise UsageError(f"{file}: {type(error).__name__}: {error}") from error


def build_case(directory: Path, fields: Mapping[str, object]) -> Case:
    """Build the case with these fields of case.toml and the files of the directory.

    Raises KeyError, TypeError, ValueError and AttributeError for fields of another form, and UsageError for files.
    """
    left = dict(fields)
    denied = dict(_taken(left, "denied", dict[str, list[str]]()))
    case = Case(
        name=f"{directory.parent.name}/{directory.name}",
        description=str(left.pop("description")),
        at=_moment(left.pop("at")),
        post=_post(directory, {"body": left.pop("body"), "media_type": left.pop("media_type")}),
        earlier=tuple(_post(directory, one) for one in _taken(left, "earlier", list[dict[str, object]]())),
        expected=_expected(dict(cast("dict[str, object]", left.pop("expected")))),
        request=_taken(left, "request", dict[str, str]()),
        nonces=tuple(_nonce(one) for one in _taken(left, "nonces", list[dict[str, object]]())),
        nonce_mode=NonceMode(_taken(left, "nonce_mode", NonceMode.REQUIRED.value)),
        policies=_taken(left, "policies", dict[str, object]()),
        tenant_policy=_taken(left, "tenant_policy", Policies.DEFAULT),
        clouds=frozenset(map(Cloud, _taken(left, "clouds", sorted(SERVED_BY_DEFAULT)))),
        denials=Denials(
            serial_numbers=frozenset(int(number, 16) for number in denied.pop("serial_numbers", [])),
            spki_sha256=frozenset(denied.pop("spki_sha256", [])),
        ),
        fields=fields,
    )
    if left or denied:
        raise ValueError(f"unknown keys {', '.join(sorted({*left, *denied}))}")
    return case


def _post(directory: Path, fields: Mapping[str, object]) -> Post:
    return Post(media_type=str(fields["media_type"]), body=_content(directory / str(fields["body"])))


def _expected(fields: dict[str, object]) -> Expected:
    if fields.pop("verdict") == "verified":
        return Expected(cloud=Cloud(str(fields["cloud"])))
    return Expected(
        code=Reason(str(fields.pop("code"))),
        failing_check=Check(str(fields.pop("failing_check"))),
        **fields,  # type: ignore[arg-type] # the class checks the names
    )


def _nonce(fields: Mapping[str, object]) -> KnownNonce:
    left = dict(fields)
    key = NonceKey(tenant=_taken(left, "tenant", TENANT), nonce=str(left.pop("value")))
    used_at = cast("datetime | None", left.pop("used_at", None))
    return KnownNonce(key=key, record=NonceRecord(**left), used_at=used_at)  # type: ignore[arg-type] # as above


def _taken(fields: dict[str, object], name: str, default: _Value) -> _Value:
    """Remove a field and return it, or return the default."""
    value = fields.pop(name, default)
    if not isinstance(value, type(default)):
        raise TypeError(f"{name} has another type than {type(default).__name__}")
    return value


def _moment(value: object) -> datetime:
    if not isinstance(value, datetime) or value.utcoffset() is None:
        raise TypeError("at is not a time with a time zone")
    return value


def _table(file: Path) -> dict[str, object]:
    try:
        return tomllib.loads(_content(file).decode("utf-8"))
    except ValueError as error:
        raise UsageError(f"{file}: {error}") from error


def _content(file: Path) -> bytes:
    try:
        content = read_bounded(str(file), limit=_MAX_FILE_BYTES)
    except OSError as error:
        raise UsageError(f"{file}: {error.strerror}") from error
    if len(content) > _MAX_FILE_BYTES:
        raise UsageError(f"{file}: larger than {_MAX_FILE_BYTES} bytes")
    return content


def outcomes(failing: Check | None) -> Iterator[tuple[str, str]]:
    """Yield each check with its outcome: those before `failing` pass, and those after it are skipped."""
    outcome = "pass"
    for check in Check:
        yield check.value, "fail" if check is failing else outcome
        outcome = "skipped" if check is failing else outcome
