"""Send mutants of requests to the whole application: two tenants, a real nonce store and store of decisions.

A model of each issued nonce says which answers may accept a document.
"""

import json
import random
import re
import secrets
import tempfile
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from time import process_time

from support import cms, documents
from support.applications import Application, make_application
from support.appraisal_cost import verification_seconds
from support.clocks import ManualClock
from support.document_mutants import difference
from support.openapi_checks import Undescribed, check_answer
from support.request_mutants import RawAnswer, RawRequest, change_request, send
from support.services import ADMIN_KEY
from support.tally import MOST_VERIFICATIONS, Tally, Timed
from support.tenant_keys import hash_of

from verifier.adapters.sqlite.decision_store import SqliteDecisionStore
from verifier.api.authentication import Tenants
from verifier.api.json_codec import read_attestation
from verifier.core.model import Limits
from verifier.core.tenancy import Tenant

_KEYS = {"north": ("north-backend", "north-agent"), "south": ("south-backend", "south-agent")}
TENANTS = Tenants(
    key_hashes={Tenant(name=name): [hash_of(backend)] for name, (backend, _) in _KEYS.items()},
    agent_key_hashes={Tenant(name=name): [hash_of(agent)] for name, (_, agent) in _KEYS.items()},
)
_CREDENTIALS = re.compile(r"(?i:bearer) (.+)")
_STEP = timedelta(milliseconds=100)
_LIMITS = Limits()
#: A challenge is replaced after this many requests, before it expires.
_REQUESTS_PER_CHALLENGE = 200
_RECENT = 50
_REPEATS = 3


@dataclass(slots=True, kw_only=True)
class Challenge:
    """One issued nonce with its document, and whether the document was accepted."""

    tenant: str
    fields: dict[str, object]
    der: bytes
    expires_at: datetime
    is_used: bool = False

    @property
    def nonce(self) -> str:
        return str(self.fields["nonce"])


class Attacker:
    """Hold the application and the model of its nonces."""

    def __init__(self, directory: Path, chance: random.Random) -> None:
        clock = ManualClock(documents.NOW)
        store = SqliteDecisionStore(directory / "decisions.sqlite3", bytes_per_tenant=2**26, clock=clock)
        self.application: Application = make_application(directory, tenants=TENANTS, decisions=store)
        self.application.clock.moment = documents.NOW
        self._chance = chance
        self._unit = verification_seconds()
        self._challenges: dict[str, Challenge] = {}
        self._recent: deque[Challenge] = deque(maxlen=_RECENT)
        self._current = self._challenge()
        self._remaining = _REQUESTS_PER_CHALLENGE

    def request(self) -> RawRequest:
        """Return the next request: about one of thirty is unchanged, and some concern used nonces."""
        self.application.clock.advance(_STEP)
        self._remaining -= 1
        if self._current.is_used or not self._remaining:
            self._recent.append(self._current)
            self._current = self._challenge()
            self._remaining = _REQUESTS_PER_CHALLENGE
        chosen = self._current if self._chance.random() < 0.9 or not self._recent else self._chance.choice(self._recent)
        request = self._chance.choice(tuple(requests_about(chosen, self._chance)))
        return request if self._chance.random() < 0.03 else change_request(request, self._chance)

    def fault_of(self, request: RawRequest, answer: RawAnswer) -> str:
        """Return why the answer is wrong, or an empty string."""
        if answer.status >= 500 and request.path != "/readyz":
            return f"status {answer.status}: {answer.body[:300]!r}"
        try:
            check_answer(request.method, request.path, answer.status, answer.headers, answer.body)
        except Undescribed as error:
            return str(error)
        is_attestation = (request.method, request.path) == ("POST", "/v1/attestations")
        return self._wrong_acceptance(request, answer) if is_attestation and answer.status == 200 else ""

    def excess_of(self, tally: Tally, request: RawRequest, seconds: float) -> str:
        """Note the cost of a request, and return an excess. An expensive one is sent again, in case it was disturbed.

        The chain check is included, because the cache has the chain of the one good signer.
        """
        cost = seconds / self._unit
        for _ in range(_REPEATS if cost > MOST_VERIFICATIONS else 0):
            started = process_time()
            send(self.application.flask, request)
            cost = min(cost, (process_time() - started) / self._unit)
        tally.worst = max(tally.worst, cost)
        return f"costs {cost:.0f} RSA verifications" if cost > MOST_VERIFICATIONS else ""

    def _wrong_acceptance(self, request: RawRequest, answer: RawAnswer) -> str:
        shown = json.loads(answer.body)["document"]
        challenge = self._challenges.get(shown.get("nonce"))
        if challenge is None:
            return "accepted a nonce that was not issued"
        was_used, challenge.is_used = challenge.is_used, True
        if was_used:
            return "accepted a nonce twice"
        if shown != challenge.fields:
            return "accepted other content"
        if self.application.clock.now() > challenge.expires_at + _LIMITS.clock_skew:
            return "accepted an expired nonce"
        credentials = _CREDENTIALS.fullmatch(request.authorization or "")
        if credentials is None or credentials[1] not in _KEYS[challenge.tenant]:
            return "accepted the nonce of another tenant"
        posted = read_attestation(
            str(request.environ()["CONTENT_TYPE"]).partition(";")[0].strip().lower(), request.body
        )
        is_same = posted.document.raw_der == challenge.der or difference(posted.document.raw_der, challenge.der)
        return "" if is_same else "accepted a difference without a name"

    def _challenge(self) -> Challenge:
        tenant = self._chance.choice(tuple(_KEYS))
        nonce = f"{secrets.randbelow(10**10):010d}"
        now = self.application.clock.now()
        self.application.give_out(nonce, tenant=tenant)
        fields = documents.content(nonce=nonce, created_on=now)
        signer = documents.shared_pki().signer
        der = cms.signed_data(documents.encode(fields), certificate=signer.certificate, key=signer.key).encode()
        expires_at = now + _LIMITS.nonce_lifetime
        made = Challenge(tenant=tenant, fields=fields, der=der, expires_at=expires_at)
        self._challenges[nonce] = made
        return made


