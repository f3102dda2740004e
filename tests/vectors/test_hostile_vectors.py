"""Vectors and verifiers of a stranger: `conformance` refuses them with one sentence, and never with a traceback."""

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import threading
import tomllib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import jsonschema_rs
import pytest
from support.command_line import Ended, call
from support.local_servers import serving_in_thread
from support.page_blocks import blocks_of
from support.vectors import VECTORS

from verifier.cli.commands import ExitStatus
from verifier.core.encoding.moments import moment_json

NAME = "verified/json"
#: A case with every kind of key.
CASE = """\
description = "A case."
at = 2026-11-23T08:00:00Z
body = "body.json"
media_type = "application/json"
nonce_mode = "required"
tenant_policy = "asked"
clouds = ["AzurePublicCloud"]

[expected]
verdict = "refused"
code = "signature-invalid"
failing_check = "signature"
retryable = false

[[earlier]]
body = "body.json"
media_type = "text/plain"

[request]
nonce = "0123456789"

[[nonces]]
value = "0123456789"
issued_at = 2026-11-23T07:59:30Z
expires_at = 2026-11-23T08:04:30Z
used_at = 2026-11-23T07:59:50Z
vm_id = "5c1a0b3e-7d42-4f0a-9b57-1f6d2e8c4a90"
policy = "asked"
tenant = "another"

[denied]
serial_numbers = ["0a"]
spki_sha256 = []

[policies.asked]
clouds = ["AzurePublicCloud"]
"""
#: The nonce of the case once more.
AGAIN = CASE[CASE.index("[[nonces]]") : CASE.index("[denied]")]
#: Faults that a schema of one document finds: the text before, the text after, and the message.
FAULTS = [
    ('body = "body.json"', 'body = "../../etc/passwd"', "body: string should match pattern"),
    ('body = "body.json"', 'body = "/etc/passwd"', "body: string should match pattern"),
    ('body = "body.json"', 'body = ".."', "body: string should match pattern"),
    ('body = "body.json"', 'body = "a\\u0000b"', "body: string should match pattern"),
    ('body = "body.json"', "body = 7", "body: input should be a valid string"),
    ("[[earlier]]\nbody = ", '[[earlier]]\nbody = "../" #', "earlier.0.body: string should match pattern"),
    ('"application/json"', '"application/json\\r\\nX-Other: 1"', "media_type: input should be"),
    ('"application/json"', '["application/json"]', "media_type: input should be"),
    ('"text/plain"', '"text/plain\\n"', "earlier.0.media_type: input should be"),
    ('"A case."', '""', "description: string should have at least 1 character"),
    ('"A case."', "true", "description: input should be a valid string"),
    ("at = 2026-11-23T08:00:00Z", 'at = "2026"', "at: input should be a valid datetime"),
    ("at = 2026-11-23T08:00:00Z", "at = 1", "at: input should be a valid datetime"),
    ("at = 2026-11-23T08:00:00Z", "at = 0001-01-01T00:00:00Z", "at: the year must be between 2000 and 2099"),
    ("at = 2026-11-23T08:00:00Z", "at = 9999-12-31T23:59:59Z", "at: the year must be between 2000 and 2099"),
    ("at = 2026", "#", "the key 'at' is missing"),
    ('"required"', '"maybe"', "nonce_mode: input should be 'required' or 'optional'"),
    ('"required"', "1", "nonce_mode: input should be 'required' or 'optional'"),
    ('clouds = ["AzurePublicCloud"]\n\n', "clouds = []\n", "clouds: list should have at least 1 item"),
    ('clouds = ["AzurePublicCloud"]', 'clouds = ["Azure"]', "clouds.0: input should be 'AzurePublicCloud'"),
    ('clouds = ["', 'clouds = ["AzurePublicCloud", "', "clouds: a cloud is repeated"),
    ('clouds = ["AzurePublicCloud"]', 'clouds = "AzurePublicCloud"', "clouds: input should be a valid list"),
    ('"refused"', '"maybe"', "expected.verdict: input should be 'verified' or 'refused'"),
    ('"refused"', "[]", "expected.verdict: input should be 'verified' or 'refused'"),
    ('verdict = "refused"\n', "", "the key 'expected.verdict' is missing"),
    ('"refused"', '"verified"\ncloud = "AzurePublicCloud"', "unknown key 'expected.code'"),
    ('"signature-invalid"', '"bad"', "expected.code: input should be"),
    ('failing_check = "signature"', 'failing_check = "all"', "expected.failing_check: input should be"),
    ("retryable = false", "retryable = 0", "expected.retryable: input should be a valid boolean"),
    ("retryable = false", "retryable = true", "expected: retry_after_seconds must be set"),
    ("retryable = false", "retryable = false\nretry_after_seconds = 5", "expected: retry_after_seconds must be set"),
    ("retryable = false", "retryable = true\nretry_after_seconds = 0", "expected.retry_after_seconds: input should be"),
    ('nonce = "0123456789"', "", "request: the table is empty"),
    ('nonce = "0123456789"', "nonce = 1", "request.nonce: input should be a valid string"),
    ('value = "0123456789"', 'value = ""', "nonces.0.value: string should have at least 1 character"),
    ('value = "0123456789"', "value = 1", "nonces.0.value: input should be a valid string"),
    ("issued_at = 2026-11-23T07:59:30Z", 'issued_at = "now"', "nonces.0.issued_at: input should be a valid datetime"),
    ("issued_at = 2026-11-23T07:59:30Z", "issued_at = 7", "nonces.0.issued_at: input should be a valid datetime"),
    ("used_at = 2026-11-23T07:59:50Z", 'used_at = "now"', "nonces.0.used_at: input should be a valid datetime"),
    ("used_at = 2026-11-23T07:59:50Z", "used_at = 7.5", "nonces.0.used_at: input should be a valid datetime"),
    ('tenant = "another"', 'tenant = "a/b"', "nonces.0.tenant: the name of a tenant is"),
    ('tenant = "another"', 'jkt = "a"', "unknown key 'nonces.0.jkt'"),
    ('["0a"]', '["0x0a"]', "denied.serial_numbers.0: string should match pattern"),
    ('["0a"]', "[10]", "denied.serial_numbers.0: input should be a valid string"),
    ("spki_sha256 = []", 'spki_sha256 = ["0a"]', "denied.spki_sha256.0: string should match pattern"),
    ('[policies.asked]\nclouds = ["AzurePublicCloud"]', "[policies.asked]", "policies.asked: dictionary should have"),
]
#: Faults that need more than a schema.
OTHER_FAULTS = [
    ("at = 2026-11-23T08:00:00Z", "at = 2026-11-23T08:00:00", "at: input should have timezone info"),
    ("at = 2026-11-23T08:00:00Z", "at = 2026-11-23", "at: input should be a valid datetime"),
    ("issued_at = 2026-11-23T07:59:30Z", "issued_at = 2026-11-23T07:59:30", "nonces.0.issued_at: input should have"),
    ("used_at = 2026-11-23T07:59:50Z", "used_at = 2026-11-23T07:59:50", "nonces.0.used_at: input should have timezone"),
    ("08:04:30Z", "07:59:30Z", "nonces.0: expires_at must be after issued_at"),
    ("07:59:50Z", "07:59:29Z", "nonces.0: used_at must be between issued_at and expires_at"),
    ("07:59:50Z", "08:04:31Z", "nonces.0: used_at must be between issued_at and expires_at"),
    ("[denied]", f"{AGAIN}[denied]", "nonces: it has the same nonce twice"),
    ('tenant_policy = "asked"', 'tenant_policy = "gone"', "tenant_policy: there is no policy 'gone' in the case"),
    ("[policies.asked]", "[policies.asked]\nunknown = 1", "unknown key 'policies.asked.unknown'"),
    ("[policies.asked]", "[policies.asked]\nvmIds = ['x']", "policies.asked.vmIds.0: "),
    ("[policies.asked]", f"[policies.asked]\n{'.'.join(['not'] * 3000)}.plans = ['a']", "policies.asked."),
    ('"A case."', f"{'[' * 30_000}", "values are nested too deeply"),
    ('"A case."', f"{'[' * 100_000}", "larger than 65536 bytes"),
    ('"A case."', "1" * 5000, "case.toml: "),
    ('"A case."', '"\x00"', "case.toml: "),
    ("description", '"a\\nb\\u001b[2J" = 1\ndescription', "unknown key 'a"),
]


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """Return vectors with the one case, which a test may change."""
    root = tmp_path / "vectors"
    shutil.copytree(VECTORS / NAME, root / NAME)
    (root / NAME / "case.toml").write_text(CASE, "utf-8")
    shutil.copy(VECTORS / "vectors.toml", root)
    shutil.copytree(VECTORS / "trust", root / "trust")
    return root


