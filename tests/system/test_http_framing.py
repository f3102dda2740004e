"""Bytes that a proxy may read as other requests than the service does: refused, with no second request in them."""

import json
import socket
import threading
import uuid
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from support import raw_http
from support.problems import read_problem
from support.processes import await_that
from support.services import RunningServer, running_service

#: The id of a request that must not reach the application: it hides in the body of another one.
HIDDEN = "a-hidden-request"
SECOND = f"POST /v1/nonces HTTP/1.1\r\nHost: test\r\nX-Request-Id: {HIDDEN}\r\nContent-Length: 0\r\n\r\n".encode()
HEAD = b"POST /v1/nonces HTTP/1.1\r\nHost: test\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"

SMUGGLED = {
    "CL with TE": HEAD + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + SECOND,
    "TE with CL": HEAD + b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n" + SECOND,
    "TE with CL of all": HEAD
    + f"Content-Length: {5 + len(SECOND)}\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n".encode()
    + SECOND,
    "two equal lengths": HEAD + b"Content-Length: 0\r\nContent-Length: 0\r\n\r\n" + SECOND,
    "two lengths": HEAD + f"Content-Length: 0\r\nContent-Length: {len(SECOND)}\r\n\r\n".encode() + SECOND,
    "a list of lengths": HEAD + b"Content-Length: 0, 0\r\n\r\n" + SECOND,
    "a signed length": HEAD + b"Content-Length: +0\r\n\r\n" + SECOND,
    "a length in hexadecimal": HEAD + b"Content-Length: 0x0\r\n\r\n" + SECOND,
    "a length with an underscore": HEAD + b"Content-Length: 0_0\r\n\r\n" + SECOND,
    "a length in other digits": HEAD + b"Content-Length: \xb2\r\n\r\n" + SECOND,
    "TE twice": HEAD + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + SECOND,
    "TE not last": HEAD + b"Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n" + SECOND,
    "TE identity": HEAD + b"Transfer-Encoding: identity\r\n\r\n" + SECOND,
    "TE gzip": HEAD + b"Transfer-Encoding: gzip\r\n\r\n" + SECOND,
    "TE gzip before chunked": HEAD + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n" + SECOND,
    "TE unknown": HEAD + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n" + SECOND,
    "TE quoted": HEAD + b'Transfer-Encoding: "chunked"\r\n\r\n0\r\n\r\n' + SECOND,
    "TE with a space before the colon": HEAD + b"Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n" + SECOND,
    "TE with a vertical tab": HEAD + b"Transfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n" + SECOND,
    "TE in HTTP/1.0": CHUNKED.replace(b"HTTP/1.1", b"HTTP/1.0") + b"0\r\n\r\n" + SECOND,
    "obs-fold": HEAD + b"X: a\r\n b\r\nContent-Length: 0\r\n\r\n" + SECOND,
    "obs-fold of TE": HEAD + b"Transfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n" + SECOND,
    "obs-fold of a length": HEAD + b"Content-Length:\r\n\t0\r\n\r\n" + SECOND,
    "a folded first line": b"POST /v1/nonces HTTP/1.1\r\n Host: test\r\nContent-Length: 0\r\n\r\n" + SECOND,
    "bare LF in the head": HEAD + b"X: a\nContent-Length: 0\r\n\r\n" + SECOND,
    "bare LF at the end of the head": HEAD + b"Content-Length: 0\n\n" + SECOND,
    "bare LF alone": b"POST /v1/nonces HTTP/1.1\nHost: test\nContent-Length: 0\n\n" + SECOND,
    "bare CR in a value": HEAD + b"X: a\rContent-Length: 0\r\n\r\n" + SECOND,
    "bare CR at the end of the head": HEAD + b"Content-Length: 0\r\r" + SECOND,
    "NUL in a value": HEAD + b"X: a\x00b\r\nContent-Length: 0\r\n\r\n" + SECOND,
    "a chunk that ends with LF": CHUNKED + b"1\n{\n0\n\n" + SECOND,
    "a chunk of no size": CHUNKED + b"\r\n\r\n" + SECOND,
    "a chunk that is longer than it says": CHUNKED + b"1\r\n{}\r\n0\r\n\r\n" + SECOND,
    "a chunk with a signed size": CHUNKED + b"-0\r\n\r\n" + SECOND,
    "a chunk with a prefix": CHUNKED + b"0x0\r\n\r\n" + SECOND,
    "a chunk with an underscore": CHUNKED + b"0_0\r\n\r\n" + SECOND,
    "LF in a chunk's extension": CHUNKED + b"0;a\nb\r\n\r\n" + SECOND,
    "CR in a chunk's extension": CHUNKED + b"0;a\rb\r\n\r\n" + SECOND,
    "a length in the trailer": CHUNKED + b"0\r\nContent-Length: 0\r\n\r\n" + SECOND,
    "a trailer that is no field": CHUNKED + b"0\r\nno colon\r\n\r\n" + SECOND,
    "a body that announces less": HEAD + b"Content-Length: -1\r\n\r\n" + SECOND,
}
OTHERS = {
    "no Host": b"GET /healthz HTTP/1.1\r\n\r\n",
    "two Hosts": b"GET /healthz HTTP/1.1\r\nHost: test\r\nHost: test\r\n\r\n",
    "two Hosts in HTTP/1.0": b"GET /healthz HTTP/1.0\r\nHost: test\r\nHost: test\r\n\r\n",
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(100) + b"\r\n\r\n",
    "NULs": bytes(2_000) + b"\r\n\r\n",
    "HTTP/0.9": b"GET /healthz\r\n\r\n",
    "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "HTTP/1.10": b"GET /healthz HTTP/1.10\r\nHost: test\r\n\r\n",
    "SSH": b"SSH-2.0-OpenSSH_9.2\r\n",
    "Redis": b"*1\r\n$4\r\nPING\r\n\r\n",
    "PROXY": b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n" + HEAD + b"\r\n",
    "a line of 2 kB": b"GET /" + b"a" * 2_000 + b" HTTP/1.1\r\nHost: test\r\n\r\n",
    "a line of 1 MB": b"GET /" + b"a" * 1_000_000,
    "a method of 1 MB": b"A" * 1_000_000,
    "a field of 9 kB": HEAD + b"X: " + b"a" * 9_000 + b"\r\n\r\n",
    "a field of 1 MB": HEAD + b"X: " + b"a" * 1_000_000,
    "65 fields": HEAD + b"X: y\r\n" * 64 + b"\r\n",
    "60 fields of 1 kB": HEAD + (b"X: " + b"a" * 1_000 + b"\r\n") * 60 + b"\r\n",
    "17 fields of 1 kB": HEAD + (b"X: " + b"a" * 1_000 + b"\r\n") * 17 + b"\r\n",
    "100,000 fields": HEAD + b"X: y\r\n" * 100_000,
    "a target of other characters": b"GET /\xff\x01 HTTP/1.1\r\nHost: test\r\n\r\n",
    "CONNECT": b"CONNECT test:80 HTTP/1.1\r\nHost: test\r\n\r\n" + SECOND,
    "a chunk's extension of 1 MB": CHUNKED + b"1;" + b"a" * 1_000_000,
    "a trailer of 1 MB": CHUNKED + b"0\r\nX: " + b"a" * 1_000_000,
    "1,000,000 chunks": CHUNKED + b"1\r\n{\r\n" * 1_000_000,
}


