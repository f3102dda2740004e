"""The key set of a URL: fetched within bounds, cached, renewed, and kept for a while when the URL is down."""

import errno
import json
import os
import re
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.client import HTTPResponse, IncompleteRead
from pathlib import Path
from socket import SHUT_WR, create_connection, create_server, dup, socket

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from support.issuers import make_tls_server
from support.relying_party_cases import EXPECTED, KEY_SET, NOW, TOKEN, jwk, token
from support.scripted_servers import Reply, Request, Step, dead_url, json_reply, serving

from verifier.relying_party import KeyRefused, MemoryReplayStore, NotVerified, RefusalCode, ResultVerifier, key_cache
from verifier.relying_party.key_cache import (
    FRESH_SECONDS,
    INTERVAL_SECONDS,
    MAX_KEY_SET_BYTES,
    STALE_SECONDS,
    TIMEOUT_SECONDS,
    CachedKeys,
    FixedKeys,
    KeySetUrl,
    KeysUnavailable,
)
from verifier.relying_party.public_keys import MAX_KEYS, read_key_set

PUBLISHED = json_reply(KEY_SET)
BROKEN = Reply(status=503)
NEW_KEY = jwk(generate_private_key(SECP256R1()))
ROTATED = json_reply({"keys": [{**NEW_KEY, "kid": "new", "use": "sig", "alg": "ES256"}]})


