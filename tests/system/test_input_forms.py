"""What people post: each form of a document by HTTP, command line and agent, and the form of each key file.

The service and the agents are processes. IMDS is a scripted server that gives its answer in one of the forms.
"""

import base64
import codecs
import hashlib
import json
import re
import shutil
import subprocess
import textwrap
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from support.agents import Agent, make_agents
from support.command_line import call
from support.documents import imds_answer
from support.live_documents import current_document
from support.scripted_servers import Reply, Request, serving
from support.services import RunningServer, running_service

from verifier.agent.exit_codes import ExitCode

#: Of `imds-verifier api-key`: 43 characters.
KEY = base64.urlsafe_b64encode(hashlib.sha256(b"the key of contoso").digest()).decode().rstrip("=")
HASH = hashlib.sha256(KEY.encode()).hexdigest()
AS_TENANT = {"Authorization": f"Bearer {KEY}"}
NONCE = "0123456789"
AGENTS = [name for name in ("module", "dash") if name == "module" or shutil.which(name)]
CERTIFICATE = b"-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n"


def answer(der: bytes) -> str:
    return json.dumps(imds_answer(der))


def answer_with(signature: Callable[[str], str]) -> Callable[[bytes], bytes]:
    """Return the form whose `signature` is made of the base64."""

    def write(der: bytes) -> bytes:
        text = base64.b64encode(der).decode()
        return json.dumps({"encoding": "pkcs7", "signature": signature(text)}).encode()

    return write


def wrap(text: str) -> str:
    return "\r\n".join(textwrap.wrap(text, 76))


def pem(text: str) -> str:
    return f"-----BEGIN PKCS7-----\n{wrap(text)}\n-----END PKCS7-----\n"


def base64_of(der: bytes) -> str:
    return base64.b64encode(der).decode()


