"""Ways in that must fail: keys of others, keys of the other kind, and every way to make two parties on one connection
read one request differently. On a service as it runs, with two tenants and an administrator."""

import hashlib
import json
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest
from support import raw_http
from support.documents import imds_answer
from support.live_documents import current_document
from support.problems import read_problem
from support.services import Answer, RunningServer, running_service

JSON = ("Content-Type", "application/json")
KEYS = {name: f"{name}-k3y.{'0123456789abcdef' * 2}" for name in ("north", "north-next", "south", "alice")}
SHA256 = {name: hashlib.sha256(key.encode()).hexdigest() for name, key in KEYS.items()}
UNKNOWN = "0" * 64
TENANT_PATHS = ["/v1/nonces", "/v1/attestations"]
ADMIN_PATHS = [
    ("GET", "/v1/trust"),
    ("POST", f"/v1/trust/discovered/{UNKNOWN}/approve"),
    ("POST", f"/v1/trust/discovered/{UNKNOWN}/reject"),
    ("POST", "/v1/trust/pins"),
    ("DELETE", f"/v1/trust/pins/{UNKNOWN}"),
    ("PUT", "/v1/trust/denied/1234"),
    ("DELETE", "/v1/trust/denied/1234"),
]


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory, trust_dir: Path) -> Iterator[RunningServer]:
    """Two workers over SQLite, for the tenants north (two keys) and south, and the administrator alice."""
    store = f"sqlite://{tmp_path_factory.mktemp('store')}/nonces.sqlite3"
    with running_service(
        nonce_store=store,
        trust_dir=trust_dir,
        VERIFIER_REQUEST_SECONDS="2",
        VERIFIER_TENANTS=json.dumps(
            {"north": {"keys": [SHA256["north"], SHA256["north-next"]]}, "south": {"keys": [SHA256["south"]]}}
        ),
        VERIFIER_ADMIN_KEYS=json.dumps({"alice": SHA256["alice"]}),
        # The pages have paths of their own, and hold no data.
        VERIFIER_PAGES="false",
    ) as running:
        yield running


def bearer(name: str) -> tuple[str, str]:
    return ("Authorization", f"Bearer {KEYS[name]}")


def send(
    server: RunningServer,
    headers: Iterable[tuple[str, str]] = (),
    *,
    body: bytes = b"",
    method: str = "POST",
    path: str = "/v1/nonces",
) -> Answer:
    """A request with exactly these headers, and JSON where there is a body."""
    sent = [*headers, *([JSON] if body else [])]
    with raw_http.Connection(server.url) as connection:
        connection.send(raw_http.request(body, method=method, path=path, headers=sent))
        return connection.receive(method=method)


def code_of(answer: Answer) -> object:
    return read_problem(answer.status, answer.headers, answer.body)["code"]


def nonce_of(server: RunningServer, name: str) -> str:
    answer = send(server, [bearer(name)])
    assert answer.status == 201, answer.body
    return str(answer.json["nonce"])


def evidence(nonce: str) -> bytes:
    return json.dumps(imds_answer(current_document(nonce))).encode()


def assert_opened_nothing(answer: Answer) -> None:
    """Nothing was issued or appraised, and no key, hash or name of anybody is in the answer."""
    assert 400 <= answer.status < 500, (answer.status, answer.body)
    read_problem(answer.status, answer.headers, answer.body)
    text = answer.body.decode()
    for told in (*KEYS.values(), *SHA256.values(), "north", "south", "alice"):
        assert told not in text


# Keys


@pytest.mark.parametrize("path", TENANT_PATHS)
def test_no_key_is_no_way_in_for_a_tenant(guarded: RunningServer, path: str) -> None:
    answer = send(guarded, body=evidence("0123456789"), path=path)
    assert (answer.status, code_of(answer)) == (401, "unauthenticated")
    assert answer.headers["WWW-Authenticate"] == "Bearer"
    assert_opened_nothing(answer)


@pytest.mark.parametrize(("method", "path"), ADMIN_PATHS)
def test_no_key_is_no_way_in_for_an_administrator(guarded: RunningServer, method: str, path: str) -> None:
    answer = send(guarded, method=method, path=path)
    assert (answer.status, code_of(answer)) == (401, "unauthenticated")
    assert answer.headers["WWW-Authenticate"] == "Bearer"


