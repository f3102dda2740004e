"""The application answers any request with a documented answer, never with 500, and accepts only genuine content.

An input is a request as text: a line with the method and the target, the headers, an empty line, and the body. The
application trusts the CAs of tests/vectors at their time, and its store has the nonces of the accepted vectors.
"""

import json
import tempfile
from datetime import datetime, timedelta
from functools import cache
from pathlib import Path

from support.applications import Application, make_application
from support.openapi_checks import check_answer
from support.request_mutants import RawAnswer, RawRequest, send
from support.vectors import document_of, find_vector, load_vectors, vectors_trust

from verifier.cli.conformance_cases import Case
from verifier.core.encoding.cms import read_signed_data
from verifier.core.nonces import AlreadyUsed, FirstUse, NonceRecord, Redemption, UnknownNonce
from verifier.ports.stores import DocumentKey, NonceKey


class MemoryNonces:
    """Implement the NonceStore port in memory, so that each input meets the same state."""

    def __init__(self) -> None:
        self.records: dict[NonceKey, NonceRecord] = {}
        self.used: set[NonceKey] = set()

    def issue(self, key: NonceKey, record: NonceRecord, *, keep: timedelta, now: datetime) -> bool:
        del keep, now
        return self.records.setdefault(key, record) is record

    def redeem(self, key: NonceKey, *, keep: timedelta, now: datetime) -> Redemption:
        del keep, now
        record = self.records.get(key)
        if record is None:
            return UnknownNonce()
        if key in self.used:
            return AlreadyUsed()
        self.used.add(key)
        return FirstUse(record=record)

    def remember(self, key: DocumentKey, *, keep: timedelta, now: datetime) -> bool:
        raise AssertionError(f"nonces are required: {key}, {keep}, {now}")

    def ping(self) -> None:
        """Answer."""


def check(data: bytes) -> bool:
    """Check the property for one input, and return whether it is accepted."""
    request = read_request(data)
    application, store = _service()
    store.records.clear()
    store.used.clear()
    for vector in accepted_vectors():
        for nonce in vector.nonces:
            store.records[nonce.key] = nonce.record
    answer = send(application.flask, request)
    records = application.records
    assert not records.failures, records.failures
    assert answer.status < 500
    check_answer(request.method, request.path, answer.status, answer.headers, answer.body)
    is_accepted = (request.method, request.path, answer.status) == ("POST", "/v1/attestations", 200)
    if is_accepted:
        _check_acceptance(store, answer)
    for kept in (records.exchanges, records.decisions, records.problems, records.forwarding):
        kept.clear()
    return is_accepted


def _check_acceptance(store: MemoryNonces, answer: RawAnswer) -> None:
    document = json.loads(answer.body)["document"]
    assert document in signed_contents()
    assert {key.nonce for key in store.used} == {document["nonce"]}


def read_request(data: bytes) -> RawRequest:
    """Read any bytes as a request. What a server does not pass on is left out."""
    head, _, body = data.partition(b"\n\n")
    first, *lines = head.replace(b"\0", b"").replace(b"\r", b"").decode("latin-1").split("\n")
    method, _, target = first.partition(" ")
    pairs = [line.partition(": ") for line in lines[:32]]
    headers = tuple((name, value) for name, separator, value in pairs if separator)
    return RawRequest(method=method or "GET", target=f"/{target.lstrip('/')}", headers=headers, body=body)


def write_request(request: RawRequest) -> bytes:
    """Write a request so that `read_request` returns it."""
    lines = [f"{request.method} {request.target}", *(f"{name}: {value}" for name, value in request.headers)]
    return "\n".join(lines).encode("latin-1") + b"\n\n" + request.body


@cache
def accepted_vectors() -> tuple[Case, ...]:
    """Return the accepted vectors of one moment whose nonce is unused, and that need no other state of the verifier."""
    usual = find_vector("verified/json")
    found = [
        vector
        for vector in load_vectors()
        if vector.expected.failing_check is None
        and not vector.earlier
        and (vector.at, vector.nonce_mode, vector.clouds) == (usual.at, usual.nonce_mode, usual.clouds)
        and (vector.policies, vector.denials) == (usual.policies, usual.denials)
    ]
    return tuple(
        vector for vector in found if all(nonce.used_at is None and not nonce.record.policy for nonce in vector.nonces)
    )


@cache
def signed_contents() -> tuple[object, ...]:
    return tuple(json.loads(read_signed_data(document_of(vector).raw_der).content) for vector in accepted_vectors())


@cache
def _service() -> tuple[Application, MemoryNonces]:
    store = MemoryNonces()
    [moment] = {vector.at for vector in accepted_vectors()}
    directory = Path(tempfile.mkdtemp(prefix="fuzz-request-"))
    return make_application(directory, bundle=vectors_trust(), moment=moment, nonces=store), store
