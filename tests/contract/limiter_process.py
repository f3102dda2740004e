"""Send hits from one process, for the tests that need several.

It prints `ready`, waits for a line, sends the hits, and prints how many were admitted.

    python limiter_process.py sqlite PATH | redis URL  KEY RATE HITS
"""

import sys
from pathlib import Path

from verifier.adapters.redis.link import RedisLink
from verifier.adapters.redis.rate_windows import RedisRateLimiter
from verifier.adapters.sqlite.rate_windows import SqliteRateLimiter
from verifier.core.tenancy import Rate


def main(kind: str, place: str, key: str, rate: str, hits: str) -> None:
    limiter = SqliteRateLimiter(Path(place)) if kind == "sqlite" else RedisRateLimiter(RedisLink.open(place))
    limit = Rate.parse(rate)
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    sys.stdin.readline()
    admitted = sum(limiter.hit(key, limit).admitted for _ in range(int(hits)))
    limiter.close()
    sys.stdout.write(f"{admitted}\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