def expect_invalid(ended: Ended, *parts: str) -> None:
    """Expect exit status 2 and one printable line with these parts."""
    assert (ended.out, ended.status) == ("", ExitStatus.USAGE), ended
    [line] = ended.err.splitlines()
    assert line.isprintable()
    assert len(line) < 700
    for part in ("imds-verifier conformance: ", *parts):
        assert part in line


def replaced(before: str, after: str) -> str:
    assert before in CASE
    return CASE.replace(before, after, 1)


def test_the_unchanged_case_runs(directory: Path) -> None:
    assert call("conformance", str(directory)).status in {ExitStatus.DONE, ExitStatus.REFUSED}


@pytest.mark.parametrize(("before", "after", "message"), [*FAULTS, *OTHER_FAULTS])
@pytest.mark.parametrize("options", [(), ("--url", "http://127.0.0.1:1/")], ids=["own", "remote"])
def test_an_invalid_case_is_refused(
    directory: Path, before: str, after: str, message: str, options: tuple[str, ...]
) -> None:
    (directory / NAME / "case.toml").write_text(replaced(before, after), "utf-8")
    expect_invalid(call("conformance", str(directory), *options), f"{NAME}/case.toml: ", message)


@pytest.mark.parametrize(("before", "after"), [("x", "x"), *(fault[:2] for fault in FAULTS)])
def test_the_schema_refuses_the_same_cases(before: str, after: str) -> None:
    schema = json.loads((VECTORS / "case.schema.json").read_text("utf-8"))
    validator = jsonschema_rs.Draft202012Validator(schema, validate_formats=True)
    fields = json.loads(json.dumps(tomllib.loads(replaced(before, after)), default=moment_json))
    assert validator.is_valid(fields) is (before == after)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("format = 1\n", "the key 'version' is missing"),
        ('version = ""\nformat = 1\n', "version: string should match pattern"),
        ("version = 1\nformat = 1\n", "version: input should be a valid string"),
        ('version = "1.0.0"\n', "the key 'format' is missing"),
        ('version = "1.0.0"\nformat = true\n', "format: input should be a valid integer"),
        ('version = "1.0.0"\nformat = 1.0\n', "format: input should be a valid integer"),
        ('version = "1.0.0"\nformat = 0\n', "format 0 is unknown; this release reads 1"),
        ('version = "1.0.0"\nformat = 1\nother = 1\n', "unknown key 'other'"),
        (f"version = {'[' * 30_000}", "values are nested too deeply"),
    ],
)
def test_an_invalid_index_is_refused(directory: Path, text: str, message: str) -> None:
    (directory / "vectors.toml").write_text(text, "utf-8")
    expect_invalid(call("conformance", str(directory)), "vectors.toml: ", message)


