"""The command line from end to end: real documents, real services, exit statuses that a script can act on."""

import base64
import json
from pathlib import Path

import pytest
from support import documents
from support.command_line import call, run
from support.live_documents import current_document
from support.services import RunningServer, running_server, running_service

SOUTH = ("public-southcentralus-2022-04-19", "2022-04-19T02:00:00Z", "bd8e7443-24a0-41f3-b949-8baf4fd1c573")
EAST = ("public-eastus-2026-07-28", "2026-07-28T13:24:00Z", "b1310a36-d400-46f6-82cb-6217df846586")
CLASSIC = Path(__file__).parents[2] / "examples" / "emulator" / "classic.toml"

POLICIES = """
[policies.linux]
skus = ["20_04-lts-gen2"]

[policies.gold]
requirePlan = true
"""


def write(directory: Path, name: str, form: str) -> Path:
    """A published document in a file, in one of the forms that it can be handed in."""
    der = documents.sample(name)
    text = base64.b64encode(der)
    data = {
        "json": (documents.SAMPLES / f"{name}.json").read_bytes(),
        "base64": text,
        "base64-lines": base64.encodebytes(der),
        "der": der,
        "pem": b"-----BEGIN PKCS7-----\n" + base64.encodebytes(der) + b"-----END PKCS7-----\n",
        "pem-cms": b"-----BEGIN CMS-----\n" + base64.encodebytes(der) + b"-----END CMS-----\n",
    }[form]
    file = directory / f"document.{form}"
    file.write_bytes(data)
    return file


@pytest.mark.parametrize("form", ["json", "base64", "base64-lines", "der", "pem", "pem-cms"])
@pytest.mark.parametrize(("name", "at", "vm_id"), [SOUTH, EAST])
def test_verifies_a_real_document_in_every_form(tmp_path: Path, name: str, at: str, vm_id: str, form: str) -> None:
    ended = call("verify", str(write(tmp_path, name, form)), "--at", at)
    assert (ended.status, ended.err) == (0, "")
    assert ended.out.startswith("verified: a document of AzurePublicCloud")
    assert f"vmId: {vm_id}" in ended.out
    assert "not checked, nonce: " in ended.out


@pytest.mark.parametrize("form", ["json", "der", "pem"])
def test_reads_a_document_from_standard_input(tmp_path: Path, form: str) -> None:
    name, at, vm_id = EAST
    command = run if form == "der" else call  # one process is enough
    ended = command("verify", "-", "--at", at, stdin=write(tmp_path, name, form).read_bytes())
    assert ended.status == 0
    assert vm_id in ended.out


def test_takes_a_moment_in_any_time_zone(tmp_path: Path) -> None:
    name, _, _ = EAST
    file = str(write(tmp_path, name, "json"))
    assert call("verify", file, "--at", "2026-07-28T15:24:00+02:00").status == 0
    assert call("verify", file, "--at", "2026-07-28T13:24:00+02:00").status == 1


@pytest.mark.parametrize(
    ("at", "code"),
    [
        ("2026-07-28T13:00:00Z", "document-not-yet-valid"),
        ("2026-07-28T20:00:00Z", "document-expired"),
    ],
)
def test_refuses_a_document_outside_its_time_with_status_1(tmp_path: Path, at: str, code: str) -> None:
    ended = call("verify", str(write(tmp_path, EAST[0], "json")), "--at", at)
    assert (ended.status, ended.out) == (1, "")
    assert ended.err.startswith(f"refused, {code}: ")


def test_a_document_made_after_the_moment_is_no_fault_of_a_clock(tmp_path: Path) -> None:
    ended = call("verify", str(write(tmp_path, EAST[0], "json")), "--at", "2026-07-28T13:00:00Z")
    assert ended.err.endswith("created on 2026-07-28T13:24:00Z, after the moment of the appraisal.\n")


@pytest.mark.parametrize("at", ["2026-07-28", "2026-07-28T13:24:00"])
def test_a_moment_without_a_time_zone_is_refused_with_an_example(at: str) -> None:
    ended = call("verify", "document.json", "--at", at)
    assert ended.status == 2
    assert ended.err.endswith(f"--at: '{at}' has no time zone; write a time in UTC as 2026-07-28T13:24:00Z\n")