#: Forms that every reader accepts: what IMDS sends, as editors, shells and libraries change it.
ANSWERS: dict[str, Callable[[bytes], bytes]] = {
    "the answer of IMDS": lambda der: answer(der).encode(),
    "UTF-8 with a mark": lambda der: codecs.BOM_UTF8 + answer(der).encode(),
    "UTF-16 LE with a mark": lambda der: codecs.BOM_UTF16_LE + answer(der).encode("utf-16-le"),
    "UTF-16 BE with a mark": lambda der: codecs.BOM_UTF16_BE + answer(der).encode("utf-16-be"),
    "CRLF": lambda der: json.dumps(imds_answer(der), indent=4).replace("\n", "\r\n").encode() + b"\r\n",
    "wrapped base64": answer_with(wrap),
    "base64url": answer_with(lambda text: text.replace("+", "-").replace("/", "_").rstrip("=")),
    "PEM in JSON": answer_with(pem),
}
#: Forms that IMDS never sends, so that only the agent refuses them.
DOCUMENTS: dict[str, Callable[[bytes], bytes]] = {
    "base64": lambda der: base64_of(der).encode(),
    "wrapped base64 in UTF-16": lambda der: codecs.BOM_UTF16_LE + wrap(base64_of(der)).encode("utf-16-le"),
    "a quoted string": lambda der: json.dumps(base64_of(der)).encode(),
    "a quoted string with escapes": lambda der: json.dumps(base64_of(der)).replace("+", "\\u002B").encode(),
    "a quoted string of PEM": lambda der: json.dumps(pem(base64_of(der))).encode(),
    "PEM": lambda der: pem(base64_of(der)).encode(),
    "PEM with a mark and CRLF": lambda der: codecs.BOM_UTF8 + pem(base64_of(der)).replace("\n", "\r\n").encode(),
    "DER": lambda der: der,
}
#: What is no document, with what the refusal says of it.
OTHERS: dict[str, tuple[bytes, str]] = {
    "an error of IMDS": (
        b'{"error": "Bad request. Required metadata header not specified"}',
        "This is an error answer of IMDS, not a document: 'Bad request. Required metadata header not specified'.",
    ),
    "an error of IMDS in UTF-16": (
        codecs.BOM_UTF16_LE + '{"error": "Gone"}'.encode("utf-16-le"),
        "This is an error answer of IMDS, not a document: 'Gone'.",
    ),
    "an error object": (b'{"error": {"code": "500"}}', "This is an error answer of IMDS, not a document: '500'."),
    "an error object without a message": (
        b'{"error": {"message": null, "code": "500"}}',
        "This is an error answer of IMDS, not a document: '500'.",
    ),
    "instance metadata": (b'{"compute": {}, "network": {}}', "This is instance metadata of IMDS, not a document."),
    "compute metadata": (b'{"azEnvironment": "x", "vmId": "y"}', "This is instance metadata of IMDS, not a document."),
    "an access token": (b'{"access_token": "x"}', "This is an access token of IMDS, not a document."),
    "signed content": (
        b'{"nonce": "1", "timeStamp": {}, "vmId": "x"}',
        "This is the content of a document without its signature, not a document.",
    ),
    "a nonce of the service": (
        b'{"nonce": "1", "issuedAt": "x", "expiresAt": "y"}',
        "This is a nonce of this service, not a document.",
    ),
    "a problem of the service": (
        b'{"type": "/problems/internal", "requestId": "x"}',
        "This is an error answer of this service, not a document.",
    ),
    "HTML": (b"<!doctype html><title>Sign in</title>", "This is HTML or XML, not a document."),
    "a JWT": (b"eyJhbGciOiJFUzI1NiJ9.e30.AAAA", "This is a JSON web token, or JSON in base64, not a document."),
    "a JWT as signature": (
        b'{"encoding": "pkcs7", "signature": "eyJhbGciOiJFUzI1NiJ9.e30.AAAA"}',
        "This is a JSON web token, or JSON in base64, not a document.",
    ),
    "an array": (b'[{"encoding": "pkcs7"}]', "This is a JSON array, not a document."),
    "an HTTP response": (b"HTTP/1.1 200 OK\r\n\r\n{}", "This is an HTTP response with its header, not a document."),
    "a certificate": (CERTIFICATE, "It begins with the label CERTIFICATE."),
    "UTF-16 without a mark": ('{"encoding": "pkcs7"}'.encode("utf-16-le"), "it needs a byte order mark"),
    "Latin-1": (b"caf\xe9", "it is not UTF-8 text"),
    "a mix of alphabets": (b"MA+-", "The signature mixes base64 and base64url."),
    "base64 that is cut off": (b"MIIKMI", "The signature seems to be cut off: its base64 ends inside a byte."),
    "base64 that is cut off after one character of four": (b"MIIKM", "The signature seems to be cut off"),
    "padded base64 with bits behind the last byte": (b"MB==", "The signature is not canonical base64."),
    "an error as text": (b"Too many requests", "This is other text: the base64 of a document begins with 'M'."),
    "an error of curl": (b"curl: (7) Failed to connect", "This is other text: the base64 of a document"),
    "a vmId": (b"5c1a0b3e-7d42-4f0a-9b57-1f6d2e8c4a90", "This is other text: the base64 of a document"),
    "JSON encoded twice": (
        json.dumps('{"encoding": "pkcs7"}').encode(),
        "This is JSON inside a string, not a document.",
    ),
    "JSON as signature": (
        json.dumps({"encoding": "pkcs7", "signature": '{"encoding": "pkcs7"}'}).encode(),
        "This is JSON inside a string, not a document.",
    ),
    "single quotes": (b"'MAA='", "This is text in single quotes, not a document."),
    "quotes inside a string": (
        json.dumps({"encoding": "pkcs7", "signature": '"MAA="'}).encode(),
        "This is text in quotes inside a string, not a document.",
    ),
    "form data": (b"encoding=pkcs7&signature=MAA%3D", "This is form data, not a document."),
    "PEM with escaped line breaks": (
        rb"-----BEGIN PKCS7-----\nMAA=\n-----END PKCS7-----",
        "It has no end, or other text inside or after the block.",
    ),
    "JSON that is cut off": (b'{"encoding": "pkcs7", "signature": "MIIK', "it ends too early"),
    "two answers": (b'{"encoding": "pkcs7"}\n{"encoding": "pkcs7"}', "it has text after its end"),
    "an empty body": (b"", "The evidence is empty."),
    "a wrong field": (b'{"encoding": "pkcs7", "signatur": "x"}', "Unknown field 'signatur'. Did you mean 'signature'?"),
    "a wrong case": (b'{"Encoding": "pkcs7", "signature": "x"}', "Unknown field 'Encoding'. Did you mean 'encoding'?"),
    "a line break in a string": (b'{"encoding": "pk\ncs7"}', "it has a line break or tab inside a string"),
}
MEDIA_TYPES = ["application/json", "text/plain", "application/octet-stream"]


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyFile:
    """The content of a key file. Without a `refusal` the agent reads the key."""

    content: bytes
    refusal: str = ""


