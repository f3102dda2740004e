"""Compare the pins with the certificate authorities that Azure publishes. Pure: text to findings.

A page is not trusted. A finding proposes work to an operator and changes no pin.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from enum import StrEnum
from html.parser import HTMLParser

from verifier.core.trust.bundle import Role, TrustedCertificate
from verifier.core.trust.certificates import Certificate
from verifier.core.values import dataclass

# A row of the page has "Serial Number<br>Thumbprint": two runs of hex digits, the second a SHA-1.
_HEX = re.compile(r"\b(?:0[xX])?([0-9A-Fa-f]{8,64})\b")
_SHA1_DIGITS = 40
_MARKDOWN_HEADING = re.compile(r"^\s{0,3}#{1,6}\s+(.*)$")
_MARKDOWN_LINK = re.compile(r"\[([^\]]*)\]\(([^)\s]*)[^)]*\)")
_MARKDOWN_BREAK = re.compile(r"<br\s*/?>", re.IGNORECASE)
_HEADINGS = frozenset({"h1", "h2", "h3", "h4", "h5", "h6"})


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedAuthority:
    """Describe one published authority. `thumbprint` is the SHA-1 of its certificate in lower-case hex."""

    name: str
    thumbprint: str
    url: str
    is_root: bool
    #: None if the page has none.
    serial_number: int | None = None


class FindingKind(StrEnum):
    #: Published as an issuing authority, but not pinned.
    MISSING = "missing"
    #: Pinned (usable or staged), but no longer published. Azure may have retired it.
    UNPUBLISHED = "unpublished"
    #: Pinned and usable, but expires soon.
    ENDING = "ending"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """Describe one item for an operator. `url` locates a missing certificate; `ends_at` is the end of a pin."""

    kind: FindingKind
    name: str
    thumbprint: str
    url: str = ""
    ends_at: datetime | None = None


def read_page(text: str) -> tuple[PublishedAuthority, ...]:
    """Return the authorities in the tables of Azure's page "Azure Certificate Authority details", each once.

    The page is Markdown or HTML. The result is empty if it is a different page. An authority is a root if at least
    one heading above it contains "Root" and not "Subordinate".
    """
    found: dict[str, PublishedAuthority] = {}
    rows = _TableReader(text).rows if "<table" in text.lower() else _markdown_rows(text)
    for row in rows:
        numbers = _HEX.findall(" ".join(row.cells[1:]))
        # The thumbprint comes last, after the serial number, which may have the same number of digits.
        last = max((place for place, number in enumerate(numbers) if len(number) == _SHA1_DIGITS), default=None)
        if last is None:
            continue
        authority = PublishedAuthority(
            name=_name(row.cells[0]),
            thumbprint=numbers[last].lower(),
            url=row.url,
            is_root=_is_root_section(row.heading),
            serial_number=int(numbers[last - 1], 16) if last else None,
        )
        known = found.get(authority.thumbprint)
        if known is None or (authority.is_root and not known.is_root):
            found[authority.thumbprint] = authority
    return tuple(found.values())


def publish(certificate: Certificate, url: str) -> PublishedAuthority:
    """Return the authority whose certificate is published at `url`."""
    return PublishedAuthority(
        name=certificate.subject,
        thumbprint=certificate.sha1,
        url=url,
        is_root=certificate.is_self_issued,
        serial_number=certificate.serial_number,
    )


def compare(
    published: Iterable[PublishedAuthority],
    entries: Sequence[TrustedCertificate],
    *,
    now: datetime,
    within: timedelta,
    left_out: frozenset[str] = frozenset(),
) -> tuple[Finding, ...]:
    """Return the findings: published but not pinned, pinned but not published, and pins that end `within`.

    Roots are not compared, because a page cannot define trust anchors. Expired and retired pins are skipped: archives
    still need them. An operator has reviewed the thumbprints in `left_out`: they are neither missing nor unpublished.
    Not checked: that a missing authority signs documents.
    """
    authorities: Mapping[str, PublishedAuthority] = {one.thumbprint: one for one in published}
    pins = {
        entry.certificate.sha1: entry
        for entry in entries
        if entry.role is Role.INTERMEDIATE and now < entry.usable_until
    }
    missing = [
        Finding(kind=FindingKind.MISSING, name=one.name, thumbprint=one.thumbprint, url=one.url)
        for one in find_missing(authorities.values(), entries, left_out=left_out)
    ]
    unpublished = [
        _finding(FindingKind.UNPUBLISHED, thumbprint, entry)
        for thumbprint, entry in pins.items()
        if thumbprint not in authorities and thumbprint not in left_out
    ]
    ending = [
        _finding(FindingKind.ENDING, thumbprint, entry)
        for thumbprint, entry in pins.items()
        if entry.state_at(now).is_usable and entry.usable_until - now <= within
    ]
    return (*missing, *unpublished, *ending)


def find_missing(
    published: Iterable[PublishedAuthority], entries: Sequence[TrustedCertificate], *, left_out: frozenset[str]
) -> tuple[PublishedAuthority, ...]:
    """Return the published authorities that are no roots, that no entry has, and that are not in `left_out`."""
    skipped = {entry.certificate.sha1 for entry in entries} | left_out
    return tuple(one for one in published if not one.is_root and one.thumbprint not in skipped)


def _finding(kind: FindingKind, thumbprint: str, entry: TrustedCertificate) -> Finding:
    return Finding(kind=kind, name=entry.certificate.subject, thumbprint=thumbprint, ends_at=entry.usable_until)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Row:
    heading: str
    cells: tuple[str, ...]
    url: str


def _name(cell: str) -> str:
    """Remove the characters that draw the tree of authorities."""
    return " ".join(cell.lstrip("↳└─│├ \t\xa0*").split())


def _is_root_section(heading: str) -> bool:
    words = heading.lower().split()
    return "root" in words and "subordinate" not in words


def _markdown_rows(text: str) -> Iterable[_Row]:
    heading = ""
    for line in text.splitlines():
        titled = _MARKDOWN_HEADING.match(line)
        if titled:
            heading = titled[1]
        elif line.lstrip().startswith("|"):
            link = _MARKDOWN_LINK.search(line)
            plain = _MARKDOWN_BREAK.sub(" ", _MARKDOWN_LINK.sub(r"\1", line))
            cells = tuple(cell.strip() for cell in plain.strip().strip("|").split("|"))
            yield _Row(heading=heading, cells=cells, url=link[2] if link else "")


class _TableReader(HTMLParser):
    """Collect the rows of every table, each with the heading before it."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.rows: list[_Row] = []
        self._heading = ""
        self._in_heading = False
        self._in_cell = False
        self._cells: list[str] = []
        self._url = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in _HEADINGS:
            self._in_heading, self._heading = True, ""
        elif tag == "tr":
            self._cells, self._url = [], ""
        elif tag in {"td", "th"}:
            self._in_cell = True
            self._cells.append("")
        elif tag == "br":
            self.handle_data(" ")
        elif tag == "a" and self._in_cell and not self._url:
            self._url = dict(attrs).get("href") or ""

    def handle_endtag(self, tag: str) -> None:
        if tag in _HEADINGS:
            self._in_heading = False
        elif tag in {"td", "th"}:
            self._in_cell = False
        elif tag == "tr" and self._cells:
            cells = tuple(cell.strip() for cell in self._cells)
            self.rows.append(_Row(heading=self._heading, cells=cells, url=self._url))

    def handle_data(self, data: str) -> None:
        if self._in_heading:
            self._heading += data
        elif self._in_cell:
            self._cells[-1] += data
