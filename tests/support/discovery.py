"""Set up a verifier for issuers that are not pinned.

The registry and the live trust are real. The test sets the clock. The signers of the documents name the URLs of their
issuers.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cache
from pathlib import Path

from cryptography import x509
from cryptography.x509.oid import AuthorityInformationAccessOID
from support import chains, cms, documents
from support.appraisals import read_in_time
from support.certificates import make_signer
from support.clocks import ManualClock
from support.documents import NOW

from verifier.adapters.sqlite.nonce_store import SqliteNonceStore
from verifier.adapters.sqlite.trust_registry import SqliteTrustRegistry
from verifier.adapters.trust.live_trust import LiveTrust
from verifier.core.discovery import DiscoveredIssuer, DiscoveryMode, IssuerObservation
from verifier.core.model import AttestationResult, Limits, UnverifiedClaims
from verifier.core.nonces import NonceRecord
from verifier.core.nonconforming import NonconformingDocument
from verifier.core.trust.bundle import TrustBundle
from verifier.core.trust.operator_decisions import OperatorDecisions
from verifier.emulator import pki
from verifier.emulator.clouds import AzureCloud
from verifier.emulator.trust_directory import TrustedCertificate, write_trust_directory
from verifier.ports.stores import NonceKey, StoreUnavailable
from verifier.ports.telemetry import Event, IssuerObserved, NonconformingGenuine, TrustChanged, TrustReloaded
from verifier.ports.trust import (
    FeedState,
    FetchFailed,
    IssuerFetcher,
    NonconformingRecord,
    TrustAuditEvent,
    TrustRegistry,
)
from verifier.usecases.appraise import DEFAULT_TENANT, Verifier
from verifier.usecases.issuer_discovery import IssuerDiscovery
from verifier.usecases.trust_administration import TrustAdministration


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    name: str
    lasting: timedelta
    at: datetime
    granted: bool


@dataclass(slots=True, kw_only=True)
class WatchedRegistry:
    """Implements the TrustRegistry port over another one: keeps each claim. `unavailable` names methods that fail."""

    inner: TrustRegistry
    clock: ManualClock
    claims: list[Claim] = field(default_factory=list)
    unavailable: set[str] = field(default_factory=set)

    def _reach(self, method: str) -> None:
        if method in self.unavailable:
            raise StoreUnavailable("The registry is unavailable.")

    def revision(self) -> int:
        self._reach("revision")
        return self.inner.revision()

    def decisions(self) -> tuple[OperatorDecisions, int]:
        self._reach("decisions")
        return self.inner.decisions()

    def decide(self, decisions: OperatorDecisions, event: TrustAuditEvent, *, expected: int) -> bool:
        self._reach("decide")
        return self.inner.decide(decisions, event, expected=expected)

    def feed(self) -> tuple[FeedState, int]:
        self._reach("feed")
        return self.inner.feed()

    def keep_feed(self, state: FeedState, *, expected: int) -> bool:
        self._reach("keep_feed")
        return self.inner.keep_feed(state, expected=expected)

    def discovered(self) -> tuple[DiscoveredIssuer, ...]:
        self._reach("discovered")
        return self.inner.discovered()

    def record(self, observation: IssuerObservation, authorities: Sequence[bytes]) -> bool:
        self._reach("record")
        return self.inner.record(observation, authorities)

    def record_nonconforming(self, document: NonconformingDocument) -> bool:
        self._reach("record_nonconforming")
        return self.inner.record_nonconforming(document)

    def nonconforming(self) -> tuple[NonconformingRecord, ...]:
        self._reach("nonconforming")
        return self.inner.nonconforming()

    def claim(self, name: str, *, lasting: timedelta) -> bool:
        self._reach("claim")
        granted = self.inner.claim(name, lasting=lasting)
        self.claims.append(Claim(name=name, lasting=lasting, at=self.clock.moment, granted=granted))
        return granted

    def is_claimed(self, name: str) -> bool:
        self._reach("is_claimed")
        return self.inner.is_claimed(name)

    def audit_log(self, *, most: int) -> tuple[TrustAuditEvent, ...]:
        self._reach("audit_log")
        return self.inner.audit_log(most=most)

    def settle(self, decisions: OperatorDecisions) -> None:
        """Put these decisions in force."""
        event = TrustAuditEvent(at=NOW, by="a test", what="settled", subject="", before="", after="")
        assert self.inner.decide(decisions, event, expected=self.inner.revision())

    @property
    def turns(self) -> list[datetime]:
        """Return the times of the allowed fetches."""
        return [claim.at for claim in self.claims if claim.name == "fetch" and claim.granted]


@dataclass(frozen=True, slots=True)
class DiscoveryRecorder:
    """Implements the Recorder port: keeps the observed issuers and the nonconforming documents."""

    observed: list[IssuerObserved] = field(default_factory=list)
    nonconforming: list[NonconformingDocument] = field(default_factory=list)

    def record(self, event: Event) -> None:
        match event:
            case IssuerObserved():
                self.observed.append(event)
            case NonconformingGenuine(document=document):
                self.nonconforming.append(document)
            case TrustChanged() | TrustReloaded():
                pass
            case _:
                raise AssertionError(event)


@dataclass(frozen=True, slots=True)
class ScriptedFetcher:
    """Implements the IssuerFetcher port: returns the entry of `answers` for a URL, and keeps the URLs of all calls."""

    answers: dict[str, tuple[bytes, ...]] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    off_the_list: set[str] = field(default_factory=set)
    #: Functions to call with the URL before each answer.
    before: list[Callable[[str], None]] = field(default_factory=list)

    def accepts(self, url: str) -> bool:
        return url not in self.off_the_list

    def fetch(self, url: str, *, seconds: float) -> tuple[bytes, ...]:
        self.asked.append(url)
        self.seconds.append(seconds)
        for call in self.before:
            call(url)
        if url not in self.answers:
            raise FetchFailed("The URL has no certificate.")
        return self.answers[url]


@dataclass(frozen=True, slots=True, kw_only=True)
class Laboratory:
    verifier: Verifier
    administration: TrustAdministration
    discovery: IssuerDiscovery
    registry: WatchedRegistry
    trust: LiveTrust
    recorder: DiscoveryRecorder
    clock: ManualClock
    nonces: SqliteNonceStore

    def appraise(self, document: bytes) -> AttestationResult:
        """Issue the nonce and appraise the document, as the service does."""
        now = self.clock.now()
        record = NonceRecord(issued_at=now, expires_at=now + timedelta(minutes=5))
        key = NonceKey(tenant=DEFAULT_TENANT, nonce=documents.NONCE)
        self.nonces.issue(key, record, keep=timedelta(hours=6), now=now)
        return self.verifier.appraise(documents.raw(document))

    def consider(self, document: bytes) -> TrustBundle:
        return self.discovery.consider(self.claims(document), now=self.clock.now(), bundle=self.trust.bundle())

    def claims(self, document: bytes) -> UnverifiedClaims:
        return read_in_time(documents.raw(document), now=self.clock.now(), limits=Limits())

    @property
    def authorities(self) -> list[tuple[bytes, ...]]:
        """Return the checked authorities of each discovered issuer."""
        return [issuer.authorities for issuer in self.registry.inner.discovered()]


def make_laboratory(
    directory: Path,
    *,
    mode: DiscoveryMode,
    fetcher: IssuerFetcher,
    anchor: x509.Certificate | None = None,
    others: Sequence[TrustedCertificate] = (),
    retire_at: Mapping[str, datetime] | None = None,
    beside: Laboratory | None = None,
) -> Laboratory:
    """Make a laboratory that trusts `anchor` (the root of support.chains) and `others` for the public cloud.

    `retire_at` retires some of these by name. With `beside`, it is another replica of that laboratory.
    """
    clock = beside.clock if beside else ManualClock(NOW)
    inner = beside.registry.inner if beside else SqliteTrustRegistry(directory / "trust.sqlite3", clock=clock.now)
    registry = WatchedRegistry(inner=inner, clock=clock)
    recorder = DiscoveryRecorder()
    overlay = directory / "overlay"
    if beside is None:
        write_trust_directory(
            overlay,
            cloud=AzureCloud.PUBLIC,
            certificates=(
                TrustedCertificate(name="root", role="root", certificate=anchor or chains.root().certificate),
                *others,
            ),
        )
        manifest = overlay / "manifest.toml"
        text = manifest.read_text("utf-8")
        for name, moment in (retire_at or {}).items():
            text, times = re.subn(rf'(file = "[a-z]+/{name}\.pem"\n)', rf"\1retire_at = {moment.isoformat()}\n", text)
            assert times == 1
        manifest.write_text(text, "utf-8")
    trust = LiveTrust(overlay, registry, admit=mode is DiscoveryMode.ADMIT, recorder=recorder)
    discovery = IssuerDiscovery(
        mode=mode,
        trust=trust,
        registry=registry,
        fetcher=fetcher,
        recorder=recorder,
        pause=lambda seconds: clock.advance(timedelta(seconds=seconds)),
    )
    nonces = SqliteNonceStore(directory / "nonces.sqlite3")
    return Laboratory(
        verifier=Verifier(trust=trust, nonces=nonces, clock=clock, discovery=discovery),
        administration=TrustAdministration(trust=trust, registry=registry, recorder=recorder, clock=clock),
        discovery=discovery,
        registry=registry,
        trust=trust,
        recorder=recorder,
        clock=clock,
        nonces=nonces,
    )


def naming(*urls: str) -> x509.AuthorityInformationAccess:
    """Return the extension that names the URLs of the issuer (RFC 5280 section 4.2.2.1)."""
    return x509.AuthorityInformationAccess(
        [
            x509.AccessDescription(AuthorityInformationAccessOID.CA_ISSUERS, x509.UniformResourceIdentifier(url))
            for url in urls
        ]
    )


def signer_under(issuer: pki.Identity, *urls: str, issuer_key: pki.PrivateKey | None = None) -> pki.Identity:
    return make_signer(issuer=issuer, extensions=(naming(*urls),) if urls else (), issuer_key=issuer_key)


@cache
def issuing_ca() -> pki.Identity:
    """Return an authority that the root of support.chains issued and that is not pinned."""
    return chains.authority("Unpinned Issuing CA")


def signed_under(
    issuer: pki.Identity, *urls: str, embedding: tuple[bytes, ...] = (), announced_digests: int = 1
) -> bytes:
    """Sign a document by a signer that `issuer` issued, naming these URLs, with these certificates beside its own.

    With more than one announced digest, the document is not exact, and its signature still verifies.
    """
    signer = signer_under(issuer, *urls)
    data = documents.encode(documents.content())
    info = cms.sign_content(data, certificate=signer.certificate, key=signer.key)
    return cms.SignedData(
        digest_algorithms=(info.digest_algorithm,) * announced_digests,
        content=data,
        certificates=(der(signer), *embedding),
        signer_infos=(info,),
    ).encode()


def der(identity: pki.Identity) -> bytes:
    return documents.der(identity.certificate)
