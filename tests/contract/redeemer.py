"""One process that redeems one nonce, for the tests that need several. It says that it is ready, waits for a line,
redeems, says the outcome and dies without any clearing up.

    python redeemer.py sqlite PATH | redis URL  TENANT NONCE NOW [CA-FILE CERTIFICATE-FILE KEY-FILE]
"""

import os
import sys
from datetime import datetime
from pathlib import Path

from verifier.edge.redis_store import RedisNonceStore
from verifier.edge.redis_urls import RedisOptions
from verifier.edge.sqlite_store import SqliteNonceStore
from verifier.ports import NonceKey


def main(kind: str, place: str, tenant: str, nonce: str, now: str, *tls: str) -> None:
    store = (
        SqliteNonceStore(Path(place)) if kind == "sqlite" else RedisNonceStore.from_url(place, options=options(*tls))
    )
    store.ping()
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    sys.stdin.readline()
    outcome = store.redeem(NonceKey(tenant=tenant, nonce=nonce), now=datetime.fromisoformat(now))
    sys.stdout.write(type(outcome).__name__ + "\n")
    sys.stdout.flush()
    os._exit(0)


def options(*tls: str) -> RedisOptions:
    if not tls:
        return RedisOptions()
    ca_file, certificate_file, key_file = map(Path, tls)
    return RedisOptions(ca_file=ca_file, certificate_file=certificate_file, key_file=key_file)


if __name__ == "__main__":
    main(*sys.argv[1:])