#: How long a test waits for a thread, at most. The machine may do other work, so it is no bound of the product.
PATIENCE = 30


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no deadline pass because the machine does other work."""
    monkeypatch.setattr(key_cache, "TIMEOUT_SECONDS", PATIENCE)


class Monotonic:
    def __init__(self) -> None:
        self.seconds = 1000.0

    def __call__(self) -> float:
        return self.seconds


class Served:
    """A cache over a server or a function, and its clock."""

    def __init__(self, source: str | Callable[[], bytes]) -> None:
        self.monotonic = Monotonic()
        fetch = KeySetUrl(f"{source}/.well-known/jwks.json") if isinstance(source, str) else source
        self.keys = CachedKeys(fetch, monotonic=self.monotonic)

    def after(self, seconds: float, kid: str = "es") -> bool:
        self.monotonic.seconds += seconds
        return self.keys.find(kid) is not None


class Held:
    """A fetch that answers at once, until one does not answer before it is released."""

    def __init__(self, *answers: bytes | OSError) -> None:
        self._answers = list(answers)
        self.began = threading.Event()
        self.released = threading.Event()

    def __call__(self) -> bytes:
        if not self._answers:
            self.began.set()
            assert self.released.wait(PATIENCE)
            raise OSError("released")
        answer = self._answers.pop(0)
        if isinstance(answer, OSError):
            raise answer
        return answer


def make_verifier(url: str) -> ResultVerifier:
    return ResultVerifier(
        **EXPECTED,
        jwks=url,
        replay_store=MemoryReplayStore(),
        clock=lambda: NOW,
    )


def test_a_key_set_is_fetched_once_while_it_is_fresh() -> None:
    with serving(PUBLISHED) as script:
        verifier = make_verifier(f"{script.url}/keys?of=us")
        assert [verifier.verify(TOKEN).vm_id for _ in range(3)] == ["02aab8a4-74ef-476e-8182-f6d2ba4166a6"] * 3
        assert [(request.method, request.target) for request in script.requests] == [("GET", "/keys?of=us")]


def test_a_key_set_is_renewed_when_it_is_no_longer_fresh() -> None:
    with serving(PUBLISHED, ROTATED) as script:
        served = Served(script.url)
        assert served.after(0)
        assert served.after(FRESH_SECONDS - 1)
        # The verifier retired the key: the first call after that no longer finds it.
        assert not served.after(1)
        assert len(script.requests) == 2


def test_a_new_key_is_found_at_once() -> None:
    with serving(PUBLISHED, ROTATED) as script:
        served = Served(script.url)
        assert served.after(0)
        assert served.after(INTERVAL_SECONDS, "new")


def test_unknown_keys_cause_one_request_in_each_interval() -> None:
    with serving(PUBLISHED) as script:
        served = Served(script.url)
        assert [served.after(0, f"unknown-{number}") for number in range(50)] == [False] * 50
        assert len(script.requests) == 1
        assert not served.after(INTERVAL_SECONDS, "unknown")
        assert len(script.requests) == 2


def test_keys_stay_in_use_for_a_bounded_time_when_the_url_is_down() -> None:
    with serving(PUBLISHED, BROKEN) as script:
        served = Served(script.url)
        assert served.after(0)
        assert served.after(FRESH_SECONDS)
        assert served.after(1)
        assert len(script.requests) == 2  # the failed attempt is not repeated at once
        assert served.after(STALE_SECONDS - FRESH_SECONDS - 2)
        with pytest.raises(KeysUnavailable):
            served.after(1)


def test_a_key_that_may_be_new_is_not_called_unknown_when_the_url_is_down() -> None:
    with serving(PUBLISHED, BROKEN) as script:
        served = Served(script.url)
        assert served.after(0)
        with pytest.raises(KeysUnavailable):
            served.after(FRESH_SECONDS, "new")


def test_keys_are_fetched_again_when_the_url_is_back() -> None:
    with serving(BROKEN, PUBLISHED) as script:
        served = Served(script.url)
        with pytest.raises(KeysUnavailable):
            served.after(0)
        with pytest.raises(KeysUnavailable):
            served.after(INTERVAL_SECONDS - 1)
        assert served.after(1)


def test_a_token_is_refused_with_its_code_while_there_are_no_keys() -> None:
    with pytest.raises(NotVerified) as caught:
        make_verifier(f"{dead_url()}/keys").verify(TOKEN)
    assert caught.value.code is RefusalCode.KEYS_UNAVAILABLE
    assert caught.value.code.is_temporary


@pytest.mark.parametrize(
    "reply",
    [
        Reply(status=404, body=json.dumps(KEY_SET).encode()),
        Reply(status=301, headers={"Location": "/elsewhere"}),
        Reply(body=json.dumps({**KEY_SET, "filler": "x" * MAX_KEY_SET_BYTES}).encode()),
        Reply(body=json.dumps(KEY_SET).encode(), missing=5),
        Reply(body=b""),
        Reply(body=b"[]"),
        Reply(body=b'{"keys": []}'),
        Reply(body=b'{"keys": {}}'),
        Reply(body=b'{"keys": [], ' + json.dumps(KEY_SET).encode()[1:]),
        Reply(body=b"\xff"),
    ],
    ids=["404", "redirect", "too large", "cut", "empty", "list", "no keys", "object", "two members", "no UTF-8"],
)
def test_an_invalid_answer_is_no_key_set(reply: Step) -> None:
    with serving(reply, PUBLISHED) as script:
        served = Served(script.url)
        with pytest.raises(KeysUnavailable):
            served.after(0)
        assert served.after(INTERVAL_SECONDS)
        assert {request.target for request in script.requests} == {"/.well-known/jwks.json"}


def test_at_most_one_thread_fetches() -> None:
    with serving(PUBLISHED) as script:
        served = Served(script.url)
        start = threading.Barrier(16)

        def find() -> bool:
            start.wait()
            return served.after(0)

        with ThreadPoolExecutor(16) as pool:
            assert all(pool.map(lambda _: find(), range(16)))
        assert len(script.requests) == 1


def test_threads_with_a_known_key_do_not_wait_for_a_slow_fetch() -> None:
    held = Held(PUBLISHED.body)
    served = Served(held)
    assert served.after(0)
    served.monotonic.seconds += INTERVAL_SECONDS
    with ThreadPoolExecutor(2) as pool:
        slow = pool.submit(served.after, 0, "unknown")
        assert held.began.wait(PATIENCE)
        assert pool.submit(served.after, 0).result(PATIENCE / 2)
        assert not slow.done()
        held.released.set()
        assert not slow.result(PATIENCE)


def test_one_thread_alone_waits_while_the_url_is_down() -> None:
    held = Held(PUBLISHED.body, OSError("down"))
    served = Served(held)
    assert served.after(0)
    assert served.after(FRESH_SECONDS)
    served.monotonic.seconds += INTERVAL_SECONDS
    with ThreadPoolExecutor(2) as pool:
        slow = pool.submit(served.after, 0)
        assert held.began.wait(PATIENCE)
        assert pool.submit(served.after, 0).result(PATIENCE / 2)
        with pytest.raises(KeysUnavailable):
            pool.submit(served.after, 0, "unknown").result(PATIENCE / 2)
        assert not slow.done()
        held.released.set()
        assert slow.result(PATIENCE)


@pytest.mark.parametrize("was_down", [False, True])
def test_threads_wait_for_a_renewal_so_that_a_retired_key_does_not_pass_beside_it(*, was_down: bool) -> None:
    released = threading.Event()

    def rotated(_: Request) -> Reply:
        assert released.wait(PATIENCE)
        return ROTATED

    before: list[Step] = [BROKEN] if was_down else []
    with serving(*before, PUBLISHED, rotated) as script:
        served = Served(script.url)
        if was_down:
            with pytest.raises(KeysUnavailable):
                served.after(0)
        assert served.after(INTERVAL_SECONDS)
        served.monotonic.seconds += FRESH_SECONDS
        with ThreadPoolExecutor(4) as pool:
            found = [pool.submit(served.after, 0) for _ in range(4)]
            while len(script.requests) < len(before) + 2:
                assert not any(one.done() for one in found)
                time.sleep(0.01)
            released.set()
            assert [one.result(PATIENCE) for one in found] == [False] * 4


def test_threads_that_waited_for_a_long_fetch_do_not_fetch_again() -> None:
    def slow(_: Request) -> Reply:
        time.sleep(0.3)  # until the others wait; if one is later, it finds the keys
        served.monotonic.seconds += INTERVAL_SECONDS
        return PUBLISHED

    with serving(slow, PUBLISHED) as script:
        served = Served(script.url)
        with ThreadPoolExecutor(4) as pool:
            found = [pool.submit(served.keys.find, "es") for _ in range(4)]
            assert served.keys.find("es")
            assert all(one.result(PATIENCE) for one in found)
        assert len(script.requests) == 1


def test_the_bounds_are_the_documented_ones() -> None:
    seconds = [FRESH_SECONDS, STALE_SECONDS, INTERVAL_SECONDS, TIMEOUT_SECONDS]
    assert (MAX_KEY_SET_BYTES, seconds) == (65_536, [300, 3600, 10, 5])


@pytest.mark.parametrize(("suffix", "target"), [("", "/"), ("?of=us", "/?of=us"), ("/a?b", "/a?b"), ("/a", "/a")])
def test_the_request_has_the_target_of_the_url_and_asks_for_json(suffix: str, target: str) -> None:
    with serving(PUBLISHED) as script:
        assert json.loads(KeySetUrl(script.url + suffix)()) == KEY_SET
        [request] = script.requests
        assert request.target == target
        assert request.headers["Accept"] == "application/json, application/jwk-set+json"


def test_a_body_has_at_most_64_kib() -> None:
    with serving(Reply(body=b" " * MAX_KEY_SET_BYTES), Reply(body=b" " * (MAX_KEY_SET_BYTES + 1))) as script:
        url = KeySetUrl(script.url)
        assert url() == b" " * MAX_KEY_SET_BYTES
        with pytest.raises(OSError, match="the key set is too large"):
            url()


def test_a_body_that_is_cut_is_told_with_what_came_and_what_is_missing() -> None:
    with serving(Reply(body=b"abc", missing=5)) as script, pytest.raises(IncompleteRead) as caught:
        KeySetUrl(script.url)()
    assert (caught.value.partial, caught.value.expected) == (b"abc", 5)


@dataclass(slots=True)
class Watch:
    """Keeps the connections with their timeouts, and the descriptors of the deadlines."""

    connections: list[socket] = field(default_factory=list)
    timeouts: list[float | None] = field(default_factory=list)
    descriptors: list[tuple[int, int]] = field(default_factory=list)

    def are_closed(self) -> bool:
        return all(one.fileno() == -1 for one in self.connections) and all(
            inode != inode_of(descriptor) for descriptor, inode in self.descriptors
        )


def inode_of(descriptor: int) -> int:
    """Return which socket a descriptor is: after a close, its number may be that of another one. 0 if it is closed."""
    try:
        return os.fstat(descriptor).st_ino
    except OSError:
        return 0


@pytest.fixture
def watch(monkeypatch: pytest.MonkeyPatch) -> Watch:
    watched = Watch()
    connect, duplicate = create_connection, dup

    def watch_connection(address: tuple[str, int], timeout: float | None = None, source: object = None) -> socket:
        assert source is None
        watched.timeouts.append(timeout)
        watched.connections.append(connect(address, timeout))
        return watched.connections[-1]

    def watch_descriptor(descriptor: int) -> int:
        made = duplicate(descriptor)
        watched.descriptors.append((made, inode_of(made)))
        return made

    monkeypatch.setattr("socket.create_connection", watch_connection)
    monkeypatch.setattr("socket.dup", watch_descriptor)
    return watched


@pytest.mark.parametrize("is_tls", [False, True])
def test_a_connection_has_a_timeout_and_a_deadline_and_leaves_nothing_open(
    watch: Watch, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, is_tls: bool
) -> None:
    intervals: list[float] = []

    class SlowTimer(threading.Timer):
        def __init__(self, interval: float, function: Callable[[], None]) -> None:
            super().__init__(interval, function)
            intervals.append(interval)

        def run(self) -> None:
            super().run()
            time.sleep(0.2)  # so that a caller who does not wait for the end leaves it in timers()

    def timers() -> list[bool]:
        return [thread.daemon for thread in threading.enumerate() if isinstance(thread, SlowTimer)]

    def reply(_: Request) -> Reply:
        during.extend(timers())
        return PUBLISHED

    during: list[bool] = []
    monkeypatch.setattr(threading, "Timer", SlowTimer)
    context, authority = make_tls_server(tmp_path, host="localhost")
    with serving(reply, tls=context if is_tls else None) as script:
        monkeypatch.setenv("SSL_CERT_FILE", str(authority))
        url = KeySetUrl(script.url)
        # The trusted certificates are those of the start.
        monkeypatch.delenv("SSL_CERT_FILE")
        assert json.loads(url()) == KEY_SET
    assert (during, timers()) == ([True], [])
    assert {*watch.timeouts, *intervals} == {key_cache.TIMEOUT_SECONDS}
    assert len(watch.descriptors) == 1
    assert watch.are_closed()


def test_without_a_thread_for_the_deadline_no_request_is_made(watch: Watch, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: threading.Timer) -> None:
        raise RuntimeError("can't start new thread")

    with serving(PUBLISHED) as script:
        with monkeypatch.context() as patch:
            patch.setattr(threading.Timer, "start", refuse)
            with pytest.raises(OSError, match="no thread is available for a deadline"):
                KeySetUrl(script.url)()
        assert script.requests == []
    assert len(watch.connections) == len(watch.descriptors) == 1
    assert watch.are_closed()


class Deadline:
    """Lets the deadline of a fetch pass when the test says so, and not when the machine is slow."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._is_due = is_due = threading.Event()
        self._has_passed = has_passed = threading.Event()

        class Timer(threading.Timer):
            def run(self) -> None:
                while not self.finished.wait(0.01):
                    if is_due.is_set():
                        self.function(*self.args, **self.kwargs)
                        has_passed.set()
                        return

        monkeypatch.setattr(threading, "Timer", Timer)

    def pass_now(self) -> None:
        self._is_due.set()
        assert self._has_passed.wait(PATIENCE)


