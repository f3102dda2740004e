"""The sentences that send people the right way, each with the input that gives it."""

import base64
import hashlib
import json
import socket
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from support import documents
from support.certificates import make_signer, resign
from support.command_line import Ended, call, run
from support.live_documents import current_document, current_pki
from support.services import ADMIN_KEYS, AS_ADMIN, RunningServer, running_service

from verifier.api.problems import DOCUMENTATION, find_code
from verifier.core.vm_ids import swap_bytes
from verifier.emulator import pki

VM_ID = documents.VM.vm_id
#: Of `imds-verifier api-key`: 43 characters.
KEY = base64.urlsafe_b64encode(hashlib.sha256(b"a key").digest()).decode().rstrip("=")
HASH = hashlib.sha256(KEY.encode()).hexdigest()


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """What a post is refused with. `body` makes the body from a new nonce."""

    body: Callable[[str], Mapping[str, object]]
    code: str
    sentence: str
    retryable: bool = False
    path: str = "/v1/attestations"
    binding: Mapping[str, str] | None = None


def signed(
    nonce: str | None, *, signer: pki.Identity | None = None, age: timedelta = timedelta(0), **changed: object
) -> dict[str, object]:
    """Return IMDS's answer with a document of this age and with these fields changed."""
    fields = documents.content(nonce=nonce, created_on=datetime.now(UTC) - age)
    data = documents.encode({**fields, **changed})
    return documents.imds_answer(documents.sign(data, signer=signer or current_pki().signer))


def leaf(*, without: tuple[x509.ObjectIdentifier, ...] = (), serial_number: int | None = None) -> pki.Identity:
    authority = current_pki().issuing_ca
    made = make_signer(issuer=authority, validity=documents.around(datetime.now(UTC), days=30), without=without)
    return made if serial_number is None else resign(made, issuer=authority, serial_number=serial_number)


