"""Many callers at once, on connections that they keep: what the load of the tests of faults comes from."""

import asyncio
import json
import random
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from support.documents import imds_answer
from support.live_documents import current_document
from support.session_log import SESSION_LOG

_SECONDS = 60
#: Of answers that a store has to be there for: verified, issued, replayed, unknown.
VERDICTS = frozenset({200, 201, 409, 422})


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """One answer: to which document (None: to a request for a nonce), and from when to when it took."""

    document: int | None
    status: int
    retry_after: int | None
    began: float
    ended: float

    @property
    def seconds(self) -> float:
        return self.ended - self.began


class Caller:
    """One connection to a service, kept alive, and opened anew where it was closed."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._host, self._port = parts.hostname or "", parts.port or 80
        self._writer: asyncio.StreamWriter | None = None
        self._reader: asyncio.StreamReader | None = None

    async def post(self, path: str, body: bytes) -> tuple[int, dict[str, str], bytes]:
        """The status, the headers by lower-case name, and the body of the answer. Once; but a connection that the
        server closed while it was idle is not the server's answer."""
        head = f"POST {path} HTTP/1.1\r\nHost: test\r\nContent-Type: application/json\r\n"
        request = f"{head}Content-Length: {len(body)}\r\n\r\n".encode("ascii") + body
        was_kept = self._writer is not None
        try:
            return await asyncio.wait_for(self._exchange(request), _SECONDS)
        except (OSError, asyncio.IncompleteReadError) as error:
            self.close()
            if not was_kept or not (isinstance(error, OSError) or not error.partial):
                raise
            return await asyncio.wait_for(self._exchange(request), _SECONDS)

    async def _exchange(self, request: bytes) -> tuple[int, dict[str, str], bytes]:
        if self._writer is None or self._reader is None:
            self._reader, self._writer = await asyncio.open_connection(self._host, self._port)
        self._writer.write(request)
        head = (await self._reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        first, *lines = head.split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines if line)}
        body = await self._reader.readexactly(int(headers.get("content-length", "0")))
        if headers.get("connection", "").lower() == "close":
            self.close()
        return int(first.split()[1]), headers, body

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()
        self._writer = self._reader = None


def body_of(nonce: str) -> bytes:
    """The request with a document that answers this nonce."""
    return json.dumps(imds_answer(current_document(nonce))).encode()


async def issue_nonces(caller: Caller, number: int) -> list[str]:
    nonces = []
    for _ in range(number):
        status, _, body = await caller.post("/v1/nonces", b"")
        if status != 201:
            raise AssertionError(f"no nonce: {status} {body!r}")
        nonces.append(str(json.loads(body)["nonce"]))
        SESSION_LOG.keep_nonce(nonces[-1])
    return nonces


@dataclass(slots=True)
class Load:
    """Callers that post documents, over and over and in any order, and now and then ask for a nonce."""

    urls: Sequence[str]
    bodies: list[bytes] = field(default_factory=list)
    told: list[Told] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)
    _stopping: threading.Event = field(default_factory=threading.Event)

    @property
    def acceptances(self) -> Counter[int]:
        """How often each document was accepted that was accepted at all."""
        return Counter(told.document for told in list(self.told) if told.document is not None and told.status == 200)

    def within(self, began: float, ended: float) -> list[Told]:
        """The answers to what was asked after `began`, and that came before `ended`."""
        return [told for told in list(self.told) if told.began >= began and told.ended <= ended]

    def first_verdict_after(self, moment: float, *, of_documents: bool = False) -> float:
        """When the first answer came after `moment` that a store has to be there for; `of_documents`, to what was asked
        after it too, and not to a request for a nonce."""
        return min(
            told.ended
            for told in list(self.told)
            if told.status in VERDICTS
            and told.ended >= moment
            and not (of_documents and (told.document is None or told.began < moment))
        )

    async def run(self, callers: int) -> None:
        await asyncio.gather(*(self._call(Caller(self.urls[number % len(self.urls)])) for number in range(callers)))

    async def _call(self, caller: Caller) -> None:
        try:
            while not self._stopping.is_set():
                document = random.randrange(len(self.bodies) + 1)  # noqa: S311 -- any will do
                if document == len(self.bodies):
                    told = await post_one(caller, None, b"")
                else:
                    told = await post_one(caller, document, self.bodies[document])
                self.told.append(told)
                await asyncio.sleep(0.02)
        except (OSError, asyncio.IncompleteReadError, TimeoutError) as error:
            self.broken.append(repr(error))
        finally:
            caller.close()

    def stop(self) -> None:
        self._stopping.set()


async def post_one(caller: Caller, document: int | None, body: bytes) -> Told:
    began = time.monotonic()
    path = "/v1/nonces" if document is None else "/v1/attestations"
    status, headers, answer = await caller.post(path, body)
    if document is None and status == 201:
        SESSION_LOG.keep_nonce(str(json.loads(answer)["nonce"]))
    wait = headers.get("retry-after")
    return Told(
        document=document,
        status=status,
        retry_after=None if wait is None else int(wait),
        began=began,
        ended=time.monotonic(),
    )


def ask_nonces(url: str, number: int) -> list[str]:
    """So many nonces of the service."""

    async def ask() -> list[str]:
        caller = Caller(url)
        try:
            return await issue_nonces(caller, number)
        finally:
            caller.close()

    return asyncio.run(ask())


def make_bodies(url: str, number: int) -> list[bytes]:
    """Requests with documents that answer nonces of the service."""
    return [body_of(nonce) for nonce in ask_nonces(url, number)]


def post_all(urls: Sequence[str], bodies: Sequence[bytes], *, copies: int, callers: int) -> list[Told]:
    """The answers to `copies` posts of each body: those of one body at once, from callers that keep their
    connections; one body after another."""

    async def post() -> list[Told]:
        clients = [Caller(urls[number % len(urls)]) for number in range(callers)]
        told: list[Told] = []
        try:
            for document, body in enumerate(bodies):
                told += await asyncio.gather(
                    *(post_one(clients[copy % callers], document, body) for copy in range(copies))
                )
        finally:
            for caller in clients:
                caller.close()
        return told

    if copies > callers:
        raise ValueError("a caller sends one request at a time")
    return asyncio.run(post())


@contextmanager
def under_load(urls: Sequence[str], bodies: list[bytes], *, callers: int = 12) -> Iterator[Load]:
    """Inside, callers post the documents. No connection may break that a service did not close in order."""
    load = Load(urls=urls, bodies=bodies)
    thread = threading.Thread(target=lambda: asyncio.run(load.run(callers)), name="load")
    thread.start()
    try:
        yield load
    finally:
        load.stop()
        with suppress(RuntimeError):
            thread.join(_SECONDS)
    if load.broken:
        raise AssertionError(f"connections broke: {load.broken}")
