"""An exchange uses no proxy and follows no redirect, and its time and size are limited."""

import http.client
import socket
import ssl
import threading
import tracemalloc
import urllib.request
from contextlib import suppress
from pathlib import Path

import pytest
from support.issuers import make_tls_server
from support.scripted_servers import Reply, dead_url, serving
from unit.agent.budgets import ManualTime, real_time_budget

from verifier.agent.budget import Budget
from verifier.agent.exit_codes import ExitCode, NotAttested
from verifier.agent.transport import (
    Endpoint,
    MalformedResponseError,
    Response,
    TransportError,
    UnreachableError,
    UntrustedError,
    exchange,
)


def get(url: str, *, max_bytes: int = 1000, seconds: float = 10, budget: Budget | None = None) -> Response:
    return exchange(
        Endpoint.parse(url),
        method="GET",
        path="/x",
        headers={},
        budget=budget or real_time_budget(60),
        seconds=seconds,
        max_bytes=max_bytes,
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
def test_base_url_is_parsed(url: str, expected: Endpoint) -> None:
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
        "http://verifier.example:s3cret",
        "http://user:s3cret\u2100@verifier.example",
        "http://[::1]s3cret",
        "http://s3cret[::1]",
        "http://[::1]s3cret:80",
        "http://[:::1]",
        "http://[127.0.0.1]",
        "http://[v1.s3cret]",
        " http://verifier.example",
        "http://verifier.exam\tple",
        "http://verifier.example\n",
        "http://[::1",
        "http://v\u00e9rifier.example",
        "http://a b.example",
    ],
)
def test_invalid_url_is_refused_without_repeating_it(url: str) -> None:
    with pytest.raises(ValueError, match=r"URL|[Pp]ort") as refused:
        Endpoint.parse(url)
    assert "s3cret" not in str(refused.value)


@pytest.mark.parametrize("url", ["http://::1:8080", "http://::1", "https://fe80::1/base", "http://2001:db8::1"])
def test_ipv6_address_without_brackets_is_refused_with_a_hint(url: str) -> None:
    with pytest.raises(ValueError, match=r"IPv6 address in brackets, such as http://\[::1\]:8080"):
        Endpoint.parse(url)


def test_ipv6_address_without_a_port_uses_the_default_port(monkeypatch: pytest.MonkeyPatch) -> None:
    dialled: list[tuple[str, int]] = []

    def dial(address: tuple[str, int], *_: object, **__: object) -> socket.socket:
        dialled.append(address)
        raise ConnectionRefusedError("not in this test")

    monkeypatch.setattr(socket, "create_connection", dial)
    for url in ("http://[fe80::1]", "https://[fe80::1]"):
        with pytest.raises(TransportError):
            get(url)
    assert dialled == [("fe80::1", 80), ("fe80::1", 443)]


def test_proxy_settings_of_the_environment_are_ignored() -> None:
    with serving(Reply(body=b"{}")) as script:
        # A client that used these proxies would fail.
        assert urllib.request.getproxies()["http"] == dead_url()
        assert get(script.url).body == b"{}"


def test_redirect_is_not_followed() -> None:
    with (
        serving(Reply(body=b"{}")) as elsewhere,
        serving(Reply(status=302, headers={"Location": elsewhere.url})) as script,
    ):
        assert get(script.url).status == 302
    assert elsewhere.requests == []


def test_path_of_the_base_url_is_kept() -> None:
    with serving(Reply(body=b"{}")) as script:
        get(f"{script.url}/base/")
    assert [request.target for request in script.requests] == ["/base/x"]


def test_body_of_exactly_the_limit_is_accepted() -> None:
    with serving(Reply(body=b"a" * 1000)) as script:
        assert len(get(script.url).body) == 1000


def test_body_over_the_limit_is_refused() -> None:
    with serving(Reply(body=b"a" * 1001)) as script, pytest.raises(TransportError, match="more than 1000 bytes"):
        get(script.url)


def test_body_shorter_than_content_length_is_refused() -> None:
    with (
        serving(Reply(body=b"{}", missing=5)) as script,
        pytest.raises(TransportError, match="closed the connection 5 bytes before the end"),
    ):
        get(script.url)


def test_refused_connection_is_unreachable() -> None:
    with pytest.raises(UnreachableError, match=r"http://127\.0\.0\.1:1 did not answer"):
        get(dead_url())


