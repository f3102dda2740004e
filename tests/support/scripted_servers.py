"""A real HTTP server on 127.0.0.1 that plays a script and remembers what it was asked."""

import json
import ssl
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.message import Message
from http.client import HTTPConnection, IncompleteRead
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event
from urllib.parse import urlsplit

from support.local_servers import serving_in_thread


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    missing: int = 0
    """Bytes that Content-Length promises beyond the body."""
    never: bool = False
    """The server takes the request and says nothing, until it is stopped."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    method: str
    target: str
    headers: Message
    body: bytes

    def fields(self) -> dict[str, object]:
        value = json.loads(self.body)
        assert isinstance(value, dict)
        return value


Step = Reply | Callable[[Request], Reply]


class Script:
    """The replies of one server, in order, some of which are made for the request; the last one is given for ever."""

    def __init__(self, *replies: Step) -> None:
        self.replies = list(replies)
        self.requests: list[Request] = []
        self.url = ""

    def play(self, request: Request) -> Reply:
        self.requests.append(request)
        step = self.replies.pop(0) if len(self.replies) > 1 else self.replies[0]
        return step if isinstance(step, Reply) else step(request)


def forward(url: str, request: Request, *, target: str | None = None) -> Reply:
    """The reply of another server to this request, but for `target` where that is given."""
    parts = urlsplit(url)
    connection = HTTPConnection(parts.hostname or "", parts.port, timeout=30)
    try:
        connection.request(request.method, target or request.target, request.body or None, dict(request.headers))
        with connection.getresponse() as response:
            try:
                body, missing = response.read(), 0
            except IncompleteRead as cut:
                body, missing = cut.partial, cut.expected or 1
            # Those that this server sends for itself.
            own = {"content-length", "date", "server", "connection", "transfer-encoding"}
            headers = {name: value for name, value in response.getheaders() if name.lower() not in own}
            return Reply(status=response.status, body=body, headers=headers, missing=missing)
    finally:
        connection.close()


def json_reply(fields: object, *, status: int = 200, headers: Mapping[str, str] | None = None) -> Reply:
    return Reply(
        status=status,
        body=json.dumps(fields).encode(),
        headers={"Content-Type": "application/json", **(headers or {})},
    )


def problem_reply(
    status: int,
    code: str,
    *,
    retryable: object = False,
    detail: str = "Ask again.",
    headers: Mapping[str, str] | None = None,
) -> Reply:
    fields = {
        "type": f"https://verifier.example/problems/{code}",
        "title": code,
        "status": status,
        "detail": detail,
        "code": code,
        "checks": [],
        "retryable": retryable,
        "requestId": "r-1",
    }
    return json_reply(fields, status=status, headers={"Content-Type": "application/problem+json", **(headers or {})})


@contextmanager
def serving(*replies: Step, tls: ssl.SSLContext | None = None) -> Iterator[Script]:
    """On 127.0.0.1; with `tls` over https, as `localhost`, since certificates name hosts."""
    script = Script(*replies)
    stopping = Event()

    class Handler(BaseHTTPRequestHandler):
        def play(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            reply = script.play(Request(method=self.command, target=self.path, headers=self.headers, body=body))
            if reply.never:
                stopping.wait(60)
                return
            self.send_response(reply.status)
            for name, value in reply.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(reply.body) + reply.missing))
            self.end_headers()
            self.wfile.write(reply.body)

        do_GET = do_POST = play  # noqa: N815 - http.server's names for the handlers of methods

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - http.server's name for it
            del format, args

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        script.url = f"http://127.0.0.1:{server.server_port}"
        if tls is not None:
            server.socket = tls.wrap_socket(server.socket, server_side=True)
            script.url = f"https://localhost:{server.server_port}"
        with serving_in_thread(server):
            try:
                yield script
            finally:
                stopping.set()


def dead_url() -> str:
    """Port 1 (tcpmux): reserved, and nothing listens there."""
    return "http://127.0.0.1:1"
