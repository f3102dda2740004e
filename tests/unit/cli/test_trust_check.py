"""`imds-verifier trust check`: the pins against saved pages and fetched certificates."""

import json
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from support import documents
from support.clocks import ManualClock
from support.documents import der, shared_pki, spare_key, trusted
from support.feeds import feed_of
from support.issuers import HOST, Internet, answer, internet
from support.trust_operations import (
    KeptTrustEvents,
    Operations,
    make_operations,
    new_authority,
    no_workshop,
    read,
    renewed_authority,
    stranger,
    untimely_authority,
)

from verifier.adapters.sqlite.trust_registry import SqliteTrustRegistry
from verifier.adapters.trust.files import MAX_MANIFEST_BYTES, load_bundle, load_directory, shipped_directory
from verifier.adapters.trust.live_trust import LiveTrust
from verifier.cli.azure_ca_page import FindingKind, compare, publish, read_page
from verifier.cli.commands import Command, CommandParts, run_command
from verifier.cli.trust import OpenTrust, trust_command
from verifier.cli.trust_proposal import MAX_FETCHES
from verifier.core.trust.bundle import Denials, Role, TrustedCertificate
from verifier.core.trust.certificates import Certificate
from verifier.core.trust.clouds import Cloud
from verifier.emulator import pki
from verifier.ports.trust import FetchFailed
from verifier.usecases.trust_administration import TrustAdministration

PAGES = Path(__file__).parents[2] / "data" / "azure-ca-page"
KNOWN = Path(__file__).parents[3] / ".github" / "trust-check-known.txt"
NOW = datetime(2026, 11, 23, tzinfo=UTC)
HALF_A_YEAR = timedelta(days=180)
OCSP_16 = "27e6663299d340dfe54571ceccec01be74495dc6"
MADE_UP = "0123456789abcdef0123456789abcdef01234567"

Run = Callable[..., int]


@dataclass(frozen=True, slots=True)
class Shelf:
    """Implements the IssuerFetcher port from memory."""

    certificates: Mapping[str, bytes] = field(default_factory=dict)

    def accepts(self, url: str) -> bool:
        return url in self.certificates

    def fetch(self, url: str, *, seconds: float) -> tuple[bytes, ...]:
        assert seconds > 0
        if url not in self.certificates:
            raise FetchFailed("nothing there")
        return (self.certificates[url],)


def page(name: str) -> str:
    return (PAGES / name).read_text("utf-8")


def runner(directory: Path, shelf: Shelf | None = None, *, now: datetime = NOW) -> Run:
    """Over the shipped bundle."""
    registry, events, clock = SqliteTrustRegistry(directory / "trust.sqlite3"), KeptTrustEvents(), ManualClock(now)
    trust = LiveTrust(None, registry, admit=False, recorder=events)
    administration = TrustAdministration(trust=trust, registry=registry, recorder=events, clock=clock)
    opened = OpenTrust(
        administration=administration,
        feed=feed_of(administration),
        open_feed=lambda _, __: feed_of(administration),
        store="sqlite:///store",
        trust_directory="/trust",
        load_directory=load_directory,
    )
    parts = trust_command(lambda *, create: opened, clock, lambda: shelf or Shelf(), no_workshop)  # noqa: ARG005 - it exists
    return lambda *arguments: check(parts, *arguments)


def check(parts: CommandParts, *arguments: str) -> int:
    command = Command(name="trust", summary="", load=lambda: parts)
    return run_command([command], ["trust", "check", *arguments], version="")


# --- Reading a page


@pytest.mark.parametrize("name", ["page.md", "page.html"])
def test_reads_the_authorities_of_a_page(name: str) -> None:
    authorities = {one.thumbprint: one for one in read_page(page(name))}

    assert len(authorities) == 33
    assert sum(one.is_root for one in authorities.values()) == 5
    found = authorities[OCSP_16]
    assert found.name == "Microsoft TLS G2 RSA CA OCSP 16"
    assert found.url == "https://www.microsoft.com/pkiops/certs/Microsoft%20TLS%20G2%20RSA%20CA%20OCSP%2016.crt"


