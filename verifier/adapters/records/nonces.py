"""Encode and decode nonce records: one versioned line of ASCII, the same in each store."""

import json
import re
from datetime import UTC, datetime, timedelta
from typing import Annotated
from urllib.parse import quote

from pydantic import PlainValidator

from verifier.adapters.records.lines import FORMAT, explain_newer_line
from verifier.core.nonces import NonceRecord
from verifier.ports.stores import StoreUnavailable

_UNRESERVED = re.compile(r"[A-Za-z0-9_.~-]*")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def microseconds(moment: datetime) -> int:
    """Convert an aware datetime to microseconds since 1970 (UTC). Raises TypeError for a naive one."""
    return (moment - _EPOCH) // _MICROSECOND


def moment(microseconds: int) -> datetime:
    """Convert microseconds since 1970 to a datetime in UTC. Raises OverflowError outside the range of datetime."""
    return _EPOCH + microseconds * _MICROSECOND


Moment = Annotated[datetime, PlainValidator(moment)]
_TEXT = r'"([^"\\]*(?:\\.[^"\\]*)*)"'
#: A record, perhaps not exactly as encode_record writes it. json.loads takes several times as long.
_RECORD = re.compile(rf"\[{FORMAT},(-?[0-9]+),(-?[0-9]+),{_TEXT},{_TEXT},{_TEXT}\]")
#: An encoder of its own: each record takes several calls, and json.dumps looks at its options each time.
_quote = json.JSONEncoder().encode


def encode_text(text: str) -> str:
    """Percent-encode a text (RFC 3986 section 2.1). Different texts have different encodings.

    The result has only ASCII letters, digits, `_.-~` and `%`. Separators, braces and NULs are encoded, so the name of
    one tenant cannot reach into the keys of another. Unpaired surrogates, which JSON can carry, are encoded too.
    """
    # `quote` takes ten times as long as this check, and most texts are ids that it would not change.
    return text if _UNRESERVED.fullmatch(text) else quote(text, safe="", encoding="utf-8", errors="surrogatepass")


def encode_record(record: NonceRecord) -> str:
    """Encode a record as a JSON array in ASCII without spaces: format, issued, expires, vmId, policy, jkt."""
    issued_at, expires_at = microseconds(record.issued_at), microseconds(record.expires_at)
    return f"[{FORMAT},{issued_at},{expires_at},{_quote(record.vm_id)},{_quote(record.policy)},{_quote(record.jkt)}]"


def decode_record(encoded: str) -> NonceRecord:
    """Decode a text that encode_record could have written.

    Raises StoreUnavailable for any other text, without repeating it: a record that this release did not write must not
    count for or against an agent.
    """
    try:
        if (parts := _RECORD.fullmatch(encoded)) is not None:
            issued_at, expires_at, *texts = parts.groups()
            vm_id, policy, jkt = map(_unquoted, texts)
            issued, expires = moment(int(issued_at)), moment(int(expires_at))
            record = NonceRecord(issued_at=issued, expires_at=expires, vm_id=vm_id, policy=policy, jkt=jkt)
            # The comparison refuses every variant, such as -0 and other escapes.
            if encode_record(record) == encoded:
                return record
    except (ValueError, OverflowError):
        pass
    explained = explain_newer_line("The nonce store holds a record that", encoded, FORMAT)
    raise StoreUnavailable(explained or "The nonce store holds a record that this release cannot read.")


def _unquoted(text: str) -> str:
    """Decode the inside of a JSON string. Raises ValueError."""
    if "\\" not in text:
        return text
    decoded: str = json.loads(f'"{text}"')
    return decoded
