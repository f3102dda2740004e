"""Check the health of a service from its container: `python -m verifier.cli.health [URL]`.

The module imports only the standard library and reads no settings, because it runs every few seconds.
"""

import os
import re
import sys
from collections.abc import Sequence
from http.client import HTTPConnection, HTTPException
from typing import Final

_HEALTHY: Final = 0
_UNHEALTHY: Final = 1
_USAGE: Final = 2
_SECONDS: Final = 5
_MOST_BYTES: Final = 64 * 1024
_HIGHEST_PORT: Final = 65535
# Not `urlsplit`: its releases of one Python differ in the brackets of IPv6.
_URL: Final = re.compile(
    r"http://(?:\[(?P<address>[0-9a-f:.]+)\]|(?P<name>[^\s@/?#:\[\]]+))(?::(?P<port>[0-9]{1,5}))?(?P<path>/[^\s?#]*)?",
    re.IGNORECASE | re.ASCII,
)


def main(arguments: Sequence[str]) -> int:
    """Return 0 if the service answers with 200, 1 with the reason on stderr if not, and 2 if the URL is invalid.

    The default URL is /healthz of the service in the same container, on the port of the metrics if they have one: that
    listener answers also while callers use up the other. Proxies and redirects are not used.
    Not checked: the body of the answer.
    """
    # The listener of the metrics, if there is one.
    listener = "METRICS_" if os.environ.get("VERIFIER_METRICS_PORT") else ""
    own = f"http://{_own_host(listener)}:{os.environ.get(f'VERIFIER_{listener}PORT') or '8080'}/healthz"
    url = arguments[0] if arguments else own
    match = _URL.fullmatch(url)
    if len(arguments) > 1 or match is None or int(match["port"] or 0) > _HIGHEST_PORT:
        sys.stderr.write("usage: python -m verifier.cli.health [http://HOST[:PORT]/PATH]\n")
        return _USAGE
    port = int(match["port"]) if match["port"] else None
    connection = HTTPConnection(match["address"] or match["name"], port, timeout=_SECONDS)
    try:
        connection.request("GET", match["path"] or "/")
        with connection.getresponse() as answer:
            body = answer.read1(_MOST_BYTES)  # `read` takes all that follows a chunk of a negative size
    except (OSError, HTTPException) as error:
        sys.stderr.write(f"health: no answer: {type(error).__name__}\n")
        return _UNHEALTHY
    finally:
        connection.close()
    if answer.status == 200:  # noqa: PLR2004 - RFC 9110 15.3.1
        return _HEALTHY
    sys.stderr.write(f"health: {answer.status} {body.decode('utf-8', 'replace')!a}\n")
    return _UNHEALTHY


def _own_host(listener: str) -> str:
    """Return the loopback address of the family on which the listener is."""
    return "[::1]" if os.environ.get(f"VERIFIER_{listener}HOST", "").strip("[]") in {"::", "::1"} else "127.0.0.1"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
