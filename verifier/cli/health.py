"""Check the health of a service from its container: `python -m verifier.cli.health [URL]`.

The module imports only the standard library and reads no settings, because it runs every few seconds.
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
_MOST_BYTES: Final = 64 * 1024


def main(arguments: Sequence[str]) -> int:
    """Return 0 if the service answers with 200, 1 with the reason on stderr if not, and 2 if the URL is invalid.

    The default URL is /healthz of the service in the same container, on the port of the metrics if they have one: that
    listener answers also while callers use up the other. Proxies and redirects are not used.
    Not checked: the body of the answer.
    """
    port_of_health = os.environ.get("VERIFIER_METRICS_PORT") or os.environ.get("VERIFIER_PORT") or "8080"
    url = arguments[0] if arguments else f"http://127.0.0.1:{port_of_health}/healthz"
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        port, parts = None, urlsplit("")
    if len(arguments) > 1 or parts.scheme != "http" or not parts.hostname:
        sys.stderr.write("usage: python -m verifier.cli.health [http://HOST[:PORT]/PATH]\n")
        return _USAGE
    connection = HTTPConnection(parts.hostname, port, timeout=_SECONDS)
    try:
        connection.request("GET", parts.path or "/")
        answer = connection.getresponse()
        body = answer.read(_MOST_BYTES)
    except (OSError, HTTPException) as error:
        sys.stderr.write(f"health: no answer: {type(error).__name__}\n")
        return _UNHEALTHY
    finally:
        connection.close()
    if answer.status == 200:  # noqa: PLR2004 - RFC 9110 15.3.1
        return _HEALTHY
    sys.stderr.write(f"health: {answer.status} {body.decode('utf-8', 'replace')!a}\n")
    return _UNHEALTHY


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