def test_both_forms_of_a_page_say_the_same() -> None:
    assert set(read_page(page("page.md"))) == set(read_page(page("page.html")))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "# Another page",
        "| Name | Value |\n|---|---|\n| a | b |",
        "<table><tr><td>",
        "<table><tr><td>a</td><td>0x12</td></tr></table>",
        "</td></tr><table></td>x<br></tr>",
        "|" * 100_000,
        "<table" * 10_000,
    ],
    ids=["empty", "heading", "other-table", "cut", "no-thumbprint", "unbalanced", "bars", "tags"],
)
def test_another_page_has_none(text: str) -> None:
    assert read_page(text) == ()


def test_a_serial_number_as_long_as_a_thumbprint_is_not_taken_for_one() -> None:
    [found] = read_page(f"| CA | Serial |\n| [A](https://a.example) | 0x{'7' * 40}<br>{MADE_UP.upper()} |")

    assert found.thumbprint == MADE_UP


# --- Comparing


def test_the_shipped_pins_are_those_of_the_page() -> None:
    findings = compare(
        read_page(page("page.md")),
        load_bundle().entries,
        now=NOW,
        within=HALF_A_YEAR,
    )

    assert findings == ()


def test_reports_missing_and_unpublished_authorities() -> None:
    findings = compare(read_page(page("page-changed.md")), load_bundle().entries, now=NOW, within=HALF_A_YEAR)

    assert {(one.kind, one.thumbprint) for one in findings} == {
        (FindingKind.MISSING, MADE_UP),
        (FindingKind.UNPUBLISHED, OCSP_16),
    }
    [missing] = [one for one in findings if one.kind is FindingKind.MISSING]
    assert missing.url.startswith("https://www.microsoft.com/pkiops/certs/")


def test_omits_known_thumbprints() -> None:
    looked_at = frozenset({MADE_UP, OCSP_16})

    assert not compare(
        read_page(page("page-changed.md")), load_bundle().entries, now=NOW, within=HALF_A_YEAR, left_out=looked_at
    )


def test_reports_only_pins_that_end_soon() -> None:
    before = datetime(2028, 5, 1, tzinfo=UTC)

    findings = compare(read_page(page("page.md")), load_bundle().entries, now=before, within=timedelta(days=30))

    ending = [one for one in findings if one.kind is FindingKind.ENDING]
    assert len(ending) == 4
    assert all("Microsoft Azure RSA TLS Issuing CA" in one.name for one in ending)
    assert {f"{one.ends_at:%Y-%m-%d}" for one in ending} == {"2028-05-25"}


def entry(**times: datetime) -> TrustedCertificate:
    return replace(trusted(new_authority().certificate), **times)  # type: ignore[arg-type]  # only times are given


def test_a_staged_pin_counts_as_pinned() -> None:
    staged = entry(activate_at=NOW + timedelta(days=1))

    assert not compare([publish(read(new_authority()), "")], [staged], now=NOW, within=timedelta(0))


def test_a_retired_pin_is_neither_unpublished_nor_ending() -> None:
    retired = entry(retire_at=NOW - timedelta(days=1))

    assert not compare([], [retired], now=NOW, within=timedelta(days=10_000))


def test_reports_a_pin_that_retires_soon() -> None:
    retiring = entry(retire_at=NOW + timedelta(days=5))
    published = [publish(read(new_authority()), "")]

    [finding] = compare(published, [retiring], now=NOW, within=timedelta(days=5))

    assert (finding.kind, finding.ends_at) == (FindingKind.ENDING, NOW + timedelta(days=5))
    assert not compare(published, [retiring], now=NOW, within=timedelta(days=4))


def test_roots_are_not_compared() -> None:
    roots = [one for one in read_page(page("page.md")) if one.is_root]

    assert not compare(roots, [], now=NOW, within=HALF_A_YEAR)


# --- The command