@pytest.fixture
def deadline(monkeypatch: pytest.MonkeyPatch) -> Deadline:
    return Deadline(monkeypatch)


def test_the_deadline_ends_a_body_that_goes_on(deadline: Deadline, monkeypatch: pytest.MonkeyPatch) -> None:
    read_body = key_cache._read_body  # noqa: SLF001 - the deadline passes after the headers

    def read_on(response: HTTPResponse) -> bytes:
        deadline.pass_now()
        return read_body(response)

    monkeypatch.setattr(key_cache, "_read_body", read_on)
    with (
        dripping(b"HTTP/1.1 200 OK\r\n\r\n") as url,
        pytest.raises(TimeoutError, match="the key set was not complete in time"),
    ):
        KeySetUrl(url)()


class PassedTimer(threading.Timer):
    """A deadline that passes at once, in the thread of the fetch."""

    def start(self) -> None:
        self.function()

    def join(self, timeout: float | None = None) -> None:
        del timeout  # the thread was never started


def test_what_the_deadline_breaks_is_told_as_the_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    """The request fails after the shutdown, here before its first byte, with an error of the socket."""
    with serving(PUBLISHED) as script:
        monkeypatch.setattr(threading, "Timer", PassedTimer)
        with pytest.raises(TimeoutError, match="the key set was not complete in time") as raised:
            KeySetUrl(script.url)()
    assert isinstance(raised.value.__context__, BrokenPipeError)


