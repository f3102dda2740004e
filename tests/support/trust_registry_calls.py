"""Every call of the TrustRegistry port, for tests of stores that fail."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from verifier.core.discovery import IssuerObservation
from verifier.core.nonconforming import NonconformingDocument
from verifier.core.trust.bundle import Denials
from verifier.core.trust.clouds import Cloud
from verifier.core.trust.operator_decisions import OperatorDecisions
from verifier.ports.trust import FeedState, TrustAuditEvent, TrustRegistry

NOW = datetime(2026, 11, 23, 8, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)
EVENT = TrustAuditEvent(at=NOW, by="ann", what="reject", subject="ab", before="", after="rejected")
DECIDED = OperatorDecisions(denials=Denials(spki_sha256=frozenset({"ab"})))
OBSERVATION = IssuerObservation(
    cloud=Cloud.PUBLIC,
    issuer="CN=Unknown CA",
    authority_key_identifier="0011",
    issuer_urls=(),
    signer_sha256="aa" * 32,
    seen_at=NOW,
)
NONCONFORMING = NonconformingDocument(
    issuer="CN=Pinned CA",
    pin_sha256="aa" * 32,
    clouds=frozenset({Cloud.PUBLIC}),
    signer_sha256="bb" * 32,
    document_sha256="cc" * 32,
    detail="Two of an element.",
    seen_at=NOW,
)
FEED = FeedState(metadata={"timestamp.json": b"{}"}, offered=b"{}" * 10_000, checked_at=NOW)
#: The tests choose single calls by their place.
CALLS: list[Callable[[TrustRegistry], object]] = [
    lambda registry: registry.revision(),
    lambda registry: registry.decisions(),
    lambda registry: registry.decide(DECIDED, EVENT, expected=0),
    lambda registry: registry.discovered(),
    lambda registry: registry.record(OBSERVATION, [b"der"]),
    lambda registry: registry.claim("fetch", lasting=HOUR),
    lambda registry: registry.is_claimed("fetch"),
    lambda registry: registry.audit_log(most=10),
    lambda registry: registry.record_nonconforming(NONCONFORMING),
    lambda registry: registry.nonconforming(),
    lambda registry: registry.feed(),
    lambda registry: registry.keep_feed(FEED, expected=0),
]
