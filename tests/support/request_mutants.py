"""HTTP requests as a server hands them to the application, and random changes of them."""

import io
import json
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import unquote_to_bytes

from flask import Flask
from support import documents
from support.hostile_documents import change_bytes, writings
from support.mutations import random_mutants

_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PROPFIND", "post", "X" * 40)
_PATHS = (
    *("/v1/nonces", "/v1/attestations", "/v1/decisions", "/v1/usage", "/healthz", "/readyz", "/openapi.json", "/docs"),
    *("/.well-known/jwks.json", "/problems/too-large", "/metrics", "/v1/trust", "/", "/v1", "//v1/nonces", "/v1/%2e"),
)
_QUERIES = (
    *("?", "?x", "?limit=1", "?limit=-1", "?limit=1e9", "?tenant=south", "?from=2026-11-23", "?from=0000-00-00"),
    *("?cursor=%00", "?cursor=AAAA", "?by=vmId", "?by=sku&by=sku", "?verdict=refused", "?vmId=%ff", "?since=now"),
)
_MEDIA_TYPES = (
    *("application/json", "text/plain", "application/cms", "application/pkcs7-mime", "application/octet-stream", ""),
    *("application/json; charset=utf-16", "multipart/form-data; boundary=x", "application/x-www-form-urlencoded"),
)
_HEADERS = (
    ("Authorization", "Bearer"),
    ("Authorization", "Basic bm9ydGgtMTo="),
    ("Authorization", "Bearer " + "x" * 300),
    ("Content-Encoding", "gzip"),
    ("Transfer-Encoding", "chunked"),
    ("X-Request-Id", "a" * 65),
    ("X-Request-Id", "\xff"),
    ("Traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
    ("Traceparent", "ff-" + "0" * 51),
    ("X-Forwarded-For", "192.0.2.1, [::1]:80, unknown"),
    ("Forwarded", 'for="[2001:db8::1]:4711";proto=http'),
    ("If-None-Match", '"x", W/"y", *'),
    ("If-Modified-Since", "never"),
    ("Range", "bytes=0-,-1"),
    ("Accept", "\xff;q=-1"),
    ("Cookie", "session=" + "a" * 4000),
    ("Host", "evil.example:99999"),
    ("X-HTTP-Method-Override", "DELETE"),
)
#: Values of JSON members: of every type, at the bounds, and odd texts.
_VALUES: tuple[object, ...] = (
    *(None, True, 0, -1, 2**63, 1.5, "", "default", "none-such", "\x00", "\ud7ff", "a" * 200, [], {}, [[]], {"a": {}}),
    *("pkcs7", "PKCS7", "0" * 10, documents.VM.vm_id, "{" + documents.VM.vm_id.upper() + "}", "_" * 43),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class RawRequest:
    """A request whose parts need not fit each other. `target` is the path and the query as sent."""

    method: str
    target: str
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""
    address: str = "192.0.2.1"

    @property
    def authorization(self) -> str | None:
        """The Authorization header as a server hands it over: the values of repeated headers joined by commas."""
        found = [value for name, value in self.headers if name.lower() == "authorization"]
        return ",".join(found) if found else None

    @property
    def path(self) -> str:
        return unquote_to_bytes(self.target.partition("?")[0]).decode("latin-1")

    def environ(self) -> dict[str, Any]:
        """Return the WSGI environment (PEP 3333), as gunicorn makes it."""
        made: dict[str, Any] = {
            "REQUEST_METHOD": self.method,
            "SCRIPT_NAME": "",
            "PATH_INFO": self.path,
            "QUERY_STRING": self.target.partition("?")[2],
            "RAW_URI": self.target,
            "SERVER_NAME": "test",
            "SERVER_PORT": "80",
            "SERVER_PROTOCOL": "HTTP/1.1",
            "REMOTE_ADDR": self.address,
            "CONTENT_LENGTH": str(len(self.body)),
            "wsgi.version": (1, 0),
            "wsgi.url_scheme": "http",
            "wsgi.input": io.BytesIO(self.body),
            "wsgi.input_terminated": True,
            "wsgi.errors": io.StringIO(),
            "wsgi.multithread": True,
            "wsgi.multiprocess": True,
            "wsgi.run_once": False,
        }
        for name, value in self.headers:
            key = name.upper().replace("-", "_")
            key = key if key in {"CONTENT_TYPE", "CONTENT_LENGTH"} else f"HTTP_{key}"
            is_repeated = key in made and key != "CONTENT_LENGTH"
            made[key] = f"{made[key]},{value}" if is_repeated else value
        return made


@dataclass(frozen=True, slots=True, kw_only=True)
class RawAnswer:
    status: int
    headers: Mapping[str, str]
    body: bytes


def send(app: Flask, request: RawRequest) -> RawAnswer:
    """Call the application as a server does. Every exception goes through."""
    started: list[tuple[str, list[tuple[str, str]]]] = []

    def start(status: str, headers: list[tuple[str, str]], _: object = None) -> Callable[[bytes], object]:
        started.append((status, headers))
        return lambda data: data

    result = app(request.environ(), start)
    try:
        body = b"".join(result)
    finally:
        close = getattr(result, "close", None)
        if close is not None:
            close()
    [(status, headers)] = started
    return RawAnswer(status=int(status[:3]), headers=dict(headers), body=body)


def change_request(request: RawRequest, chance: random.Random) -> RawRequest:
    """Change one to three parts of a request at random, most often its body."""
    for _ in range(chance.choice((1, 1, 2, 3))):
        change = chance.choices(_CHANGES, weights=_WEIGHTS)[0]
        request = change(request, chance)
    return request


def _other_method(request: RawRequest, chance: random.Random) -> RawRequest:
    return replace(request, method=chance.choice(_METHODS))


def _other_target(request: RawRequest, chance: random.Random) -> RawRequest:
    target = request.target
    changed = change_bytes(target.encode("latin-1"), chance).decode("latin-1")
    choices = (chance.choice(_PATHS), target + chance.choice(_QUERIES), "/" + changed.lstrip("/"), target + "/", target)
    return replace(request, target=chance.choice(choices).replace("\r", "").replace("\n", ""))


def _other_header(request: RawRequest, chance: random.Random) -> RawRequest:
    headers = list(request.headers)
    place = chance.randrange(len(headers) + 1)
    match chance.randrange(4):
        case 0:
            headers.insert(place, chance.choice(_HEADERS))
        case 1:
            del headers[place : place + 1]
        case 2:
            headers += headers[place : place + 1]
        case _:
            name, value = (*headers, ("X", "y"))[place]
            # Servers pass no line breaks and NULs in headers.
            changed = change_bytes(value.encode("latin-1"), chance).translate(None, b"\r\n\x00")
            headers[place : place + 1] = [(name, changed.decode("latin-1"))]
    return replace(request, headers=tuple(headers))


def _other_media_type(request: RawRequest, chance: random.Random) -> RawRequest:
    others = tuple(header for header in request.headers if header[0] != "Content-Type")
    return replace(request, headers=(*others, ("Content-Type", chance.choice(_MEDIA_TYPES))))


def _other_body(request: RawRequest, chance: random.Random) -> RawRequest:
    return replace(request, body=change_bytes(request.body, chance))


def _other_member(request: RawRequest, chance: random.Random) -> RawRequest:
    """Add, replace, rename or remove a member of the JSON object, if the body is one."""
    try:
        fields = json.loads(request.body)
    except ValueError:
        return _other_body(request, chance)
    if not isinstance(fields, dict):
        return _other_body(request, chance)
    names = ("encoding", "signature", "nonce", "policy", "vmId", "jkt", "x")
    name = chance.choice((*names, *fields))
    if chance.random() < 0.2:
        fields.pop(name, None)
    else:
        fields[name] = chance.choice((*_VALUES, *fields.values()))
    # An earlier change may have left a lone surrogate.
    body = json.dumps(fields, ensure_ascii=chance.random() < 0.5).encode("utf-8", "surrogatepass")
    return replace(request, body=body)


def _other_document(request: RawRequest, chance: random.Random) -> RawRequest:
    """Change the document inside the evidence, and write it in one of the forms."""
    der = document_of(request.body)
    if not der:
        return _other_member(request, chance)
    try:
        changed = next(random_mutants(der, 1, chance.randrange(2**32)))
    except (ValueError, IndexError):  # an earlier change left no DER
        return _other_body(request, chance)
    return replace(request, body=chance.choice((changed, *writings(changed))))


def _other_writing(request: RawRequest, chance: random.Random) -> RawRequest:
    der = document_of(request.body)
    return replace(request, body=chance.choice((der, *writings(der)))) if der else request


def document_of(body: bytes) -> bytes:
    """Return the document of a body in DER or in the JSON of IMDS, or no bytes."""
    if body[:1] == b"0":
        return body
    try:
        return documents.der_of(json.loads(body))
    except (ValueError, TypeError, KeyError):
        return b""


_CHANGES: tuple[Callable[[RawRequest, random.Random], RawRequest], ...] = (
    _other_method,
    _other_target,
    _other_header,
    _other_media_type,
    _other_body,
    _other_member,
    _other_document,
    _other_writing,
)
_WEIGHTS = (1, 3, 4, 1, 4, 4, 8, 2)
