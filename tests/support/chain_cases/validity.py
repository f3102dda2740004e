"""Validity to the second, and the forms of times (RFC 5280 4.1.2.5 and 6.1.3 a 2)."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from support.chain_cases.recipe import (
    SECOND,
    Case,
    Cert,
    accept,
    ca,
    generalized_time,
    period,
    refuse,
    root,
    signer,
    utc_time,
)
from support.der_parts import tlv
from support.documents import NOW

from verifier.core.reasons import Check

_YEAR = timedelta(days=365)
_LONG = period(NOW - _YEAR, datetime(2060, 1, 1, tzinfo=UTC))
_END_OF_2049 = datetime(2049, 12, 31, 23, 59, 59, tzinfo=UTC)
_START_OF_2050 = _END_OF_2049 + SECOND


def cases() -> Iterator[Case]:
    yield from _instants()
    yield from _models()
    yield from _around_2050()
    yield from _forms()


def _at(place: str, validity: tuple[bytes, bytes], *, others: tuple[bytes, bytes] = _LONG) -> Cert:
    """Return a signer in whose path the certificate at this place has this period."""

    def of(cert: Cert, own: str) -> Cert:
        return replace(cert, validity=validity if own == place else others)

    upper = of(ca("Upper", of(root(), "anchor")), "upper")
    return of(signer(of(ca(under=upper), "issuer")), "signer")


def _instants() -> Iterator[Case]:
    for place in ("signer", "issuer", "upper", "anchor"):
        clause = "rule: an anchor is used only in its period" if place == "anchor" else "6.1.3 a 2"
        starts, ends = period(NOW, NOW + _YEAR), period(NOW - _YEAR, NOW)
        yield accept(f"validity/{place}-at-not-before", _at(place, starts), f"{clause}: both ends belong to the period")
        yield accept(f"validity/{place}-at-not-after", _at(place, ends), f"{clause}: both ends belong to the period")
        early, late = period(NOW + SECOND, NOW + _YEAR), period(NOW - _YEAR, NOW - SECOND)
        yield refuse(f"validity/{place}-1-s-before-not-before", _at(place, early), f"{clause}: not valid yet")
        yield refuse(f"validity/{place}-1-s-after-not-after", _at(place, late), f"{clause}: expired")
        one = period(NOW, NOW)
        yield accept(f"validity/{place}-of-one-second", _at(place, one), f"{clause}: both ends belong to the period")
        never = (utc_time(NOW + SECOND), utc_time(NOW - SECOND))
        yield refuse(f"validity/{place}-ends-before-it-begins", _at(place, never), f"{clause}: no instant is in it")


def _models() -> Iterator[Case]:
    shell = "6.1.3 a 2: each certificate is valid now; periods need not nest"
    longer = period(NOW - 3 * _YEAR, NOW + 30 * SECOND)
    yield accept("validity/signer-outlives-its-issuer", _at("signer", _LONG, others=longer), shell)
    yield accept(
        "validity/signer-older-than-its-issuer", _at("signer", longer, others=period(NOW - SECOND, NOW + _YEAR)), shell
    )
    expired = period(NOW - 3 * _YEAR, NOW - SECOND)
    for place in ("issuer", "upper"):
        yield refuse(
            f"validity/{place}-expired-since-it-signed",
            _at(place, expired, others=period(NOW - 2 * _YEAR, NOW + _YEAR)),
            "6.1.3 a 2: expired now, though valid when it signed",
        )
    yield refuse(
        "validity/anchor-expired-and-the-rest-valid",
        _at("anchor", expired),
        "rule: an anchor is used only in its period",
    )


def _around_2050() -> Iterator[Case]:
    ends = period(NOW - _YEAR, _END_OF_2049)
    why = "4.1.2.5.1: a UTCTime of year 49 is in 2049"
    for place in ("signer", "issuer", "anchor"):
        yield accept(f"validity/{place}-utc-time-at-the-end-of-2049", _at(place, ends), why, at=_END_OF_2049)
        yield refuse(f"validity/{place}-utc-time-1-s-after-2049", _at(place, ends), why, at=_START_OF_2050)
        later = (utc_time(NOW - _YEAR), generalized_time(_START_OF_2050))
        in_2050 = "4.1.2.5: from 2050 on a GeneralizedTime"
        yield accept(f"validity/{place}-generalized-time-of-2050", _at(place, later), in_2050, at=_START_OF_2050)
        yield refuse(
            f"validity/{place}-1-s-after-a-generalized-time-of-2050",
            _at(place, later),
            in_2050,
            at=_START_OF_2050 + SECOND,
        )
        past = (utc_time(NOW - _YEAR), tlv(0x17, b"500101000000Z"))
        yield refuse(f"validity/{place}-utc-time-of-year-50", _at(place, past), "4.1.2.5.1: year 50 is 1950")
        since_1950 = (tlv(0x17, b"500101000000Z"), utc_time(NOW + _YEAR))
        yield accept(f"validity/{place}-since-1950", _at(place, since_1950), "4.1.2.5.1: year 50 is 1950")
    for place in ("issuer", "anchor"):
        forever = (utc_time(NOW - _YEAR), tlv(0x18, b"99991231235959Z"))
        yield accept(f"validity/{place}-without-an-end", _at(place, forever), "4.1.2.5: no well-defined end")


def _forms() -> Iterator[Case]:
    early = (generalized_time(NOW - _YEAR), generalized_time(NOW + _YEAR))
    through_2049 = "4.1.2.5: through 2049 a UTCTime"
    yield refuse("validity/signer-generalized-time-before-2050", _at("signer", early), through_2049)
    formal = "6.1.3 a 2: both forms can be processed; only 4.1.2.5 forbids an authority to issue them"
    for place in ("issuer", "anchor"):
        yield accept(f"validity/{place}-generalized-time-before-2050", _at(place, early), formal)
    decisions: tuple[tuple[str, bytes, str], ...] = (
        ("utc-time-without-seconds", tlv(0x17, b"4912312359Z"), "4.1.2.5.1: with seconds"),
        ("utc-time-with-an-offset", tlv(0x17, b"491231235959+0000"), "4.1.2.5.1: as Zulu"),
        ("utc-time-without-a-zone", tlv(0x17, b"491231235959"), "4.1.2.5.1: as Zulu"),
        ("utc-time-of-second-60", tlv(0x17, b"491231235960Z"), "4.1.2.5.1: no such second"),
        ("utc-time-of-february-30", tlv(0x17, b"490230235959Z"), "4.1.2.5.1: no such day"),
        ("generalized-time-with-a-fraction", tlv(0x18, b"20500101000000.5Z"), "4.1.2.5.2: no fractions"),
        ("generalized-time-with-an-offset", tlv(0x18, b"20500101000000+0000"), "4.1.2.5.2: as Zulu"),
        ("integer", tlv(0x02, b"\x7f"), "4.1.2.5: UTCTime or GeneralizedTime"),
        ("empty", tlv(0x17), "4.1.2.5.1: YYMMDDHHMMSSZ"),
    )
    forms: tuple[tuple[str, Check | None], ...] = (("signer", Check.FORMAT), ("issuer", Check.CHAIN))
    for place, by in forms:
        for name, encoded, why in decisions:
            odd = (utc_time(NOW - _YEAR), encoded)
            yield refuse(f"validity/{place}-{name}", _at(place, odd), why, by=by)