def link_to_another_file(file: Path) -> None:
    secret = file.parents[3] / "secret"
    file.replace(secret)
    file.symlink_to(secret)


def link_to_a_device(file: Path) -> None:
    file.unlink()
    file.symlink_to("/dev/zero")


def pipe(file: Path) -> None:
    file.unlink()
    os.mkfifo(file)


def listen(file: Path) -> None:
    file.unlink()
    with socket.socket(socket.AF_UNIX) as listener:
        here = Path.cwd()
        os.chdir(file.parent)  # the path of a socket has at most 107 bytes
        try:
            listener.bind(file.name)
        finally:
            os.chdir(here)


def make_directory(file: Path) -> None:
    file.unlink()
    file.mkdir()


def enlarge(file: Path) -> None:
    with file.open("ab") as opened:
        opened.truncate(2 * 1024 * 1024)


KINDS: list[tuple[Callable[[Path], None], str]] = [
    (link_to_another_file, "it is a symbolic link"),
    (link_to_a_device, "it is a symbolic link"),
    (pipe, "it is not a regular file"),
    (listen, "it is not a regular file"),
    (make_directory, "it is not a regular file"),
    (enlarge, "larger than"),
]


@pytest.mark.parametrize("name", [f"{NAME}/body.json", f"{NAME}/case.toml", "vectors.toml"])
@pytest.mark.parametrize(("change", "message"), KINDS)
def test_only_small_regular_files_are_read(
    directory: Path, name: str, change: Callable[[Path], None], message: str
) -> None:
    file = directory / "verified" / "json" / "body.json" if name.endswith("body.json") else directory / name
    if name == "vectors.toml" and change is link_to_another_file:
        file.unlink()
        file.symlink_to(VECTORS / "vectors.toml")
    else:
        change(file)
    expect_invalid(call("conformance", str(directory)), f"{name}: {message}")


