"""Use a trust registry in a process that may be one of several (`support.forking`)."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

from verifier.adapters.redis.link import RedisLink
from verifier.adapters.redis.trust_registry import RedisTrustRegistry
from verifier.adapters.sqlite.trust_registry import SqliteTrustRegistry
from verifier.core.discovery import IssuerObservation
from verifier.core.nonconforming import NonconformingDocument
from verifier.core.trust.bundle import AuthorityIdentity
from verifier.core.trust.clouds import Cloud
from verifier.core.trust.operator_decisions import Reject, decide
from verifier.ports.trust import TrustAuditEvent, TrustRegistry

NOW = datetime(2026, 11, 23, 8, 0, tzinfo=UTC)


def reject(registry: TrustRegistry, sha256: str) -> None:
    """Reject the CA that has this key, however often others decide in between."""
    event = TrustAuditEvent(at=NOW, by="test", what="reject", subject=sha256, before="", after="rejected")
    while True:
        decisions, revision = registry.decisions()
        authority = AuthorityIdentity(subject_der=b"", spki_sha256=sha256, subject="")
        if registry.decide(decide(decisions, Reject(authority=authority)), event, expected=revision):
            return


def record(registry: TrustRegistry, issuer: str) -> bool:
    observation = IssuerObservation(
        cloud=Cloud.PUBLIC,
        issuer=issuer,
        authority_key_identifier="",
        issuer_urls=(),
        signer_sha256="",
        seen_at=NOW,
    )
    return registry.record(observation, [])


def record_nonconforming(registry: TrustRegistry, pin_sha256: str) -> bool:
    document = NonconformingDocument(
        issuer="",
        pin_sha256=pin_sha256,
        clouds=frozenset(),
        signer_sha256="",
        document_sha256="",
        detail="",
        seen_at=NOW,
    )
    return registry.record_nonconforming(document)


def _act(registry: TrustRegistry, action: str, name: str, times: int) -> str:
    match action:
        case "claim":
            return str(registry.claim(name, lasting=timedelta(hours=1)))
        case "decide":
            for index in range(times):
                reject(registry, f"{name}-{index}")
            return "decided"
        case "record":
            return str(sum(record(registry, name) for _ in range(times)))
        case "record-nonconforming":
            return str(sum(record_nonconforming(registry, name) for _ in range(times)))
    raise ValueError(action)


def register(
    meet: Callable[[], None], kind: str, place: str, prefix: str, action: str, name: str, times: str = "1"
) -> str:
    """Return the outcome of `action`: "claim", "decide" or "record". `kind` is "sqlite" or "redis"."""
    registry: TrustRegistry
    if kind == "sqlite":
        registry = SqliteTrustRegistry(Path(place))
    else:
        registry = RedisTrustRegistry(RedisLink.open(place), prefix=prefix)
    registry.revision()
    meet()
    return _act(registry, action, name, int(times))
