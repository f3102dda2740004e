"""Until when today's pins hold: for each cloud, the end of the unbroken time for which some chain exists."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from cryptography import x509

from verifier.core.trust.bundle import CloudTrust, TrustedCertificate


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """A time without a gap, its ends included."""

    start: datetime
    end: datetime


def horizon(trust: CloudTrust, *, now: datetime) -> datetime | None:
    """The latest moment up to which, from `now` on and without a gap, there is always an issuing authority with a
    chain of usable certificates to an anchor; None where there is none now.

    Issuing authorities are the pins that issue signers: those with a path length of 0 (RFC 5280 4.2.1.9) if any pin
    of the cloud states one, else those that are not another form of an anchor. A cross-signed root issues authorities
    and no signers. A cloud without such a pin has its anchors. Not checked: that Azure signs with any of them, or
    will.
    """
    return _covered_from(now, issuing_spans(trust))


def is_chainable(entry: TrustedCertificate, trust: CloudTrust, *, at: datetime) -> bool:
    """Whether at that moment a chain of usable certificates leads from the entry to an anchor. An anchor is its own."""
    return entry.state_at(at).is_usable and any(span.start <= at <= span.end for span in _spans_of(entry, trust, ()))


def issuing_spans(trust: CloudTrust) -> tuple[Span, ...]:
    """The times at which each issuing authority has a chain, one span for each chain."""
    anchor_keys = {entry.certificate.spki_sha256 for entry in trust.anchors}
    others = [pin for pin in trust.pins if pin.certificate.spki_sha256 not in anchor_keys]
    issuing = [pin for pin in others if _path_length(pin) == 0] or others
    spans: list[Span] = []
    for authority in issuing or trust.anchors:
        spans.extend(_spans_of(authority, trust, ()))
    return tuple(spans)


def _path_length(entry: TrustedCertificate) -> int | None:
    return entry.certificate.parsed.extensions.get_extension_for_class(x509.BasicConstraints).value.path_length


def _spans_of(entry: TrustedCertificate, trust: CloudTrust, below: tuple[TrustedCertificate, ...]) -> Iterable[Span]:
    if trust.denials.names(entry.certificate):
        return
    path = (*below, entry)
    if entry in trust.anchors:
        start = max(link.usable_from for link in path)
        end = min(link.usable_until for link in path)
        if start <= end:
            yield Span(start=start, end=end)
        return
    for issuer in _issuers(entry, trust):
        # A path names each key once, so that self-issued and mutually signed authorities end the walk.
        if all(issuer.certificate.spki_sha256 != link.certificate.spki_sha256 for link in path):
            yield from _spans_of(issuer, trust, path)


def _issuers(entry: TrustedCertificate, trust: CloudTrust) -> Sequence[TrustedCertificate]:
    return [
        candidate
        for candidate in (*trust.anchors, *trust.pins)
        if candidate is not entry and entry.certificate.is_issued_by(candidate.certificate)
    ]


def _covered_from(now: datetime, spans: Iterable[Span]) -> datetime | None:
    reached: datetime | None = None
    for span in sorted(spans, key=lambda span: span.start):
        if span.start <= (reached or now) and span.end >= (reached or now):
            reached = span.end
    return reached