def requests_about(challenge: Challenge, chance: random.Random) -> Iterator[RawRequest]:
    """Yield requests that concern one challenge, most often those that post its document. Two have another key."""
    other = next(name for name in _KEYS if name != challenge.tenant)
    key = ("Authorization", f"Bearer {chance.choice(_KEYS[challenge.tenant])}")
    json_type = ("Content-Type", "application/json")
    answer = documents.imds_answer(challenge.der)
    post = RawRequest(
        method="POST",
        target="/v1/attestations",
        headers=(key, json_type),
        body=json.dumps(answer).encode(),
        address=f"192.0.2.{chance.randrange(256)}",
    )
    yield from (post, post, post, post, replace(post, body=json.dumps({**answer, "nonce": challenge.nonce}).encode()))
    yield replace(post, body=json.dumps({**answer, "policy": "default"}).encode())
    yield replace(post, body=challenge.der, headers=(key, ("Content-Type", "application/cms")))
    yield replace(post, headers=(("Authorization", f"Bearer {chance.choice(_KEYS[other])}"), json_type))
    yield replace(post, headers=(("Authorization", f"Bearer {ADMIN_KEY}"), json_type))
    for fields in ({}, {"vmId": documents.VM.vm_id}, {"policy": "default", "jkt": "A" * 43}):
        yield replace(post, target="/v1/nonces", body=json.dumps(fields).encode())
    backend = ("Authorization", f"Bearer {_KEYS[challenge.tenant][0]}")
    for target in ("/v1/decisions?limit=2", "/v1/usage?by=vmId", "/v1/decisions/" + "0" * 32, "/readyz"):
        yield replace(post, method="GET", target=target, headers=(backend,), body=b"")
    yield replace(post, method="GET", target="/.well-known/jwks.json", headers=(), body=b"")


def attack_requests(number: int, seed: int) -> Tally:
    """Send `number` requests. The changes are the same for the same seed; nonces and keys are new in each run."""
    tally = Tally(kind="requests")
    chance = random.Random(seed)  # noqa: S311 - the same changes in every run
    with tempfile.TemporaryDirectory() as directory, Timed(tally) as timed:
        attacker = Attacker(Path(directory), chance)
        for _ in range(number):
            _attack(tally, attacker, attacker.request())
            timed.count()
    return tally


def _attack(tally: Tally, attacker: Attacker, request: RawRequest) -> None:
    records = attacker.application.records
    started = process_time()
    try:
        answer = send(attacker.application.flask, request)
    except Exception as error:  # noqa: BLE001 - this is what is looked for
        tally.fail(f"{type(error).__name__}: {error}, for {request}")
        return
    seconds = process_time() - started
    exchange = records.exchanges[-1]
    fault = attacker.fault_of(request, answer) or attacker.excess_of(tally, request, seconds)
    if fault:
        tally.fail(f"{fault}, for {request}; {records.failures}")
    elif exchange.code:
        tally.refused[exchange.code] += 1
    else:
        tally.accepted[f"{answer.status} {exchange.route}"] += 1
    for kept in (records.exchanges, records.decisions, records.problems, records.failures, records.forwarding):
        kept.clear()
