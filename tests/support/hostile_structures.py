"""Make inputs of 64 KiB whose structure costs most to show."""

import random
from typing import Final

MAX_BYTES: Final = 64 * 1024


def _wrapped(contents: bytes) -> bytes:
    return b"\x30\x83" + len(contents).to_bytes(3) + contents


def _identifier(number: int) -> bytes:
    return b"\x06\x18" + bytes([1 + number // 100, 1 + number % 100]) + b"\x81\x01" * 11


HOSTILE_STRUCTURES: Final = {
    "one byte repeated": _wrapped(b"\x30" * MAX_BYTES),
    "indefinite lengths": b"\x30\x80" * (MAX_BYTES // 2),
    "indefinite siblings": _wrapped(b"\x30\x80\x00\x00" * (MAX_BYTES // 4)),
    "zeros": bytes(MAX_BYTES),
    "different object identifiers": _wrapped(b"".join(map(_identifier, range(MAX_BYTES // 26)))),
    "long texts": _wrapped((b"\x0c\x1e" + b"\xff" * 30) * (MAX_BYTES // 32)),
    "foreign texts": _wrapped((b"\x0c\x1e" + b"\xd8\xb4" * 15) * (MAX_BYTES // 32)),
    "times": _wrapped(bytes.fromhex("170d3439303130313030303030305a") * (MAX_BYTES // 15)),
    "one text": _wrapped(b"\x1c\x83" + MAX_BYTES.to_bytes(3) + b"\xff" * MAX_BYTES),
    "one integer": _wrapped(b"\x02\x83" + MAX_BYTES.to_bytes(3) + b"\x7f" * MAX_BYTES),
    "long tags": _wrapped(b"\x1f\x81\x81\x01" * (MAX_BYTES // 4)),
    "noise": _wrapped(random.Random(22).randbytes(MAX_BYTES)),  # noqa: S311 - a test
}
