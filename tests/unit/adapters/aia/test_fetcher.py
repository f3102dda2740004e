"""Fetching, from real servers on 127.0.0.1 that stand for public addresses."""

import gzip
import http.client
import itertools
import logging
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.documents import der, shared_pki
from support.issuers import (
    HOST,
    OTHER_PUBLIC,
    PUBLIC,
    URL,
    Conversation,
    Internet,
    answer,
    degenerate,
    internet,
    make_tls_server,
    pem,
    redirect,
)

from verifier.adapters.aia.addresses import PublicAddress
from verifier.adapters.aia.fetcher import MAX_ADDRESSES, MAX_BODY_BYTES, MAX_REDIRECTS, AiaFetcher, connect
from verifier.adapters.bounded_http import MAX_OVERHEAD_BYTES
from verifier.ports.trust import FetchFailed, IssuerFetcher

ISSUER = shared_pki().issuing_ca.certificate
#: More than any fetch here needs, so that one that hangs is a failure and not a wait.
SECONDS = 10.0
#: For what is cut off by the deadline.
SHORTLY = 0.3
#: By when it is cut off, on however slow a machine.
SOON = 4.0
PATH = "/issuer.crt"


@pytest.fixture
def net() -> Iterator[Internet]:
    with internet() as made:
        yield made


def fetch(net: Internet, url: str = URL, *, seconds: float = SECONDS) -> tuple[bytes, ...]:
    return net.fetcher().fetch(url, seconds=seconds)


def test_is_an_issuer_fetcher() -> None:
    port: IssuerFetcher = AiaFetcher()
    with pytest.raises(FetchFailed):
        port.fetch("", seconds=SECONDS)


@pytest.mark.parametrize("body", [der(ISSUER), pem(ISSUER), degenerate(ISSUER)], ids=["der", "pem", "pkcs7"])
@pytest.mark.parametrize("media_type", ["application/pkix-cert", "text/html", ""])
def test_reads_an_answer_by_its_bytes(net: Internet, body: bytes, media_type: str) -> None:
    net.plays[PATH] = answer(body, headers={"Content-Type": media_type})
    assert fetch(net) == (der(ISSUER),)


def test_resolves_once_and_connects_to_the_checked_address(net: Internet) -> None:
    net.plays[PATH] = answer(der(ISSUER))
    net.names[HOST] = [[PUBLIC], ["127.0.0.1"]]
    assert fetch(net) == (der(ISSUER),)
    assert net.lookups == [HOST]
    assert net.connections == [(PUBLIC, 80)]


def test_asks_plainly(net: Internet) -> None:
    net.plays["/a%20b.crt"] = answer(der(ISSUER))
    fetch(net, f"http://{HOST}:80/a%20b.crt")
    lines = net.heads[0].decode("ascii").split("\r\n")
    assert lines[0] == "GET /a%20b.crt HTTP/1.1"
    assert {f"Host: {HOST}", "Accept-Encoding: identity", "Connection: close"} <= set(lines)
    assert not [line for line in lines if line.startswith(("Cookie", "Authorization", "Proxy"))]


