"""One process that redeems one nonce, or shows one document, for the tests that need several. It says that it is
ready, waits for a line, acts, says the outcome and dies without any clearing up.

    python redeemer.py sqlite PATH | redis URL  nonce | document  TENANT TEXT NOW
"""

import os
import sys
from datetime import datetime, timedelta
from pathlib import Path

from verifier.edge.redis_store import RedisNonceStore
from verifier.edge.sqlite_store import SqliteNonceStore
from verifier.ports import DocumentKey, NonceKey


def main(kind: str, place: str, what: str, tenant: str, text: str, now: str) -> None:
    store = SqliteNonceStore(Path(place)) if kind == "sqlite" else RedisNonceStore.from_url(place)
    store.ping()
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    sys.stdin.readline()
    moment = datetime.fromisoformat(now)
    if what == "nonce":
        outcome = type(store.redeem(NonceKey(tenant=tenant, nonce=text), now=moment)).__name__
    else:
        outcome = str(store.remember(DocumentKey(tenant=tenant, digest=text), keep=timedelta(hours=6), now=moment))
    sys.stdout.write(f"{outcome}\n")
    sys.stdout.flush()
    os._exit(0)


if __name__ == "__main__":
    main(*sys.argv[1:])
