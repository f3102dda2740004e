"""Read a directory of conformance vectors, whose format docs/integrate/vectors.md describes."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import field
from datetime import datetime
from pathlib import Path
from typing import Final, TypeVar

from verifier.cli.commands import UsageError
from verifier.cli.conformance_files import read_body, read_toml
from verifier.cli.conformance_tables import (
    FORMAT,
    CaseTable,
    DeniedTable,
    IndexTable,
    NonceTable,
    PostTable,
    RefusedTable,
    TableError,
    VerifiedTable,
    validate_table,
)
from verifier.core.encoding.moments import moment_json
from verifier.core.nonces import NonceMode, NonceRecord
from verifier.core.reasons import Check, Reason
from verifier.core.trust.bundle import Denials
from verifier.core.trust.clouds import Cloud
from verifier.core.values import dataclass
from verifier.ports.stores import NonceKey

_Table = TypeVar("_Table", IndexTable, CaseTable)

#: The subdirectory of the vectors with their trust directory.
TRUST: Final = "trust"
#: The keys of a case that describe the state of the verifier.
_STATE: Final = frozenset({"at", "clouds", "denied", "nonce_mode", "nonces", "policies", "tenant_policy"})
_INDEX: Final = "vectors.toml"
_CASE: Final = "case.toml"


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
    file = directory / _INDEX
    fields = read_toml(file)
    found = fields.get("format")
    if isinstance(found, int) and found != FORMAT:  # a newer format can have other keys
        raise UsageError(f"{file}: format {found!r} is unknown; this release reads {FORMAT}")
    return _validated(file, IndexTable, fields).version


def read_cases(directory: Path) -> list[Case]:
    """Read all cases in the order of their names. Raises UsageError for a file that is not as the format says."""
    files = sorted(directory.glob(f"*/*/{_CASE}"))
    if not files:
        raise UsageError(f"{directory}: no case: a case is CODE/NAME/{_CASE} in this directory")
    for linked in (above for file in files for above in (file.parent, file.parent.parent) if above.is_symlink()):
        raise UsageError(f"{linked}: it is a symbolic link; put a copy of the directory in its place")
    return [read_case(file.parent) for file in files]


def read_case(directory: Path) -> Case:
    """Read the case in this directory. Raises UsageError."""
    return build_case(directory, read_toml(directory / _CASE))


def build_case(directory: Path, fields: Mapping[str, object]) -> Case:
    """Build the case with these fields of case.toml and the files of the directory. Raises UsageError."""
    table = _validated(directory / _CASE, CaseTable, fields)
    return Case(
        name=f"{directory.parent.name}/{directory.name}",
        description=table.description,
        at=table.at,
        post=_post(directory, table),
        earlier=tuple(_post(directory, one) for one in table.earlier or ()),
        expected=_expected(table.expected),
        request={} if table.request is None else table.request.model_dump(exclude_unset=True),
        nonces=tuple(map(_nonce, table.nonces)),
        nonce_mode=table.nonce_mode,
        policies=table.policies,
        tenant_policy=table.tenant_policy,
        clouds=frozenset(table.clouds),
        denials=Denials() if table.denied is None else _denials(table.denied),
        fields=fields,
    )


def _validated(file: Path, model: type[_Table], fields: Mapping[str, object]) -> _Table:
    try:
        return validate_table(model, fields)
    except TableError as error:
        raise UsageError(f"{file}: {error}") from error


def _post(directory: Path, table: PostTable | CaseTable) -> Post:
    return Post(media_type=table.media_type, body=read_body(directory, table.body))


def _expected(table: VerifiedTable | RefusedTable) -> Expected:
    if isinstance(table, VerifiedTable):
        return Expected(cloud=table.cloud)
    return Expected(
        code=table.code,
        failing_check=table.failing_check,
        retryable=table.retryable,
        retry_after_seconds=table.retry_after_seconds,
    )


def _denials(table: DeniedTable) -> Denials:
    return Denials(
        serial_numbers=frozenset(int(number, 16) for number in table.serial_numbers),
        spki_sha256=frozenset(table.spki_sha256),
    )


def _nonce(table: NonceTable) -> KnownNonce:
    return KnownNonce(
        key=NonceKey(tenant=table.tenant, nonce=table.value),
        record=NonceRecord(
            issued_at=table.issued_at,
            expires_at=table.expires_at,
            vm_id=table.vm_id or "",
            policy=table.policy or "",
        ),
        used_at=table.used_at,
    )


def outcomes(failing: Check | None) -> Iterator[tuple[str, str]]:
    """Yield each check with its outcome: those before `failing` pass, and those after it are skipped."""
    outcome = "pass"
    for check in Check:
        yield check.value, "fail" if check is failing else outcome
        outcome = "skipped" if check is failing else outcome