def test_refuses_an_old_document_as_of_now(tmp_path: Path) -> None:
    assert call("verify", str(write(tmp_path, SOUTH[0], "json"))).status == 1


@pytest.mark.parametrize("at", ["2018-11-20T22:08:00Z", "2026-11-23T08:00:00Z"])
def test_refuses_the_sample_of_the_azure_page(tmp_path: Path, at: str) -> None:
    """Its certificate is signed with MD5."""
    ended = call("verify", str(write(tmp_path, "azure-page-2018", "json")), "--at", at)
    assert ended.status == 1
    assert "algorithm-refused" in ended.err


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "malformed-evidence"),
        (b"{", "malformed-evidence"),
        (b"\x30\x80", "malformed-evidence"),
        (b"-----BEGIN PKCS7-----", "malformed-evidence"),
        (b"\x00\xff", "malformed-evidence"),
        (b'{"encoding": "pem", "signature": ""}', "unsupported-encoding"),
        (b" " * 20_000, "too-large"),
    ],
)
def test_ends_with_2_where_the_input_is_malformed(data: bytes, said: str) -> None:
    ended = call("verify", "-", stdin=data)
    assert (ended.status, ended.out) == (2, "")
    assert said in ended.err
    assert call("inspect", "-", stdin=data).status == 2


@pytest.mark.parametrize(
    "arguments",
    [
        ("verify", "/nowhere/document.json"),
        ("inspect", "."),
        ("verify", "-", "--at", "yesterday"),
        ("verify", "-", "--at", "2026-07-28T13:24:00"),
        ("verify", "-", "--policy", "none"),
        ("verify", "-", "--trust-dir", "/nowhere"),
        ("verify",),
        ("verify", "-", "--no-such-option"),
        ("inspect", "/nowhere/document.json"),
        ("attest",),
        ("attest", "--verifier", "ftp://x"),
        ("no-such-command",),
        (),
    ],
)
def test_ends_with_2_where_the_usage_is_wrong(arguments: tuple[str, ...]) -> None:
    ended = call(*arguments, stdin=(documents.SAMPLES / f"{EAST[0]}.json").read_bytes())
    assert (ended.status, ended.out) == (2, "")
    assert ended.err
    assert "Traceback" not in ended.err


def test_prints_as_json_what_http_answers(service: RunningServer, trust_dir: Path) -> None:
    """The same document, posted and from a file: the same answer, but for the nonce that has no issuer here."""
    der = current_document(service.issue_nonce())
    posted = service.post_json("/v1/attestations", documents.imds_answer(der)).json
    ended = call("verify", "-", "--trust-dir", str(trust_dir), "--json", stdin=der)
    assert (ended.status, ended.err) == (0, "")
    printed = json.loads(ended.out)
    assert list(printed) == list(posted)
    differing = {name for name in posted if posted[name] != printed[name]}
    assert differing <= {"evaluatedAt", "checks", "token"}
    outcomes = {check["name"]: check["outcome"] for check in printed["checks"]}
    assert outcomes.pop("nonce") == "skipped"
    assert set(outcomes.values()) == {"pass"}


def test_prints_refusals_as_json_as_http_answers_them(service: RunningServer, trust_dir: Path) -> None:
    der = bytearray(current_document(service.issue_nonce()))
    der[der.index(b"contoso")] ^= 1
    posted = service.post_json("/v1/attestations", documents.imds_answer(bytes(der))).json
    ended = call("verify", "-", "--trust-dir", str(trust_dir), "--json", stdin=bytes(der))
    assert (ended.status, ended.err) == (1, "")
    printed = json.loads(ended.out)
    assert list(printed) == list(posted)
    assert {name for name in posted if posted[name] != printed[name]} <= {"requestId", "checks"}
    assert printed["code"] == "signature-invalid"


def test_compares_the_nonce_that_is_given(tmp_path: Path) -> None:
    name, at, _ = EAST
    file = str(write(tmp_path, name, "json"))
    right = call("verify", file, "--at", at, "--nonce", "20260728-192400")
    wrong = call("verify", file, "--at", at, "--nonce", "4711")
    assert right.status == 0
    assert "compared with the given nonce" in right.out
    assert wrong.status == 1
    assert wrong.err.startswith("refused, nonce-mismatch: ")


