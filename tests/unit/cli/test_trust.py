"""`imds-verifier trust` on a real registry: what it prints, what it changes, and how it ends."""

import getpass
import hashlib
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from support.certificates import make_authority
from support.clocks import ManualClock
from support.documents import NOW, der, shared_pki, spare_key
from support.feeds import entry, feed_of, published
from support.trust_operations import (
    KeptTrustEvents,
    Operations,
    make_operations,
    new_authority,
    no_workshop,
    pem,
    read,
    renewed_authority,
    stranger,
    untimely_authority,
)
from support.tuf_feeds import Feed

from verifier.adapters.sqlite.trust_registry import SqliteTrustRegistry
from verifier.adapters.trust.files import load_bundle, load_directory
from verifier.adapters.trust.live_trust import LiveTrust
from verifier.adapters.trust.published import write_bundle
from verifier.api.trust_json_codec import survey_json
from verifier.cli.commands import Command, CommandParts, UsageError, run_command
from verifier.cli.trust import OpenTrust, TrustOpener, operator_name, trust_command
from verifier.core.nonconforming import NonconformingDocument
from verifier.core.trust.bundle import AuthorityIdentity, Denials, TrustedCertificate
from verifier.core.trust.clouds import Cloud
from verifier.ports.stores import StoreUnavailable
from verifier.ports.trust import IssuerFetcher
from verifier.usecases.trust_administration import TrustAdministration
from verifier.usecases.trust_survey import survey_trust

Run = Callable[..., int]