def test_pays_no_heed_to_the_proxies_of_the_environment(net: Internet, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    net.plays[PATH] = answer(der(ISSUER))
    assert fetch(net) == (der(ISSUER),)


def test_does_not_resolve_a_url_off_the_list(net: Internet) -> None:
    with pytest.raises(FetchFailed):
        fetch(net, "http://127.0.0.1/issuer.crt")
    assert not net.lookups
    assert not net.connections


@pytest.mark.parametrize("addresses", [[], ["127.0.0.1"], ["::1"], ["::ffff:10.0.0.1"], [PUBLIC, "10.0.0.1"]])
def test_connects_to_no_host_that_has_an_address_that_is_not_public(net: Internet, addresses: list[str]) -> None:
    net.names[HOST] = [addresses]
    with pytest.raises(FetchFailed):
        fetch(net)
    assert not net.connections


def test_tries_the_next_address(net: Internet) -> None:
    net.names[HOST] = [[OTHER_PUBLIC, PUBLIC]]
    net.unreachable = {OTHER_PUBLIC}
    net.plays[PATH] = answer(der(ISSUER))
    assert fetch(net) == (der(ISSUER),)
    assert net.connections == [(OTHER_PUBLIC, 80), (PUBLIC, 80)]
    # The first one cannot spend the time of both.
    assert net.allowed[1] <= SECONDS / 2


def test_tries_so_many_addresses(net: Internet) -> None:
    every = [f"8.8.8.{number}" for number in range(1, 20)]
    net.names[HOST] = [every]
    net.unreachable = set(every)
    with pytest.raises(FetchFailed, match="No address"):
        fetch(net)
    assert len(net.connections) == MAX_ADDRESSES


def test_connects_to_the_address_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[object] = []
    monkeypatch.setattr(socket, "create_connection", lambda address, timeout: asked.append((address, timeout)))
    connect(PublicAddress(text=PUBLIC), 443, 1.5)
    assert asked == [((PUBLIC, 443), 1.5)]


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_follows_redirects_on_the_list(net: Internet, status: int) -> None:
    net.plays[PATH] = redirect("/second.crt", status)
    net.plays["/second.crt"] = redirect("http://www.microsoft.com/pki/mscorp/third.crt", status)
    net.plays["/pki/mscorp/third.crt"] = answer(der(ISSUER))
    assert fetch(net) == (der(ISSUER),)
    assert net.lookups == [HOST, HOST, "www.microsoft.com"]


def test_follows_so_many_redirects(net: Internet) -> None:
    net.plays[PATH] = redirect(PATH)
    with pytest.raises(FetchFailed, match="redirects"):
        fetch(net)
    assert len(net.requests) == MAX_REDIRECTS + 1


@pytest.mark.parametrize(
    "location",
    [
        "http://127.0.0.1/issuer.crt",
        "http://localhost/issuer.crt",
        "http://169.254.169.254/metadata/instance",
        "//127.0.0.1/issuer.crt",
        f"http://{HOST}:8080/issuer.crt",
        f"http://{HOST}@127.0.0.1/issuer.crt",
        "file:///etc/passwd",
        "gopher://127.0.0.1/x",
        "http://www.microsoft.com/issuer.crt",
        "/../issuer.crt",
        "",
        "\xff",
    ],
)
def test_follows_no_redirect_off_the_list(net: Internet, location: str) -> None:
    net.plays[PATH] = redirect(location)
    with pytest.raises(FetchFailed):
        fetch(net)
    assert net.connections == [(PUBLIC, 80)]


def test_follows_no_redirect_that_says_two_things(net: Internet) -> None:
    net.plays[PATH] = b"HTTP/1.1 302 Found\r\nLocation: /a\r\nLocation: /b\r\nContent-Length: 0\r\n\r\n"
    with pytest.raises(FetchFailed):
        fetch(net)
    assert len(net.connections) == 1


def test_follows_no_redirect_without_a_location(net: Internet) -> None:
    net.plays[PATH] = answer(status=302)
    with pytest.raises(FetchFailed):
        fetch(net)


def test_checks_the_addresses_of_each_redirect_anew(net: Internet) -> None:
    net.names[HOST] = [[PUBLIC], ["127.0.0.1"]]
    net.plays[PATH] = redirect("/second.crt")
    with pytest.raises(FetchFailed, match="not public"):
        fetch(net)
    assert net.connections == [(PUBLIC, 80)]


@pytest.mark.parametrize("status", [201, 204, 206, 300, 304, 400, 401, 404, 407, 500, 503])
def test_accepts_only_status_200(net: Internet, status: int) -> None:
    net.plays[PATH] = answer(der(ISSUER), status=status)
    with pytest.raises(FetchFailed, match=str(status)):
        fetch(net)


@pytest.mark.parametrize("encoding", ["gzip", "GZIP", "deflate", "br", "zstd", "x-gzip, gzip", "nonsense"])
def test_refuses_an_encoded_body(net: Internet, encoding: str) -> None:
    net.plays[PATH] = answer(gzip.compress(der(ISSUER)), headers={"Content-Encoding": encoding})
    with pytest.raises(FetchFailed, match="encoded"):
        fetch(net)


def test_takes_a_body_that_is_said_not_to_be_encoded(net: Internet) -> None:
    net.plays[PATH] = answer(der(ISSUER), headers={"Content-Encoding": "Identity"})
    assert fetch(net) == (der(ISSUER),)


def padded(data: int) -> bytes:
    """A PEM certificate with so many bytes in all."""
    return pem(ISSUER) + b"\n" * (data - len(pem(ISSUER)))


CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
UNTIL_CLOSED = b"HTTP/1.1 200 OK\r\n\r\n"


def chunked(body: bytes, *, size: int = 4096) -> bytes:
    chunks = (body[start : start + size] for start in range(0, len(body), size))
    return CHUNKED + b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks) + b"0\r\n\r\n"


