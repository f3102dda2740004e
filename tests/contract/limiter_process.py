"""One process that sends hits until none is admitted, for the tests that need several. It says that it is ready, waits
for a line, and prints how many were admitted.

    python limiter_process.py sqlite PATH | redis URL  TENANT RATE HITS
"""

import sys
from pathlib import Path

from verifier.core.tenancy import LimitedPath, Rate
from verifier.edge.rate_limits import SlidingRateLimiter
from verifier.edge.redis_client import RedisLink


def main(kind: str, place: str, tenant: str, rate: str, hits: str) -> None:
    limiter = (
        SlidingRateLimiter.on_sqlite(Path(place))
        if kind == "sqlite"
        else SlidingRateLimiter.on_redis(RedisLink.open(place))
    )
    limit = Rate.parse(rate)
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    sys.stdin.readline()
    admitted = sum(limiter.hit(tenant, LimitedPath.NONCES, limit).admitted for _ in range(int(hits)))
    limiter.close()
    sys.stdout.write(f"{admitted}\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
