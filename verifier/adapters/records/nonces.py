"""How the nonce stores write down what a nonce was issued with: one line of ASCII, versioned, and the same in each
store, so that a record reads the same wherever it lies."""

import json
from datetime import UTC, datetime, timedelta
from urllib.parse import quote

from verifier.core.nonces import NonceRecord
from verifier.ports.stores import StoreUnavailable

#: The first member of each record. Another layout takes another number, and is refused by name until it is known.
FORMAT = 1

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_MEMBERS = 6


def microseconds(moment: datetime) -> int:
    """`moment`, which is aware, in whole microseconds since 1970 (UTC). Nothing is rounded: a datetime holds no more.

    Raises TypeError for a naive one, whose moment is not known.
    """
    return (moment - _EPOCH) // _MICROSECOND


def moment(microseconds: int) -> datetime:
    """The moment of which `microseconds` made this number. Raises OverflowError where a datetime cannot hold it."""
    return _EPOCH + microseconds * _MICROSECOND


def encode_text(text: str) -> str:
    """ASCII letters, digits, `_.-~` and `%` alone, and another result for each other text: the percent-encoding of
    RFC 3986 section 2.1. Ordinary tenants and nonces stay as they are; separators, braces and NULs lose their meaning,
    so that no tenant can be named into another's keys.

    Unpaired surrogates are encoded too (JSON can carry them into a nonce), though they are not text in UTF-8.
    """
    return quote(text, safe="", encoding="utf-8", errors="surrogatepass")


def encode_record(record: NonceRecord) -> str:
    """`record` as a JSON array in ASCII, without spaces: format, issued, expires, vmId, policy, jkt."""
    return json.dumps(
        [
            FORMAT,
            microseconds(record.issued_at),
            microseconds(record.expires_at),
            record.vm_id,
            record.policy,
            record.jkt,
        ],
        separators=(",", ":"),
    )


def decode_record(encoded: str) -> NonceRecord:
    """The record of which encode_record made exactly this text.

    Raises StoreUnavailable for any other text, however close: what this release did not write is not evidence for or
    against an agent. Its content is not repeated.
    """
    try:
        record = _decode(encoded)
        # Strict in one stroke: spaces, true for 1, 1.0 for 1 and escapes of another style all end here.
        if encode_record(record) == encoded:
            return record
    except (ValueError, TypeError, OverflowError, RecursionError):
        pass
    raise StoreUnavailable("The nonce store holds a record that this release cannot read.")


def _decode(encoded: str) -> NonceRecord:
    fields = json.loads(encoded)
    if not isinstance(fields, list) or len(fields) != _MEMBERS or fields[0] != FORMAT:
        raise ValueError("not a record of this format")
    if not all(isinstance(field, str) for field in fields[3:]):
        raise TypeError("a binding is not a text")
    _, issued, expires, vm_id, policy, jkt = fields
    return NonceRecord(
        issued_at=moment(issued),
        expires_at=moment(expires),
        vm_id=vm_id,
        policy=policy,
        jkt=jkt,
    )