@pytest.mark.parametrize("name", ["verified", "verified/json"])
def test_the_directory_of_a_case_is_no_link(directory: Path, name: str) -> None:
    shutil.rmtree(directory / name)
    (directory / name).symlink_to(VECTORS / name)
    expect_invalid(call("conformance", str(directory)), f"vectors/{name}: it is a symbolic link")


@pytest.mark.parametrize("body", ["../json/body.json", "/etc/passwd", "link", "pipe", ".."])
def test_the_program_of_the_page_reads_only_files_of_the_case(directory: Path, tmp_path: Path, body: str) -> None:
    text = CASE.replace('body = "body.json"', f'body = "{body}"')  # of both posts
    (directory / NAME / "case.toml").write_text(text, "utf-8")
    (directory / NAME / "link").symlink_to("body.json")
    os.mkfifo(directory / NAME / "pipe")
    [block] = blocks_of("docs/integrate/vectors.md", "Run them on another verifier", "python")
    program = tmp_path / "run_vectors.py"
    program.write_text(block.text, "utf-8")
    ran = subprocess.run(
        [sys.executable, "-I", str(program), str(directory), "http://127.0.0.1:1/"],
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )
    assert ran.returncode != 0
    assert re.search(r"ValueError: .* is not a file in the directory of its case\n$", ran.stderr)


@contextmanager
def answering(body: bytes) -> Iterator[str]:
    """Serve this body as the answer 422 to each post."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(422)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Write no log."""

    with HTTPServer(("127.0.0.1", 0), Handler) as server, serving_in_thread(server):
        yield f"http://127.0.0.1:{server.server_port}/"


ANSWERS = [
    (b"[" * 100_000, "code None"),
    (b'{"code":' + b"[" * 400 + b"]" * 400 + b"}", "code a value of the type list"),
    (b'{"code":"\\ud800\\n"}', "code \\ud800\\n, expected"),
    (b'{"retryable":0}', "retryable 0, expected False"),
    (b'{"retryable":1e999}', "retryable a value of the type float"),
    (b'{"retryable":' + b"9" * 5000 + b"}", "retryable None"),
    (b'{"checks":[{"name":[]}]}', "checks of another form"),
    (b'{"checks":[{"name":[],"outcome":"fail"}]}', "checks failing a value of the type list"),
    (b'{"checks":[{"name":{},"outcome":{}}]}', "checks of another form"),
    (b'{"checks":[[[]]]}', "checks a value of the type list"),
    (b'{"checks":[]}', "checks of another form"),
    (b'{"checks":{}}', "checks a value of the type dict"),
    (b'{"checks":"\x1b[2J"}', "checks None"),
    (b"\xff", "checks None"),
    (b"", "checks None"),
]


