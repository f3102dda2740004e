"""What the use cases need from the outside, as protocols. The edge implements them; tests run them for real."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

from verifier.core.discovery import DiscoveredIssuer, IssuerObservation
from verifier.core.nonconforming import NonconformingDocument
from verifier.core.trust.bundle import TrustBundle
from verifier.core.trust.operator_decisions import OperatorDecisions


class TrustSource(Protocol):
    def bundle(self) -> TrustBundle:
        """The bundle in force: whole, and the same object until another one is in force.

        Raises StoreUnavailable where what operators denied is not known yet.
        """


class LiveTrustSource(TrustSource, Protocol):
    """A bundle that changes while the service runs: with its files, and with what the registry holds."""

    def refresh(self) -> None:
        """The bundle in force is that of the files and the registry as they are now, or, where that cannot be
        made, the one before. Raises StoreUnavailable."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrustAuditEvent:
    """One change of trust: who made it, when, and what was in force before and after, in words for an auditor."""

    at: datetime
    by: str
    what: str
    subject: str
    before: str
    after: str


@dataclass(frozen=True, slots=True, kw_only=True)
class NonconformingRecord:
    """One reason for which genuine documents under one pin are refused, with the latest document and how many."""

    document: NonconformingDocument
    first_seen: datetime
    documents: int

    @property
    def last_seen(self) -> datetime:
        return self.document.seen_at


class TrustRegistry(Protocol):
    """What all replicas share about trust: what operators decided, which issuers were seen, who holds a lease.

    Small (some hundred entries) and read whole. Every method raises StoreUnavailable.
    """

    def revision(self) -> int:
        """A number that is another one after each change of `decisions` or of any discovered authority. Cheap."""

    def decisions(self) -> tuple[OperatorDecisions, int]:
        """What is decided, and the revision of it that `decide` takes."""

    def decide(self, decisions: OperatorDecisions, event: TrustAuditEvent, *, expected: int) -> bool:
        """True where `decisions` are now in force, the event is in the audit trail, and the revision is another
        one, all at once; False, and nothing changed, where they are not at `expected` any more."""

    def discovered(self) -> tuple[DiscoveredIssuer, ...]:
        """Every issuer that was seen and is not forgotten, the latest seen first."""

    def record(self, sighting: IssuerObservation, authorities: Sequence[bytes]) -> bool:
        """Counts one more document of this issuer, and keeps the authorities, where there are any, as its
        checked ones. True where the issuer is new here, or its authorities are.

        At most MAX_DISCOVERED issuers are kept; those without checked authorities, the least recently seen
        first, give way, so that nobody floods out what can be approved.
        """

    def record_nonconforming(self, document: NonconformingDocument) -> bool:
        """Count one more document of this pin and detail. Return True if they are new here.

        At most MAX_NONCONFORMING are kept; the least recently seen gives way. It is not another revision.
        """

    def nonconforming(self) -> tuple[NonconformingRecord, ...]:
        """Return every pin and detail that is kept, the latest seen first."""

    def claim(self, name: str, *, lasting: timedelta) -> bool:
        """True to exactly one caller, of any number on any replica, until `lasting` has passed."""

    def is_claimed(self, name: str) -> bool:
        """Whether `name` was claimed and that has not passed."""

    def audit_trail(self, *, most: int) -> tuple[TrustAuditEvent, ...]:
        """The latest events, the latest first, `most` at the most. Older ones than some thousand are gone."""


#: How many issuers a registry keeps.
MAX_DISCOVERED = 256
#: How many pairs of a pin and a detail a registry keeps of nonconforming documents.
MAX_NONCONFORMING = 64
#: How many audit events a registry keeps.
MAX_AUDIT_EVENTS = 10_000


class FetchFailed(Exception):
    """Nothing usable came from a URL; the message is one sentence, and quotes nothing of what came."""


class IssuerFetcher(Protocol):
    """Where a certificate is got from the URL that another one names (RFC 5280 4.2.2.1)."""

    def accepts(self, url: str) -> bool:
        """Whether the URL is on the allow-list: any other one is not even tried."""

    def fetch(self, url: str, *, seconds: float) -> tuple[bytes, ...]:
        """The DER certificates at `url`, within `seconds` in all. Nothing is known of them.

        Connects only where the URL is on the allow-list and every address of its host is public, and to
        nothing else, whatever redirects or name servers say. Raises FetchFailed.
        """
