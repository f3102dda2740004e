"""The Flask application in this process, over a real store, with a clock that stands where a test puts it."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

from flask import Flask
from flask.testing import FlaskClient
from support import documents
from support.clocks import StandingClock

from verifier.api.app import Service, create_app
from verifier.core.discovery import Sighting
from verifier.core.model import MAX_EVIDENCE_OCTETS, Limits, NonceRecord
from verifier.core.policy import Policies
from verifier.core.trust import TrustBundle
from verifier.edge.sqlite_store import SqliteNonceStore
from verifier.ports import AuditEvent, Exchange, NonceKey, NonceStore, ReloadOutcome
from verifier.service import DEFAULT_TENANT, Readiness, Verifier


@dataclass(frozen=True, slots=True, kw_only=True)
class StandingTrust:
    """Implements the TrustSource port."""

    in_force: TrustBundle

    def bundle(self) -> TrustBundle:
        return self.in_force


@dataclass(frozen=True, slots=True)
class KeptRecords:
    """Implements the Recorder port: keeps what it is told."""

    exchanges: list[Exchange] = field(default_factory=list)
    failures: list[tuple[str, Exception]] = field(default_factory=list)

    def answered(self, exchange: Exchange) -> None:
        self.exchanges.append(exchange)

    def failed(self, request_id: str, error: Exception) -> None:
        self.failures.append((request_id, error))

    def issuer_sighted(self, sighting: Sighting, *, authorities: int) -> None:
        raise AssertionError(f"no application here looks for issuers: {sighting}, {authorities}")

    def trust_changed(self, event: AuditEvent) -> None:
        raise AssertionError(f"nobody changes trust here: {event}")

    def trust_reloaded(self, outcome: ReloadOutcome, *, generation: str, detail: str) -> None:
        raise AssertionError(f"nothing reloads trust here: {outcome}, {generation}, {detail}")


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
        """`nonce` is outstanding as if the service had issued it now."""
        now = self.clock.now()
        record = NonceRecord(issued_at=now, expires_at=now + timedelta(minutes=5))
        key = NonceKey(tenant=DEFAULT_TENANT, nonce=nonce)
        if not self.nonces.issue(key, record, keep=timedelta(hours=7), now=now):
            raise AssertionError("the nonce is known already")


def make_application(
    directory: Path,
    *,
    bundle: TrustBundle | None = None,
    moment: datetime = documents.NOW,
    policies: Policies | None = None,
    nonces: NonceStore | None = None,
) -> Application:
    """One that accepts `support.documents`, with its nonces in `directory`, unless told otherwise."""
    clock = StandingClock(moment)
    trust = StandingTrust(in_force=bundle or documents.shared_bundle())
    store = nonces or SqliteNonceStore(directory / "nonces.sqlite3")
    records = KeptRecords()
    verifier = Verifier(trust=trust, nonces=store, clock=clock, limits=Limits(), policies=policies)
    service = Service(
        verifier=verifier,
        readiness=Readiness(trust=trust, nonces=store, clock=clock),
        recorder=records,
        maximum_body_octets=MAX_EVIDENCE_OCTETS,
    )
    return Application(flask=create_app(service), clock=clock, records=records, nonces=store)
