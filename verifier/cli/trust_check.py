"""Implement `imds-verifier trust check`: compare the pins with the authorities that Azure publishes."""

import argparse
import json
import re
import sys
from collections.abc import Callable, Sequence
from datetime import timedelta
from pathlib import Path

from verifier.api.json_codec import Json
from verifier.cli.azure_ca_page import Finding, PublishedAuthority, compare, find_missing, publish, read_page
from verifier.cli.commands import ExitStatus, UsageError, read_document_file
from verifier.cli.trust_export import ManifestEntry
from verifier.cli.trust_proposal import FETCH_SECONDS, LoadDirectory, load_target, propose, write_entries
from verifier.cli.trust_text import table_text
from verifier.core.encoding.moments import moment_json
from verifier.core.encoding.printable import printable
from verifier.core.trust.certificates import Certificate, CertificateError
from verifier.ports.clock import Clock
from verifier.ports.trust import FetchFailed, IssuerFetcher
from verifier.usecases.trust_administration import TrustAdministration

#: The page has about 200 KB; the limit leaves room for growth.
MAX_PAGE_BYTES = 8 * 1024 * 1024
DEFAULT_WARN_DAYS = 180

_THUMBPRINT = re.compile(r"[0-9a-f]{40}")


def configure_check(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--page", metavar="FILE", help='a saved copy of the page "Azure Certificate Authority details"')
    parser.add_argument("--urls", metavar="FILE", help="a list of URLs of CA certificates to fetch, one per line")
    parser.add_argument("--known", metavar="FILE", help="a list of SHA-1 thumbprints to ignore, one per line")
    parser.add_argument(
        "--warn-days", metavar="N", type=int, default=DEFAULT_WARN_DAYS, help="report pins that end within N days"
    )
    parser.add_argument(
        "--write-entries",
        metavar="DIR",
        type=Path,
        help="fetch each certificate that --page lists and no manifest pins, and add an entry to this trust directory",
    )
    parser.epilog = "Exit status: 0 no findings, 1 findings, 2 usage, 3 a URL or the store is unavailable."


def require_source(arguments: argparse.Namespace) -> None:
    """Raise UsageError if the arguments name no source to compare with, or an invalid number of days."""
    if arguments.page is None and arguments.urls is None:
        raise UsageError("check: name a source to compare with: --page FILE or --urls FILE")
    if arguments.write_entries is not None and arguments.page is None:
        raise UsageError("--write-entries: name the page that lists the certificates: --page FILE")
    if arguments.warn_days < 0:
        raise UsageError("--warn-days: expected a number of days from 0")


def check_trust(
    arguments: argparse.Namespace,
    *,
    administration: TrustAdministration,
    place: Json,
    clock: Clock,
    create_fetcher: Callable[[], IssuerFetcher],
    load_directory: LoadDirectory,
) -> int:
    """Print the findings, and change no pin of the store. Only `--write-entries` changes a trust directory.

    `place` names the store and the trust directory in JSON. Raises UsageError and StoreUnavailable.
    """
    now = clock.now()
    known = _read_known(arguments.known)
    published: list[PublishedAuthority] = []
    silent: list[str] = []
    proposal = None
    if arguments.page is not None:
        published += _read_page(arguments.page)
    if arguments.write_entries is not None:
        target = load_target(arguments.write_entries, load_directory)
        proposal = propose(
            find_missing(published, target.entries, left_out=known),
            bundle=target,
            decisions=administration.decisions(),
            fetcher=create_fetcher(),
            now=now,
        )
        write_entries(arguments.write_entries, proposal.made, bundle=target, load=load_directory)
    if arguments.urls is not None:
        found, silent = _fetch_all(_read_lines("--urls", arguments.urls), create_fetcher())
        published += found
    findings = compare(
        published,
        administration.bundle().entries,
        now=now,
        within=timedelta(days=arguments.warn_days),
        left_out=known,
    )
    if arguments.json:
        report = {
            "evaluatedAt": moment_json(now),
            "published": len({one.thumbprint for one in published}),
            "findings": [_finding_json(finding) for finding in findings],
            "unanswered": silent,
            **({} if proposal is None else {"entries": proposal.json()}),
            **place,
        }
        sys.stdout.write(json.dumps(report, indent=2) + "\n")
    else:
        sys.stdout.write(_as_text(findings))
        if proposal is not None:
            sys.stdout.writelines(_entry_text(one) for one in proposal.made)
    for missed in () if proposal is None else proposal.missed:
        sys.stderr.write(
            f"no entry for {missed.authority.thumbprint} {printable(missed.authority.name)}: {missed.reason}\n"
        )
    for url in silent:
        sys.stderr.write(f"no certificate received from {printable(url)}\n")
    if silent or (proposal is not None and any(missed.is_unavailable for missed in proposal.missed)):
        return ExitStatus.UNAVAILABLE
    return ExitStatus.REFUSED if findings else ExitStatus.DONE


def _read_page(name: str) -> tuple[PublishedAuthority, ...]:
    page = read_page(_read_text("--page", name))
    if not page:
        # A page that Azure moved or rebuilt must not look as if all authorities were retired.
        raise UsageError(f"--page: {name} has no table of certificate authorities with thumbprints")
    return page


def _read_text(option: str, name: str) -> str:
    raw = read_document_file(name, limit=MAX_PAGE_BYTES)
    if len(raw) > MAX_PAGE_BYTES:
        raise UsageError(f"{option}: {name} is larger than {MAX_PAGE_BYTES} bytes")
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UsageError(f"{option}: {name} is not UTF-8") from error


def _read_lines(option: str, name: str) -> list[str]:
    """Read the lines without empty lines and comments. A comment starts with # at the start or after a space."""
    lines = [re.split(r"(?:^|\s)#", line, maxsplit=1)[0].strip() for line in _read_text(option, name).splitlines()]
    return [line for line in lines if line]


def _read_known(name: str | None) -> frozenset[str]:
    if name is None:
        return frozenset()
    known = [line.replace(":", "").lower() for line in _read_lines("--known", name)]
    for thumbprint in known:
        if not _THUMBPRINT.fullmatch(thumbprint):
            raise UsageError(f"--known: {thumbprint!r} is not a SHA-1 thumbprint (40 hex digits)")
    return frozenset(known)


def _fetch_all(urls: Sequence[str], fetcher: IssuerFetcher) -> tuple[list[PublishedAuthority], list[str]]:
    """Fetch the authorities that are published at the URLs. Return them and the URLs without a certificate."""
    if not urls:
        raise UsageError("--urls: the file names no URL")
    found: list[PublishedAuthority] = []
    silent: list[str] = []
    for url in urls:
        try:
            certificates = [Certificate.from_der(der) for der in fetcher.fetch(url, seconds=FETCH_SECONDS)]
        except (FetchFailed, CertificateError):
            certificates = []
        if not certificates:
            silent.append(url)
        found += [publish(certificate, url) for certificate in certificates]
    return found, silent


def _finding_json(finding: Finding) -> Json:
    return {
        "kind": finding.kind.value,
        "name": finding.name,
        "thumbprint": finding.thumbprint,
        "url": finding.url,
        "endsAt": None if finding.ends_at is None else moment_json(finding.ends_at),
    }


def _entry_text(made: ManifestEntry) -> str:
    return f"added {made.file} for {', '.join(made.entry['clouds'])}, SHA-1 {made.sha1}\n"


def _as_text(findings: Sequence[Finding]) -> str:
    if not findings:
        return "no findings: the pins match the published authorities, and none expires soon\n"
    rows = [("WHAT", "SHA-1", "ENDS", "NAME", "AT")]
    rows += [
        (
            finding.kind.value,
            finding.thumbprint,
            "" if finding.ends_at is None else moment_json(finding.ends_at),
            printable(finding.name),
            printable(finding.url),
        )
        for finding in findings
    ]
    return table_text(rows)
