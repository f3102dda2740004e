"""`python -m verifier.health [URL]`: whether a service answers, as a container's health check asks it.

Of the standard library alone, and apart from the command: it is started every few seconds, and reads no settings.
"""

import os
import sys
from collections.abc import Sequence
from http.client import HTTPConnection, HTTPException
from typing import Final
from urllib.parse import urlsplit

_HEALTHY: Final = 0
_UNHEALTHY: Final = 1
_USAGE: Final = 2
_SECONDS: Final = 5
_MOST_OCTETS: Final = 64 * 1024


def main(arguments: Sequence[str]) -> int:
    """Return 0 if the URL answers GET with 200 in time, 1 if it does not, and 2 if it is not such a URL.

    The default is /healthz of the service in the same container, on the port of its metrics if they have one: that one
    answers also while callers use up the other. The reason of a 1 goes to stderr. It uses no proxy and follows no
    redirect. Not checked: the content of the answer.
    """
    port_of_health = os.environ.get("VERIFIER_METRICS_PORT") or os.environ.get("VERIFIER_PORT") or "8080"
    url = arguments[0] if arguments else f"http://127.0.0.1:{port_of_health}/healthz"
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        port, parts = None, urlsplit("")
    if len(arguments) > 1 or parts.scheme != "http" or not parts.hostname:
        sys.stderr.write("usage: python -m verifier.health [http://HOST[:PORT]/PATH]\n")
        return _USAGE
    connection = HTTPConnection(parts.hostname, port, timeout=_SECONDS)
    try:
        connection.request("GET", parts.path or "/")
        answer = connection.getresponse()
        told = answer.read(_MOST_OCTETS)
    except (OSError, HTTPException) as error:
        sys.stderr.write(f"health: no answer: {type(error).__name__}\n")
        return _UNHEALTHY
    finally:
        connection.close()
    if answer.status == 200:  # noqa: PLR2004 - RFC 9110 15.3.1
        return _HEALTHY
    sys.stderr.write(f"health: {answer.status} {told.decode('utf-8', 'replace')!a}\n")
    return _UNHEALTHY


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
