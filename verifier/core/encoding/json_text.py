"""Write JSON (RFC 8259) in ASCII. `strict_json` reads the JSON of others."""

import json

import orjson

#: orjson would write values of these types in forms of its own.
_OPTIONS = orjson.OPT_PASSTHROUGH_DATACLASS | orjson.OPT_PASSTHROUGH_DATETIME


def encode_json(value: object) -> bytes:
    """Return the value as JSON without white space, in ASCII. NaN and infinities become null.

    orjson writes it. It cannot write integers of more than 64 bits, lone surrogates and keys of a subclass of str, and
    writes other text than ASCII as UTF-8. Then the standard library writes it. Raises TypeError for a type that JSON
    does not have.
    """
    try:
        encoded = orjson.dumps(value, option=_OPTIONS)
    except TypeError:
        pass
    else:
        if encoded.isascii():
            return encoded
    return json.dumps(value, separators=(",", ":")).encode("ascii")