def test_a_connection_that_is_gone_at_the_deadline_is_no_other_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: socket, how: int) -> None:
        raise OSError(errno.ENOTCONN, "not connected", how)

    with serving(PUBLISHED) as script, monkeypatch.context() as patch:
        patch.setattr(threading, "Timer", PassedTimer)
        patch.setattr(socket, "shutdown", refuse)
        with pytest.raises(TimeoutError, match="the key set was not complete in time"):
            KeySetUrl(script.url)()


@contextmanager
def dripping(head: bytes) -> Iterator[str]:
    """A server that sends the head, and then one byte every tenth of a second."""
    with create_server(("127.0.0.1", 0)) as listener:
        stopping = threading.Event()

        def serve() -> None:
            caller, _ = listener.accept()
            with caller:
                drip(caller)

        def drip(caller: socket) -> None:
            try:
                caller.recv(4096)
                caller.sendall(head)
                while not stopping.wait(0.1):
                    caller.sendall(b"x")
            except OSError:
                pass

        listener.settimeout(PATIENCE)
        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}/keys"
        finally:
            stopping.set()
            thread.join(PATIENCE)


@pytest.mark.parametrize("head", [b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 200 OK\r\n\r\n"], ids=["headers", "body"])
def test_a_server_that_sends_one_byte_after_the_other_is_given_up(head: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(key_cache, "TIMEOUT_SECONDS", TIMEOUT_SECONDS)
    with dripping(head) as url:
        began = time.monotonic()
        with pytest.raises(KeysUnavailable):
            CachedKeys(KeySetUrl(url)).find("es")
        # Without a deadline it takes hours: each byte starts the timeout of the socket again.
        assert time.monotonic() - began < PATIENCE


@pytest.mark.parametrize(
    "url",
    [
        "http://verifier.example.com/keys",
        "http://localhost.example.com/keys",
        "http://192.0.2.1/keys",
        "http://[2001:db8::1]/keys",
        "http://127.0.0.1.example.com/keys",
        "ftp://127.0.0.1/keys",
        "file:///etc/passwd",
        "https://",
        "https://user:password@verifier.example.com/keys",
        "https://verifier.example.com/keys#fragment",
        "https://[::1]x/keys",
        "https://x[::1]/keys",
        "https://[::1]x:443/keys",
        "https://[]/keys",
        "https://[127.0.0.1]/keys",
        "https://[v1.x]/keys",
        "https://[fe80::1%25eth0]/keys",
        "https://::1/keys",
        "https://verifier.example.com:65536/keys",
        "https://verifier.example.com:x/keys",
        "https://verifier.example.com/ke\tys",
        " https://verifier.example.com/keys",
        "verifier.example.com",
        "",
    ],
)
def test_a_url_without_https_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="URL of the key set"):
        make_verifier(url)


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:1/",
        "http://[::1]:1/",
        "http://[::ffff:127.0.0.1]:1/",
        "http://localhost:1/",
        "https://a.example",
        "https://a.example:65535/keys",
        "HTTPS://A.example:/keys?a=b",
    ],
)
def test_https_and_loopback_are_accepted(url: str) -> None:
    assert KeySetUrl(url) is not None


