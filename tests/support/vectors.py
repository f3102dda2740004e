"""The vectors under tests/vectors, read; its README.md describes the format."""

import tomllib
from dataclasses import dataclass, field
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import cast

from verifier.adapters.settings.policies import PolicyTable
from verifier.adapters.trust.files import load_bundle
from verifier.core import evidence
from verifier.core.encoding import strict_json
from verifier.core.model import Limits, RawDocument
from verifier.core.nonces import NonceRecord
from verifier.core.policy import Policies
from verifier.core.reasons import Check, Reason
from verifier.core.trust.bundle import TrustBundle
from verifier.ports.stores import NonceKey, NonceStore

VECTORS = Path(__file__).parents[1] / "vectors"
TRUST = VECTORS / "trust"
VERIFIED = "verified"


@dataclass(frozen=True, slots=True, kw_only=True)
class IssuedNonce:
    """One nonce that the service knows before the post."""

    key: NonceKey
    record: NonceRecord
    used_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Vector:
    """One vector: what is posted, when, to which state, and what has to come of it."""

    directory: Path
    description: str
    at: datetime
    media_type: str
    body: bytes = field(repr=False)
    expected: dict[str, object]
    request: dict[str, str]
    nonces: tuple[IssuedNonce, ...]
    policies: Policies
    tenant_policy: str

    def __str__(self) -> str:
        return f"{self.directory.parent.name}/{self.directory.name}"

    @property
    def reason(self) -> Reason | None:
        return Reason(str(self.expected["code"])) if "code" in self.expected else None

    @property
    def check(self) -> Check | None:
        return Check(str(self.expected["failing_check"])) if "failing_check" in self.expected else None

    def document(self) -> RawDocument:
        """What the library makes of the body. Raises FormatRefused."""
        evidence.check_size(self.body)
        if self.media_type == "text/plain":
            return evidence.from_text(self.body)
        if self.media_type != "application/json":
            return evidence.from_der(self.body)
        if not self.request:
            return evidence.from_imds_answer(self.body)
        fields = strict_json.decode(self.body)
        return evidence.from_fields(encoding=fields["encoding"], signature=fields["signature"])

    def prepare(self, store: NonceStore) -> None:
        """`store` is in the state that the vector asks for."""
        for nonce in self.nonces:
            issued_at = nonce.record.issued_at
            limits = Limits(nonce_lifetime=nonce.record.expires_at - issued_at)
            if not store.issue(nonce.key, nonce.record, keep=limits.unused_nonce_memory, now=issued_at):
                raise AssertionError(f"{self}: a nonce that is there twice")
            if nonce.used_at is not None:
                store.redeem(nonce.key, keep=limits.used_nonce_memory, now=nonce.used_at)


@cache
def load_vectors() -> tuple[Vector, ...]:
    return tuple(_read(file.parent) for file in sorted(VECTORS.glob("*/*/case.toml")))


@cache
def vectors_trust() -> TrustBundle:
    return load_bundle(TRUST)


def find_vector(name: str) -> Vector:
    """The vector of this name, e.g. `verified/json`."""
    return _read(VECTORS / name)


def _read(directory: Path) -> Vector:
    case = tomllib.loads((directory / "case.toml").read_text(encoding="utf-8"))
    policies = cast("dict[str, object]", case.pop("policies", {}))
    vector = Vector(
        directory=directory,
        description=case.pop("description"),
        at=case.pop("at"),
        media_type=case.pop("media_type"),
        body=(directory / case.pop("body")).read_bytes(),
        expected=case.pop("expected"),
        request=case.pop("request", {}),
        nonces=tuple(_nonce(fields) for fields in case.pop("nonces", [])),
        tenant_policy=case.pop("tenant_policy", Policies.DEFAULT),
        policies=Policies({name: PolicyTable.model_validate(table).rule() for name, table in policies.items()}),
    )
    if case:
        raise ValueError(f"{vector}: unknown keys {sorted(case)}")
    return vector


def _nonce(fields: dict[str, object]) -> IssuedNonce:
    values = dict(fields)
    key = NonceKey(tenant=str(values.pop("tenant", "default")), nonce=str(values.pop("value")))
    used_at = cast("datetime | None", values.pop("used_at", None))
    return IssuedNonce(key=key, record=NonceRecord(**values), used_at=used_at)  # type: ignore[arg-type] # it checks names
