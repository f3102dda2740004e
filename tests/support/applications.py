"""Create the Flask application in this process, with a real store and a clock that the test sets."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

from flask import Flask
from flask.testing import FlaskClient
from support import documents
from support.clocks import StandingClock
from support.openapi_checks import DescribedClient

from verifier.adapters.sqlite.nonce_store import SqliteNonceStore
from verifier.adapters.sqlite.rate_windows import SqliteRateLimiter
from verifier.api.admission import Admission
from verifier.api.app import Service, create_app
from verifier.api.appraisals import Appraisals
from verifier.api.authentication import Administrators, Tenants
from verifier.core.bounds import MAX_EVIDENCE_BYTES
from verifier.core.discovery import IssuerObservation
from verifier.core.model import Limits, NonceRecord
from verifier.core.nonconforming import NonconformingDocument
from verifier.core.trust.bundle import TrustBundle
from verifier.ports.stores import NonceKey, NonceStore, RateLimiter, Unavailable
from verifier.ports.telemetry import AppraisalLog, AppraisalRecord, Exchange, ReloadOutcome
from verifier.ports.tokens import TokenIssuer
from verifier.ports.trust import TrustAuditEvent
from verifier.usecases.appraise import DEFAULT_TENANT, PolicySource, Verifier
from verifier.usecases.readiness import Readiness


@dataclass(frozen=True, slots=True, kw_only=True)
class StandingTrust:
    """Implements the TrustSource port."""

    in_force: TrustBundle

    def bundle(self) -> TrustBundle:
        return self.in_force


@dataclass(frozen=True, slots=True)
class KeptRecords:
    """Implements the Recorder port and keeps all records."""

    exchanges: list[Exchange] = field(default_factory=list)
    failures: list[tuple[str, Exception]] = field(default_factory=list)
    decisions: list[AppraisalRecord] = field(default_factory=list)
    unkept: list[AppraisalRecord] = field(default_factory=list)

    def answered(self, exchange: Exchange) -> None:
        self.exchanges.append(exchange)

    def failed(self, request_id: str, error: Exception) -> None:
        self.failures.append((request_id, error))

    def decided(self, decision: AppraisalRecord) -> None:
        self.decisions.append(decision)

    def trail_failed(self, decision: AppraisalRecord, error: Unavailable) -> None:
        del error
        self.unkept.append(decision)

    def issuer_sighted(self, sighting: IssuerObservation, *, authorities: int) -> None:
        raise AssertionError(f"these applications discover no issuers: {sighting}, {authorities}")

    def nonconforming_genuine(self, document: NonconformingDocument) -> None:
        raise AssertionError(f"these applications report no nonconforming documents: {document}")

    def trust_changed(self, event: TrustAuditEvent) -> None:
        raise AssertionError(f"these applications do not change trust: {event}")

    def trust_reloaded(self, outcome: ReloadOutcome, *, generation: str, detail: str) -> None:
        raise AssertionError(f"these applications do not reload trust: {outcome}, {generation}, {detail}")

    def token_keys_reloaded(self, outcome: ReloadOutcome, *, detail: str) -> None:
        raise AssertionError(f"these applications do not reload token keys: {outcome}, {detail}")

    def settings_reloaded(self, outcome: ReloadOutcome, *, detail: str) -> None:
        raise AssertionError(f"these applications do not reload settings: {outcome}, {detail}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Application:
    flask: Flask
    clock: StandingClock
    records: KeptRecords
    nonces: NonceStore

    @property
    def client(self) -> FlaskClient:
        return self.flask.test_client()

    def give_out(self, nonce: str) -> None:
        """Store the nonce as if the service had issued it now."""
        now = self.clock.now()
        record = NonceRecord(issued_at=now, expires_at=now + timedelta(minutes=5))
        key = NonceKey(tenant=DEFAULT_TENANT, nonce=nonce)
        if not self.nonces.issue(key, record, keep=timedelta(hours=7), now=now):
            raise AssertionError("the nonce already exists")


def make_application(  # noqa: PLR0913 - each is one thing that a test changes
    directory: Path,
    *,
    bundle: TrustBundle | None = None,
    moment: datetime = documents.NOW,
    policies: PolicySource | None = None,
    nonces: NonceStore | None = None,
    trail: AppraisalLog | None = None,
    trail_required: bool = False,
    tenants: Tenants | None = None,
    limiter: RateLimiter | None = None,
    tokens: TokenIssuer | None = None,
) -> Application:
    """Create an application that accepts `support.documents`, with its stores in `directory`."""
    clock = StandingClock(moment)
    trust = StandingTrust(in_force=bundle or documents.shared_bundle())
    store = nonces or SqliteNonceStore(directory / "nonces.sqlite3")
    records = KeptRecords()
    verifier = Verifier(trust=trust, nonces=store, clock=clock, limits=Limits(), policies=policies)
    administrators = Administrators(key_hashes={})
    callers = tenants or Tenants()
    service = Service(
        admission=Admission(
            tenants=lambda: callers,
            administrators=lambda: administrators,
            limiter=limiter or SqliteRateLimiter(directory / "rates.sqlite3"),
        ),
        verifier=verifier,
        readiness=Readiness(trust=trust, nonces=store, clock=clock, tokens=tokens),
        recorder=records,
        appraisals=Appraisals(recorder=records, clock=clock, trail=trail, trail_required=trail_required),
        maximum_body_bytes=MAX_EVIDENCE_BYTES,
        version="1.2.3",
        tokens=tokens,
    )
    app = create_app(service)
    app.test_client_class = DescribedClient
    return Application(flask=app, clock=clock, records=records, nonces=store)