@pytest.mark.parametrize("framed", [answer, chunked, lambda body: UNTIL_CLOSED + body], ids=["length", "chunks", "end"])
def test_reads_a_body_of_so_many_bytes_and_no_more(net: Internet, framed: object) -> None:
    assert callable(framed)
    net.plays[PATH] = framed(padded(MAX_BODY_BYTES))
    assert fetch(net) == (der(ISSUER),)
    net.plays[PATH] = framed(padded(MAX_BODY_BYTES + 1))
    with pytest.raises(FetchFailed, match="bytes"):
        fetch(net)


@pytest.mark.parametrize(
    "head",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 1073741824\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\nTransfer-Encoding: chunked\r\n\r\n40000000\r\n",
        UNTIL_CLOSED,
        CHUNKED + b"40000000\r\n",
        CHUNKED + b"0\r\n",  # trailers
        b"HTTP/1.1 200 OK\r\nX: ",
        b"HTTP/1.1 ",
        b"",
    ],
)
@pytest.mark.parametrize("line", [b"a" * 65_536, b"a: b\r\n" * 10_000, b"HTTP/1.1 100 Continue\r\n\r\n" * 1_000])
def test_stops_reading_what_does_not_end(net: Internet, head: bytes, line: bytes) -> None:
    def pour(conversation: Conversation) -> None:
        conversation.send(head)
        for _ in range(1_073_741_824 // len(line)):
            conversation.send(line)

    net.plays[PATH] = pour
    with pytest.raises(FetchFailed):
        fetch(net)
    # What the two ends' sockets hold; nobody read it.
    assert net.conversations[0].sent < 64 * 1024 * 1024


def test_reads_so_many_bytes_of_interim_answers(net: Internet) -> None:
    interim = b"HTTP/1.1 100 Continue\r\n\r\n"
    net.plays[PATH] = interim * 10 + answer(der(ISSUER))
    assert fetch(net) == (der(ISSUER),)
    net.plays[PATH] = interim * ((MAX_BODY_BYTES + MAX_OVERHEAD_BYTES) // len(interim)) + answer(der(ISSUER))
    with pytest.raises(FetchFailed):
        fetch(net)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\r\n\r\n",
        b"SSH-2.0-OpenSSH_9.6\r\n",
        b"+OK\r\n",
        b"\x15\x03\x01\x00\x02\x02\x50",
        b"HTTP/1.1 abc OK\r\n\r\n",
        b"HTTP/9.9 200 OK\r\n\r\n" + der(ISSUER),
        b"HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n" + der(ISSUER),
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n" + der(ISSUER),
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n" + der(ISSUER),
        b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n<html>",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-5\r\nabcde\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n5\r\nabcde\r\n0\r\n\r\n",
        CHUNKED + b"zz\r\n" + der(ISSUER),
        CHUNKED + b"-1\r\n" + der(ISSUER),
        CHUNKED + b"10\r\nabc",
        b"HTTP/1.1 200 OK\r\nno colon here\r\nX: y\r\n\r\n" + der(ISSUER),
        b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 200 + b"\r\n" + der(ISSUER),
    ],
)
def test_refuses_what_is_not_http(net: Internet, data: bytes, caplog: pytest.LogCaptureFixture) -> None:
    net.plays[PATH] = data
    with caplog.at_level(logging.WARNING), pytest.raises(FetchFailed) as failed:
        fetch(net)
    for told in (caplog.text, str(failed.value)):
        assert "no colon" not in told


