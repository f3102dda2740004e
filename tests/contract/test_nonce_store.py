"""What every NonceStore promises (verifier.ports), on the real servers."""

import threading
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Protocol

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.forking import from_processes
from support.redeemer import redeem
from support.redis_groups import running_cluster, running_sentinel_group
from support.redis_server import (
    RedisServer,
    redis_server_binaries,
    redis_server_binary,
    running_redis_server,
    speaks_tls,
)
from support.redis_tls import RedisTls
from support.tcp_proxy import running_tcp_proxy

from verifier.adapters.redis.nonce_store import RedisNonceStore
from verifier.adapters.sqlite.nonce_store import SqliteNonceStore
from verifier.core.nonces import AlreadyUsed, FirstUse, NonceRecord, Redemption, UnknownNonce
from verifier.ports.stores import DocumentKey, NonceKey, NonceStore

NOW = datetime(2026, 11, 23, 8, 0, tzinfo=UTC)
KEEP = timedelta(hours=6)
RECORD = NonceRecord(issued_at=NOW, expires_at=NOW + timedelta(minutes=5))
BOUND = NonceRecord(
    issued_at=NOW + timedelta(microseconds=1),
    expires_at=NOW + timedelta(minutes=5, microseconds=999_999),
    vm_id="c7e9d0a1-2b3c-4d5e-8f60-718293a4b5c6",
    policy='größte "Vorsicht" 用心 \N{LOCK}\x00\n',
    jkt="NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs",
)
PROCESSES = 4
ODD_TEXTS = [
    "",
    ":",
    "a:b",
    "{a}",
    "%3A",
    "ä",
    "a\x00b",
    "a b\r\n",
    "*",
    "../x",
    "\N{LOCK}",
    "\ud800",
    "\udfff",
    "?",
    "A",
    "a",
]


class Place:
    """One kind of store, and its location for another process."""

    def __init__(self, kind: str, where: str, tls: RedisTls | None = None) -> None:
        self.kind = kind
        self.where = where
        self.tls = tls

    def open(self) -> SqliteNonceStore | RedisNonceStore:
        if self.kind == "sqlite":
            return SqliteNonceStore(Path(self.where))
        return RedisNonceStore.from_url(self.where, connections=8, options=self.tls.options if self.tls else None)

    @property
    def files(self) -> list[str]:
        """Return the files that another process needs for TLS."""
        tls = self.tls
        return [] if tls is None else [*map(str, (tls.authority.file, tls.client.certificate, tls.client.key))]


#: Every installed server, and a server with TLS in every form.
OTHERS = redis_server_binaries()[1:]
PLACES = [
    "sqlite",
    "redis",
    "redis-unix",
    "redis-tls",
    "sentinel",
    "cluster",
    *(f"other-{n}" for n in range(len(OTHERS))),
]
if speaks_tls(redis_server_binary()):
    PLACES += ["redis-builtin_tls", "sentinel-builtin_tls", "cluster-builtin_tls"]


class Reachable(Protocol):
    @property
    def url(self) -> str: ...


RUNNING: dict[str, Callable[..., AbstractContextManager[Reachable]]] = {
    "redis": running_redis_server,
    "sentinel": running_sentinel_group,
    "cluster": running_cluster,
}


