"""Compute until when the present pins of a cloud allow a chain to an anchor without a gap."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Self

from cryptography import x509

from verifier.core.trust.bundle import CloudTrust, Denials, TrustedCertificate
from verifier.core.trust.issuing import has_issued
from verifier.core.values import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """Describe a time without a gap, its ends included."""

    start: datetime
    end: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class _Issuers:
    """Hold the certificates of a cloud by name, because a feed may add hundreds of anchors."""

    anchors: frozenset[str]
    by_name: Mapping[bytes, list[TrustedCertificate]]
    denials: Denials

    @classmethod
    def of(cls, trust: CloudTrust) -> Self:
        by_name: dict[bytes, list[TrustedCertificate]] = {}
        for entry in (*trust.anchors, *trust.pins):
            by_name.setdefault(entry.certificate.subject_der, []).append(entry)
        anchors = frozenset(anchor.certificate.sha256 for anchor in trust.anchors)
        return cls(anchors=anchors, by_name=by_name, denials=trust.denials)


def horizon(trust: CloudTrust, *, now: datetime) -> datetime | None:
    """Return the moment until which, from `now` on, an issuing authority always has a chain to an anchor.

    All certificates of the chain are usable. Return None if there is no such chain now.

    Issuing authorities are the pins that issue signers. A pin with the key of an anchor is not one of them, because a
    cross-signed root issues authorities and not signers. If another pin has a path length of 0 (RFC 5280 4.2.1.9), only
    pins with that length count. If a cloud has no issuing authority, its anchors count.

    Not checked: that Azure signs with one of them, now or later.
    """
    reached: datetime | None = None
    for span in sorted(issuing_spans(trust), key=lambda span: span.start):
        if span.start <= (reached or now) and span.end >= (reached or now):
            reached = span.end
    return reached


def is_chainable(entry: TrustedCertificate, trust: CloudTrust, *, at: datetime) -> bool:
    """Return whether a chain of certificates that are usable at that moment leads from the entry to an anchor."""
    return entry.state_at(at).is_usable and any(
        span.start <= at <= span.end for span in _spans_of(entry, _Issuers.of(trust), ())
    )


def issuing_spans(trust: CloudTrust) -> tuple[Span, ...]:
    """Return the times at which an issuing authority has a chain, one span for each chain."""
    anchor_keys = {entry.certificate.spki_sha256 for entry in trust.anchors}
    others = [pin for pin in trust.pins if pin.certificate.spki_sha256 not in anchor_keys]
    issuing = [pin for pin in others if _path_length(pin) == 0] or others
    issuers = _Issuers.of(trust)
    spans: list[Span] = []
    for authority in issuing or trust.anchors:
        spans.extend(_spans_of(authority, issuers, ()))
    return tuple(spans)


def _path_length(entry: TrustedCertificate) -> int | None:
    return entry.certificate.parsed.extensions.get_extension_for_class(x509.BasicConstraints).value.path_length


def _spans_of(entry: TrustedCertificate, issuers: _Issuers, below: tuple[TrustedCertificate, ...]) -> Iterable[Span]:
    if issuers.denials.names(entry.certificate):
        return
    path = (*below, entry)
    if entry.certificate.sha256 in issuers.anchors:
        start = max(link.usable_from for link in path)
        end = min(link.usable_until for link in path)
        if start <= end:
            yield Span(start=start, end=end)
        return
    # Use each key once in a path, so that the recursion ends for authorities that sign each other.
    keys = {link.certificate.spki_sha256 for link in path}
    for issuer in issuers.by_name.get(entry.certificate.issuer_der, ()):
        if issuer.certificate.spki_sha256 not in keys and has_issued(issuer.certificate, entry.certificate):
            yield from _spans_of(issuer, issuers, path)
