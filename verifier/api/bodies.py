"""Request bodies, bounded before anything reads them."""

from flask import Request
from werkzeug.wsgi import get_input_stream

from verifier.api.json_codec import RequestError
from verifier.api.problems import RequestFault
from verifier.core import evidence

#: A body that is too large is read on to its end, up to this, and forgotten: a client that is still sending
#: when the connection closes would see a reset and not the problem document.
_DRAINED_BYTES = 4 * 1024 * 1024
_CHUNK_BYTES = 64 * 1024


def read_body(request: Request, *, limit: int) -> bytes:
    """The body, of at most `limit` bytes, sent as itself, with no query string beside it.

    Raises RequestError, and FormatRefused where it is larger.
    """
    if request.query_string:
        raise RequestError(RequestFault.MALFORMED_REQUEST, "This path takes no query string.")
    if request.headers.get("Content-Encoding", "identity").lower() != "identity":
        raise RequestError(RequestFault.UNSUPPORTED_MEDIA_TYPE, "The body is compressed, which is not taken.")
    try:
        stream = get_input_stream(request.environ)
        body = stream.read(limit + 1)
        drained = len(body)
        while len(body) > limit and drained < _DRAINED_BYTES and (chunk := stream.read(_CHUNK_BYTES)):
            drained += len(chunk)
    except Exception as error:
        # Each server raises its own, e.g. for a chunk of no length; whatever it is, there is no body.
        raise RequestError(
            RequestFault.MALFORMED_REQUEST, "The body ended early, or is not encoded as announced."
        ) from error
    evidence.check_size(body, limit)
    # A server may end its stream where the sender stopped.
    if len(body) < (request.content_length or 0):
        raise RequestError(RequestFault.MALFORMED_REQUEST, "The body ended before its announced length.")
    return body
