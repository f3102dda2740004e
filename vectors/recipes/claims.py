"""Generate faults of the signed content and of its validity window.

The reasons are malformed-evidence at `claims`, claims-incomplete, document-expired and document-not-yet-valid.
"""

from collections.abc import Iterator
from datetime import datetime, timedelta
from functools import partial

from support import documents
from support.documents import NOW, VM, encode, sign

from vectors.recipes.recipe import RETRY, Recipe, posted
from verifier.core.reasons import Check, Reason

_malformed = partial(Recipe, reason=Reason.MALFORMED_EVIDENCE, check=Check.CLAIMS)
_expired = partial(Recipe, reason=Reason.DOCUMENT_EXPIRED, check=Check.VALIDITY_WINDOW, retry_after=RETRY)


def recipes() -> Iterator[Recipe]:
    yield from _json()
    yield from _types()
    yield from _times()
    yield from _missing()
    yield from _windows()


def with_fields(**fields: object) -> bytes:
    """Sign a document that is valid except for these fields. `...` removes a field."""
    changed = {**documents.content(), **fields}
    return sign(encode({name: value for name, value in changed.items() if value is not ...}))


def shown(moment: datetime) -> str:
    return f"{moment:%m/%d/%y %H:%M:%S} -0000"


def nested(depth: int) -> bytes:
    """Sign a valid document whose content has this depth."""
    inner: object = "bottom"
    for _ in range(depth - 1):
        inner = {"deeper": inner}
    return with_fields(note=inner)


def _json() -> Iterator[Recipe]:
    good = encode(documents.content())
    contents = {
        "not-json": ("is not JSON: it lacks its last byte", good[:-1]),
        "empty": ("is empty", b""),
        "array": ("is a JSON array", b"[" + good + b"]"),
        "duplicate-key": ("has the name vmId twice", b'{"vmId":"' + VM.vm_id.encode() + b'",' + good[1:]),
        "duplicate-key-inside": (
            "has a name twice in an object inside",
            good.replace(b'"plan":{', b'"plan":{"name":"standard",'),
        ),
        "duplicate-key-escaped": (
            "has the name vmId twice, once with an escape",
            b'{"\\u0076mId":"' + VM.vm_id.encode() + b'",' + good[1:],
        ),
        "not-utf-8": ("is Latin-1", good.replace(b'"standard"', b'"st\xe4ndard"')),
        "byte-order-mark": ("has a byte order mark", b"\xef\xbb\xbf" + good),
        "lone-surrogate": ("has a lone surrogate", good.replace(b'"standard"', b'"\\ud800"')),
        "not-a-number": ("has a NaN", good[:-1] + b',"note":NaN}'),
        "infinite-number": ("has a number beyond the doubles", good[:-1] + b',"note":1e999}'),
        "long-number": ("has an integer of 20 digits", good[:-1] + b',"note":12345678901234567890}'),
        "trailing-text": ("has text behind the object", good + b"{}"),
    }
    for name, (description, content) in contents.items():
        yield _malformed(
            name=f"content-{name}", description=f"The signed content {description}.", body=posted(sign(content))
        )
    yield _malformed(
        name="content-nested-17-deep",
        description="The signed content is nested 17 deep; 16 is the most.",
        body=posted(nested(17)),
    )


def _types() -> Iterator[Recipe]:
    fields: dict[str, tuple[str, dict[str, object]]] = {
        "vm-id-number": ("vmId is a number", {"vmId": 5}),
        "vm-id-long": ("vmId has 129 characters", {"vmId": "5" * 129}),
        "nonce-number": ("the nonce is a number", {"nonce": 123456789}),
        "nonce-long": ("the nonce has 65 characters", {"nonce": "5" * 65}),
        "sku-list": ("sku is a list", {"sku": ["standard"]}),
        "plan-text": ("plan is a text", {"plan": "standard"}),
        "plan-publisher-number": ("plan.publisher is a number", {"plan": {"publisher": 1}}),
        "times-text": ("timeStamp is a text", {"timeStamp": shown(NOW)}),
        "times-in-both-spellings": (
            "both timeStamp and timestamp are there",
            {"timestamp": documents.content()["timeStamp"]},
        ),
    }
    for name, (description, changed) in fields.items():
        yield _malformed(
            name=f"claim-{name}", description=f"In the content {description}.", body=posted(with_fields(**changed))
        )