KEY_FILES = {
    "the key": KeyFile(content=KEY.encode()),
    "CRLF": KeyFile(content=f"{KEY}\r\n".encode()),
    "UTF-8 with a mark": KeyFile(content=codecs.BOM_UTF8 + f"{KEY}\n".encode()),
    "UTF-16 LE with a mark": KeyFile(content=codecs.BOM_UTF16_LE + f"{KEY}\r\n".encode("utf-16-le")),
    "UTF-16 BE with a mark": KeyFile(content=codecs.BOM_UTF16_BE + f"{KEY}\r\n".encode("utf-16-be")),
    "the output of api-key": KeyFile(content=f"key:    {KEY}\nsha256: {HASH}\n".encode()),
    "the output of api-key in UTF-16": KeyFile(
        content=codecs.BOM_UTF16_LE + f"key:    {KEY}\r\nsha256: {HASH}\r\n".encode("utf-16-le")
    ),
    "the line of the key": KeyFile(content=f"key:    {KEY}\n".encode()),
    "two lines": KeyFile(
        content=f"# contoso\n{KEY}\n".encode(),
        refusal="has 2 lines; line 2 has the form of a key: keep only this line",
    ),
    "two lines without a key": KeyFile(content=b"user\npassword\n", refusal="has 2 lines; it must have only the key"),
    "an empty file": KeyFile(content=b"\r\n", refusal="is empty"),
    "the line of the hash": KeyFile(
        content=f"sha256: {HASH}\n".encode(),
        refusal="begins with the hash of the key: keep only the line that begins with key:",
    ),
    "other text": KeyFile(content=b"a key with spaces", refusal="is not a bearer token"),
}


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory, trust_dir: Path) -> Iterator[RunningServer]:
    """Run a service with one tenant. Its answers are not checked against OpenAPI, because the bodies are odd."""
    store = f"sqlite://{tmp_path_factory.mktemp('store')}/nonces.sqlite3"
    tenants = json.dumps({"contoso": {"keys": [HASH]}})
    with running_service(nonce_store=store, trust_dir=trust_dir, workers=1, VERIFIER_TENANTS=tenants) as running:
        yield replace(running, described=False)


@pytest.fixture(scope="module")
def agents() -> dict[str, Agent]:
    return make_agents(Path("not-built.pyz"))


def issue(service: RunningServer) -> str:
    return str(service.request("POST", "/v1/nonces", headers=AS_TENANT).json["nonce"])


@pytest.mark.parametrize("media_type", MEDIA_TYPES)
@pytest.mark.parametrize("form", ANSWERS | DOCUMENTS)
def test_service_accepts_each_form(guarded: RunningServer, form: str, media_type: str) -> None:
    body = (ANSWERS | DOCUMENTS)[form](current_document(issue(guarded)))
    headers = {**AS_TENANT, "Content-Type": media_type}
    appraised = guarded.request("POST", "/v1/attestations", body, headers=headers)
    assert (appraised.status, appraised.json.get("verdict")) == (200, "verified"), appraised.body


@pytest.mark.parametrize("media_type", MEDIA_TYPES)
@pytest.mark.parametrize("form", OTHERS)
def test_service_names_what_is_no_document(guarded: RunningServer, form: str, media_type: str) -> None:
    body, sentence = OTHERS[form]
    headers = {**AS_TENANT, "Content-Type": media_type}
    refused = guarded.request("POST", "/v1/attestations", body, headers=headers)
    assert (refused.status, refused.code, refused.json["retryable"]) == (400, "malformed-evidence", False)
    assert sentence in str(refused.json["detail"])


@pytest.mark.parametrize("form", ANSWERS | DOCUMENTS)
def test_command_accepts_each_form(tmp_path: Path, trust_dir: Path, form: str) -> None:
    file = tmp_path / "document"
    file.write_bytes((ANSWERS | DOCUMENTS)[form](current_document(NONCE)))
    done = call("verify", str(file), "--trust-dir", str(trust_dir))
    assert (done.status, done.err) == (0, "")
    assert done.out.startswith("verified: ")