def test_exits_with_0_without_findings(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert runner(tmp_path)("--page", str(PAGES / "page.html"), "--known", str(KNOWN)) == 0
    assert capsys.readouterr().out.startswith("no findings")


def test_something_to_do_ends_with_1_and_a_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert runner(tmp_path)("--page", str(PAGES / "page-changed.md"), "--known", str(KNOWN)) == 1

    heading, *lines = capsys.readouterr().out.splitlines()
    assert heading.split() == ["WHAT", "SHA-1", "ENDS", "NAME", "AT"]
    assert [line.split()[:2] for line in lines] == [["missing", MADE_UP], ["unpublished", OCSP_16]]


def test_the_findings_come_as_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    runner(tmp_path)("--page", str(PAGES / "page-changed.md"), "--known", str(KNOWN), "--json")

    told = json.loads(capsys.readouterr().out)
    assert told["evaluatedAt"] == "2026-11-23T00:00:00Z"
    assert told["published"] == 33
    assert (told["store"], told["trustDirectory"]) == ("sqlite:///store", "/trust")
    assert [finding["kind"] for finding in told["findings"]] == ["missing", "unpublished"]
    assert told["findings"][1]["endsAt"] == "2029-06-03T20:03:02Z"


def test_certificates_are_fetched_and_compared(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    url = "http://www.microsoft.com/pkiops/certs/New.crt"
    urls = tmp_path / "urls.txt"
    urls.write_text(f"# the new one\n\n{url}  # a comment\n", "utf-8")
    run = runner(tmp_path, Shelf({url: der(new_authority().certificate)}))

    assert run("--page", str(PAGES / "page.md"), "--urls", str(urls), "--known", str(KNOWN)) == 1

    [_, line] = capsys.readouterr().out.splitlines()
    assert line.split()[:2] == ["missing", read(new_authority()).sha1]
    assert url in line


def test_a_url_that_does_not_answer_ends_with_3(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    urls = tmp_path / "urls.txt"
    urls.write_text(
        "http://www.microsoft.com/pkiops/certs/a.crt\nhttp://www.microsoft.com/pkiops/certs/b.crt\n", "utf-8"
    )
    run = runner(tmp_path, Shelf({"http://www.microsoft.com/pkiops/certs/b.crt": b"no certificate"}))

    assert run("--urls", str(urls), "--page", str(PAGES / "page.md"), "--known", str(KNOWN)) == 3
    assert capsys.readouterr().err.count("no certificate received from") == 2


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("--page", "absent.md"),
        ("--page", "empty.txt"),
        ("--page", "latin-1.md"),
        ("--urls", "empty.txt"),
        ("--page", "page.md", "--known", "latin-1.md"),
        ("--page", "page.md", "--known", "page.md"),
        ("--page", "page.md", "--warn-days", "-1"),
    ],
    ids=" ".join,
)
def test_what_cannot_be_compared_is_a_usage_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...]
) -> None:
    (tmp_path / "empty.txt").write_bytes(b"")
    (tmp_path / "latin-1.md").write_bytes(b"| \xe9 |")
    (tmp_path / "page.md").write_text(page("page.md"), "utf-8")
    monkeypatch.chdir(tmp_path)

    assert runner(tmp_path)(*arguments) == 2


def test_check_does_not_change_the_pins(tmp_path: Path) -> None:
    operations = make_operations(tmp_path)
    parts = trust_command(operations.opened, operations.clock, Shelf, no_workshop)
    before = operations.administration.bundle().generation

    check(parts, "--page", str(PAGES / "page-changed.md"))

    assert operations.administration.bundle().generation == before
    assert not operations.administration.decisions().pins
    assert operations.administration.bundle().clouds.keys() == {Cloud.PUBLIC, Cloud.US_GOVERNMENT}


# --- Writing entries

URL = f"http://{HOST}/new.crt"
FILES = "intermediates/*.pem"


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """The trust directory of the shared PKI, and an internet that publishes certificates."""

    directory: Path
    net: Internet
    operations: Operations

    def check(self, *rows: str, options: Sequence[str] = ()) -> int:
        """Write the entries of a page with these rows. The trusted issuing CA is on each page."""
        page = self.directory.parent / "page.md"
        page.write_text("\n".join(("| CA | Serial |", row(read_pki(), "http://a.example"), *rows)), "utf-8")
        parts = trust_command(self.operations.opened, self.operations.clock, self.net.fetcher, no_workshop)
        return check(parts, "--page", str(page), "--write-entries", str(self.directory), *options)

    def publish(self, authority: pki.Identity | Certificate, path: str = "/new.crt") -> str:
        """Serve the certificate, and return its row of the page."""
        certificate = authority if isinstance(authority, Certificate) else read(authority)
        self.net.plays[path] = answer(certificate.der)
        return row(certificate, f"http://{HOST}{path}")

    def content(self) -> dict[str, bytes]:
        return {
            path.relative_to(self.directory).as_posix(): path.read_bytes()
            for path in self.directory.rglob("*")
            if path.is_file()
        }