@pytest.mark.parametrize(("method", "path"), ADMIN_PATHS)
@pytest.mark.parametrize("name", ["north", "north-next", "south"])
def test_a_tenants_key_administers_nothing(guarded: RunningServer, method: str, path: str, name: str) -> None:
    answer = send(guarded, [bearer(name)], method=method, path=path)
    assert (answer.status, code_of(answer)) == (403, "forbidden")
    assert_opened_nothing(answer)


@pytest.mark.parametrize("path", TENANT_PATHS)
def test_an_admin_key_is_no_tenants(guarded: RunningServer, path: str) -> None:
    nonce = nonce_of(guarded, "north")
    answer = send(guarded, [bearer("alice")], body=evidence(nonce), path=path)
    assert (answer.status, code_of(answer)) == (403, "forbidden")
    assert_opened_nothing(answer)
    assert_good(guarded, nonce, "north")


def test_each_key_opens_what_is_its_own(guarded: RunningServer) -> None:
    for name in ("north", "north-next", "south"):
        assert_good(guarded, nonce_of(guarded, name), name)
    assert send(guarded, [bearer("alice")], method="GET", path="/v1/trust").status == 200


def assert_good(server: RunningServer, nonce: str, name: str) -> None:
    answer = send(server, [bearer(name)], body=evidence(nonce), path="/v1/attestations")
    assert (answer.status, answer.json["verdict"]) == (200, "verified")


def test_another_tenants_nonce_is_unknown_and_stays_good_for_its_own(guarded: RunningServer) -> None:
    nonce = nonce_of(guarded, "north")
    for _ in range(2):
        answer = send(guarded, [bearer("south")], body=evidence(nonce), path="/v1/attestations")
        assert (answer.status, code_of(answer)) == (422, "nonce-unknown")
    assert_good(guarded, nonce, "north")
    replay = send(guarded, [bearer("north")], body=evidence(nonce), path="/v1/attestations")
    assert (replay.status, code_of(replay)) == (409, "nonce-replayed")
    # Also afterwards: that it was used is not told to others.
    answer = send(guarded, [bearer("south")], body=evidence(nonce), path="/v1/attestations")
    assert code_of(answer) == "nonce-unknown"


def test_the_keys_of_one_tenant_share_their_nonces(guarded: RunningServer) -> None:
    assert_good(guarded, nonce_of(guarded, "north"), "north-next")


def test_a_key_that_differs_by_a_little_is_none(guarded: RunningServer) -> None:
    key = KEYS["north"]
    for other in (key[:-1], key + "0", key.upper(), key.replace("0", "O"), SHA256["north"], key[::-1]):
        answer = send(guarded, [("Authorization", f"Bearer {other}")])
        assert (answer.status, code_of(answer)) == (401, "unauthenticated")
        assert_opened_nothing(answer)


# Where a key may stand


@pytest.mark.parametrize("member", ["key", "access_token", "token", "api_key", "Authorization", "authorization"])
@pytest.mark.parametrize("way", ["query", "matrix", "fragment"])
def test_a_key_in_the_address_is_none(guarded: RunningServer, member: str, way: str) -> None:
    """RFC 6750 section 2.3 is what is not taken here: addresses are logged on their way."""
    mark = {"query": "?", "matrix": ";", "fragment": "#"}[way]
    for value in (KEYS["north"], f"Bearer%20{KEYS['north']}"):
        answer = send(guarded, path=f"/v1/nonces{mark}{member}={value}")
        assert_opened_nothing(answer)
        answer = send(guarded, method="GET", path=f"/v1/trust{mark}{member}={value.replace('north', 'alice')}")
        assert_opened_nothing(answer)


@pytest.mark.parametrize(
    "body",
    [
        {"key": KEYS["north"]},
        {"access_token": KEYS["north"]},
        {"Authorization": f"Bearer {KEYS['north']}"},
        {"tenant": "north"},
    ],
)
def test_a_key_in_the_body_is_none(guarded: RunningServer, body: dict[str, str]) -> None:
    assert code_of(send(guarded, body=json.dumps(body).encode())) == "unauthenticated"


@pytest.mark.parametrize("member", ["tenant", "X-Tenant", "key"])
def test_no_member_of_the_body_changes_the_tenant(guarded: RunningServer, member: str) -> None:
    nonce = nonce_of(guarded, "north")
    fields = {**imds_answer(current_document(nonce)), member: "north"}
    answer = send(guarded, [bearer("south")], body=json.dumps(fields).encode(), path="/v1/attestations")
    assert code_of(answer) == "malformed-evidence"
    assert_good(guarded, nonce, "north")


