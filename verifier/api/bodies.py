"""Request bodies, bounded before anything reads them."""

from contextlib import suppress
from datetime import timedelta
from typing import IO

from flask import Request
from werkzeug.wsgi import get_input_stream

from verifier.api.problems import RequestFault
from verifier.api.wire import RequestError
from verifier.core import evidence

#: A body that is too large is read to its end, up to this, so that the connection goes on.
_DRAINED_BYTES = 4 * 1024 * 1024
_CHUNK_BYTES = 64 * 1024
_RETRY_AFTER = timedelta(seconds=1)

INCOMPLETE = "The body is incomplete: it ended early, or did not arrive in time. Send the whole request again."


def read_body(request: Request, *, limit: int) -> bytes:
    """Return the body, of at most `limit` bytes, sent uncompressed and with no query string beside it.

    Raises RequestError, and FormatRefused if it is larger.
    """
    if request.query_string:
        raise RequestError(RequestFault.MALFORMED_REQUEST, "This path takes no query string.")
    if request.headers.get("Content-Encoding", "identity").lower() != "identity":
        raise RequestError(RequestFault.UNSUPPORTED_MEDIA_TYPE, "The body is compressed, which is not taken.")
    stream = get_input_stream(request.environ)
    try:
        body = stream.read(limit + 1)
    except EOFError as error:
        raise _incomplete() from error
    except Exception as error:
        # Each server raises its own, e.g. for a chunk without a length.
        raise RequestError(RequestFault.MALFORMED_REQUEST, "The body is not encoded as announced.") from error
    if len(body) > limit:
        _drain(stream)
    evidence.check_size(body, limit)
    # A server may end its stream where the sender stopped.
    if len(body) < (request.content_length or 0):
        raise _incomplete()
    return body


def _drain(stream: IO[bytes]) -> None:
    with suppress(Exception):  # the answer is the same
        for _ in range(_DRAINED_BYTES // _CHUNK_BYTES):
            if not stream.read(_CHUNK_BYTES):
                return


def _incomplete() -> RequestError:
    return RequestError(RequestFault.REQUEST_TIMEOUT, INCOMPLETE, retry_after=_RETRY_AFTER)
