"""Create the verifiers that `conformance` tests: the application of the service, or the verifier at a URL."""

import dataclasses
import hashlib
import http.client
import json
import secrets
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from flask import Flask
from pydantic import ValidationError

from verifier import __version__
from verifier.adapters.bounded_http import Deadline
from verifier.adapters.settings.policies import PolicyTable
from verifier.adapters.sqlite.nonce_store import SqliteNonceStore
from verifier.adapters.sqlite.outstanding_nonces import SqliteOutstandingNonces
from verifier.adapters.sqlite.rate_windows import SqliteRateCounters
from verifier.adapters.stores.rate_batches import BatchingRateLimiter
from verifier.adapters.telemetry.composite import CompositeRecorder
from verifier.adapters.trust.files import load_bundle
from verifier.api.admission import Admission
from verifier.api.app import create_app
from verifier.api.appraisals import Appraisals
from verifier.api.authentication import Administrators, Callers, Tenants
from verifier.api.routes import Service
from verifier.api.source_addresses import SourceAddresses
from verifier.cli.commands import UsageError
from verifier.cli.conformance import Answer, Respond, UnreachableError
from verifier.cli.conformance_cases import TRUST, Case, Post
from verifier.cli.conformance_tables import TENANT, explain
from verifier.core.bounds import MAX_EVIDENCE_BYTES
from verifier.core.model import Limits
from verifier.core.nonces import NonceMode, NonceRecord, Redemption
from verifier.core.policy import Policies, Rule
from verifier.core.tenancy import Tenant
from verifier.core.trust.bundle import TrustBundle, TrustError
from verifier.core.trust.clouds import Cloud
from verifier.core.values import dataclass
from verifier.ports.stores import DocumentKey, NonceKey, NonceStore
from verifier.ports.trust import FetchFailed
from verifier.usecases.appraise import Verifier
from verifier.usecases.readiness import Readiness

_PATH: Final = "/v1/attestations"
_SECONDS: Final = 30
#: The statuses of a verifier that took a state.
_TAKEN: Final = range(200, 300)
_MAX_ANSWER_BYTES: Final = 1024 * 1024
#: A file system in memory, if there is one, because a redemption waits for the disk.
_IN_MEMORY: Final = Path("/dev/shm")  # noqa: S108 - the files are in a new private directory
_LIMITS: Final = Limits()
_LONG_AGO: Final = datetime.min.replace(tzinfo=UTC)
_CLOSED: Final = Callers(administrators=Administrators(), tenants=Tenants(), policies=Policies())


@dataclasses.dataclass(slots=True)
class _Present:
    """Hold the state of the present case. It implements the ports Clock, TrustSource and NonceStore for all cases."""

    trust: TrustBundle
    store: NonceStore
    moment: datetime = _LONG_AGO
    callers: Callers = _CLOSED

    def now(self) -> datetime:
        return self.moment

    def bundle(self) -> TrustBundle:
        return self.trust

    def issue(self, key: NonceKey, record: NonceRecord, *, keep: timedelta, now: datetime) -> bool:
        return self.store.issue(key, record, keep=keep, now=now)

    def redeem(self, key: NonceKey, *, keep: timedelta, now: datetime) -> Redemption:
        return self.store.redeem(key, keep=keep, now=now)

    def remember(self, key: DocumentKey, *, keep: timedelta, now: datetime) -> bool:
        return self.store.remember(key, keep=keep, now=now)

    def ping(self) -> None:
        self.store.ping()