@pytest.mark.parametrize(
    "header",
    [
        *("Proxy-Authorization", "X-Authorization", "X-Api-Key", "Api-Key", "Cookie", "X-Forwarded-Authorization"),
        *("Authorization-Bearer", "X-Original-Authorization", "Authorisation", "HTTP_AUTHORIZATION"),
        *("REMOTE_USER", "X-Remote-User", "X-Forwarded-User", "X-Tenant", "Authorization_"),
    ],
)
def test_a_key_in_another_header_is_none(guarded: RunningServer, header: str) -> None:
    for value in (KEYS["north"], f"Bearer {KEYS['north']}", "north"):
        assert_opened_nothing(send(guarded, [(header, value)]))


@pytest.mark.parametrize("name", ["authorization", "AUTHORIZATION", "aUtHoRiZaTiOn"])
@pytest.mark.parametrize("scheme", ["bearer", "BEARER", "Bearer"])
def test_the_case_of_header_and_scheme_makes_no_difference(guarded: RunningServer, name: str, scheme: str) -> None:
    """RFC 9110 sections 5.1 and 11.1: whoever filters by one spelling is not circumvented by another."""
    assert send(guarded, [(name, f"{scheme} {KEYS['north']}")]).status == 201
    assert code_of(send(guarded, [(name, f"{scheme} {KEYS['alice']}")])) == "forbidden"
    assert code_of(send(guarded, [(name, f"{scheme} {UNKNOWN}")])) == "unauthenticated"


@pytest.mark.parametrize(
    "headers",
    [
        [bearer("north"), bearer("north")],
        [bearer("north"), bearer("south")],
        [bearer("alice"), bearer("north")],
        [("Authorization", "Bearer nothing"), bearer("north")],
        [bearer("north"), ("Authorization", "")],
        [("Authorization", ""), bearer("north")],
        [bearer("north"), ("authorization", f"Bearer {KEYS['north']}")],
        [("Authorization", f"Bearer {KEYS['south']}, Bearer {KEYS['north']}")],
        [("Authorization", f"Bearer {KEYS['south']},{KEYS['north']}")],
    ],
    ids=str,
)
def test_two_keys_are_none(guarded: RunningServer, headers: list[tuple[str, str]]) -> None:
    answer = send(guarded, headers)
    assert (answer.status, code_of(answer)) == (401, "unauthenticated")
    assert_opened_nothing(answer)
    assert code_of(send(guarded, headers, method="GET", path="/v1/trust")) == "unauthenticated"


@pytest.mark.parametrize(
    "value",
    [
        f"Bearer  {KEYS['north']}",
        f"Bearer\t{KEYS['north']}",
        f"Bearer={KEYS['north']}",
        f'Bearer "{KEYS["north"]}"',
        f'Bearer token="{KEYS["north"]}"',
        f"Basic {KEYS['north']}",
        f"Token {KEYS['north']}",
        f"Bearer {KEYS['north']};",
        f"Bearer {KEYS['north']} x",
        f"Bearer {KEYS['north']}\xa0",
        f"Bearer\xa0{KEYS['north']}",
        f"Bearer {KEYS['north']}%00",
        KEYS["north"],
        "Bearer",
        "Bearer ",
        "",
        "Bearer " + "=" * 100,
    ],
    ids=repr,
)
def test_what_is_not_quite_a_bearer_key_is_none(guarded: RunningServer, value: str) -> None:
    answer = send(guarded, [("Authorization", value)])
    assert (answer.status, code_of(answer)) == (401, "unauthenticated")
    assert_opened_nothing(answer)


@pytest.mark.parametrize("size", [1_000, 8_000, 9_000, 100_000])
def test_an_oversized_key_is_none(guarded: RunningServer, size: int) -> None:
    for value in ("Bearer " + "x" * size, f"Bearer {KEYS['north']}" + "0" * size, " " * size + f"Bearer {UNKNOWN}"):
        assert_opened_nothing(send(guarded, [("Authorization", value)]))


# What two parties on one connection could read differently