@pytest.mark.parametrize("as_json", [False, True], ids=["text", "json"])
@pytest.mark.parametrize(("body", "shown"), ANSWERS)
def test_a_malformed_answer_is_a_difference(directory: Path, body: bytes, shown: str, *, as_json: bool) -> None:
    with answering(body) as url:
        ended = call("conformance", str(directory), "--url", url, *(["--json"] if as_json else []))
    assert ended.status == ExitStatus.REFUSED
    assert ended.err.endswith(": 1 cases, 1 differ\n")
    [line] = ended.out.splitlines()
    if as_json:
        assert json.loads(line)["case"] == NAME
    else:
        assert shown in line
        assert line.isascii()


#: Bytes that are no answer of HTTP.
NO_ANSWERS = [
    b"",
    b"\xff\xff\r\n\r\n",
    b"HTTP/1.1 abc OK\r\n\r\n",
    b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 200 + b"\r\n",
    b"HTTP/1.1 200 OK\r\nA: " + b"b" * 100_000,
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-5\r\n",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"f" * 1000 + b"\r\n",
]


@pytest.mark.parametrize(
    ("head", "piece"),
    [(b"", b"HTTP/1.1 100 Continue\r\n\r\n"), (b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n", b"a")],
)
def test_a_verifier_whose_answer_goes_on_is_given_up(
    directory: Path, head: bytes, piece: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("verifier.wiring.conformance._SECONDS", 1)
    has_ended = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def respond() -> None:
            connection, _ = listener.accept()
            with connection, suppress(OSError):
                connection.sendall(head)
                while not has_ended.wait(0.1):
                    connection.sendall(piece)

        thread = threading.Thread(target=respond)
        thread.start()
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/"
        ended = call("conformance", str(directory), "--url", url)
        has_ended.set()
        thread.join()
    assert (ended.out, ended.status) == ("", ExitStatus.UNAVAILABLE)
    assert ended.err.endswith(f"imds-verifier conformance: {url} does not answer within 1 s.\n")


@pytest.mark.parametrize("answer", NO_ANSWERS)
def test_a_verifier_that_does_not_speak_http_is_unavailable(directory: Path, answer: bytes) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def respond() -> None:
            connection, _ = listener.accept()
            with connection, suppress(OSError):
                connection.sendall(answer)
                connection.shutdown(socket.SHUT_WR)
                while connection.recv(65536):  # a reset would hide the answer
                    pass

        thread = threading.Thread(target=respond)
        thread.start()
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/"
        ended = call("conformance", str(directory), "--url", url)
        thread.join()
    assert (ended.out, ended.status) == ("", ExitStatus.UNAVAILABLE)
    assert re.fullmatch(rf"imds-verifier conformance: {url} does not answer: \w+\.\n", ended.err.split("\r")[-1])


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("http://127.0.0.1:1/\u00e9", "has a character that no URL has"),
        ("http://\u00e9.example/", "has a character that no URL has"),
        ("http://127.0.0.1:1/a b", "has a character that no URL has"),
        ("http://127.0.0.1:1/a\r\nX: 1", "has a character that no URL has"),
        ("http://a..b/", "is not a URL"),
        (f"http://{'a' * 64}.example/", "is not a URL"),
        ("http://[::1/", "is not a URL"),
        ("http://127.0.0.1:65536/", "is not a URL"),
    ],
)
@pytest.mark.parametrize("option", ["--url", "--state-url"])
def test_an_invalid_url_is_refused(directory: Path, option: str, url: str, message: str) -> None:
    options = ("--url", url) if option == "--url" else ("--url", "http://127.0.0.1:1/", "--state-url", url)
    expect_invalid(call("conformance", str(directory), *options), f"{option}: ", message)