def _times() -> Iterator[Recipe]:
    good = shown(NOW + timedelta(hours=6))
    texts = {
        "iso-8601": "2026-11-23T14:00:00Z",
        "no-offset": good.removesuffix(" -0000"),
        "other-offset": good.replace("-0000", "+0100"),
        "four-digit-year": "11/23/2026 14:00:00 -0000",
        "month-13": "13/23/26 14:00:00 -0000",
        "february-29": "02/29/27 14:00:00 -0000",
        "leap-second": "12/31/26 23:59:60 -0000",
        "other-digits": good.replace("1", "\u0661"),
        "trailing-line-end": good + "\n",
    }
    for name, text in texts.items():
        yield _malformed(
            name=f"time-{name}",
            description=f"expiresOn is not a time as IMDS writes it: {text!a}.",
            body=posted(with_fields(timeStamp={"createdOn": shown(NOW), "expiresOn": text})),
        )


def _missing() -> Iterator[Recipe]:
    incomplete = partial(Recipe, reason=Reason.CLAIMS_INCOMPLETE)
    for name, vm_id in (("missing", ...), ("empty", ""), ("null", None)):
        yield incomplete(
            name=f"vm-id-{name}",
            description=f"vmId is {name}.",
            check=Check.CLAIMS,
            body=posted(with_fields(vmId=vm_id)),
        )
    for name, nonce in (("missing", ...), ("empty", ""), ("null", None)):
        yield incomplete(
            name=f"nonce-{name}",
            description=f"The nonce is {name}: the document answers no challenge.",
            check=Check.NONCE,
            body=posted(with_fields(nonce=nonce)),
        )


def window(created_on: timedelta, expires_on: timedelta) -> bytes:
    """Sign a document with these times, relative to now."""
    return with_fields(timeStamp={"createdOn": shown(NOW + created_on), "expiresOn": shown(NOW + expires_on)})


def _windows() -> Iterator[Recipe]:
    second, hour = timedelta(seconds=1), timedelta(hours=1)
    yield _expired(
        name="expires-on-past",
        description="expiresOn was 61 s ago; 60 s of skew are allowed.",
        body=posted(window(-61 * second, -61 * second)),
        nonces=(),
    )
    yield _expired(
        name="expires-on-past-alone",
        description="expiresOn was 61 s ago, and there is no createdOn.",
        body=posted(with_fields(timeStamp={"expiresOn": shown(NOW - 61 * second)})),
    )
    yield _expired(
        name="too-old",
        description="createdOn was 6 h and 1 s ago, more than the maximum age; expiresOn is still to come.",
        body=posted(window(-6 * hour - second, hour)),
        nonces=(),
    )
    yield _expired(
        name="inverted",
        description="expiresOn is before createdOn, both within the skew.",
        body=posted(window(30 * second, -30 * second)),
        retry_after=None,
    )
    early = partial(Recipe, reason=Reason.DOCUMENT_NOT_YET_VALID, check=Check.VALIDITY_WINDOW)
    yield early(
        name="created-on-ahead",
        description="createdOn is 61 s ahead; 60 s of skew are allowed.",
        body=posted(window(61 * second, 6 * hour)),
    )
    yield early(
        name="created-on-ahead-alone",
        description="createdOn is 61 s ahead, and there is no expiresOn.",
        body=posted(with_fields(timeStamp={"createdOn": shown(NOW + 61 * second)})),
    )
    yield early(
        name="next-year", description="A year ahead.", body=posted(documents.document(created_on=NOW + 365 * 24 * hour))
    )
