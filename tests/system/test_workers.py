"""The workers under load: killed at random, told to stop, and held up by callers who do not close or say nothing."""

import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from support import raw_http
from support.documents import VM, imds_answer
from support.live_documents import current_document
from support.processes import DEADLINE_SECONDS, await_that, children_of, is_pending, is_stopped
from support.services import RunningServer, running_service

STOP_SECONDS = 30
SENDERS = 24


@pytest.fixture(params=["sqlite", "redis"])
def store_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "redis":
        return str(request.getfixturevalue("redis_url"))
    return f"sqlite://{tmp_path}/nonces.sqlite3"


class TestKilled:
    """Workers get SIGKILL, again and again, while every document is posted by several senders at once."""

    documents = 40
    copies = 6
    kills = 6

    def test_no_document_is_accepted_twice_and_the_service_goes_on(self, store_url: str, trust_dir: Path) -> None:
        with running_service(nonce_store=store_url, trust_dir=trust_dir, VERIFIER_NONCE_MODE="optional") as service:
            posts = [json.dumps(imds_answer(each)).encode() for each in self.make_documents(service)] * self.copies
            # Copies of one document are together, so that they are posted at the same time.
            posts.sort()
            with ThreadPoolExecutor(SENDERS) as senders:
                answers = [senders.submit(self.post_until_answered, service, body) for body in posts]
                killed = self.kill_workers(service, answers)
            accepted = Counter(body for body, answer in zip(posts, answers, strict=True) if answer.result()[0] == 200)
            outcomes = Counter(answer.result()[:2] for answer in answers)
            interrupted = sum(answer.result()[2] for answer in answers)
            assert killed == self.kills
            assert set(outcomes) == {(200, None), (409, "nonce-replayed")}, outcomes
            assert max(accepted.values()) == 1
            # What is not accepted at all was used up by a worker that died before it could say so.
            assert len(posts) // self.copies - len(accepted) <= interrupted
            for body in set(posts):
                assert self.post_until_answered(service, body)[:2] == (409, "nonce-replayed")
            # It is whole again: as many workers, and verdicts.
            await_that(lambda: len(children_of(service.process.pid)) == 2)
            fields = imds_answer(current_document(service.issue_nonce()))
            assert service.post_json("/v1/attestations", fields).status == 200
            assert service.process.poll() is None

    def make_documents(self, service: RunningServer) -> Iterator[bytes]:
        """Half of them answer a nonce; the others are of machines of their own."""
        for number in range(self.documents):
            if number % 2:
                yield current_document(service.issue_nonce())
            else:
                yield current_document(None, vm=replace(VM, vm_id=str(uuid.uuid4())))

    @staticmethod
    def post_until_answered(service: RunningServer, body: bytes) -> tuple[int, object, int]:
        """The status, the code, and how often a worker died instead of answering. The listening socket is never lost:
        a connection that is refused is an error."""
        headers = {"Content-Type": "application/json"}
        for interrupted in range(100):
            try:
                answer = service.request("POST", "/v1/attestations", body, headers=headers)
            except ConnectionRefusedError:
                raise
            except (ConnectionError, HTTPException):
                continue
            return answer.status, answer.code if answer.status != 200 else None, interrupted
        raise AssertionError("no worker lived long enough to answer")

    def kill_workers(self, service: RunningServer, answers: list[Future[tuple[int, object, int]]]) -> int:
        """As often as is wanted, and with pauses in which a worker starts: at random, spread over the whole load."""
        chance = random.Random(5)  # noqa: S311 - no secret
        killed: set[int] = set()
        for number in range(1, self.kills + 1):
            await_that(lambda: self.done(answers) >= len(answers) * number // (self.kills + 2))  # noqa: B023 - called at once
            await_that(lambda: not killed.issuperset(children_of(service.process.pid)))
            worker = chance.choice(sorted(set(children_of(service.process.pid)) - killed))
            os.kill(worker, signal.SIGKILL)
            killed.add(worker)
        return len(killed)

    @staticmethod
    def done(answers: list[Future[tuple[int, object, int]]]) -> int:
        return sum(answer.done() for answer in answers)


@dataclass
class Sender:
    """One caller that asks for nonces, one after another, until the service does not take its request any more."""

    url: str
    #: Whether it keeps its connection for the next request.
    keeps: bool
    #: How long it waits between two requests.
    pause: float
    whole: int = 0
    cut: list[str] = field(default_factory=list)

    def run(self, stopping: threading.Event) -> None:
        parts = urlsplit(self.url)
        deadline = time.monotonic() + DEADLINE_SECONDS
        while time.monotonic() < deadline:
            connection = HTTPConnection(parts.hostname or "", parts.port, timeout=STOP_SECONDS)
            try:
                if not self.use(connection, stopping):
                    return
            finally:
                connection.close()
        raise AssertionError("the service did not stop")

    def use(self, connection: HTTPConnection, stopping: threading.Event) -> bool:
        """Whether another connection is worth trying: asks on this one until the service says that it is the last."""
        try:
            connection.connect()
            connection.request("POST", "/v1/nonces")
            response = connection.getresponse()
        except OSError:  # refused, or in the kernel when the last worker let go of the listener
            return self.refused(stopping)
        while True:
            body = response.read()
            if response.status != 201 or "nonce" not in json.loads(body):
                self.cut.append(f"{response.status} {body!r}")
                return False
            self.whole += 1
            if not self.keeps or response.headers.get("Connection") == "close":
                return True
            answered = time.monotonic()
            threading.Event().wait(self.pause)
            try:
                connection.request("POST", "/v1/nonces")
                response = connection.getresponse()
            except (OSError, HTTPException) as error:
                # The service said that it would read on, and does for two seconds when it is told to stop.
                if time.monotonic() - answered < 1:
                    self.cut.append(repr(error))
                return self.refused(stopping)

    def refused(self, stopping: threading.Event) -> bool:
        if not stopping.is_set():
            self.cut.append("refused before the service was told to stop")
        return False


class TestStopped:
    def test_no_request_in_flight_is_cut(self, store_url: str, trust_dir: Path) -> None:
        """Callers who keep their connection, with and without pauses, and callers who make one for each request."""
        with running_service(nonce_store=store_url, trust_dir=trust_dir) as service:
            senders = [
                Sender(url=service.url, keeps=number % 3 != 0, pause=0.02 if number % 3 == 1 else 0)
                for number in range(SENDERS)
            ]
            stopping = threading.Event()
            with ThreadPoolExecutor(SENDERS) as pool:
                running = [pool.submit(sender.run, stopping) for sender in senders]
                await_that(lambda: all(sender.whole >= 5 for sender in senders))
                stopping.set()
                service.process.send_signal(signal.SIGTERM)
                for each in running:
                    each.result()
            assert service.process.wait(STOP_SECONDS) == 0
        assert [sender.cut for sender in senders] == [[]] * SENDERS
        # What the log says was answered is what the callers got, and nothing else.
        answered = [line for line in map(json.loads, service.log) if line["event"] == "answered"]
        assert Counter(line["status"] for line in answered) == {201: sum(sender.whole for sender in senders)}

    def test_what_the_kernel_took_is_answered(self, tmp_path: Path, trust_dir: Path) -> None:
        """The worker sleeps while connections are made and requests are sent, and is told to stop before it wakes."""
        store = f"sqlite://{tmp_path}/nonces.sqlite3"
        with running_service(nonce_store=store, trust_dir=trust_dir, workers=1) as service, ExitStack() as stack:
            service.issue_nonce()  # the worker has started
            [worker] = children_of(service.process.pid)
            os.kill(worker, signal.SIGSTOP)
            try:
                await_that(lambda: is_stopped(worker))
                waiting = [stack.enter_context(raw_http.Connection(service.url)) for _ in range(100)]
                for connection in waiting:
                    connection.send(raw_http.request(path="/v1/nonces", headers=()))
                service.process.send_signal(signal.SIGTERM)
                await_that(lambda: is_pending(signal.SIGTERM, worker))
            finally:
                os.kill(worker, signal.SIGCONT)
            answers = [connection.receive() for connection in waiting]
            assert Counter(answer.status for answer in answers) == {201: 100}
            assert {answer.headers["Connection"] for answer in answers} == {"close"}
            with pytest.raises(ConnectionRefusedError):
                raw_http.Connection(service.url)
            for connection in waiting:
                connection.end_sending()
            assert service.process.wait(STOP_SECONDS) == 0

    def test_nobody_who_keeps_a_connection_open_keeps_the_service_from_stopping(
        self, tmp_path: Path, trust_dir: Path
    ) -> None:
        """Neither before a request, nor between two, nor after the last."""
        store = f"sqlite://{tmp_path}/nonces.sqlite3"
        with running_service(nonce_store=store, trust_dir=trust_dir, workers=1) as service, ExitStack() as stack:
            kept = [stack.enter_context(raw_http.Connection(service.url)) for _ in range(30)]
            for connection in kept[10:20]:
                connection.send(raw_http.request(path="/v1/nonces", headers=()))
            for connection in kept[20:]:
                connection.send(raw_http.request(path="/v1/nonces", headers=[("Connection", "close")]))
            assert {connection.receive().status for connection in kept[10:]} == {201}
            service.process.send_signal(signal.SIGTERM)
            assert service.process.wait(STOP_SECONDS) == 0


# The service, whose workers take their time between their fork and their own handlers of signals.
_SLOW_TO_START = """
import sys
import verifier.adapters.native_lock
from gevent import monkey
monkey.patch_all()
import time
from gunicorn import util
from verifier.__main__ import main

def be_slow(*_, **__):
    sys.stderr.write("forked\\n")
    sys.stderr.flush()
    time.sleep(1)  # the signal arrives meanwhile

util.set_owner_process = be_slow
sys.argv = ["imds-verifier", "serve"]
sys.exit(main())
"""


def test_a_worker_that_has_just_started_is_told_to_stop_too(tmp_path: Path, trust_dir: Path) -> None:
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("VERIFIER_")},
        "VERIFIER_PORT": "0",
        "VERIFIER_TRUST_DIR": str(trust_dir),
        "VERIFIER_NONCE_STORE": f"sqlite://{tmp_path}/nonces.sqlite3",
        "VERIFIER_WORKERS": "1",
        "VERIFIER_GRACEFUL_STOP_SECONDS": "300",
    }
    command = [sys.executable, "-P", "-c", _SLOW_TO_START]
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL) as process:
        try:
            assert process.stderr is not None
            while process.stderr.readline() != b"forked\n":
                assert process.poll() is None
            process.send_signal(signal.SIGTERM)
            process.communicate(timeout=DEADLINE_SECONDS)
        finally:
            process.kill()
    assert process.returncode == 0