def trickle_header(conversation: Conversation) -> None:
    conversation.send(b"HTTP/1.1 200 OK\r\nX: ")
    conversation.trickle(b"a")


def trickle_status(conversation: Conversation) -> None:
    conversation.trickle(b"HTTP/1.1 100 Continue\r\n\r\n")


def trickle_body(conversation: Conversation) -> None:
    conversation.send(answer(length=16_000))
    conversation.trickle(b"a")


def trickle_certificate_until_closed(conversation: Conversation) -> None:
    """What looks whole where the connection ends."""
    conversation.send(UNTIL_CLOSED + pem(ISSUER))
    conversation.trickle(b"\n")


def trickle_chunks(conversation: Conversation) -> None:
    conversation.send(CHUNKED)
    conversation.trickle(b"1\r\na\r\n")


def say_nothing(conversation: Conversation) -> None:
    conversation.wait()


@pytest.mark.parametrize(
    "play",
    [
        trickle_header,
        trickle_status,
        trickle_body,
        trickle_certificate_until_closed,
        trickle_chunks,
        say_nothing,
    ],
)
def test_is_done_when_the_time_is_over(net: Internet, play: object) -> None:
    assert callable(play)
    net.plays[PATH] = play
    begun = time.monotonic()
    with pytest.raises(FetchFailed, match="in time"):
        fetch(net, seconds=SHORTLY)
    assert SHORTLY <= time.monotonic() - begun < SOON


def test_shares_one_time_among_redirects(net: Internet) -> None:
    net.plays[PATH] = redirect("/second.crt")
    net.plays["/second.crt"] = trickle_body
    begun = time.monotonic()
    with pytest.raises(FetchFailed, match="in time"):
        fetch(net, seconds=SHORTLY)
    assert time.monotonic() - begun < SOON
    assert net.allowed == sorted(net.allowed, reverse=True)


def test_does_not_start_without_time(net: Internet) -> None:
    with pytest.raises(FetchFailed, match="time limit"):
        fetch(net, seconds=0)
    assert not net.lookups


def test_connects_no_more_once_the_lookup_has_taken_the_time(net: Internet, monkeypatch: pytest.MonkeyPatch) -> None:
    moments = itertools.chain([0.0, 0.0], itertools.repeat(6.0))
    monkeypatch.setattr(time, "monotonic", lambda: next(moments))
    with pytest.raises(FetchFailed, match="time limit"):
        net.fetcher().fetch(URL, seconds=5)
    assert net.lookups
    assert not net.connections


def test_leaves_no_thread_and_no_timer_behind(net: Internet) -> None:
    net.plays[PATH] = answer(der(ISSUER))
    fetch(net)
    assert not [thread for thread in threading.enumerate() if isinstance(thread, threading.Timer)]


def test_fails_without_a_thread_for_the_deadline(net: Internet, monkeypatch: pytest.MonkeyPatch) -> None:
    net.plays[PATH] = answer(der(ISSUER))

    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Timer, "start", refuse)
    with pytest.raises(FetchFailed, match="No thread"):
        fetch(net)


def test_closes_the_connection(net: Internet) -> None:
    opened: list[socket.socket] = []

    def keep(address: PublicAddress, port: int, seconds: float) -> socket.socket:
        opened.append(net.connect(address, port, seconds))
        return opened[-1]

    net.plays[PATH] = redirect("/second.crt")
    net.plays["/second.crt"] = answer(b"<html>")
    with pytest.raises(FetchFailed):
        AiaFetcher(resolve=net.resolve, connect=keep).fetch(URL, seconds=SECONDS)
    assert [one.fileno() for one in opened] == [-1, -1]