NO_PLAN = {"publisher": "", "product": "", "name": ""}
REFUSALS = {
    "the vmId of a nonce is no GUID": Refusal(
        path="/v1/nonces",
        body=lambda _: {"vmId": "vm-1"},
        code="malformed-request",
        sentence="Invalid field 'vmId': expected a GUID, such as 02aab8a4-74ef-476e-8182-f6d2ba4166a6.",
    ),
    "the vmId of a nonce has one brace": Refusal(
        path="/v1/nonces",
        body=lambda _: {"vmId": f"{{{VM_ID}"},
        code="malformed-request",
        sentence="Invalid field 'vmId': expected a GUID",
    ),
    "the vmId of dmidecode on a Gen1 VM": Refusal(
        body=signed,
        binding={"vmId": str(swap_bytes(VM_ID)).upper()},
        code="nonce-mismatch",
        sentence="in the byte order of dmidecode on Gen1 VMs: get the nonce with the vmId of IMDS.",
    ),
    "the vmId of another VM": Refusal(
        body=signed,
        binding={"vmId": "00000000-0000-4000-8000-000000000000"},
        code="nonce-mismatch",
        sentence="The document's nonce was issued for another VM.",
    ),
    "a field of a nonce request in another case": Refusal(
        path="/v1/nonces",
        body=lambda _: {"vmid": VM_ID},
        code="malformed-request",
        sentence="Unknown field 'vmid'. Did you mean 'vmId'?",
    ),
    "a field of the evidence with a typing error": Refusal(
        body=lambda _: {"encoding": "pkcs7", "signatur": "MAA="},
        code="malformed-evidence",
        sentence="Unknown field 'signatur'. Did you mean 'signature'?",
    ),
    "a field beside the evidence in another case": Refusal(
        body=lambda nonce: {**signed(nonce), "Nonce": nonce},
        code="malformed-evidence",
        sentence="Unknown field 'Nonce'. Did you mean 'nonce'?",
    ),
    "the default nonce of IMDS": Refusal(
        body=lambda _: signed(None),
        code="nonce-unknown",
        sentence="The document carries the default nonce of IMDS, a time: ask IMDS with `&nonce=`",
    ),
    "an empty nonce": Refusal(
        body=lambda _: signed(""),
        code="claims-incomplete",
        sentence="The document carries no nonce: ask IMDS with `&nonce=` and a nonce of this service.",
    ),
    "an expired document": Refusal(
        body=lambda nonce: signed(nonce, age=timedelta(hours=12)),
        code="document-expired",
        sentence="get a new one.",
        retryable=True,
    ),
    "requirePlan on an empty plan": Refusal(
        body=lambda nonce: {**signed(nonce, plan=NO_PLAN), "policy": "paid"},
        code="policy-denied",
        sentence="The VM was not made from a Marketplace image: its plan.publisher is empty.",
    ),
    "a publisher on an empty plan": Refusal(
        body=lambda nonce: {**signed(nonce, plan=NO_PLAN), "policy": "contoso"},
        code="policy-denied",
        sentence="The VM was not made from a Marketplace image: its plan.publisher is empty.",
    ),
    "a signer without an authority key identifier": Refusal(
        body=lambda nonce: signed(nonce, signer=leaf(without=(x509.AuthorityKeyIdentifier.oid,))),
        code="chain-untrusted",
        sentence="the signer's own certificate: invalid extension: authorityKeyIdentifier: ",
    ),
    "a signer with a serial number of 21 bytes": Refusal(
        body=lambda nonce: signed(nonce, signer=leaf(serial_number=1 << 165)),
        code="chain-untrusted",
        sentence="A serial number must be positive and have at most 20 bytes.",
    ),
    "a signer with a serial number of 65 bytes": Refusal(
        body=lambda nonce: signed(nonce, signer=leaf(serial_number=1 << 513)),
        code="malformed-evidence",
        sentence="The signer's certificate has more than 64 bytes in its serial number.",
    ),
}
#: Of each code, a part of the sentences above that the remedy on its page repeats.
REMEDIES = {
    "nonce-mismatch": "get one with the vmId of IMDS: dmidecode shows it in another byte order on Gen1 VMs",
    "nonce-unknown": "ask IMDS with `&nonce=`",
    "claims-incomplete": "Ask IMDS with `&nonce=` and a nonce of this service",
    "document-expired": "Get a new nonce and a new document.",
    "policy-denied": "the VM was not made from a Marketplace image",
    "malformed-request": "the known field that is nearest to an unknown one",
    "unsupported-media-type": "in the Accept header",
    "store-unavailable": "with its file or servers and its setting",
}


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("store") / "nonces.sqlite3"


@pytest.fixture(scope="module")
def open_service(store: Path, trust_dir: Path) -> Iterator[RunningServer]:
    with running_service(
        nonce_store=f"sqlite://{store}",
        trust_dir=trust_dir,
        workers=1,
        VERIFIER_POLICIES=json.dumps({"paid": {"requirePlan": True}, "contoso": {"publishers": ["contoso"]}}),
        VERIFIER_ADMIN_KEYS=ADMIN_KEYS,
    ) as running:
        # The bodies are not those of the OpenAPI description.
        yield replace(running, described=False)


@pytest.mark.parametrize("name", REFUSALS)
def test_refusal_says_what_to_do(open_service: RunningServer, name: str) -> None:
    expected = REFUSALS[name]
    nonce = open_service.issue_nonce(**(expected.binding or {}))
    refused = open_service.post_json(expected.path, expected.body(nonce))
    assert (refused.code, refused.json["retryable"]) == (expected.code, expected.retryable)
    assert expected.sentence in str(refused.json["detail"])
    assert ("Retry-After" in refused.headers) is expected.retryable


@pytest.mark.parametrize("code", REMEDIES)
def test_remedy_on_the_page_of_a_code_agrees(code: str) -> None:
    page = (Path(__file__).parents[2] / "docs" / "integrate" / "reasons.md").read_text("utf-8")
    assert REMEDIES[code] in DOCUMENTATION[find_code(code)].remedy
    assert REMEDIES[code] in page


@pytest.mark.parametrize("written", [VM_ID, VM_ID.upper(), f"{{{VM_ID}}}"])
def test_a_nonce_takes_the_guid_in_each_form(open_service: RunningServer, written: str) -> None:
    nonce = open_service.issue_nonce(vmId=written)
    assert open_service.post_json("/v1/attestations", signed(nonce)).status == 200