@pytest.fixture(scope="session", params=PLACES)
def place(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    directory = tmp_path_factory.mktemp("contract")
    with ExitStack() as stack:
        match request.param.partition("-"):
            case ["sqlite", *_]:
                yield Place("sqlite", f"{directory}/nonces.sqlite3")
            case ["redis", _, "tls"]:
                # A proxy terminates TLS, since the server may be built without it.
                tls = RedisTls.make(directory)
                server: RedisServer = request.getfixturevalue("redis_server")
                proxy = stack.enter_context(running_tcp_proxy(server.port, tls=tls.context()))
                yield Place("redis", f"rediss://127.0.0.1:{proxy.port}", tls)
            case [form, _, "builtin_tls"]:
                tls = RedisTls.make(directory)
                yield Place("redis", stack.enter_context(RUNNING[form](tls=tls)).url, tls)
            case ["other", _, number]:
                yield Place("redis", stack.enter_context(running_redis_server(binary=OTHERS[int(number)])).url)
            case ["redis", _, "unix"]:
                yield Place("redis", request.getfixturevalue("redis_server").unix_url)
            case [form, *_]:
                fixture = {"redis": "redis_server", "sentinel": "sentinel_group", "cluster": "redis_cluster"}[form]
                yield Place("redis", request.getfixturevalue(fixture).url)


@pytest.fixture(scope="session")
def store(place: Place) -> Iterator[NonceStore]:
    store = place.open()
    yield store
    store.close()


def issue(store: NonceStore, key: NonceKey, record: NonceRecord = RECORD) -> bool:
    return store.issue(key, record, keep=KEEP, now=NOW)


def test_redeems_an_issued_nonce_once_with_its_record(store: NonceStore, tenant: str) -> None:
    key = NonceKey(tenant=tenant, nonce="1234567890")
    assert issue(store, key)
    assert store.redeem(key, keep=KEEP, now=NOW) == FirstUse(record=RECORD)


def test_every_later_redemption_is_a_replay(store: NonceStore, tenant: str) -> None:
    key = NonceKey(tenant=tenant, nonce="1234567890")
    issue(store, key)
    store.redeem(key, keep=KEEP, now=NOW)
    assert [store.redeem(key, keep=KEEP, now=NOW) for _ in range(3)] == [AlreadyUsed()] * 3


def test_a_nonce_that_was_never_issued_is_unknown(store: NonceStore, tenant: str) -> None:
    key = NonceKey(tenant=tenant, nonce="1234567890")
    assert store.redeem(key, keep=KEEP, now=NOW) == UnknownNonce()
    assert store.redeem(key, keep=KEEP, now=NOW) == UnknownNonce()


def test_a_failed_redemption_does_not_make_the_nonce_known(store: NonceStore, tenant: str) -> None:
    key = NonceKey(tenant=tenant, nonce="1234567890")
    store.redeem(key, keep=KEEP, now=NOW)
    assert issue(store, key)
    assert store.redeem(key, keep=KEEP, now=NOW) == FirstUse(record=RECORD)


def test_keeps_tenants_apart(store: NonceStore, tenant: str) -> None:
    ours, theirs = (NonceKey(tenant=tenant + suffix, nonce="1234567890") for suffix in "ab")
    issue(store, ours)
    assert store.redeem(theirs, keep=KEEP, now=NOW) == UnknownNonce()
    assert issue(store, theirs, BOUND)
    assert store.redeem(ours, keep=KEEP, now=NOW) == FirstUse(record=RECORD)
    assert store.redeem(theirs, keep=KEEP, now=NOW) == FirstUse(record=BOUND)


def test_does_not_issue_an_outstanding_nonce_again(store: NonceStore, tenant: str) -> None:
    key = NonceKey(tenant=tenant, nonce="1234567890")
    issue(store, key, BOUND)
    assert not issue(store, key, RECORD)
    assert store.redeem(key, keep=KEEP, now=NOW) == FirstUse(record=BOUND)


def test_does_not_issue_a_used_nonce_again(store: NonceStore, tenant: str) -> None:
    key = NonceKey(tenant=tenant, nonce="1234567890")
    issue(store, key)
    store.redeem(key, keep=KEEP, now=NOW)
    assert not issue(store, key)
    assert store.redeem(key, keep=KEEP, now=NOW) == AlreadyUsed()


def test_gives_back_every_binding_and_every_microsecond(store: NonceStore, tenant: str) -> None:
    key = NonceKey(tenant=tenant, nonce="1234567890")
    issue(store, key, BOUND)
    assert store.redeem(key, keep=KEEP, now=NOW) == FirstUse(record=BOUND)


def test_keys_of_any_characters_are_kept_apart(store: NonceStore, tenant: str) -> None:
    keys = [NonceKey(tenant=tenant + left, nonce=right) for left in ODD_TEXTS for right in ODD_TEXTS]
    records = [NonceRecord(issued_at=NOW, expires_at=NOW + KEEP, vm_id=str(index)) for index in range(len(keys))]
    assert all(issue(store, key, record) for key, record in zip(keys, records, strict=True))
    assert [store.redeem(key, keep=KEEP, now=NOW) for key in keys] == [FirstUse(record=record) for record in records]


@pytest.mark.parametrize("keep", [timedelta(0), timedelta(seconds=-1)])
def test_a_keep_that_is_not_positive_is_refused(store: NonceStore, tenant: str, keep: timedelta) -> None:
    key = NonceKey(tenant=tenant, nonce="1234567890")
    with pytest.raises(ValueError, match="keep is not positive"):
        store.issue(key, RECORD, keep=keep, now=NOW)
    assert store.redeem(key, keep=KEEP, now=NOW) == UnknownNonce()
    issue(store, key)
    with pytest.raises(ValueError, match="keep is not positive"):
        store.redeem(key, keep=keep, now=NOW)
    assert store.redeem(key, keep=KEEP, now=NOW) == FirstUse(record=RECORD)


def test_the_shortest_keep_is_accepted(store: NonceStore, tenant: str) -> None:
    key = NonceKey(tenant=tenant, nonce="1234567890")
    assert store.issue(key, RECORD, keep=timedelta(microseconds=1), now=NOW)


def test_two_openings_of_one_store_share_their_nonces(place: Place, store: NonceStore, tenant: str) -> None:
    key = NonceKey(tenant=tenant, nonce="1234567890")
    issue(store, key)
    other = place.open()
    try:
        assert other.redeem(key, keep=KEEP, now=NOW) == FirstUse(record=RECORD)
    finally:
        other.close()
    assert store.redeem(key, keep=KEEP, now=NOW) == AlreadyUsed()


def test_works_on_after_close(place: Place, tenant: str) -> None:
    store = place.open()
    store.close()
    store.ping()
    assert issue(store, NonceKey(tenant=tenant, nonce="1"))
    store.close()
    store.close()


def test_of_many_threads_exactly_one_is_first(store: NonceStore, tenant: str) -> None:
    threads = 32
    for round_ in range(5):
        key = NonceKey(tenant=tenant, nonce=str(round_))
        issue(store, key, BOUND)
        barrier = threading.Barrier(threads)

        def redeem(barrier: threading.Barrier = barrier, key: NonceKey = key) -> Redemption:
            barrier.wait()
            return store.redeem(key, keep=KEEP, now=NOW)

        with ThreadPoolExecutor(threads) as pool:
            outcomes = Counter(future.result() for future in [pool.submit(redeem) for _ in range(threads)])
        assert outcomes == {FirstUse(record=BOUND): 1, AlreadyUsed(): threads - 1}


def test_of_many_threads_exactly_one_issues(store: NonceStore, tenant: str) -> None:
    threads = 16
    key = NonceKey(tenant=tenant, nonce="1234567890")
    barrier = threading.Barrier(threads)

    def issue_mine(index: int) -> bool:
        barrier.wait()
        return issue(store, key, NonceRecord(issued_at=NOW, expires_at=NOW + KEEP, vm_id=str(index)))

    with ThreadPoolExecutor(threads) as pool:
        issued = list(pool.map(issue_mine, range(threads)))
    winner = issued.index(True)
    assert issued.count(True) == 1
    redeemed = store.redeem(key, keep=KEEP, now=NOW)
    assert isinstance(redeemed, FirstUse)
    assert redeemed.record.vm_id == str(winner)


def test_of_several_processes_exactly_one_is_first(place: Place, store: NonceStore, tenant: str) -> None:
    key = NonceKey(tenant=tenant, nonce="1234567890")
    issue(store, key)
    outcomes = at_once(place, "nonce", key.tenant, key.nonce)
    assert outcomes == {"FirstUse": 1, "AlreadyUsed": PROCESSES - 1}
    assert store.redeem(key, keep=KEEP, now=NOW) == AlreadyUsed()


def at_once(place: Place, kind: str, tenant: str, text: str) -> Counter[str]:
    """Let PROCESSES act at the same time on one nonce or document, and return their outcomes."""
    arguments = (place.kind, place.where, kind, tenant, text, NOW.isoformat(), *place.files)
    return Counter(from_processes(redeem, [arguments] * PROCESSES))


def remember(store: NonceStore, key: DocumentKey, *, keep: timedelta = KEEP) -> bool:
    return store.remember(key, keep=keep, now=NOW)


def test_remembers_a_document_once(store: NonceStore, tenant: str) -> None:
    key = DocumentKey(tenant=tenant, digest="ab" * 32)
    assert [remember(store, key) for _ in range(3)] == [True, False, False]
    assert remember(store, DocumentKey(tenant=tenant, digest="cd" * 32))
    assert remember(store, DocumentKey(tenant=f"{tenant}-other", digest="ab" * 32))


def test_a_document_and_a_nonce_of_the_same_text_are_kept_apart(store: NonceStore, tenant: str) -> None:
    texts = ["ab" * 32, "1234567890", "document:ab", *ODD_TEXTS]
    for text in texts:
        assert remember(store, DocumentKey(tenant=tenant, digest=text))
        for nonce in (text, f"document:{text}"):
            assert store.redeem(NonceKey(tenant=tenant, nonce=nonce), keep=KEEP, now=NOW) == UnknownNonce()
    for number, text in enumerate(texts):
        key = NonceKey(tenant=tenant, nonce=f"n{number}")
        assert issue(store, key)
        assert remember(store, DocumentKey(tenant=tenant, digest=key.nonce))
        assert store.redeem(key, keep=KEEP, now=NOW) == FirstUse(record=RECORD)
        assert not remember(store, DocumentKey(tenant=tenant, digest=text))


@pytest.mark.parametrize("keep", [timedelta(0), timedelta(seconds=-1)])
def test_a_keep_of_a_document_that_is_not_positive_is_refused(store: NonceStore, tenant: str, keep: timedelta) -> None:
    key = DocumentKey(tenant=tenant, digest="ab" * 32)
    with pytest.raises(ValueError, match="keep is not positive"):
        remember(store, key, keep=keep)
    assert remember(store, key)


def test_of_many_threads_exactly_one_is_the_first_to_show_a_document(store: NonceStore, tenant: str) -> None:
    threads = 32
    for round_ in range(5):
        key = DocumentKey(tenant=tenant, digest=f"{round_:064x}")
        barrier = threading.Barrier(threads)

        def show(barrier: threading.Barrier = barrier, key: DocumentKey = key) -> bool:
            barrier.wait()
            return remember(store, key)

        with ThreadPoolExecutor(threads) as pool:
            outcomes = Counter(future.result() for future in [pool.submit(show) for _ in range(threads)])
        assert outcomes == {True: 1, False: threads - 1}


def test_of_several_processes_exactly_one_is_the_first_to_show_a_document(
    place: Place, store: NonceStore, tenant: str
) -> None:
    key = DocumentKey(tenant=tenant, digest="ab" * 32)
    outcomes = at_once(place, "document", key.tenant, key.digest)
    assert outcomes == {"True": 1, "False": PROCESSES - 1}
    assert not remember(store, key)


def test_answers_a_ping(store: NonceStore) -> None:
    store.ping()


_steps = st.lists(
    st.tuples(
        st.sampled_from(["issue", "redeem"]),
        st.sampled_from(["a", "b"]),
        st.sampled_from(["1", "2", "3"]),
        st.builds(
            NonceRecord,
            issued_at=st.datetimes(timezones=st.just(UTC)),
            expires_at=st.datetimes(timezones=st.just(UTC)),
            vm_id=st.text(max_size=8),
            policy=st.text(max_size=8),
            jkt=st.text(max_size=8),
        ),
    ),
    max_size=16,
)


# The store outlives the examples on purpose: each example has its own tenants.
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(steps=_steps)
def test_agrees_with_a_dictionary(store: NonceStore, steps: list[tuple[str, str, str, NonceRecord]]) -> None:
    example = uuid.uuid4().hex
    outstanding: dict[NonceKey, NonceRecord] = {}
    used: set[NonceKey] = set()
    for action, tenant, nonce, record in steps:
        key = NonceKey(tenant=example + tenant, nonce=nonce)
        if action == "issue":
            assert issue(store, key, record) == (key not in outstanding and key not in used)
            if key not in used:
                outstanding.setdefault(key, record)
        elif key in outstanding:
            assert store.redeem(key, keep=KEEP, now=NOW) == FirstUse(record=outstanding.pop(key))
            used.add(key)
        else:
            assert store.redeem(key, keep=KEEP, now=NOW) == (AlreadyUsed() if key in used else UnknownNonce())
