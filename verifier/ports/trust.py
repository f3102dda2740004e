"""Define the sources of trust: the bundle in force, the shared registry, and the fetcher of issuers."""

from collections.abc import Mapping, Sequence
from dataclasses import field
from datetime import datetime, timedelta
from typing import Protocol

from verifier.core.discovery import DiscoveredIssuer, IssuerObservation
from verifier.core.nonconforming import NonconformingDocument
from verifier.core.trust.bundle import TrustBundle
from verifier.core.trust.operator_decisions import OperatorDecisions
from verifier.core.trust.published import PublishedBundle
from verifier.core.values import dataclass


class TrustSource(Protocol):
    def bundle(self) -> TrustBundle:
        """Return the complete bundle in force. It is the same object until another bundle is in force.

        Raises StoreUnavailable if the denials of the operators are not known yet.
        """


class LiveTrustSource(TrustSource, Protocol):
    """Provide a bundle that follows the trust files and the registry while the service runs."""

    def refresh(self) -> None:
        """Build the bundle from the current files and registry, and put it in force.

        Keeps the previous bundle if the new one is invalid. Raises StoreUnavailable.
        """

    def preview(self, published: PublishedBundle) -> tuple[TrustBundle, tuple[str, ...]]:
        """Return the bundle as it would be with this bundle of the feed, and a sentence for each part without effect.

        Raises TrustError if they do not make a valid bundle, and StoreUnavailable.
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class TrustAuditEvent:
    """Describe one change of trust for an auditor: who made it, when, and the state before and after."""

    at: datetime
    by: str
    what: str
    subject: str
    before: str
    after: str


@dataclass(frozen=True, slots=True, kw_only=True)
class NonconformingRecord:
    """Describe one reason to refuse genuine documents under one pin, with their number and the latest of them."""

    document: NonconformingDocument
    first_seen: datetime
    documents: int

    @property
    def last_seen(self) -> datetime:
        return self.document.seen_at


#: All metadata files of a feed together. Those of a feed with one target have some kilobytes.
MAX_FEED_METADATA_BYTES = 512 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class FeedState:
    """What all replicas share about the trust feed.

    `metadata` are the verified metadata files of TUF by name, so that no replica accepts older ones. `offered` is the
    newest verified bundle as it was published. `root_sha256` names the feed that offered it: the SHA-256 of the root
    metadata that the operator trusts at first. `problem` is why the last look at the feed failed, or why the offered
    bundle was refused. It is empty if neither did. `checked_at` is the last look that did not fail.
    """

    metadata: Mapping[str, bytes] = field(default_factory=dict, repr=False)
    offered: bytes | None = field(default=None, repr=False)
    root_sha256: str = ""
    checked_at: datetime | None = None
    problem: str = ""


class TrustRegistry(Protocol):
    """Hold what all replicas share about trust: operators' decisions, discovered issuers, and leases.

    It is small (some hundred entries) and is read as a whole. Every method raises StoreUnavailable.
    """

    def revision(self) -> int:
        """Return a number that changes with each change of the decisions or of a discovered authority.

        The call is cheap.
        """

    def decisions(self) -> tuple[OperatorDecisions, int]:
        """Return the operators' decisions, and their revision for `decide`."""

    def decide(self, decisions: OperatorDecisions, event: TrustAuditEvent, *, expected: int) -> bool:
        """Store the decisions, append the audit event and change the revision, in one atomic operation.

        Return False, without a change, if the stored decisions are no longer at revision `expected`.
        """

    def feed(self) -> tuple[FeedState, int]:
        """Return the state of the trust feed, and its revision for `keep_feed`."""

    def keep_feed(self, state: FeedState, *, expected: int) -> bool:
        """Store the state. Return False, without a change, if the stored state is no longer at revision `expected`.

        The revision of the decisions does not change.
        """

    def discovered(self) -> tuple[DiscoveredIssuer, ...]:
        """Return every issuer that the registry keeps, the latest seen first."""

    def record(self, observation: IssuerObservation, authorities: Sequence[bytes]) -> bool:
        """Count one more document of this issuer, and keep `authorities` as its checked ones if there are any.

        Return True if the issuer or its authorities are new. The registry keeps at most MAX_DISCOVERED issuers. It
        evicts issuers without checked authorities first, starting with the least recently seen. Made-up issuers
        therefore cannot evict an issuer that an operator can approve.
        """

    def record_nonconforming(self, document: NonconformingDocument) -> bool:
        """Count one more document of this pin and detail. Return True if they are new.

        The registry keeps at most MAX_NONCONFORMING pairs and evicts the least recently seen. The revision does not
        change.
        """

    def nonconforming(self) -> tuple[NonconformingRecord, ...]:
        """Return every pair of pin and detail that the registry keeps, the latest seen first."""

    def claim(self, name: str, *, lasting: timedelta) -> bool:
        """Claim a lease. Return True to exactly one caller on all replicas until `lasting` has passed."""

    def is_claimed(self, name: str) -> bool:
        """Return True if a claim of `name` has not expired."""

    def audit_log(self, *, most: int) -> tuple[TrustAuditEvent, ...]:
        """Return at most `most` events, the latest first. The registry keeps MAX_AUDIT_EVENTS of them."""


#: The maximum number of issuers that a registry keeps.
MAX_DISCOVERED = 256
#: The maximum number of pairs of pin and detail that a registry keeps for nonconforming documents.
MAX_NONCONFORMING = 64
#: The maximum number of audit events that a registry keeps.
MAX_AUDIT_EVENTS = 10_000


class FetchFailed(Exception):
    """Report that a fetch gave no usable certificate. The message quotes no part of the response."""


class IssuerFetcher(Protocol):
    """Fetch issuers' certificates from the URLs that certificates name (RFC 5280 section 4.2.2.1)."""

    def accepts(self, url: str) -> bool:
        """Return True if the URL is on the allow-list. Other URLs are never fetched."""

    def fetch(self, url: str, *, seconds: float) -> tuple[bytes, ...]:
        """Return the DER certificates at `url` within `seconds` in total.

        Connects only if the URL is on the allow-list and every address of its host is public. Redirects and DNS answers
        cannot change that. Raises FetchFailed.
        Not checked: the certificates. The caller must treat them as untrusted input.
        """


class FeedFailed(Exception):
    """Report that a look at the trust feed gave no verified bundle. The message is one sentence for the operator."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FetchedFeed:
    """The newest bundle of a feed as it was published, with the metadata that verifies it. Both are verified by TUF."""

    metadata: Mapping[str, bytes] = field(repr=False)
    bundle: bytes = field(repr=False)
    #: The SHA-256 of the root metadata that the operator trusts at first. It differs for another feed.
    root_sha256: str
    #: When the metadata end, and with them the proof that the bundle is the newest one.
    fresh_until: datetime


class FeedClient(Protocol):
    """Look at a trust feed (The Update Framework, TUF)."""

    def fetch(self, metadata: Mapping[str, bytes]) -> FetchedFeed:
        """Return the newest bundle. `metadata` are those of the look before, and empty at the first look.

        The signatures reach the threshold, no file is older than those of `metadata`, and none has expired.
        Bounded in bytes and time. Raises FeedFailed.
        """