@pytest.mark.parametrize(
    "head",
    [
        "Content-Length: 2\r\nContent-Length: 40",
        "Content-Length: 40\r\nContent-Length: 2",
        "Content-Length: 2\r\nContent-Length: 2",
        "Content-Length: 2, 2",
        "Content-Length: 2,40",
        "Content-Length: 2\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked\r\nContent-Length: 2",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\nContent-Length: 2",
        "Content-Length: 2\r\nTransfer-Encoding : chunked",
        "Content-Length: 2\r\nTransfer-Encoding: xchunked",
        "Content-Length: 2\r\nTransfer-Encoding:\x0bchunked",
        "Content-Length: 2\r\n Transfer-Encoding: chunked",
        "Content-Length: 2\r\nX: x\r\n\tfolded: y",
        "Content-Length : 2",
        "Content-Length: +2",
        "Content-Length: 0x2",
        "Content-Length: 2\x00",
        "Content-Length: \xb2",
        "Content-Length: 2\r\nX: a\x00b",
        "Content-Length: 2\r\nX: a\rb",
        "Content-Length: 2\r\nX\x00: a",
        "Content-Length: 2\r\n: a",
        "Content-Length: 2\r\nX(: a",
        "Content-Length: 2\r\nno colon",
    ],
    ids=repr,
)
def test_nothing_smuggled_behind_a_request_is_answered(guarded: RunningServer, head: str) -> None:
    """What follows would be read as a second request by whoever reads the length differently: administration, with a
    key of its own, so that nothing but the reading of the first request stands in its way."""
    second = f"GET /v1/trust HTTP/1.1\r\nHost: test\r\nAuthorization: Bearer {KEYS['alice']}\r\n\r\n"
    request = f"POST /v1/nonces HTTP/1.1\r\nHost: test\r\nAuthorization: Bearer {KEYS['north']}\r\n{head}\r\n\r\n{{}}"
    with raw_http.Connection(guarded.url) as connection:
        connection.send((request + second).encode("latin-1"))
        answer = connection.receive()
        assert code_of(answer) == "malformed-request"
        assert connection.is_closed()


@pytest.mark.parametrize(
    "line",
    [
        "Authorization : Bearer {key}",
        "Authorization\t: Bearer {key}",
        " Authorization: Bearer {key}",
        "X: y\r\n Authorization: Bearer {key}",
        "Authorization:\r\n Bearer {key}",
        "Authorization: Bearer\r\n {key}",
        "Authorization: Bearer {key}\x00",
        "Authorization: \x00Bearer {key}",
        "Authorization\x00: Bearer {key}",
        "Authorization: Bearer {key}\rX: y",
        "X: y\rAuthorization: Bearer {key}",
        "Authorization Bearer {key}",
        "Authorization; Bearer {key}",
    ],
    ids=repr,
)
def test_a_key_in_a_line_that_is_no_header_is_none(guarded: RunningServer, line: str) -> None:
    data = f"POST /v1/nonces HTTP/1.1\r\nHost: test\r\nContent-Length: 0\r\n{line.format(key=KEYS['north'])}\r\n\r\n"
    answer = raw_http.exchange(guarded.url, data.encode("latin-1"))
    assert code_of(answer) == "malformed-request"
    assert_opened_nothing(answer)


def test_a_refused_request_with_a_body_leaves_the_next_one_on_its_connection_alone(guarded: RunningServer) -> None:
    """The body of the first is not read: it is not the second request, whatever it looks like."""
    inner = f"GET /v1/trust HTTP/1.1\r\nHost: test\r\nAuthorization: Bearer {KEYS['alice']}\r\n\r\n".encode()
    with raw_http.Connection(guarded.url) as connection:
        connection.send(raw_http.request(inner, path="/v1/nonces", headers=[JSON]))
        assert code_of(connection.receive()) == "unauthenticated"
        connection.send(raw_http.request(method="GET", path="/v1/trust", headers=[]))
        assert code_of(connection.receive(method="GET")) == "unauthenticated"


def test_a_connection_remembers_no_key(guarded: RunningServer) -> None:
    with raw_http.Connection(guarded.url) as connection:
        connection.send(raw_http.request(path="/v1/nonces", headers=[bearer("north")]))
        assert connection.receive().status == 201
        connection.send(raw_http.request(path="/v1/nonces", headers=[]))
        assert code_of(connection.receive()) == "unauthenticated"