@pytest.mark.parametrize("closing", ["", "Connection: close\r\n"], ids=["kept", "closing"])
def test_slow_response_is_aborted_when_its_time_is_up(closing: str) -> None:
    """Each byte arrives within the socket timeout, but the whole response does not."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        cut = threading.Event()

        def drip() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(4096)
                connection.sendall(f"HTTP/1.1 200 OK\r\n{closing}Content-Length: 1000\r\n\r\n".encode())
                # For at most ten seconds.
                for _ in range(1000):
                    try:
                        connection.sendall(b" ")
                    except OSError:
                        cut.set()
                        return
                    threading.Event().wait(0.01)

        thread = threading.Thread(target=drip)
        thread.start()
        with pytest.raises(TransportError, match=r"did not answer within 0\.2 s"):
            get(f"http://127.0.0.1:{listener.getsockname()[1]}", seconds=0.2)
        assert cut.wait(5)
        thread.join()


def test_expired_budget_is_a_timeout() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with pytest.raises(NotAttested, match=rf"the timeout of 0\.05 s expired before {url} answered") as error:
            get(url, seconds=5, budget=real_time_budget(0.05))
    assert error.value.exit_code is ExitCode.TIMEOUT
    assert not error.value.retryable


def test_no_request_is_sent_after_the_deadline() -> None:
    time = ManualTime()
    budget = time.budget(3)
    time.now += 3
    with serving(Reply(body=b"{}")) as script, pytest.raises(NotAttested) as error:
        get(script.url, budget=budget)
    assert error.value.exit_code is ExitCode.TIMEOUT
    assert script.requests == []


def test_certificate_of_an_unknown_authority_is_refused(tmp_path: Path) -> None:
    tls, _ = make_tls_server(tmp_path, host="localhost")
    with (
        serving(Reply(body=b"{}"), tls=tls) as script,
        pytest.raises(UntrustedError, match=r"https://localhost:[0-9]+ has an untrusted certificate \(.+\)"),
    ):
        get(script.url)
    assert script.requests == []


def test_certificate_for_another_name_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tls, roots = make_tls_server(tmp_path, host="elsewhere.example")
    monkeypatch.setenv("SSL_CERT_FILE", str(roots))
    with (
        serving(Reply(body=b"{}"), tls=tls) as script,
        pytest.raises(UntrustedError, match="has an untrusted certificate"),
    ):
        get(script.url)


def test_certificate_of_a_system_authority_is_accepted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tls, roots = make_tls_server(tmp_path, host="localhost")
    monkeypatch.setenv("SSL_CERT_FILE", str(roots))
    with serving(Reply(body=b"{}"), tls=tls) as script:
        assert get(script.url).body == b"{}"


def test_timeout_leaves_tls_in_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without TLS, the thread that is still running would send the rest of the request in plaintext."""
    tls, roots = make_tls_server(tmp_path, host="localhost")
    monkeypatch.setenv("SSL_CERT_FILE", str(roots))
    has_timed_out, has_looked = threading.Event(), threading.Event()
    versions = []

    def wait_for_the_timeout(connection: http.client.HTTPSConnection) -> None:
        assert has_timed_out.wait(10)
        assert isinstance(connection.sock, ssl.SSLSocket)
        versions.append(connection.sock.version())
        has_looked.set()
        raise ConnectionError

    monkeypatch.setattr(http.client.HTTPSConnection, "getresponse", wait_for_the_timeout)
    with serving(Reply(never=True), tls=tls) as script:
        with pytest.raises(TransportError, match=r"did not answer within 1 s"):
            get(script.url, seconds=1)
        has_timed_out.set()
        assert has_looked.wait(10)
    assert versions == ["TLSv1.3"]


@pytest.mark.parametrize("size", [b"-1", b"-5", b"fffffffffff"])
def test_a_chunk_of_a_false_size_is_read_no_further_than_the_limit(size: bytes) -> None:
    """The server sends 64 MB. http.client reads all that follows the size -1."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def send() -> None:
            connection, _ = listener.accept()
            with connection, suppress(OSError):  # the agent closes the connection
                connection.recv(4096)
                connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + size + b"\r\n")
                for _ in range(1024):
                    connection.sendall(bytes(64 * 1024))

        thread = threading.Thread(target=send)
        thread.start()
        tracemalloc.start()
        try:
            with pytest.raises(TransportError, match="more than 1000 bytes"):
                get(f"http://127.0.0.1:{listener.getsockname()[1]}")
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        thread.join()
    assert peak < 4_000_000


def test_silent_server_times_out() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with pytest.raises(TransportError, match=r"did not answer within 0\.05 s"):
            get(url, seconds=0.05)


def test_other_protocol_than_http_is_refused() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def speak_ssh() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(4096)
                connection.sendall(b"SSH-2.0-x\r\n")

        thread = threading.Thread(target=speak_ssh)
        thread.start()
        with pytest.raises(TransportError, match="did not answer"):
            get(f"http://127.0.0.1:{listener.getsockname()[1]}")
        thread.join()


def test_https_verifies_certificate_and_host_name(monkeypatch: pytest.MonkeyPatch) -> None:
    contexts: list[ssl.SSLContext] = []

    def dial(connection: http.client.HTTPSConnection) -> None:
        contexts.append(connection._context)  # type: ignore[attr-defined] # noqa: SLF001 - no public accessor
        raise ConnectionRefusedError("not in this test")

    monkeypatch.setattr(http.client.HTTPSConnection, "connect", dial)
    with pytest.raises(TransportError):
        get("https://127.0.0.1")
    (context,) = contexts
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.check_hostname


@pytest.mark.parametrize("body", [b"", b"[]", b'"x"', b"{", b"\xff", b"[" * 60_000])
def test_body_that_is_not_a_json_object_is_malformed(body: bytes) -> None:
    with pytest.raises(MalformedResponseError):
        Response(status=200, headers={}, body=body).json_object()


@pytest.mark.parametrize(
    ("value", "expected"),
    [("7", 7), (" 0 ", 0), ("-1", None), ("1.5", None), ("Fri, 31 Dec 1999 23:59:59 GMT", None), ("9" * 30, None)],
)
def test_retry_after_is_read_in_seconds(value: str, expected: int | None) -> None:
    assert Response(status=429, headers={"retry-after": value}, body=b"").retry_after() == expected


def test_missing_retry_after_is_none() -> None:
    assert Response(status=429, headers={}, body=b"").retry_after() is None
