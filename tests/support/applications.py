"""Create the Flask application in this process, over a real store, with a clock that the test sets."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

from flask import Flask
from flask.testing import FlaskClient
from support import documents
from support.clocks import ManualClock
from support.openapi_checks import DescribedClient
from support.services import ADMIN_KEYS

from verifier.adapters.sqlite.nonce_store import SqliteNonceStore
from verifier.adapters.sqlite.outstanding_nonces import SqliteOutstandingNonces
from verifier.adapters.sqlite.rate_windows import SqliteRateCounters
from verifier.adapters.stores.rate_batches import BatchingRateLimiter
from verifier.api.admission import Admission
from verifier.api.app import create_app
from verifier.api.appraisals import Appraisals
from verifier.api.authentication import Administrators, Callers, Tenants
from verifier.api.decision_routes import create_decision_blueprint
from verifier.api.inspection_routes import create_inspection_blueprint
from verifier.api.routes import Service
from verifier.api.source_addresses import SourceAddresses
from verifier.core.bounds import MAX_EVIDENCE_BYTES
from verifier.core.model import Limits
from verifier.core.nonces import NonceRecord
from verifier.core.policy import Policies
from verifier.core.trust.bundle import TrustBundle
from verifier.ports.decisions import AppraisalRecord, DecisionLog, DecisionStore
from verifier.ports.stores import NonceKey, NonceStore, RateLimiter
from verifier.ports.telemetry import (
    DocumentAppraised,
    Event,
    ForwardingMismatched,
    RefreshFailed,
    RequestFailed,
    RequestRefused,
    ResponseSent,
)
from verifier.ports.tokens import TokenIssuer
from verifier.usecases.appraise import DEFAULT_TENANT, PolicySource, Verifier, policies_now
from verifier.usecases.decisions import Decisions
from verifier.usecases.inspection import Inspector
from verifier.usecases.readiness import Readiness


@dataclass(frozen=True, slots=True, kw_only=True)
class FixedTrust:
    """Implements the TrustSource port."""

    in_force: TrustBundle

    def bundle(self) -> TrustBundle:
        return self.in_force


@dataclass(frozen=True, slots=True)
class KeptRecords:
    """Implements the Recorder port: keeps the events that an application records."""

    exchanges: list[ResponseSent] = field(default_factory=list)
    failures: list[tuple[str, Exception]] = field(default_factory=list)
    decisions: list[AppraisalRecord] = field(default_factory=list)
    #: Of requests that ended in a problem without an appraisal.
    problems: list[AppraisalRecord] = field(default_factory=list)
    forwarding: list[str] = field(default_factory=list)

    def record(self, event: Event) -> None:
        match event:
            case ResponseSent():
                self.exchanges.append(event)
            case RequestFailed(request_id=request_id, error=error):
                self.failures.append((request_id, error))
            case RefreshFailed(error=error):
                self.failures.append(("", error))
            case DocumentAppraised(record=record):
                self.decisions.append(record)
            case RequestRefused(record=record):
                self.problems.append(record)
            case ForwardingMismatched(detail=detail):
                self.forwarding.append(detail)
            case _:
                raise AssertionError(f"an application without discovery and reloads recorded {event}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Application:
    flask: Flask
    clock: ManualClock
    records: KeptRecords
    nonces: NonceStore

    @property
    def client(self) -> FlaskClient:
        return self.flask.test_client()

    def give_out(self, nonce: str, *, tenant: str = DEFAULT_TENANT) -> None:
        """Issue `nonce` as if the service had issued it now."""
        now = self.clock.now()
        record = NonceRecord(issued_at=now, expires_at=now + timedelta(minutes=5))
        key = NonceKey(tenant=tenant, nonce=nonce)
        if not self.nonces.issue(key, record, keep=timedelta(hours=7), now=now):
            raise AssertionError("the nonce already exists")


def make_application(  # noqa: PLR0913 - each is one thing that a test changes
    directory: Path,
    *,
    bundle: TrustBundle | None = None,
    moment: datetime = documents.NOW,
    policies: PolicySource | None = None,
    nonces: NonceStore | None = None,
    log: DecisionLog | None = None,
    required_log: DecisionLog | None = None,
    tenants: Tenants | None = None,
    callers: Callable[[], Callers] | None = None,
    limiter: RateLimiter | None = None,
    trusted_proxies: int = 0,
    tokens: TokenIssuer | None = None,
    decisions: DecisionStore | None = None,
) -> Application:
    """Create an application that accepts `support.documents` by default and keeps its nonces in `directory`."""
    clock = ManualClock(moment)
    trust = FixedTrust(in_force=bundle or documents.shared_bundle())
    store = nonces or SqliteNonceStore(directory / "nonces.sqlite3")
    records = KeptRecords()
    source: PolicySource = policies or Policies()
    admins = Administrators(key_hashes=json.loads(ADMIN_KEYS))
    read = callers or (
        lambda: Callers(administrators=admins, tenants=tenants or Tenants(), policies=policies_now(source))
    )
    verifier = Verifier(trust=trust, nonces=store, clock=clock, limits=Limits(), policies=lambda: read().policies)
    admission = Admission(
        callers=read,
        limiter=limiter or BatchingRateLimiter(SqliteRateCounters(directory / "rates.sqlite3")),
        outstanding=SqliteOutstandingNonces(directory / "outstanding.sqlite3"),
        nonce_lifetime=Limits().nonce_lifetime,
        addresses=SourceAddresses(trusted_proxies=trusted_proxies, recorder=records),
    )
    service = Service(
        admission=admission,
        verifier=verifier,
        readiness=Readiness(trust=trust, nonces=store, clock=clock, tokens=tokens),
        recorder=records,
        appraisals=Appraisals(recorder=records, clock=clock, log=log, required_log=required_log),
        maximum_body_bytes=MAX_EVIDENCE_BYTES,
        version="1.2.3",
        tokens=tokens,
        blueprints=(
            create_decision_blueprint(Decisions(store=decisions) if decisions else None, admission, clock),
            create_inspection_blueprint(
                Inspector(trust=trust, clock=clock), admission, maximum_body_bytes=MAX_EVIDENCE_BYTES
            ),
        ),
    )
    app = create_app(service)
    app.test_client_class = DescribedClient
    return Application(flask=app, clock=clock, records=records, nonces=store)