def read_pki() -> Certificate:
    return Certificate.from_der(der(shared_pki().issuing_ca.certificate))


def row(certificate: Certificate, url: str, *, serial: str | None = None, thumbprint: str | None = None) -> str:
    serial = certificate.serial_hex if serial is None else serial
    return f"| [{certificate.subject}]({url}) | 0x{serial}<br>{(thumbprint or certificate.sha1).upper()} |"


@pytest.fixture
def target(tmp_path: Path) -> Iterator[Target]:
    operations = make_operations(tmp_path)
    with internet() as net:
        yield Target(directory=tmp_path / "trust", net=net, operations=operations)


def test_writes_an_entry_that_loads(target: Target, capsys: pytest.CaptureFixture[str]) -> None:
    manifest = target.directory / "manifest.toml"
    manifest.write_text(f"# A comment.\n{manifest.read_text('utf-8')}# The last line.", "utf-8")
    before = manifest.read_text("utf-8")
    new = read(new_authority())

    assert target.check(target.publish(new_authority())) == 1

    [entry] = [one for one in load_directory(target.directory).entries if one.certificate == new]
    assert (entry.role, entry.source) == (Role.INTERMEDIATE, URL)
    assert entry.clouds == {Cloud.PUBLIC, Cloud.US_GOVERNMENT}
    assert new.sha1 in entry.note
    assert f"{new.not_after:%Y-%m-%d}" in entry.note
    assert manifest.read_text("utf-8").startswith(before + "\n")
    assert f"added intermediates/new-issuing-ca-{new.sha256[:8]}.pem for AzurePublicCloud" in capsys.readouterr().out


def test_writes_an_entry_once(target: Target) -> None:
    line = target.publish(new_authority())
    target.check(line)
    written, fetched = target.content(), len(target.net.requests)

    assert target.check(line) == 1
    assert target.content() == written
    assert len(target.net.requests) == fetched


def test_entries_are_reported_as_json(target: Target, capsys: pytest.CaptureFixture[str]) -> None:
    bad = row(read(renewed_authority()), "http://evil.example/x.crt")
    target.check(target.publish(new_authority()), bad, options=["--json"])

    told = json.loads(capsys.readouterr().out)["entries"]
    assert [one["thumbprint"] for one in told["made"]] == [read(new_authority()).sha1]
    assert told["missed"] == [
        {
            "name": read(renewed_authority()).subject,
            "thumbprint": read(renewed_authority()).sha1,
            "reason": "its location is not on the allow-list",
        }
    ]


def end_entity() -> Certificate:
    return Certificate.from_der(der(shared_pki().signer.certificate))


def other_root() -> Certificate:
    validity = pki.Validity.around(documents.NOW, timedelta(days=900))
    root = pki.make_root(subject=pki.make_name("Another Root"), key=spare_key(), validity=validity)
    return read(root)


@pytest.mark.parametrize(
    ("make", "changes", "reason"),
    [
        (lambda: read(new_authority()), {"thumbprint": MADE_UP}, "no certificate with this thumbprint"),
        (lambda: read(new_authority()), {"serial": "123456789a"}, "its serial number is"),
        (end_entity, {}, "not that of a certificate authority"),
        (other_root, {}, "is a root"),
        (lambda: read(stranger()), {}, "no trusted authority issued it"),
        (lambda: read(new_authority("Below", under="New Issuing CA")), {}, "no trusted authority issued it"),
        (lambda: read(untimely_authority(years=-9)), {}, "has expired"),
    ],
    ids=["thumbprint", "serial", "end-entity", "root", "stranger", "below-a-new-one", "expired"],
)
def test_refuses_an_unfit_certificate(
    target: Target,
    capsys: pytest.CaptureFixture[str],
    make: Callable[[], Certificate],
    changes: dict[str, str],
    reason: str,
) -> None:
    before, certificate = target.content(), make()
    target.publish(certificate)

    assert target.check(row(certificate, URL, **changes)) == 1
    [told] = [line for line in capsys.readouterr().err.splitlines() if line.startswith("no entry for ")]
    assert reason in told
    assert target.net.requests == ["/new.crt"]
    assert target.content() == before


