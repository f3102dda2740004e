"""One exchange: straight, bounded, and never more than asked."""

import http.client
import socket
import ssl
import threading
import urllib.request
from pathlib import Path

import pytest
from support.issuers import make_tls_server
from support.scripted_servers import Reply, dead_url, serving
from unit.agent.budgets import StandingTime, passing

from verifier.agent.budget import Budget
from verifier.agent.ends import End, NotAttested
from verifier.agent.transport import (
    Answer,
    Endpoint,
    MalformedAnswerError,
    TransportError,
    UnreachableError,
    UntrustedError,
    exchange,
)


def get(url: str, *, limit: int = 1000, seconds: float = 10, budget: Budget | None = None) -> Answer:
    return exchange(
        Endpoint.parse(url),
        method="GET",
        path="/x",
        headers={},
        budget=budget or passing(60),
        seconds=seconds,
        limit=limit,
    )


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://169.254.169.254", Endpoint(scheme="http", host="169.254.169.254", port=None, path="")),
        (
            "https://verifier.example:8443/base/",
            Endpoint(scheme="https", host="verifier.example", port=8443, path="/base"),
        ),
        ("HTTP://[::1]:80", Endpoint(scheme="http", host="::1", port=80, path="")),
    ],
)
def test_reads_a_base_url(url: str, expected: Endpoint) -> None:
    assert Endpoint.parse(url) == expected
    assert Endpoint.parse(str(expected)) == expected


@pytest.mark.parametrize(
    "url",
    [
        "",
        "verifier.example",
        "ftp://verifier.example",
        "file:///etc/passwd",
        "http://",
        "http://user:s3cret@verifier.example",
        "http://user@verifier.example",
        "http://verifier.example/?s3cret=1",
        "http://verifier.example/#s3cret",
        "http://verifier.example/a b",
        "http://verifier.example:99999",
        "http://verifier.example:x",
        "http://v\u00e9rifier.example",
        "http://a b.example",
    ],
)
def test_refuses_what_is_no_base_url_without_repeating_a_secret(url: str) -> None:
    with pytest.raises(ValueError, match=r"URL|[Pp]ort") as refused:
        Endpoint.parse(url)
    assert "s3cret" not in str(refused.value)


def test_an_ipv6_address_without_a_port_means_port_80(monkeypatch: pytest.MonkeyPatch) -> None:
    dialled: list[tuple[str, int]] = []

    def dial(address: tuple[str, int], *_: object, **__: object) -> socket.socket:
        dialled.append(address)
        raise ConnectionRefusedError("not in this test")

    monkeypatch.setattr(socket, "create_connection", dial)
    for url in ("http://[fe80::1]", "https://[fe80::1]"):
        with pytest.raises(TransportError):
            get(url)
    assert dialled == [("fe80::1", 80), ("fe80::1", 443)]


def test_goes_straight_whatever_the_environment_says() -> None:
    with serving(Reply(body=b"{}")) as script:
        # The environment is one in which a client that obeyed it would fail.
        assert urllib.request.getproxies()["http"] == dead_url()
        assert get(script.url).body == b"{}"


def test_follows_no_redirect() -> None:
    with (
        serving(Reply(body=b"{}")) as elsewhere,
        serving(Reply(status=302, headers={"Location": elsewhere.url})) as script,
    ):
        assert get(script.url).status == 302
    assert elsewhere.requests == []


def test_a_path_of_the_base_is_kept() -> None:
    with serving(Reply(body=b"{}")) as script:
        get(f"{script.url}/base/")
    assert [request.target for request in script.requests] == ["/base/x"]


def test_an_answer_of_just_the_limit_is_whole() -> None:
    with serving(Reply(body=b"a" * 1000)) as script:
        assert len(get(script.url).body) == 1000


def test_refuses_an_answer_over_the_limit() -> None:
    with serving(Reply(body=b"a" * 1001)) as script, pytest.raises(TransportError, match="more than 1000 bytes"):
        get(script.url)


def test_refuses_an_answer_that_breaks_off() -> None:
    with serving(Reply(body=b"{}", missing=5)) as script, pytest.raises(TransportError, match="broke off"):
        get(script.url)


def test_a_dead_address_is_a_sentence() -> None:
    with pytest.raises(UnreachableError, match=r"http://127\.0\.0\.1:1 gave no answer"):
        get(dead_url())