@pytest.fixture(scope="module")
def held_up(tmp_path_factory: pytest.TempPathFactory, trust_dir: Path) -> Iterator[RunningServer]:
    """One worker that has as few callers as a setting allows."""
    store = f"sqlite://{tmp_path_factory.mktemp('held')}/nonces.sqlite3"
    with running_service(
        nonce_store=store, trust_dir=trust_dir, workers=1, VERIFIER_WORKER_CONNECTIONS="16"
    ) as running:
        yield running


class TestHeldUp:
    """More callers than one worker has at once do nothing. The service answers within this time, which is shorter than
    the deadline of one of them."""

    seconds = 10

    def test_a_caller_who_does_not_close_its_end_holds_nobody_up(self, held_up: RunningServer) -> None:
        with ExitStack() as stack:
            open_ends = [stack.enter_context(raw_http.Connection(held_up.url)) for _ in range(60)]
            started = time.monotonic()
            for connection in open_ends:
                connection.send(raw_http.request(path="/v1/nonces", headers=[("Connection", "close")]))
            assert {connection.receive().status for connection in open_ends} == {201}
            assert held_up.issue_nonce()
            assert time.monotonic() - started < self.seconds

    def test_a_caller_who_says_nothing_holds_nobody_up(self, held_up: RunningServer) -> None:
        with ExitStack() as stack:
            for _ in range(60):
                stack.enter_context(raw_http.Connection(held_up.url))
            started = time.monotonic()
            assert held_up.issue_nonce()
            assert time.monotonic() - started < self.seconds