def test_tests_the_policies_of_a_file_on_a_real_document(tmp_path: Path) -> None:
    name, at, vm_id = SOUTH
    file = tmp_path / "policies.toml"
    file.write_text(f'{POLICIES}\n[policies.own]\nvmIds = ["{{{vm_id.upper()}}}"]\n')
    arguments = ("policy", "test", str(file), "--document", str(write(tmp_path, name, "json")), "--at", at)
    every = run(*arguments)
    assert (every.status, every.err) == (1, "")
    assert f"vmId {vm_id}" in every.out
    assert [line for line in every.out.splitlines() if line.startswith("policy ")] == [
        'policy "linux": satisfied',
        'policy "gold": absent',
        'policy "own": satisfied',
    ]
    own = run(*arguments, "--policy", "own", "--json")
    assert (own.status, own.err) == (0, "")
    [policy] = json.loads(own.out)["policies"]
    assert [(rule["outcome"], rule["found"], rule["allowed"]) for rule in policy["rules"]] == [
        ("satisfied", vm_id, [vm_id])
    ]


def test_appraises_by_the_policy_of_the_settings_file(tmp_path: Path) -> None:
    name, at, _ = SOUTH
    file = str(write(tmp_path, name, "json"))
    config = tmp_path / "verifier.toml"
    config.write_text(POLICIES)
    environment = {"VERIFIER_CONFIG": str(config)}
    allowed = call("verify", file, "--at", at, "--policy", "linux", "--json", environment=environment)
    denied = call("verify", file, "--at", at, "--policy", "gold", environment=environment)
    unknown = call("verify", file, "--at", at, "--policy", "silver", environment=environment)
    assert (allowed.status, json.loads(allowed.out)["policies"]) == (0, ["linux"])
    assert denied.status == 1
    assert denied.err.startswith("refused, policy-denied: Policy 'gold', rule 'plan is present'")
    assert unknown.status == 2
    assert "silver" in unknown.err


def test_trusts_what_the_trust_directory_says_instead(tmp_path: Path, trust_dir: Path) -> None:
    """The emulator's directory replaces the shipped bundle: its documents pass, and Azure's do not."""
    file = tmp_path / "document.der"
    file.write_bytes(current_document("4711"))
    assert call("verify", str(file), "--trust-dir", str(trust_dir)).status == 0
    assert call("verify", str(file), environment={"VERIFIER_TRUST_DIR": str(trust_dir)}).status == 0
    untrusted = call("verify", str(file))
    assert untrusted.status == 1
    assert "issuer-unpinned" in untrusted.err
    name, at, _ = EAST
    azures = call("verify", str(write(tmp_path, name, "json")), "--at", at, "--trust-dir", str(trust_dir))
    assert azures.status == 1


@pytest.mark.parametrize(
    ("name", "code"),
    [(SOUTH[0], "document-expired"), (EAST[0], "document-expired"), ("azure-page-2018", "algorithm-refused")],
)
def test_inspects_a_refused_document_and_shows_its_claims_as_unverified(tmp_path: Path, name: str, code: str) -> None:
    ended = call("inspect", str(write(tmp_path, name, "json")))
    assert (ended.status, ended.err) == (0, "")
    shown = json.loads(ended.out)
    assert (shown["verdict"], shown["code"], shown["authentic"]) == ("refused", code, None)
    assert json.loads(shown["unverified"]["content"])["timeStamp"]


def test_inspects_a_document_as_of_a_moment_and_with_a_policy(tmp_path: Path) -> None:
    name, at, _ = EAST
    file = str(write(tmp_path, name, "json"))
    shown = json.loads(call("inspect", file, "--at", at).out)
    assert (shown["verdict"], shown["unverified"]) == ("verified", None)
    assert shown["authentic"]["claims"]["vmId"]
    settings = tmp_path / "settings.toml"
    settings.write_text('[policies.silver]\npublishers = ["contoso"]\n')
    denied = call("inspect", file, "--at", at, "--policy", "silver", environment={"VERIFIER_CONFIG": str(settings)})
    assert denied.status == 0
    assert json.loads(denied.out)["denial"]["policy"] == "silver"
    unknown = call("inspect", file, "--policy", "silver")
    assert (unknown.status, unknown.out) == (2, "")
    assert "silver" in unknown.err