@pytest.mark.parametrize(
    ("path", "headers", "accepted"),
    [
        ("/v1/nonces", {"Content-Type": "text/plain"}, {"Accept": "application/json"}),
        (
            "/v1/attestations",
            {"Content-Type": "text/html"},
            {
                "Accept": "application/json, text/plain, application/pkcs7-mime, application/cms, "
                "application/octet-stream"
            },
        ),
        (
            "/v1/attestations",
            {"Content-Type": "text/plain", "Content-Encoding": "gzip"},
            {"Accept-Encoding": "identity"},
        ),
    ],
)
def test_unsupported_media_type_says_what_is_accepted(
    open_service: RunningServer, path: str, headers: dict[str, str], accepted: dict[str, str]
) -> None:
    refused = open_service.request("POST", path, b"x", headers=headers)
    assert (refused.status, refused.code) == (415, "unsupported-media-type")
    assert {name: refused.headers.get(name) for name in accepted} == accepted


def test_a_store_is_named_to_operators_only(open_service: RunningServer, store: Path) -> None:
    named = f"({store}, VERIFIER_NONCE_STORE)."
    aside = store.rename(store.with_name("aside"))
    try:
        public = [open_service.post_json("/v1/nonces"), open_service.request("GET", "/readyz")]
        shown = open_service.request("GET", "/readyz", headers=AS_ADMIN)
        unknown = open_service.request("GET", "/readyz", headers={"Authorization": f"Bearer {KEY}"})
    finally:
        aside.rename(store)
    assert [each.status for each in (*public, shown, unknown)] == [503] * 4
    for each in (*public, unknown):
        assert str(store) not in each.body.decode()
    for each in (public[1], unknown):
        assert b'"nonce-store"' in each.body
        assert b"Send an admin key or a backend key to see the detail." in each.body
    assert named in shown.body.decode()
    assert any(named in str(json.loads(line).get("detail")) for line in open_service.log)


def archived(tmp_path: Path, trust_dir: Path, der: bytes, *options: str) -> Ended:
    file = tmp_path / "document.der"
    file.write_bytes(der)
    return call("verify", str(file), "--trust-dir", str(trust_dir), *options)


def test_an_archive_hints_at_the_option_for_the_time(tmp_path: Path, trust_dir: Path) -> None:
    der = base64.b64decode(str(signed("1", age=timedelta(hours=12))["signature"]))
    done = archived(tmp_path, trust_dir, der, "--json")
    problem = json.loads(done.out)
    assert (done.status, problem["code"], problem["retryable"]) == (1, "document-expired", False)
    assert "get a new one" not in problem["detail"]
    assert problem["detail"].endswith(
        "If the document is from an archive, name a moment in its lifetime with `--at TIME`."
    )


def test_an_archive_with_another_nonce_is_final(tmp_path: Path, trust_dir: Path) -> None:
    done = archived(tmp_path, trust_dir, current_document("1"), "--nonce", "2", "--json")
    assert (json.loads(done.out)["code"], json.loads(done.out)["retryable"]) == ("nonce-mismatch", False)


def test_an_archive_may_carry_the_default_nonce(tmp_path: Path, trust_dir: Path) -> None:
    nonce = "20261129-101112"
    assert archived(tmp_path, trust_dir, current_document(nonce), "--nonce", nonce).status == 0


#: Settings that an operator copies wrongly, with the sentence, which never repeats the value.
SETTINGS = {
    "the key for its hash": ({"VERIFIER_ADMIN_KEYS": json.dumps({"ops": KEY})}, "this looks like the key itself"),
    "the line of the hash": (
        {"VERIFIER_ADMIN_KEYS": json.dumps({"ops": f"sha256: {HASH}"})},
        "this is the line with `sha256:`; put only the 64 digits behind it",
    ),
    "the output of api-key": (
        {"VERIFIER_TENANTS": json.dumps({"a": {"keys": [f"key:    {KEY}\nsha256: {HASH}\n"]}})},
        "this is the output with the key of `imds-verifier api-key`",
    ),
    "the key of a tenant": ({"VERIFIER_TENANTS": json.dumps({"a": {"keys": [KEY]}})}, "this looks like the key itself"),
    "another host than loopback": (
        {"VERIFIER_HOST": "[2001:db8::1]"},
        "VERIFIER_HOST is 2001:db8::1, but there are no",
    ),
}