class ConformanceService:
    """Answer cases with the application of the service, one after the other. It keeps its files in `directory`.

    Each case has a new nonce store. Clouds and nonce mode are fixed when a service starts, so each pair of them has an
    application.
    """

    def __init__(self, bundle: TrustBundle, directory: Path) -> None:
        self._bundle = bundle
        self._directory = directory
        self._empty = directory / "empty.sqlite3"
        self._key = secrets.token_hex()
        # Creating a database takes several waits for the disk, so each case has a copy of an empty one.
        empty = SqliteNonceStore(self._empty)
        empty.close()
        self._present = _Present(trust=bundle, store=empty)
        self._applications: dict[tuple[frozenset[Cloud], NonceMode], Flask] = {}

    def respond(self, case: Case) -> Answer:
        """Return the answer to the post of the case. Raises UsageError if a policy of the case is invalid."""
        with self.serve(case) as (application, headers):
            for post in case.earlier:
                self._post(application, post, headers)
            return self._post(application, case.post, headers)

    @contextmanager
    def serve(self, case: Case) -> Iterator[tuple[Flask, Mapping[str, str]]]:
        """Return the application in the state of the case, and the headers with which its tenant posts.

        The clock shows the time of the post of the case.
        """
        store = SqliteNonceStore(Path(shutil.copy(self._empty, self._directory / "nonces.sqlite3")))
        try:
            issue_nonces(case, store)
            self._present.store = store
            self._present.trust = self._bundle
            if case.denials.serial_numbers or case.denials.spki_sha256:
                self._present.trust = TrustBundle.of(self._bundle.entries, denials=case.denials)
            self._present.callers = self._callers(case)
            self._present.moment = case.at
            yield self._application(case), {"Authorization": f"Bearer {self._key}"}
        finally:
            store.close()
            for file in self._directory.glob("nonces.sqlite3*"):
                file.unlink()

    def _post(self, application: Flask, post: Post, headers: Mapping[str, str]) -> Answer:
        answer = application.test_client().post(_PATH, data=post.body, content_type=post.media_type, headers=headers)
        return Answer(
            status=answer.status_code,
            retry_after=answer.headers.get("Retry-After"),
            body=_json_object(answer.get_data()),
        )

    def _callers(self, case: Case) -> Callers:
        tenant = Tenant(name=TENANT, policy=case.tenant_policy)
        key_hash = hashlib.sha256(self._key.encode()).hexdigest()
        return Callers(
            administrators=Administrators(),
            tenants=Tenants(key_hashes={tenant: [key_hash]}),
            policies=policies_of(case),
        )

    def _application(self, case: Case) -> Flask:
        kind = (case.clouds, case.nonce_mode)
        if kind not in self._applications:
            self._applications[kind] = self._create(*kind)
        return self._applications[kind]

    def _create(self, clouds: frozenset[Cloud], nonce_mode: NonceMode) -> Flask:
        present = self._present
        recorder = CompositeRecorder(())
        admission = Admission(
            callers=lambda: present.callers,
            limiter=BatchingRateLimiter(SqliteRateCounters(self._directory / "rates.sqlite3")),
            outstanding=SqliteOutstandingNonces(self._directory / "outstanding.sqlite3"),
            nonce_lifetime=_LIMITS.nonce_lifetime,
            addresses=SourceAddresses(trusted_proxies=0, recorder=recorder),
        )
        verifier = Verifier(
            trust=present,
            nonces=present,
            clock=present,
            limits=_LIMITS,
            nonce_mode=nonce_mode,
            policies=lambda: present.callers.policies,
            served=clouds,
        )
        return create_app(
            Service(
                verifier=verifier,
                readiness=Readiness(trust=present, nonces=present, clock=present, served=clouds),
                recorder=recorder,
                appraisals=Appraisals(recorder=recorder, clock=present),
                admission=admission,
                maximum_body_bytes=MAX_EVIDENCE_BYTES,
                version=__version__,
            )
        )


def policies_of(case: Case) -> Policies:
    """Read the policies of a case as those of the settings are read. Raises UsageError."""
    return Policies({name: _rule(case, name, table) for name, table in case.policies.items()})


def _rule(case: Case, name: str, table: object) -> Rule:
    try:
        return PolicyTable.model_validate(table).rule()
    except ValidationError as error:
        fault = explain(error, "policies", name)
    except (ValueError, RecursionError) as error:
        fault = f"policies.{name}: {error}"
    raise UsageError(f"{case.name}/case.toml: {fault}")


def issue_nonces(case: Case, store: NonceStore) -> None:
    """Issue and use the nonces of a case, as the service does. A case has each nonce once."""
    for nonce in case.nonces:
        issued_at, expires_at = nonce.record.issued_at, nonce.record.expires_at
        limits = Limits(nonce_lifetime=expires_at - issued_at)
        store.issue(nonce.key, nonce.record, keep=limits.unused_nonce_memory, now=issued_at)
        if nonce.used_at is not None:
            store.redeem(nonce.key, keep=limits.used_nonce_memory, now=nonce.used_at)