@pytest.fixture
def operations(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Operations:
    monkeypatch.setattr(getpass, "getuser", lambda: "alice")
    return make_operations(tmp_path)


@pytest.fixture
def run(operations: Operations) -> Run:
    return runner(operations.opened, operations)


def runner(opener: TrustOpener, operations: Operations) -> Run:
    def no_fetcher() -> IssuerFetcher:
        raise AssertionError("nothing is to be fetched")

    parts = trust_command(opener, operations.clock, no_fetcher, no_workshop)
    return lambda *arguments: run_trust(parts, *arguments)


def run_trust(parts: CommandParts, *arguments: str) -> int:
    return run_command([Command(name="trust", summary="", load=lambda: parts)], ["trust", *arguments], version="")


@pytest.fixture
def new_file(tmp_path: Path) -> Path:
    file = tmp_path / "new-ca.pem"
    file.write_text(pem(new_authority()), "ascii")
    return file


def out(capsys: pytest.CaptureFixture[str]) -> str:
    return capsys.readouterr().out


def pinned(operations: Operations) -> dict[str, frozenset[Cloud]]:
    return {sha256: pin.clouds for sha256, pin in operations.administration.decisions().pins.items()}


# --- status and list


def test_status_shows_the_horizon_of_each_cloud(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("status") == 0

    shown = out(capsys)
    until = read(shared_pki().issuing_ca).not_after
    assert f"AzurePublicCloud        holds until {until:%Y-%m-%dT%H:%M:%SZ} ({(until - NOW).days} days)" in shown
    assert "ending" not in shown
    assert "are not pinned" not in shown


def test_status_fails_if_a_horizon_is_within_the_warning(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    days = (read(shared_pki().issuing_ca).not_after - NOW).days

    assert run("status", "--warn-days", str(days - 1)) == 0
    assert run("status", "--warn-days", str(days + 1)) == 1
    assert f"! {days} days  {read(shared_pki().issuing_ca).subject}" in out(capsys)


def test_status_fails_if_a_cloud_has_no_chain(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    after = read(shared_pki().issuing_ca).not_after + timedelta(seconds=1)

    assert run("status", "--at", after.isoformat()) == 1
    assert "NO USABLE CHAIN" in out(capsys)


def test_status_counts_only_the_clouds_that_are_asked_for(
    run: Run, operations: Operations, capsys: pytest.CaptureFixture[str]
) -> None:
    operations.administration.deny(
        Denials(spki_sha256=frozenset({read(shared_pki().issuing_ca).spki_sha256})), by="alice"
    )

    assert run("status") == 1
    assert run("status", "--cloud", "AzureUSGovernmentCloud") == 1
    operations.administration.allow(operations.administration.decisions().denials, by="alice")
    assert run("status", "--cloud", "AzureUSGovernmentCloud", "--cloud", "AzurePublicCloud") == 0
    capsys.readouterr()
    assert run("status", "--cloud", "AzureChinaCloud") == 1
    assert "AzureChinaCloud         NOT IN THE BUNDLE: every document of this cloud is refused" in out(capsys)


def test_status_names_an_unknown_issuer_and_the_command_that_approves_it(
    run: Run, operations: Operations, capsys: pytest.CaptureFixture[str]
) -> None:
    operations.discover(new_authority(), key_identifier="0a0b")

    assert run("status") == 0

    shown = out(capsys)
    assert "New Issuing CA" in shown
    assert "0a0b" in shown
    [command] = [line.strip() for line in shown.splitlines() if "trust approve" in line]
    assert command == f"imds-verifier trust approve {read(new_authority()).sha256}"
    assert run(*command.split()[2:]) == 0
    assert pinned(operations) == {read(new_authority()).sha256: frozenset({Cloud.PUBLIC})}


def test_status_shows_the_sha1_of_every_checked_authority_as_azures_page_prints_it(
    run: Run, operations: Operations, capsys: pytest.CaptureFixture[str]
) -> None:
    authorities = (new_authority("Low CA", under="High CA"), new_authority("High CA"))
    operations.discover(*authorities)

    run("status")

    lines = out(capsys).splitlines()
    for authority in authorities:
        [checked] = [number for number, line in enumerate(lines) if f"checked: {read(authority).subject}," in line]
        sha1 = hashlib.sha1(der(authority.certificate), usedforsecurity=False).hexdigest().upper()
        assert lines[checked + 1].strip() == f"SHA-1, to compare with Azure's page: {sha1}"


def test_status_says_how_to_pin_an_issuer_whose_certificate_is_not_known(
    run: Run, operations: Operations, capsys: pytest.CaptureFixture[str]
) -> None:
    operations.discover(issuer="CN=New Issuing CA", cloud=Cloud.US_GOVERNMENT)

    run("status")

    assert "imds-verifier trust add FILE --cloud AzureUSGovernmentCloud" in out(capsys)


def test_untrusted_text_is_escaped_for_the_terminal(
    run: Run, operations: Operations, capsys: pytest.CaptureFixture[str]
) -> None:
    operations.discover(
        issuer="CN=\x1b[2Jtrust approve\r\n  \u202eall is well", url="http://x/\x1b]0;\x07\nimds-verifier"
    )

    run("status")

    assert all(character.isprintable() or character == "\n" for character in out(capsys))


def test_list_shows_every_certificate_with_its_state(
    run: Run, operations: Operations, new_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run("add", str(new_file), "--cloud", "AzurePublicCloud")
    out(capsys)

    assert run("list") == 0

    heading, *lines = out(capsys).splitlines()
    assert heading.startswith("STATE")
    assert len(lines) == len(operations.administration.bundle().entries) == 3
    assert any("approved" in line and read(new_authority()).sha256 in line for line in lines)


def test_list_as_of_another_time_shows_the_states_of_then(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    before = read(shared_pki().issuing_ca).not_before - timedelta(days=1)

    run("list", "--at", before.isoformat())

    assert "staged" in out(capsys)


@pytest.mark.parametrize("at", ["yesterday", "2026-11-23T08:00:00"])
def test_a_time_that_is_none_is_a_usage_error(run: Run, at: str) -> None:
    assert run("status", "--at", at) == 2


@pytest.mark.parametrize("action", ["status", "list"])
def test_json_is_what_http_answers(
    run: Run, operations: Operations, action: str, capsys: pytest.CaptureFixture[str]
) -> None:
    operations.discover(new_authority())

    run(action, "--json")

    expected = survey_json(survey_trust(operations.administration, operations.feed, at=operations.clock.now()))
    place = {"store": "sqlite:///state", "trustDirectory": "/etc/trust"}
    assert json.loads(out(capsys)) == {**json.loads(json.dumps(expected)), **place}


def test_status_names_genuine_documents_that_are_refused_for_their_form(
    run: Run, operations: Operations, capsys: pytest.CaptureFixture[str]
) -> None:
    document = NonconformingDocument(
        issuer="CN=Pinned CA\x1b[2J",
        pin_sha256="aa" * 32,
        clouds=frozenset({Cloud.PUBLIC, Cloud.US_GOVERNMENT}),
        signer_sha256="bb" * 32,
        document_sha256="cc" * 32,
        detail="The certificate has 300 names.",
        seen_at=NOW,
    )
    for _ in range(3):
        operations.registry.record_nonconforming(document)

    assert run("status") == 0

    shown = out(capsys)
    assert (
        "! CN=Pinned CA\\x1b[2J (AzurePublicCloud, AzureUSGovernmentCloud): The certificate has 300 names.\n" in shown
    )
    assert "3 documents, 2026-11-23T08:00:00Z to 2026-11-23T08:00:00Z" in shown
    assert "cc" * 32 in shown


def test_status_counts_no_cloud_that_is_closed_or_not_served(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    registry, events, clock = SqliteTrustRegistry(tmp_path / "trust.sqlite3"), KeptTrustEvents(), ManualClock(NOW)
    trust = LiveTrust(None, registry, admit=False, recorder=events)

    def opened(*, create: bool) -> OpenTrust:
        del create
        administration = TrustAdministration(
            trust=trust,
            registry=registry,
            recorder=events,
            clock=clock,
            served=frozenset({Cloud.PUBLIC, Cloud.GERMANY}),
        )
        feed = feed_of(administration)
        return OpenTrust(
            administration=administration,
            feed=feed,
            open_feed=lambda _, __: feed,
            store="",
            trust_directory="",
            load_directory=load_directory,
        )

    parts = trust_command(opened, clock, lambda: pytest.fail("nothing is to be fetched"), no_workshop)
    days = str((datetime(2030, 1, 1, tzinfo=UTC) - NOW).days)

    def run(*arguments: str) -> int:
        return run_trust(parts, "status", *arguments)

    assert run() == 0
    shown = out(capsys)
    assert "AzureGermanCloud        closed: only archived documents are appraised\n" in shown
    assert "AzureChinaCloud         not served (VERIFIER_CLOUDS): holds until 2031-11-09" in shown
    assert "AzurePublicCloud        holds until 2029-06-03" in shown
    assert run("--warn-days", days) == 1
    assert run("--warn-days", days, "--cloud", "AzureChinaCloud") == 0
    assert run("--cloud", "AzureGermanCloud") == 1
    assert run("--cloud", "AzureGermanCloud", "--at", "2021-10-29T12:00:00Z", "--warn-days", "0") == 0


# --- The store


@pytest.mark.parametrize(
    "arguments",
    [
        ("status",),
        ("list",),
        ("export",),
        ("deny", "abcd"),
        ("allow", "abcd"),
        ("approve", "0" * 64),
        ("reject", "0" * 64),
        ("remove", "0" * 64),
    ],
)
def test_every_action_names_the_store_and_the_trust_directory(
    run: Run, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...]
) -> None:
    run(*arguments)

    assert capsys.readouterr().err.splitlines()[0] == "store sqlite:///state, trust directory /etc/trust"


def test_creates_a_store_only_with_the_option(operations: Operations) -> None:
    asked: list[bool] = []

    def opener(*, create: bool) -> OpenTrust:
        asked.append(create)
        if not create:
            raise UsageError("there is no store")
        return operations.opened(create=create)

    run = runner(opener, operations)
    assert run("deny", "abcd") == 2
    assert not operations.administration.decisions().denials.serial_numbers
    assert run("deny", "abcd", "--create") == 0
    assert asked == [False, True]


# --- Changes


def test_add_pins_a_file_and_remove_takes_it_back(run: Run, operations: Operations, new_file: Path) -> None:
    sha256 = read(new_authority()).sha256

    assert run("add", str(new_file), "--cloud", "AzurePublicCloud", "--cloud", "AzureUSGovernmentCloud") == 0
    assert pinned(operations) == {sha256: frozenset({Cloud.PUBLIC, Cloud.US_GOVERNMENT})}
    assert run("remove", sha256) == 0
    assert pinned(operations) == {}
    assert run("remove", sha256) == 1
    assert {event.by for event in operations.administration.audit_log()} == {"cli:alice"}


def test_add_takes_der(run: Run, operations: Operations, tmp_path: Path) -> None:
    file = tmp_path / "new-ca.cer"
    file.write_bytes(der(new_authority().certificate))

    assert run("add", str(file), "--cloud", "AzurePublicCloud") == 0
    assert read(new_authority()).sha256 in pinned(operations)


@pytest.mark.parametrize("what", ["root", "signer", "stranger"])
def test_add_refuses_what_is_unfit(
    run: Run, operations: Operations, tmp_path: Path, what: str, capsys: pytest.CaptureFixture[str]
) -> None:
    made = shared_pki()
    file = tmp_path / "unfit.pem"
    file.write_text(pem({"root": made.root, "signer": made.signer, "stranger": stranger()}[what]), "ascii")

    assert run("add", str(file), "--cloud", "AzurePublicCloud") == 1
    assert capsys.readouterr().err.splitlines()[-1].startswith("refused: ")
    assert not pinned(operations)


@pytest.mark.parametrize("years", [-3, 3])
def test_add_of_a_certificate_that_is_not_in_its_time_asks_for_force(
    run: Run, operations: Operations, tmp_path: Path, capsys: pytest.CaptureFixture[str], years: int
) -> None:
    untimely = untimely_authority(years=years)
    file = tmp_path / "untimely.pem"
    file.write_text(pem(untimely), "ascii")
    add = ("add", str(file), "--cloud", "AzurePublicCloud")
    span = f"{read(untimely).not_before:%Y-%m-%dT%H:%M:%SZ} to {read(untimely).not_after:%Y-%m-%dT%H:%M:%SZ}"
    said = f"the certificate is valid from {span}, and it is {NOW:%Y-%m-%dT%H:%M:%SZ}"

    assert run(*add) == 1
    assert f"refused: {said}; to pin it anyway, add --force" in capsys.readouterr().err
    assert not pinned(operations)
    assert run(*add, "--force") == 0
    assert f"warning: {said}" in capsys.readouterr().err
    assert read(untimely).sha256 in pinned(operations)


def test_add_warns_of_formal_oddities_and_pins(
    run: Run, operations: Operations, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    odd = make_authority(
        issuer=shared_pki().root,
        name="Odd CA",
        key=spare_key(),
        without=(x509.SubjectKeyIdentifier.oid, x509.AuthorityKeyIdentifier.oid),
    )
    file = tmp_path / "odd.pem"
    file.write_text(pem(odd), "ascii")

    assert run("add", str(file), "--cloud", "AzurePublicCloud") == 0
    told = capsys.readouterr()
    assert "warning: no subject key identifier\nwarning: no authority key identifier\n" in told.err
    assert "odd certificates (documents are still accepted):\n" in told.out
    assert read(odd).sha256 in pinned(operations)


@pytest.mark.parametrize(
    "content", [b"", b"text", pem(new_authority()).encode() * 2, b"-----BEGIN PRIVATE KEY-----\n", b"0" * 70_000]
)
def test_add_of_what_is_no_certificate_is_a_usage_error(run: Run, tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "no.pem"
    file.write_bytes(content)

    assert run("add", str(file), "--cloud", "AzurePublicCloud") == 2


def test_add_of_a_file_that_is_not_there_is_a_usage_error(run: Run, tmp_path: Path) -> None:
    assert run("add", str(tmp_path / "absent.pem"), "--cloud", "AzurePublicCloud") == 2


def test_add_needs_a_cloud_that_there_is(run: Run, new_file: Path) -> None:
    for clouds in ((), ("--cloud", "Azure")):
        with pytest.raises(SystemExit) as ended:
            run("add", str(new_file), *clouds)
        assert ended.value.code == 2


def test_reject_ends_the_waiting_of_an_issuer(
    run: Run, operations: Operations, capsys: pytest.CaptureFixture[str]
) -> None:
    operations.discover(new_authority())

    assert run("reject", read(new_authority()).sha256) == 0
    assert "are not pinned" not in out(capsys)
    assert operations.administration.decisions().rejected == {AuthorityIdentity.of(read(new_authority()))}


def test_reject_lists_the_remaining_pins_of_the_ca(
    run: Run, operations: Operations, new_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run("add", str(new_file), "--cloud", "AzurePublicCloud")
    operations.discover(renewed_authority())
    out(capsys)

    assert run("reject", read(renewed_authority()).sha256) == 0
    told = out(capsys)
    assert f"still pinned, because a rejection does not remove pins: {read(new_authority()).sha256}" in told
    assert f"rejected CAs (no certificate of these is admitted):\n  {read(new_authority()).subject}, key " in told
    assert read(new_authority()).sha256 in pinned(operations)


def test_what_was_never_seen_cannot_be_rejected(run: Run) -> None:
    assert run("reject", "0" * 64) == 1


def test_approving_what_needs_a_rejected_ca_is_refused(
    run: Run, operations: Operations, capsys: pytest.CaptureFixture[str]
) -> None:
    low, high = new_authority("Low CA", under="High CA"), new_authority("High CA")
    operations.discover(low, high)
    run("reject", read(high).sha256)

    assert run("approve", read(low).sha256) == 1
    assert f"which is rejected: approve {read(high).sha256} first" in capsys.readouterr().err
    assert run("approve", read(high).sha256) == 0
    assert run("approve", read(low).sha256) == 0


def test_approving_what_was_never_seen_is_refused(run: Run) -> None:
    assert run("approve", "0" * 64) == 1


@pytest.mark.parametrize("action", ["approve", "reject", "remove"])
def test_a_bad_fingerprint_is_a_usage_error(run: Run, action: str) -> None:
    assert run(action, "abc") == 2


def test_deny_revokes_at_once_and_allow_takes_it_back(
    run: Run, operations: Operations, capsys: pytest.CaptureFixture[str]
) -> None:
    issuing_ca = read(shared_pki().issuing_ca)

    assert run("deny", issuing_ca.serial_hex) == 0
    told = out(capsys)
    assert f"serial {issuing_ca.serial_hex}: {issuing_ca.subject}" in told
    assert "NO USABLE CHAIN" in told
    assert operations.administration.bundle().denials.names(issuing_ca)
    run("list")
    assert "denied" in out(capsys)
    assert run("allow", issuing_ca.serial_hex) == 0
    assert not operations.administration.bundle().denials.names(issuing_ca)
    assert run("allow", issuing_ca.serial_hex) == 1


def test_deny_reports_an_unknown_serial_number(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("deny", "abcd") == 0
    assert "serial abcd: no known CA; a signer with it is refused" in out(capsys)


@pytest.mark.parametrize("what", ["xyz", "0" * 63])
def test_deny_of_what_is_neither_is_a_usage_error(run: Run, what: str) -> None:
    assert run("deny", what) == 2


def test_deny_of_a_certificates_own_fingerprint_is_a_usage_error(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("deny", read(shared_pki().issuing_ca).sha256) == 2
    assert read(shared_pki().issuing_ca).spki_sha256 in capsys.readouterr().err


# --- export


def test_what_is_exported_is_a_trust_directory_that_loads(
    run: Run, operations: Operations, new_file: Path, tmp_path: Path
) -> None:
    note = 'from "the page", \\ 2026 \U0001f512'
    run("add", str(new_file), "--cloud", "AzurePublicCloud", "--note", note)

    # The new authority stands under the root of the test's own bundle, which the loader does not ask about.
    assert run("export", "--into", str(tmp_path / "overlay")) == 0

    entries = {entry.certificate.sha256: entry for entry in load_bundle(tmp_path / "overlay").entries}
    entry = entries[read(new_authority()).sha256]
    assert entry.note == note
    assert entry.clouds == {Cloud.PUBLIC}
    assert entry.source == "pinned by cli:alice at 2026-11-23T08:00:00Z"
    assert operations.administration.bundle().generation != load_bundle(tmp_path / "overlay").generation


def test_export_prints_the_entries_and_the_certificates(
    run: Run, new_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run("add", str(new_file), "--cloud", "AzurePublicCloud")
    out(capsys)
    sha256 = read(new_authority()).sha256

    run("export")

    text = out(capsys)
    assert f'file = "intermediates/new-issuing-ca-{sha256[:8]}.pem"\nsha256 = "{sha256}"' in text
    for line in pem(new_authority()).splitlines():
        assert f"\n# {line}\n" in text


def test_export_as_json_carries_the_same(run: Run, new_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run("add", str(new_file), "--cloud", "AzurePublicCloud")
    out(capsys)

    run("export", "--json")

    exported: Any = json.loads(out(capsys))
    [certificate] = exported["certificates"]
    assert certificate["pem"] == pem(new_authority())
    assert certificate["role"] == "intermediate"


def test_export_without_pins_is_empty(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("export") == 0
    assert out(capsys) == ""


def test_export_does_not_overwrite_files(run: Run, new_file: Path, tmp_path: Path) -> None:
    run("add", str(new_file), "--cloud", "AzurePublicCloud")

    assert run("export", "--into", str(tmp_path / "trust")) == 2


# --- Who, and the store


def test_a_store_that_is_away_ends_with_3(operations: Operations, capsys: pytest.CaptureFixture[str]) -> None:
    def away(*, create: bool) -> OpenTrust:
        del create
        raise StoreUnavailable("The trust registry does not answer.")

    for arguments in (("status",), ("list",), ("deny", "abcd"), ("approve", "0" * 64), ("export",)):
        assert runner(away, operations)(*arguments) == 3
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "does not answer" in captured.err


@pytest.mark.parametrize(
    ("user", "name"),
    [
        ("alice", "cli:alice"),
        ("DOMAIN\\alice", "cli:DOMAIN_alice"),
        ("x\n\x1b", "cli:x__"),
        ("a" * 100, "cli:" + "a" * 64),
    ],
)
def test_the_operator_is_named_by_the_user(monkeypatch: pytest.MonkeyPatch, user: str, name: str) -> None:
    monkeypatch.setattr(getpass, "getuser", lambda: user)

    assert operator_name() == name


@pytest.mark.parametrize("error", [KeyError, OSError, ImportError])
def test_a_user_without_a_name_is_named_by_number(monkeypatch: pytest.MonkeyPatch, error: type[Exception]) -> None:
    def fail() -> str:
        raise error

    monkeypatch.setattr(getpass, "getuser", fail)

    assert operator_name().startswith("cli:uid-")


# --- the trust feed


@pytest.fixture
def feed(operations: Operations, tmp_path: Path) -> Feed:
    """A real feed, whose times are those of the machine, as are the operations'."""
    operations.clock.moment = datetime.now(UTC)
    feed = Feed.make(tmp_path / "feed")
    feed.publish(bundle_for(operations, entry(new_authority()), version=1))
    return feed


def bundle_for(operations: Operations, *entries: TrustedCertificate, version: int) -> bytes:
    return write_bundle(published(*entries, version=version, at=operations.clock.now()))


def update(run: Run, feed: Feed, *arguments: str) -> int:
    root = feed.public / "1.root.json"
    return run("update", "--from", str(feed.public), "--root", str(root), *arguments)


def in_force(operations: Operations) -> int:
    followed = operations.administration.decisions().followed
    return 0 if followed is None or followed.raw is None else followed.version


def test_status_says_nothing_of_a_feed_without_one(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    run("status")
    assert "feed" not in out(capsys)


def test_update_shows_what_a_feed_offers_and_what_to_type(
    run: Run, operations: Operations, feed: Feed, capsys: pytest.CaptureFixture[str]
) -> None:
    assert update(run, feed) == 0
    shown = out(capsys)
    assert shown.startswith("looked at the feed\n")
    assert "trust feed (none in the settings), mode propose:\n" in shown
    assert "  no version is in force\n  ! version 1 waits for approval, expires " in shown
    assert f"      adds the pin {read(new_authority()).subject} (AzurePublicCloud)\n" in shown
    assert "      imds-verifier trust update --approve 1\n" in shown
    assert in_force(operations) == 0


def test_update_approves_what_was_offered(
    run: Run, operations: Operations, feed: Feed, capsys: pytest.CaptureFixture[str]
) -> None:
    update(run, feed)
    out(capsys)
    assert run("update", "--approve", "1") == 0
    shown = out(capsys)
    assert "version 1 of the feed is in force\n" in shown
    assert "  version 1 is in force, expires " in shown
    assert "waits for approval" not in shown
    assert in_force(operations) == 1
    [change] = operations.events.changes
    assert (change.by, change.what, change.subject) == ("cli:alice", "follow feed", "version 1")


def test_an_air_gapped_cluster_looks_at_a_copy_and_approves_at_once(
    run: Run, operations: Operations, feed: Feed
) -> None:
    assert update(run, feed, "--approve", "1") == 0
    assert in_force(operations) == 1
    assert run("update", "--leave") == 0
    assert in_force(operations) == 0


def test_update_forgets_the_versions_of_the_feed(run: Run, feed: Feed, capsys: pytest.CaptureFixture[str]) -> None:
    update(run, feed)
    assert "waits for approval" in capsys.readouterr().out
    assert run("update", "--forget") == 0
    told = capsys.readouterr().out
    assert "every version of the feed is forgotten" in told
    assert "waits for approval" not in told


def test_update_rejects_what_was_offered(
    run: Run, operations: Operations, feed: Feed, capsys: pytest.CaptureFixture[str]
) -> None:
    update(run, feed)
    assert "      to reject it, run:\n      imds-verifier trust update --reject 1\n" in out(capsys)
    assert run("update", "--reject", "1") == 0
    shown = out(capsys)
    assert shown.startswith("version 1 of the feed is rejected\n")
    assert "  cli:alice rejected version 1 at 20" in shown
    assert "waits for approval" not in shown
    assert in_force(operations) == 0
    assert update(run, feed, "--json") == 0
    told = json.loads(out(capsys))["feed"]
    assert (told["offer"], told["rejected"]["version"], told["rejected"]["by"]) == (None, 1, "cli:alice")


@pytest.mark.parametrize(
    ("arguments", "fault"),
    [
        (("--reject", "7"), "the service knows no offer of version 7: run `trust update`"),
        (("--approve", "7"), "the service knows no offer of version 7: run `trust update`"),
        (("--leave",), "no bundle of a feed is in force"),
    ],
)
def test_update_refuses_what_is_not_offered_or_in_force(
    run: Run, feed: Feed, arguments: tuple[str, ...], fault: str, capsys: pytest.CaptureFixture[str]
) -> None:
    update(run, feed)
    assert run("update", *arguments) == 1
    assert f"refused: {fault}" in capsys.readouterr().err


def test_update_names_what_is_wrong_with_a_feed(
    run: Run, operations: Operations, feed: Feed, capsys: pytest.CaptureFixture[str]
) -> None:
    update(run, feed)
    (feed.public / "timestamp.json").write_bytes(b"{}")
    assert update(run, feed, "--approve", "1") == 1
    assert "refused: " in capsys.readouterr().err
    assert in_force(operations) == 0
    assert run("status") == 0
    assert "  ! the last look failed: " in out(capsys)


def test_update_escapes_what_a_bundle_says(
    run: Run, operations: Operations, feed: Feed, capsys: pytest.CaptureFixture[str]
) -> None:
    hostile = make_authority(issuer=shared_pki().root, name="CA\x1b[2J", key=spare_key())
    feed.publish(bundle_for(operations, entry(new_authority()), entry(hostile), entry(stranger()), version=2))
    assert update(run, feed, "--approve", "2") == 0
    shown = out(capsys)
    assert "\x1b" not in shown
    assert f"      without effect: {read(stranger()).subject}: no trusted authority of " in shown


def test_json_names_the_changes_of_an_offer(run: Run, feed: Feed, capsys: pytest.CaptureFixture[str]) -> None:
    assert update(run, feed, "--json") == 0
    shown = json.loads(out(capsys))["feed"]
    assert (shown["source"], shown["mode"], shown["inForce"], shown["problem"]) == ("", "propose", None, "")
    assert shown["offer"]["version"] == 1
    [change] = shown["offer"]["changes"]
    assert (change["effect"], change["sha256"]) == ("adds the pin", read(new_authority()).sha256)
    assert change["clouds"] == ["AzurePublicCloud"]


def test_json_names_the_bundle_in_force(run: Run, feed: Feed, capsys: pytest.CaptureFixture[str]) -> None:
    update(run, feed, "--approve", "1")
    out(capsys)
    run("status", "--json")
    shown = json.loads(out(capsys))["feed"]
    assert (shown["inForce"]["version"], shown["inForce"]["ignored"], shown["offer"]) == (1, [], None)
