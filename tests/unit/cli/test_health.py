"""The health check of a container: of the standard library alone, and right about what it asks."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from support.local_servers import serving_in_thread

from verifier.cli import health


@contextmanager
def answering(status: int, body: bytes = b"") -> Iterator[tuple[int, list[str]]]:
    """A server of that answer: its port, and the paths that it is asked for."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.send_header("Location", "/healthy")
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server, serving_in_thread(server):
        yield server.server_address[1], asked


def test_is_healthy_if_the_service_of_the_container_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    with answering(200) as (port, asked):
        monkeypatch.setenv("VERIFIER_PORT", str(port))
        assert health.main([]) == 0
    assert asked == ["/healthz"]


def test_asks_the_listener_of_metrics_and_health_if_there_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    with answering(200) as (port, asked):
        monkeypatch.setenv("VERIFIER_PORT", "1")
        monkeypatch.setenv("VERIFIER_METRICS_PORT", str(port))
        assert health.main([]) == 0
    assert asked == ["/healthz"]


def test_asks_what_it_is_given() -> None:
    with answering(200) as (port, asked):
        assert health.main([f"http://127.0.0.1:{port}/readyz"]) == 0
    assert asked == ["/readyz"]


@pytest.mark.parametrize("status", [204, 302, 404, 503])
def test_any_other_answer_is_not_healthy_and_no_redirect_is_followed(
    status: int, capsys: pytest.CaptureFixture[str]
) -> None:
    with answering(status, b"" if status == 204 else "why ä\x1b".encode()) as (port, asked):
        assert health.main([f"http://127.0.0.1:{port}/readyz"]) == 1
    assert asked == ["/readyz"]
    told = capsys.readouterr().err
    assert told.startswith(f"health: {status} ")
    assert told.isascii()
    assert "\x1b" not in told


def test_is_unhealthy_without_an_answer(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("VERIFIER_PORT", "9")
    assert health.main([]) == 1
    assert capsys.readouterr().err == "health: no answer: ConnectionRefusedError\n"


@pytest.mark.parametrize(
    "url",
    [
        "",
        "readyz",
        "https://127.0.0.1/",
        "http://",
        "http://[",
        "http://a:port/",
        "http://a:65536/",
        "http://[::1]x/",
        "http://x[::1]/",
        "http://[v1.x]/",
        "file:///x",
    ],
)
def test_what_is_no_such_url_is_a_slip_of_use(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert health.main([url]) == 2
    assert capsys.readouterr().err.startswith("usage: ")


def test_two_urls_are_one_too_many() -> None:
    assert health.main(["http://127.0.0.1/", "http://127.0.0.1/"]) == 2


def test_uses_no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    with answering(200) as (port, _):
        assert health.main([f"http://127.0.0.1:{port}/"]) == 0


def test_is_a_module_of_the_standard_library_alone() -> None:
    """It starts every few seconds: not even the package's own modules are loaded."""
    program = "import sys, verifier.cli.health; print([name for name in sys.modules if name.startswith('verifier')])"
    with answering(200) as (port, _):
        done = subprocess.run(
            [sys.executable, "-P", "-c", program], capture_output=True, text=True, check=True, timeout=60
        )
        assert done.stdout == "['verifier', 'verifier.cli', 'verifier.cli.health']\n"
        ended = subprocess.run(
            [sys.executable, "-P", "-m", "verifier.cli.health"],
            env={**os.environ, "VERIFIER_PORT": str(port)},
            check=False,
            timeout=60,
        )
    assert ended.returncode == 0