@contextmanager
def open_service(bundle: TrustBundle) -> Iterator[ConformanceService]:
    """Open a service whose files are in a new directory, which is in memory if possible, and is removed at the end."""
    parent = _IN_MEMORY if _IN_MEMORY.is_dir() else None
    with tempfile.TemporaryDirectory(prefix="imds-verifier-", dir=parent) as scratch:
        yield ConformanceService(bundle, Path(scratch))


@contextmanager
def open_own(directory: Path) -> Iterator[Respond]:
    """Open this verifier over the trust directory of the vectors. Raises UsageError."""
    try:
        bundle = load_bundle(directory / TRUST)
    except TrustError as error:
        raise UsageError(str(error)) from error
    with open_service(bundle) as service:
        yield service.respond


@contextmanager
def open_remote(url: str, state_url: str | None) -> Iterator[Respond]:
    """Open the verifier that answers posts to `url`. If `state_url` is given, it takes the state of each case first.

    Proxies and redirects are not used. Raises UsageError for a URL that is not http or https.
    """
    endpoint = _Endpoint.of("--url", url)
    state = None if state_url is None else _Endpoint.of("--state-url", state_url)

    def respond(case: Case) -> Answer:
        if state is not None:
            taken = state.send("PUT", case.state_json().encode(), "application/json")
            if taken.status not in _TAKEN:
                raise UnreachableError(f"{state_url} answered {taken.status} to the state of {case.name}.")
        for post in case.earlier:
            endpoint.send("POST", post.body, post.media_type)
        return endpoint.send("POST", case.post.body, case.post.media_type)

    yield respond


@dataclass(frozen=True, slots=True, kw_only=True)
class _Endpoint:
    url: str
    connect: Callable[[], http.client.HTTPConnection]
    path: str

    @classmethod
    def of(cls, option: str, url: str) -> "_Endpoint":
        if not all("!" <= character <= "~" for character in url):
            raise UsageError(
                f"{option}: {url!r} has a character that no URL has; write a path with %XX, and a host name with xn--"
            )
        try:
            parts = urlsplit(url)
            port = parts.port
            (parts.hostname or "").encode("idna")  # the socket does the same
        except ValueError as error:  # UnicodeError is one
            raise UsageError(f"{option}: {url!r} is not a URL: {error}") from error
        kinds = {"http": http.client.HTTPConnection, "https": http.client.HTTPSConnection}
        if parts.scheme not in kinds or not parts.hostname:
            raise UsageError(f"{option}: {url!r} is not a URL such as http://127.0.0.1:8080/v1/attestations")
        connect = partial(kinds[parts.scheme], parts.hostname, port, timeout=_SECONDS)
        return cls(url=url, connect=connect, path=f"{parts.path or '/'}{'?' if parts.query else ''}{parts.query}")

    def send(self, method: str, body: bytes, media_type: str) -> Answer:
        """Send one request over a new connection. Raises UnreachableError."""
        connection = self.connect()
        try:
            with closing(connection):
                connection.connect()
                with Deadline(connection.sock, _SECONDS) as deadline:
                    try:
                        connection.request(method, self.path, body, {"Content-Type": media_type})
                        with connection.getresponse() as answer:
                            content = answer.read(_MAX_ANSWER_BYTES)
                    finally:
                        deadline.require_not_passed()
        except FetchFailed as error:
            raise UnreachableError(f"{self.url} does not answer within {_SECONDS} s.") from error
        except (OSError, ValueError, http.client.HTTPException) as error:
            raise UnreachableError(f"{self.url} does not answer: {type(error).__name__}.") from error
        return Answer(status=answer.status, retry_after=answer.getheader("Retry-After"), body=_json_object(content))


def _json_object(content: bytes) -> Mapping[str, object]:
    with suppress(ValueError, RecursionError):
        body = json.loads(content)
        if isinstance(body, dict):
            return body
    return {}