@pytest.fixture(scope="module")
def apart(tmp_path_factory: pytest.TempPathFactory, trust_dir: Path) -> Iterator[RunningServer]:
    """A service of this module alone, whose log is read, with a short deadline for what never becomes a request."""
    store = f"sqlite://{tmp_path_factory.mktemp('framing')}/nonces.sqlite3"
    with running_service(nonce_store=store, trust_dir=trust_dir, VERIFIER_REQUEST_SECONDS="2") as running:
        yield running


def answers_to(url: str, sent: bytes) -> list[tuple[int, dict[str, str], bytes]]:
    """Every answer on one connection, until the service closes it. It may do so while it is sent to."""
    parts = urlsplit(url)
    received = b""
    with closing(socket.create_connection((parts.hostname or "", parts.port or 80), raw_http.CLIENT_SECONDS)) as sock:

        def send() -> None:
            try:
                sock.sendall(sent)
            except OSError:
                return

        sending = threading.Thread(target=send)
        sending.start()
        try:
            while piece := sock.recv(65536):
                received += piece
        except ConnectionError:
            pass
        sending.join()
    answers = []
    while received:
        head, _, rest = received.partition(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        headers = {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}
        length = int(headers["Content-Length"])
        answers.append((int(first.split()[1]), headers, rest[:length]))
        received = rest[length:]
    return answers


@pytest.mark.parametrize("sent", [*SMUGGLED.values(), *OTHERS.values()], ids=[*SMUGGLED, *OTHERS])
def test_is_one_refusal_or_a_closed_connection_and_no_second_request(apart: RunningServer, sent: bytes) -> None:
    hidden, last = (uuid.uuid4().hex for _ in range(2))
    answers = answers_to(apart.url, sent.replace(HIDDEN.encode(), hidden[: len(HIDDEN)].encode()))
    assert len(answers) <= 1
    for status, headers, body in answers:
        read_problem(status, headers, body)
        assert headers["Connection"] == "close"
    assert apart.request("GET", "/healthz", headers={"X-Request-Id": last}).status == 200
    await_that(lambda: any(last in line for line in list(apart.log)))
    assert not any(hidden[: len(HIDDEN)] in line for line in list(apart.log))


def test_each_request_of_a_pipeline_reaches_the_application_once(tmp_path: Path, trust_dir: Path) -> None:
    """Also one whose body was not asked for, and one that comes byte by byte."""
    first = [raw_http.request(path="/v1/nonces", headers=[("X-Request-Id", f"one-{number}")]) for number in range(20)]
    unasked = raw_http.request(b"x" * 5_000, path="/none", headers=[("X-Request-Id", "unasked")])
    chunked = raw_http.chunked_head("/v1/nonces", [("X-Request-Id", "chunked"), ("Content-Type", "application/json")])
    chunks = raw_http.chunk(b"{") + raw_http.chunk(b"}") + raw_http.chunk(b"")
    last = raw_http.request(method="GET", path="/healthz", headers=[("X-Request-Id", "end"), ("Connection", "close")])
    store = f"sqlite://{tmp_path}/nonces.sqlite3"
    with (
        running_service(nonce_store=store, trust_dir=trust_dir) as service,
        raw_http.Connection(service.url) as connection,
    ):
        for byte in first[0]:
            connection.send(bytes([byte]))
        connection.send(b"".join([*first[1:], unasked, chunked, chunks, last]))
        statuses = [connection.receive_one().status for _ in range(23)]
        assert connection.is_closed()
    assert statuses == [201] * 20 + [404, 201, 200]
    answered = [line for line in map(json.loads, service.log) if line["event"] == "answered"]
    assert [line["status"] for line in answered] == statuses