def test_a_location_that_does_not_answer_ends_with_3_and_the_others_are_written(target: Target) -> None:
    line = target.publish(new_authority())

    assert target.check(row(read(renewed_authority()), f"http://{HOST}/absent.crt"), line) == 3
    assert len(load_directory(target.directory).entries) == 3


@pytest.mark.parametrize("url", ["http://evil.example/x.crt", f"file://{HOST}/new.crt", f"http://{HOST}:8080/new.crt"])
def test_connects_to_no_location_outside_the_allow_list(target: Target, url: str) -> None:
    before = target.content()

    assert target.check(row(read(new_authority()), url)) == 1
    assert (target.net.lookups, target.net.connections, target.content()) == ([], [], before)


def test_connects_to_no_private_address(target: Target) -> None:
    target.net.names[HOST] = [["10.0.0.4"]]

    assert target.check(target.publish(new_authority())) == 3
    assert target.net.connections == []


def test_refuses_an_authority_that_an_operator_rejected_or_denied(
    target: Target, capsys: pytest.CaptureFixture[str]
) -> None:
    new = read(new_authority())
    administration = target.operations.administration
    administration.deny(Denials(spki_sha256=frozenset({new.spki_sha256})), by="cli:test")
    before = target.content()

    assert target.check(target.publish(new_authority())) == 1
    assert "an operator denied or rejected it" in capsys.readouterr().err
    assert target.content() == before


def test_refuses_a_ca_that_the_manifest_retires(target: Target, capsys: pytest.CaptureFixture[str]) -> None:
    target.check(target.publish(new_authority()))
    manifest = target.directory / "manifest.toml"
    manifest.write_text(manifest.read_text("utf-8") + "retire_at = 2026-01-01T00:00:00Z\n", "utf-8")
    before = target.content()

    assert target.check(target.publish(renewed_authority())) == 1
    assert "stages or retires another certificate of this CA" in capsys.readouterr().err
    assert target.content() == before


def test_bounds_the_number_of_fetches(target: Target, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [row(read(new_authority()), URL, thumbprint=f"{number:040x}") for number in range(MAX_FETCHES + 2)]

    target.check(*rows)
    assert len(target.net.requests) == MAX_FETCHES
    assert capsys.readouterr().err.count("one run fetches at most") == 2


def test_undoes_the_change_if_the_directory_does_not_load(target: Target, capsys: pytest.CaptureFixture[str]) -> None:
    # A manifest that is almost as large as it may be.
    manifest = target.directory / "manifest.toml"
    text = manifest.read_text("utf-8")
    manifest.write_text(text + "#" * (MAX_MANIFEST_BYTES - len(text.encode()) - 10), "utf-8")
    before = target.content()

    assert target.check(target.publish(new_authority())) == 2
    assert "no entry is added" in capsys.readouterr().err
    assert target.content() == before


def test_overwrites_no_file(target: Target) -> None:
    new = read(new_authority())
    taken = target.directory / "intermediates" / f"new-issuing-ca-{new.sha256[:8]}.pem"
    [listed] = target.directory.glob(FILES)
    listed.rename(taken)
    manifest = target.directory / "manifest.toml"
    manifest.write_text(manifest.read_text("utf-8").replace(listed.name, taken.name), "utf-8")
    before = target.content()

    assert target.check(target.publish(new_authority())) == 2
    assert target.content() == before


def test_refuses_a_directory_that_does_not_load(target: Target) -> None:
    (target.directory / "intermediates" / "unlisted.pem").write_text("", "utf-8")

    assert target.check(target.publish(new_authority())) == 2
    assert target.net.requests == []


def test_takes_the_form_of_the_shipped_directory(tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(shipped_directory(), copy)

    assert runner(tmp_path)("--page", str(PAGES / "page-changed.md"), "--write-entries", str(copy)) == 1
    assert load_directory(copy).generation == load_bundle().generation


def test_entries_need_a_page(tmp_path: Path) -> None:
    urls = tmp_path / "urls.txt"
    urls.write_text("http://www.microsoft.com/pkiops/certs/a.crt\n", "utf-8")

    assert runner(tmp_path)("--urls", str(urls), "--write-entries", str(tmp_path)) == 2