@pytest.mark.parametrize(("name", "code"), [("Authorization", "malformed-request"), ("X-Key", "unauthenticated")])
def test_trailers_bring_no_key(guarded: RunningServer, name: str, code: str) -> None:
    """The server reads the body before it asks for a key, and refuses a trailer that names a field of the head."""
    head = raw_http.chunked_head(path="/v1/nonces")
    trailer = f"0\r\n{name}: Bearer {KEYS['north']}\r\n\r\n".encode()
    assert code_of(raw_http.exchange(guarded.url, head + raw_http.chunk(b"{}") + trailer)) == code


# Headers that rewrite a request elsewhere


@pytest.mark.parametrize(
    "headers",
    [
        [("X-Forwarded-For", "127.0.0.1"), ("X-Real-IP", "127.0.0.1"), ("Forwarded", "for=127.0.0.1")],
        [("X-Forwarded-Host", "localhost"), ("X-Forwarded-Proto", "https"), ("X-Forwarded-Port", "443")],
        [("X-Forwarded-Prefix", "/v1"), ("X-Script-Name", "/v1"), ("SCRIPT_NAME", "/v1"), ("SCRIPT-NAME", "/v1")],
        [("PATH_INFO", "/healthz"), ("PATH-INFO", "/healthz"), ("REQUEST_URI", "/healthz")],
        [("X-Original-URL", "/healthz"), ("X-Rewrite-URL", "/healthz"), ("X-Forwarded-Uri", "/healthz")],
        [("X-HTTP-Method-Override", "GET"), ("X-HTTP-Method", "GET"), ("X-Method-Override", "GET")],
        [("REQUEST_METHOD", "GET"), ("wsgi.url_scheme", "https"), ("werkzeug.request", "x")],
        [("X-Forwarded-User", "alice"), ("X-Authenticated-User", "alice"), ("X-Remote-User", "alice")],
        [("X-Forwarded-Client-Cert", "Hash=0"), ("X-SSL-Client-Verify", "SUCCESS")],
    ],
    ids=str,
)
def test_headers_for_proxies_have_no_effect(guarded: RunningServer, headers: list[tuple[str, str]]) -> None:
    """Neither to let anybody in, nor to lead anybody who may come elsewhere."""
    assert code_of(send(guarded, headers, method="GET", path="/v1/trust")) == "unauthenticated"
    assert code_of(send(guarded, headers)) == "unauthenticated"
    assert code_of(send(guarded, [*headers, bearer("north")], method="GET", path="/v1/trust")) == "forbidden"
    assert code_of(send(guarded, [*headers, bearer("alice")])) == "forbidden"
    assert send(guarded, [*headers, bearer("north")]).status == 201
    assert send(guarded, headers, method="GET", path="/healthz").json == {"status": "alive"}


def test_a_method_is_not_overridden(guarded: RunningServer) -> None:
    for method, path in (("GET", "/v1/nonces"), ("POST", "/v1/trust")):
        for override in ("X-HTTP-Method-Override", "X-HTTP-Method", "X-Method-Override", "_method"):
            headers = [(override, "POST" if method == "GET" else "GET"), bearer("north")]
            assert code_of(send(guarded, headers, method=method, path=path)) == "method-not-allowed"


# Paths


@pytest.mark.parametrize(
    "path",
    [
        *("//v1/trust", "/v1//trust", "///v1/trust", "/v1/trust/", "/v1/trust//", "/v1/./trust", "/./v1/trust"),
        *("/v1/nonces/../trust", "/healthz/../v1/trust", "/v1/trust/.", "/v1/trust/..", "/v1/trust/../trust"),
        *(
            "/v1%2Ftrust",
            "/v1%2ftrust",
            "/%2Fv1/trust",
            "/v1/%2e/trust",
            "/v1/%2E%2E/v1/trust",
            "/v1/nonces/%2e%2e/trust",
        ),
        *(
            "/v1/trust%2F",
            "/v1/trust%00",
            "/v1/trust%20",
            "/v1/trust%09",
            "/v1/trust%0d%0a",
            "/v1/trust%3F",
            "/v1/trust%23",
        ),
        *("/v1%252Ftrust", "/v1\\trust", "/v1%5Ctrust", "/v1/trust;", "/v1/trust;x=y", "/v1;/trust", "/V1/trust"),
        *(
            "/v1/TRUST",
            "/v1/trust.json",
            "/v1/trust~",
            "/v1/trust%c0%af",
            "/v1%c0%aftrust",
            "/v1/trust%ff",
            "/v1/trust:80",
        ),
        *(
            "v1/trust",
            "http:/v1/trust",
            "/http://test/v1/trust",
            "*",
            "test:80",
            "?",
            "/?/v1/trust",
            "/v2/trust",
            "/trust",
        ),
    ],
)
def test_no_spelling_of_a_path_goes_round_its_key(guarded: RunningServer, path: str) -> None:
    """No other spelling is the path, with a key or without one: 404, or no request. Nothing is redirected either."""
    for headers in ([], [bearer("north")], [bearer("alice")]):
        answer = send(guarded, headers, method="GET", path=path)
        assert code_of(answer) in {"not-found", "malformed-request"}, answer.body
        assert "Location" not in answer.headers