@pytest.mark.parametrize("closing", ["", "Connection: close\r\n"], ids=["kept", "closing"])
def test_an_answer_octet_by_octet_ends_when_its_time_is_up(closing: str) -> None:
    """Each octet comes in time for a socket, and the whole never does."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        cut = threading.Event()

        def drip() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(4096)
                connection.sendall(f"HTTP/1.1 200 OK\r\n{closing}Content-Length: 1000\r\n\r\n".encode())
                # Ten seconds, and no longer.
                for _ in range(1000):
                    try:
                        connection.sendall(b" ")
                    except OSError:
                        cut.set()
                        return
                    threading.Event().wait(0.01)

        thread = threading.Thread(target=drip)
        thread.start()
        with pytest.raises(TransportError, match=r"gave no answer in 0\.2 s"):
            get(f"http://127.0.0.1:{listener.getsockname()[1]}", seconds=0.2)
        assert cut.wait(5)
        thread.join()


def test_an_answer_that_the_budget_has_no_time_for_is_the_budgets_end() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with pytest.raises(NotAttested, match=rf"the time, 0\.05 s, was up before {url} answered") as ended:
            get(url, seconds=5, budget=passing(0.05))
    assert ended.value.end is End.OUT_OF_TIME
    assert not ended.value.retryable


def test_nothing_is_asked_when_no_time_is_left() -> None:
    time = StandingTime()
    budget = time.budget(3)
    time.now += 3
    with serving(Reply(body=b"{}")) as script, pytest.raises(NotAttested) as ended:
        get(script.url, budget=budget)
    assert ended.value.end is End.OUT_OF_TIME
    assert script.requests == []


def test_a_certificate_that_nobody_trusts_is_refused(tmp_path: Path) -> None:
    tls, _ = make_tls_server(tmp_path, host="localhost")
    with (
        serving(Reply(body=b"{}"), tls=tls) as script,
        pytest.raises(UntrustedError, match=r"https://localhost:[0-9]+ is not who it should be \(.+\)"),
    ):
        get(script.url)
    assert script.requests == []


def test_a_certificate_for_another_name_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tls, roots = make_tls_server(tmp_path, host="elsewhere.example")
    monkeypatch.setenv("SSL_CERT_FILE", str(roots))
    with serving(Reply(body=b"{}"), tls=tls) as script, pytest.raises(UntrustedError, match="is not who it should be"):
        get(script.url)


def test_a_certificate_of_an_authority_of_the_system_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tls, roots = make_tls_server(tmp_path, host="localhost")
    monkeypatch.setenv("SSL_CERT_FILE", str(roots))
    with serving(Reply(body=b"{}"), tls=tls) as script:
        assert get(script.url).body == b"{}"


def test_a_silent_server_times_out() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with pytest.raises(TransportError, match=r"gave no answer in 0\.05 s"):
            get(url, seconds=0.05)


def test_what_is_no_http_is_no_answer() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def talk_something_else() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(4096)
                connection.sendall(b"SSH-2.0-x\r\n")

        thread = threading.Thread(target=talk_something_else)
        thread.start()
        with pytest.raises(TransportError, match="gave no answer"):
            get(f"http://127.0.0.1:{listener.getsockname()[1]}")
        thread.join()


def test_https_is_verified(monkeypatch: pytest.MonkeyPatch) -> None:
    contexts: list[ssl.SSLContext] = []

    def dial(connection: http.client.HTTPSConnection) -> None:
        contexts.append(connection._context)  # type: ignore[attr-defined] # noqa: SLF001 - there is no public way to see it
        raise ConnectionRefusedError("not in this test")

    monkeypatch.setattr(http.client.HTTPSConnection, "connect", dial)
    with pytest.raises(TransportError):
        get("https://127.0.0.1")
    (context,) = contexts
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.check_hostname


@pytest.mark.parametrize("body", [b"", b"[]", b'"x"', b"{", b"\xff", b"[" * 60_000])
def test_an_answer_that_is_no_json_object_is_malformed(body: bytes) -> None:
    with pytest.raises(MalformedAnswerError):
        Answer(status=200, headers={}, body=body).json_object()


@pytest.mark.parametrize(
    ("value", "expected"),
    [("7", 7), (" 0 ", 0), ("-1", None), ("1.5", None), ("Fri, 31 Dec 1999 23:59:59 GMT", None), ("9" * 30, None)],
)
def test_reads_retry_after_in_seconds(value: str, expected: int | None) -> None:
    assert Answer(status=429, headers={"retry-after": value}, body=b"").retry_after() == expected


def test_without_retry_after_there_is_none() -> None:
    assert Answer(status=429, headers={}, body=b"").retry_after() is None
