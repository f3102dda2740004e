"""`imds-verifier trust check`: the pins against saved pages and fetched certificates."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from support.clocks import ManualClock
from support.documents import der, trusted
from support.feeds import feed_of
from support.trust_operations import KeptTrustEvents, make_operations, new_authority, no_workshop, read

from verifier.adapters.sqlite.trust_registry import SqliteTrustRegistry
from verifier.adapters.trust.files import load_bundle
from verifier.adapters.trust.live_trust import LiveTrust
from verifier.cli.azure_ca_page import FindingKind, compare, publish, read_page
from verifier.cli.commands import Command, CommandParts, run_command
from verifier.cli.trust import OpenTrust, trust_command
from verifier.core.trust.bundle import TrustedCertificate
from verifier.core.trust.clouds import Cloud
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