@pytest.mark.parametrize("name", SETTINGS)
def test_setting_is_refused_with_what_it_holds(name: str) -> None:
    environment, sentence = SETTINGS[name]
    done = call("serve", "--print-settings", environment=environment)
    assert (done.status, done.out) == (2, "")
    assert sentence in done.err
    assert KEY not in done.err
    assert HASH not in done.err


@pytest.mark.parametrize("host", ["::1", "[::1]", "127.0.0.2", "localhost"])
def test_each_form_of_loopback_needs_no_tenants(host: str) -> None:
    done = call("serve", "--print-settings", environment={"VERIFIER_HOST": host, "VERIFIER_METRICS_HOST": host})
    assert (done.status, done.err) == (0, "")
    shown = json.loads(done.out)
    assert [shown["host"], shown["metrics_host"]] == [host.strip("[]")] * 2


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_secret_file_has_the_encodings_of_windows(tmp_path: Path, encoding: str) -> None:
    file = tmp_path / "store"
    file.write_text("sqlite:////var/lib/nonces.sqlite3\r\n", encoding=encoding)
    done = call("serve", "--print-settings", environment={"VERIFIER_NONCE_STORE_FILE": str(file)})
    assert (done.status, json.loads(done.out)["nonce_store"]) == (0, "sqlite:////var/lib/nonces.sqlite3")


def test_command_names_the_store_that_it_cannot_read(tmp_path: Path, trust_dir: Path) -> None:
    registry = tmp_path / "nonces-trust.sqlite3"
    registry.write_bytes(b"not a database" * 100)
    environment = {
        "VERIFIER_NONCE_STORE": f"sqlite://{tmp_path}/nonces.sqlite3",
        "VERIFIER_TRUST_DIR": str(trust_dir),
    }
    done = call("trust", "status", environment=environment)
    assert (done.status, done.out) == (3, "")
    assert f"The trust database is not a database ({registry}, VERIFIER_NONCE_STORE)." in done.err


def test_command_names_the_servers_that_do_not_answer(trust_dir: Path) -> None:
    environment = {"VERIFIER_NONCE_STORE": "redis://127.0.0.1:1/0", "VERIFIER_TRUST_DIR": str(trust_dir)}
    done = call("trust", "status", environment=environment)
    assert (done.status, done.out) == (3, "")
    assert "(127.0.0.1:1, VERIFIER_NONCE_STORE)." in done.err


def test_emulator_takes_the_address_of_loopback_in_brackets(tmp_path: Path) -> None:
    with socket.create_server(("::1", 0), family=socket.AF_INET6) as taken:
        done = call("emulator", "--host", "[::1]", "--port", str(taken.getsockname()[1]), "--trust-dir", str(tmp_path))
    assert done.status != 0
    assert "cannot listen on [::1] port" in done.err


@pytest.mark.parametrize(
    ("setting", "settings"),
    [
        ("VERIFIER_PORT", "VERIFIER_HOST and VERIFIER_PORT"),
        ("VERIFIER_METRICS_PORT", "VERIFIER_METRICS_HOST and VERIFIER_METRICS_PORT"),
    ],
)
def test_service_names_the_address_in_use_and_its_settings(
    tmp_path: Path, trust_dir: Path, setting: str, settings: str
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        environment = {
            "VERIFIER_PORT": "0",
            "VERIFIER_NONCE_STORE": f"sqlite://{tmp_path}/nonces.sqlite3",
            "VERIFIER_TRUST_DIR": str(trust_dir),
            setting: str(port),
        }
        done = run("serve", environment=environment)
    assert (done.status, done.out) == (3, "")
    assert f"cannot listen on 127.0.0.1:{port}: Address already in use. Change {settings}" in done.err