@pytest.mark.parametrize(
    "path", [*("/v1/trus%74", "/%761/trust", "/v%31/trust"), "http://test/v1/trust", "http://evil.example/v1/trust"]
)
def test_a_spelling_that_is_the_path_needs_its_key_too(guarded: RunningServer, path: str) -> None:
    """RFC 3986 section 6.2.2.2 and RFC 9112 section 3.2.2: these are equivalent, so the key is asked for or nothing is
    found; which of the two, whoever filters by path has to know."""
    assert code_of(send(guarded, method="GET", path=path)) in {"unauthenticated", "not-found", "malformed-request"}
    tenants = send(guarded, [bearer("north")], method="GET", path=path)
    assert code_of(tenants) in {"forbidden", "not-found", "malformed-request"}


@pytest.mark.parametrize("length", [1_000, 1_100, 5_000, 100_000])
def test_a_very_long_address_is_no_way_in(guarded: RunningServer, length: int) -> None:
    for path in ("/v1/trust/" + "a" * length, "/" + "/" * length + "v1/trust", "/v1/trust?" + "a" * length):
        answer = send(guarded, method="GET", path=path)
        assert code_of(answer) in {"not-found", "malformed-request", "unauthenticated"}


@pytest.mark.parametrize("method", ["HEAD", "OPTIONS", "PUT", "PATCH", "TRACE", "CONNECT", "PROPFIND", "DEBUG", "GETX"])
def test_no_other_method_goes_round_the_key(guarded: RunningServer, method: str) -> None:
    for path in ("/v1/trust", *TENANT_PATHS):
        for headers in ([], [bearer("north")]):
            answer = send(guarded, headers, method=method, path=path)
            assert answer.status in {400, 401, 403, 405}, (path, answer.status)
            assert "nonce" not in answer.body.decode().replace("nonces", "")


@pytest.mark.parametrize("method", ["get", "Get", "post", "GET\x00", "G ET", "", "\x7f"])
def test_what_is_no_method_is_refused(guarded: RunningServer, method: str) -> None:
    headers = [bearer("alice"), ("Connection", "close")]
    answer = send(guarded, headers, method=method, path="/v1/trust")
    assert code_of(answer) in {"malformed-request", "method-not-allowed"}


def test_what_is_open_to_everybody_is_this_alone(guarded: RunningServer) -> None:
    """Neither a key nor a verdict is in any of it."""
    for path in ("/healthz", "/readyz", "/problems/internal"):
        assert send(guarded, method="GET", path=path).status == 200


def test_the_log_names_no_key(tmp_path: Path, trust_dir: Path) -> None:
    with running_service(
        nonce_store=f"sqlite://{tmp_path}/nonces.sqlite3",
        trust_dir=trust_dir,
        VERIFIER_TENANTS=json.dumps({"north": {"keys": [SHA256["north"]]}}),
        VERIFIER_ADMIN_KEYS=json.dumps({"alice": SHA256["alice"]}),
    ) as service:
        nonce_of(service, "north")
        for headers in ([], [bearer("alice")], [bearer("south")], [bearer("north"), bearer("north")]):
            send(service, headers)
        send(service, path=f"/v1/nonces?key={KEYS['north']}")
        raw_http.exchange(service.url, f"POST / HTTP/1.1\r\nAuthorization : Bearer {KEYS['north']}\r\n\r\n".encode())
    log = "".join(service.log)
    for told in (*KEYS.values(), *SHA256.values()):
        assert told not in log