@pytest.mark.parametrize("form", OTHERS)
def test_command_names_what_is_no_document(tmp_path: Path, trust_dir: Path, form: str) -> None:
    content, sentence = OTHERS[form]
    file = tmp_path / "document"
    file.write_bytes(content)
    done = call("verify", str(file), "--trust-dir", str(trust_dir))
    assert (done.status, done.out) == (2, "")
    assert "malformed-evidence" in done.err
    assert sentence in done.err


def imds_in(form: Callable[[bytes], bytes]) -> Callable[[Request], Reply]:
    """Play IMDS: sign the nonce of the request, and answer in this form."""

    def reply(request: Request) -> Reply:
        nonce = re.search(r"nonce=(\w+)", request.target)
        return Reply(body=form(current_document(nonce[1] if nonce else None)))

    return reply


@pytest.mark.parametrize("name", AGENTS)
@pytest.mark.parametrize("form", ANSWERS | DOCUMENTS)
def test_agent_takes_each_form_of_an_answer(
    guarded: RunningServer, agents: dict[str, Agent], tmp_path: Path, form: str, name: str
) -> None:
    (tmp_path / "key").write_text(KEY, encoding="ascii")
    with serving(imds_in((ANSWERS | DOCUMENTS)[form])) as imds:
        options = ("--verifier", guarded.url, "--imds", imds.url, "--key-file", str(tmp_path / "key"))
        done = agents[name].run(tmp_path, *options)
    if form in ANSWERS:
        assert (done.status, done.err) == (ExitCode.VERIFIED, "")
    else:
        assert (done.status, done.out) == (ExitCode.NOT_IMDS, "")
        assert "is not IMDS: the response is not" in done.err


@pytest.mark.parametrize("name", AGENTS)
@pytest.mark.parametrize("form", ["an error of IMDS", "instance metadata", "a JWT", "HTML", "a nonce of the service"])
def test_agent_does_not_post_what_is_no_document(
    guarded: RunningServer, agents: dict[str, Agent], tmp_path: Path, form: str, name: str
) -> None:
    (tmp_path / "key").write_text(KEY, encoding="ascii")
    with serving(Reply(body=OTHERS[form][0])) as imds:
        options = ("--verifier", guarded.url, "--imds", imds.url, "--key-file", str(tmp_path / "key"))
        done = agents[name].run(tmp_path, *options)
    assert (done.status, done.out) == (ExitCode.NOT_IMDS, "")
    assert "is not IMDS: the response is not" in done.err


@pytest.mark.parametrize("name", AGENTS)
@pytest.mark.parametrize("form", KEY_FILES)
def test_agent_reads_each_form_of_a_key_file(
    guarded: RunningServer, agents: dict[str, Agent], tmp_path: Path, form: str, name: str
) -> None:
    (tmp_path / "key").write_bytes(KEY_FILES[form].content)
    with serving(imds_in(ANSWERS["the answer of IMDS"])) as imds:
        options = ("--verifier", guarded.url, "--imds", imds.url, "--key-file", str(tmp_path / "key"))
        done = agents[name].run(tmp_path, *options)
    if KEY_FILES[form].refusal:
        assert (done.status, done.out) == (2, "")
        assert KEY_FILES[form].refusal in done.err
        assert KEY not in done.err
        assert imds.requests == []
    else:
        assert (done.status, done.err) == (ExitCode.VERIFIED, "")


@pytest.mark.parametrize("name", AGENTS)
@pytest.mark.parametrize("output", [">/dev/full", ">&-"])
def test_agent_does_not_call_a_failed_output_a_refusal(
    guarded: RunningServer, agents: dict[str, Agent], tmp_path: Path, output: str, name: str
) -> None:
    (tmp_path / "key").write_text(KEY, encoding="ascii")
    with serving(imds_in(ANSWERS["the answer of IMDS"])) as imds:
        options = ("--verifier", guarded.url, "--imds", imds.url, "--key-file", str(tmp_path / "key"))
        command = ["/bin/sh", "-c", f'exec "$@" {output}', "sh", *agents[name].command, *options]
        done = subprocess.run(command, capture_output=True, check=False, timeout=60, text=True)
    assert done.returncode == ExitCode.USAGE, done.stderr
    assert re.fullmatch("attest: [^\n]*standard output[^\n]*\n", done.stderr)
