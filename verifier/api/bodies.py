"""Read request bodies with a size limit, and serve bodies."""

import hashlib
from contextlib import suppress
from datetime import timedelta
from typing import IO
from wsgiref.types import WSGIEnvironment

from flask import Request, Response, request
from werkzeug.datastructures import Headers
from werkzeug.wsgi import get_content_length, get_input_stream

from verifier.api.json_codec import RequestError
from verifier.api.problems import RequestFault
from verifier.core import evidence
from verifier.core.encoding.json_text import encode_json

#: The service reads and discards a body over the limit, up to this size. Then the connection can carry more requests.
_DRAINED_BYTES = 4 * 1024 * 1024
_CHUNK_BYTES = 64 * 1024
_RETRY_AFTER = timedelta(seconds=1)

INCOMPLETE = "The body is incomplete: it ended early, or did not arrive in time. Send the whole request again."


def read_body(asked: Request, *, limit: int, takes_query: bool = False) -> bytes:
    """Return the body of the request, of at most `limit` bytes. Refuse compressed bodies, and unexpected query strings.

    Raises RequestError, and FormatRefused if the body exceeds the limit.
    """
    if not takes_query:
        refuse_query(asked)
    environ = asked.environ
    if environ.get("HTTP_CONTENT_ENCODING", "identity").lower() != "identity":
        raise RequestError(
            RequestFault.UNSUPPORTED_MEDIA_TYPE,
            "Compressed bodies are not supported. Send the body without Content-Encoding.",
            headers={"Accept-Encoding": "identity"},
        )
    stream = get_input_stream(environ)
    try:
        body = stream.read(limit + 1)
    except EOFError as error:
        raise _incomplete() from error
    except Exception as error:
        # Each server raises its own exceptions, for example for a chunk without a length.
        raise RequestError(RequestFault.MALFORMED_REQUEST, "The body does not match its Transfer-Encoding.") from error
    if len(body) > limit:
        _drain(stream)
    evidence.check_size(body, limit)
    # A server may end its stream early if the sender stops.
    if len(body) < (get_content_length(environ) or 0):
        raise _incomplete()
    return body


def refuse_query(asked: Request) -> None:
    """Refuse the query string of the request. Raises RequestError."""
    if asked.query_string:
        raise RequestError(RequestFault.MALFORMED_REQUEST, "This path accepts no query string. Remove it.")


class _CompleteResponse(Response):
    """A response whose body is known and that redirects to no other URL, so its headers are complete."""

    def get_wsgi_headers(self, environ: WSGIEnvironment) -> Headers:
        del environ
        return self.headers


def serve_json(value: object, *, status: int = 200, media_type: str = "application/json") -> Response:
    """Answer with the value as JSON, its members in their order, and a line break."""
    return _CompleteResponse(encode_json(value) + b"\n", status, content_type=media_type)


def serve_cached(body: bytes, media_type: str, *, seconds: int) -> Response:
    """Answer with the body, or with 304 if the caller already has it (RFC 9110 section 13.1.2)."""
    headers = {"Cache-Control": f"public, max-age={seconds}"}
    response = Response(body, mimetype=media_type, headers=headers)
    response.set_etag(hashlib.sha256(body).hexdigest()[:32])
    response.make_conditional(request)
    return response


def _drain(stream: IO[bytes]) -> None:
    with suppress(Exception):  # the answer is the same
        for _ in range(_DRAINED_BYTES // _CHUNK_BYTES):
            if not stream.read(_CHUNK_BYTES):
                return


def _incomplete() -> RequestError:
    return RequestError(RequestFault.REQUEST_TIMEOUT, INCOMPLETE, retry_after=_RETRY_AFTER)