def test_inspects_with_the_trust_of_a_directory(trust_dir: Path) -> None:
    data = current_document("4711")
    assert json.loads(call("inspect", "-", stdin=data).out)["code"] == "issuer-unpinned"
    assert json.loads(call("inspect", "-", "--trust-dir", str(trust_dir), stdin=data).out)["verdict"] == "verified"


def test_inspects_the_structure_of_a_document_that_cannot_be_read() -> None:
    data = current_document("4711")
    ended = call("inspect", "-", stdin=data[:-100])
    assert ended.status == 2
    shown = json.loads(ended.out)
    assert (shown["code"], shown["authentic"], shown["unverified"]) == ("malformed-evidence", None, None)
    assert f"{len(data) - 104} bytes are left" in shown["structure"]["root"]["error"]


def test_attests_against_the_emulator_and_a_service(tmp_path: Path) -> None:
    trust_dir, saved = tmp_path / "trust", tmp_path / "document.json"
    with (
        running_server("emulator", "--port", "0", "--trust-dir", str(trust_dir), "--vm-id", "vm-4711") as imds,
        running_service(nonce_store=f"sqlite://{tmp_path}/nonces.sqlite3", trust_dir=trust_dir) as service,
    ):
        urls = ("--verifier", service.url, "--imds", imds.url)
        verified = run("attest", *urls, "--save-document", str(saved))
        whole = call("attest", *urls, "--json")
        # What was saved is what was posted: a second post is a replay.
        replayed = service.post_json("/v1/attestations", json.loads(saved.read_bytes()))
    assert (verified.status, verified.err) == (0, "")
    assert "vmId: vm-4711" in verified.out.splitlines()
    assert json.loads(whole.out)["verdict"] == "verified"
    assert replayed.code == "nonce-replayed"
    assert saved.stat().st_mode & 0o777 == 0o600
    again = call("verify", str(saved), "--trust-dir", str(trust_dir))
    assert again.status == 0


def test_attest_ends_with_1_where_the_service_refuses(tmp_path: Path, service: RunningServer) -> None:
    """The service trusts another PKI than the emulator's."""
    with running_server("emulator", "--port", "0", "--trust-dir", str(tmp_path / "others")) as imds:
        ended = call("attest", "--verifier", service.url, "--imds", imds.url)
    assert (ended.status, ended.out) == (1, "")
    assert ended.err.startswith("attest: refused: ")
    assert "chain-untrusted" in ended.err or "issuer-unpinned" in ended.err
    assert "request " in ended.err


def test_attest_ends_with_1_where_the_policy_denies(tmp_path: Path) -> None:
    trust_dir = tmp_path / "trust"
    with (
        running_server("emulator", "--port", "0", "--trust-dir", str(trust_dir), "--publisher", "fabrikam") as imds,
        running_service(
            nonce_store=f"sqlite://{tmp_path}/nonces.sqlite3",
            trust_dir=trust_dir,
            workers=1,
            VERIFIER_POLICIES=json.dumps({"default": {"publishers": ["contoso"]}}),
        ) as service,
    ):
        ended = call("attest", "--verifier", service.url, "--imds", imds.url)
    assert ended.status == 1
    assert "policy-denied" in ended.err


def test_attest_ends_with_3_where_there_is_no_imds(service: RunningServer) -> None:
    """And with another status where it is the service that does not answer."""
    dead = "http://127.0.0.1:1"
    for status, arguments in ((3, ("--verifier", service.url, "--imds", dead)), (20, ("--verifier", dead))):
        ended = call("attest", *arguments, "--timeout", "7")
        assert (ended.status, ended.out) == (status, "")
        assert ended.err.count("\n") == 1


def test_demonstrates_the_main_job_and_two_refusals() -> None:
    """For the machine of a file; `make demo` shows the one without."""
    ended = run("demo", "--vm", str(CLASSIC))
    assert (ended.status, ended.err) == (0, "")
    assert "vmId: d3e0e374-fda6-4649-bbc9-7f20dc379f34" in ended.out
    assert "refused, 409 nonce-replayed: " in ended.out
    assert "refused, 422 signature-invalid: " in ended.out


def test_tells_its_commands_and_exit_statuses() -> None:
    ended = call("--help")
    assert ended.status == 0
    for command in ("serve", "verify", "inspect", "policy", "attest", "emulator", "demo"):
        assert command in ended.out
    assert "Exit status" in ended.out