def test_the_certificate_of_the_url_has_to_be_trusted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    context, authority = make_tls_server(tmp_path, host="localhost")
    with serving(PUBLISHED, tls=context) as script:
        with pytest.raises(NotVerified, match="keys are unavailable"):
            make_verifier(script.url).verify(TOKEN)
        assert script.requests == []
        monkeypatch.setenv("SSL_CERT_FILE", str(authority))
        assert make_verifier(script.url).verify(TOKEN).tenant == "contoso"


@pytest.mark.parametrize("kept", ["plaintext", "TLS"])
def test_a_body_after_the_deadline_is_refused(
    kept: str, deadline: Deadline, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The thread reads on after the deadline: what a man in the middle adds in plaintext, or what came late."""
    context, authority = make_tls_server(tmp_path, host="localhost")
    monkeypatch.setenv("SSL_CERT_FILE", str(authority))
    read_body, has_sent = key_cache._read_body, threading.Event()  # noqa: SLF001 - read late, as in a busy process

    def read_late(response: HTTPResponse) -> bytes:
        assert has_sent.wait(PATIENCE)
        deadline.pass_now()
        return read_body(response)

    monkeypatch.setattr(key_cache, "_read_body", read_late)
    body = json.dumps(KEY_SET).encode()

    def serve() -> None:
        caller, _ = listener.accept()
        with context.wrap_socket(caller, server_side=True) as secured:
            secured.recv(4096)
            secured.sendall(f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\n\r\n".encode())
            if kept == "TLS":
                secured.sendall(body)
            else:
                with socket(fileno=dup(secured.fileno())) as raw:
                    raw.sendall(body)
                    raw.shutdown(SHUT_WR)
            has_sent.set()
            released.wait(PATIENCE)

    released = threading.Event()
    with create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        with pytest.raises(TimeoutError, match="in time") as raised:
            KeySetUrl(f"https://localhost:{listener.getsockname()[1]}/keys")()
        released.set()
        thread.join(PATIENCE)
    if kept == "plaintext":
        # Releases of OpenSSL name a record that is not TLS differently.
        assert re.search("(?i)wrong.version|record.layer", str(raised.value.__context__))


def test_a_key_set_that_is_passed_in_is_checked_at_once() -> None:
    assert FixedKeys(KEY_SET).find("es") is not None
    lists: list[object] = [[], None, {}, [{"kid": "a", "kty": "oct", "k": "AAAA"}]]
    documents: list[object] = [*({"keys": keys} for keys in lists), {}, None, [], 1]
    for document in documents:
        with pytest.raises(KeyRefused):
            FixedKeys(document)


@pytest.mark.parametrize("value", [None, 1, b"x", ["x"]], ids=str)
def test_a_token_that_is_not_text_is_malformed(value: object) -> None:
    verifier = make_verifier("https://a.example")
    with pytest.raises(NotVerified, match="not a string") as caught:
        verifier.verify(value)  # type: ignore[arg-type]  # what a program without types passes
    assert caught.value.code is RefusalCode.TOKEN_MALFORMED


@pytest.mark.parametrize(
    "url", ["", "licensing.example.com/licenses", "https://a.example/a b", "https://a.example/\u00e9", "ftp://a/"]
)
def test_a_url_of_the_backend_that_is_none_is_an_error_of_the_backend(url: str) -> None:
    verifier = make_verifier("https://a.example")
    with pytest.raises(ValueError, match="url must be the external URL"):
        verifier.verify(TOKEN, url=url)


def test_a_key_set_with_two_keys_of_one_name_is_refused() -> None:
    keys = [{**NEW_KEY, "kid": "a"}, {**NEW_KEY, "kid": "a"}]
    with pytest.raises(KeyRefused, match="one name"):
        read_key_set({"keys": keys})


def test_a_key_set_is_bounded() -> None:
    keys = [{**NEW_KEY, "kid": str(number)} for number in range(MAX_KEYS + 1)]
    assert len(read_key_set({"keys": keys[1:]})) == MAX_KEYS
    with pytest.raises(KeyRefused, match="at most 32"):
        read_key_set({"keys": keys})


@pytest.mark.parametrize(
    "change",
    [{"d": "AAAA"}, {"use": "enc"}, {"alg": "ES384"}, {"crv": "P-384"}, {"x": "A"}, {"kid": 1}, {"kid": "a b"}],
)
def test_a_key_that_is_not_usable_is_ignored(change: dict[str, object]) -> None:
    keys = [{**NEW_KEY, "kid": "good"}, {**NEW_KEY, "kid": "bad", **change}]
    assert list(read_key_set({"keys": keys})) == ["good"]


def test_a_private_key_in_the_set_is_never_used() -> None:
    with pytest.raises(NotVerified, match="does not publish"):
        ResultVerifier(
            issuer=EXPECTED["issuer"],
            audience="contoso",
            tenant="contoso",
            policies=["appliance"],
            jwks={"keys": [{**NEW_KEY, "kid": "es", "d": "AAAA"}, {**NEW_KEY, "kid": "other"}]},
            replay_store=MemoryReplayStore(),
        ).verify(token())