def test_does_not_reconnect(net: Internet, monkeypatch: pytest.MonkeyPatch) -> None:
    def forbid(*_: object, **__: object) -> object:
        raise AssertionError("a connection by name")

    opened = socket.create_connection(("127.0.0.1", net.ports[80]))
    monkeypatch.setattr(socket, "create_connection", forbid)
    monkeypatch.setattr(socket, "getaddrinfo", forbid)
    monkeypatch.setattr(http.client.HTTPConnection, "connect", forbid)
    net.plays[PATH] = answer(der(ISSUER))
    fetcher = AiaFetcher(resolve=net.resolve, connect=lambda *_: opened)
    assert fetcher.fetch(URL, seconds=SECONDS) == (der(ISSUER),)


class TestOverTls:
    URL = f"https://{HOST}{PATH}"

    def test_verifies_the_name_while_it_connects_to_the_address(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        tls, roots = make_tls_server(tmp_path)
        asked: list[str | None] = []
        tls.sni_callback = lambda _socket, name, _context: asked.append(name)
        monkeypatch.setenv("SSL_CERT_FILE", str(roots))
        with internet(tls) as net:
            net.plays[PATH] = answer(der(ISSUER))
            assert fetch(net, self.URL) == (der(ISSUER),)
            assert net.connections == [(PUBLIC, 443)]
        assert asked == [HOST]

    def test_refuses_a_server_that_has_another_name(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        tls, roots = make_tls_server(tmp_path, host="cacerts.geotrust.com")
        monkeypatch.setenv("SSL_CERT_FILE", str(roots))
        with internet(tls) as net:
            net.plays[PATH] = answer(der(ISSUER))
            with pytest.raises(FetchFailed, match="SSLCertVerificationError"):
                fetch(net, self.URL)
            assert not net.requests

    def test_refuses_an_untrusted_server(self, tmp_path: Path) -> None:
        tls, _ = make_tls_server(tmp_path)
        with internet(tls) as net, pytest.raises(FetchFailed, match="SSLCertVerificationError"):
            fetch(net, self.URL)

    def test_refuses_a_server_that_speaks_no_tls(self, net: Internet) -> None:
        net.plays[PATH] = answer(der(ISSUER))
        with pytest.raises(FetchFailed):
            fetch(net, self.URL, seconds=SHORTLY)

    def test_is_done_in_time_with_a_server_that_does_not_shake_hands(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as server:
            port = server.getsockname()[1]
            fetcher = AiaFetcher(
                resolve=lambda *_: [PUBLIC],
                connect=lambda *_: socket.create_connection(("127.0.0.1", port)),
            )
            with pytest.raises(FetchFailed, match="in time"):
                fetcher.fetch(self.URL, seconds=SHORTLY)

    def test_is_done_in_time_with_a_server_that_trickles_its_handshake(self) -> None:
        def trickle(server: socket.socket) -> None:
            connection, _ = server.accept()
            # A record header that promises 16 KiB, and then one byte of it after the other.
            with connection:
                try:
                    connection.sendall(b"\x16\x03\x03\x40\x00")
                    connection.settimeout(0.02)
                    while True:
                        try:
                            if not connection.recv(4096):
                                return
                        except TimeoutError:
                            connection.sendall(b"\x00")
                except OSError:
                    return

        with socket.create_server(("127.0.0.1", 0)) as server:
            port = server.getsockname()[1]
            thread = threading.Thread(target=trickle, args=(server,))
            thread.start()
            fetcher = AiaFetcher(
                resolve=lambda *_: [PUBLIC],
                connect=lambda *_: socket.create_connection(("127.0.0.1", port)),
            )
            begun = time.monotonic()
            try:
                with pytest.raises(FetchFailed):
                    fetcher.fetch(self.URL, seconds=SHORTLY)
            finally:
                thread.join(20)
            assert time.monotonic() - begun < SOON

    def test_verifies_only_with_the_machines_authorities(self) -> None:
        tls = AiaFetcher()._tls  # noqa: SLF001 - there is deliberately no way to give another one
        assert tls.check_hostname
        assert tls.verify_mode is ssl.CERT_REQUIRED
