"""One process that redeems one nonce, or shows one document, for the tests that need several. It says that it is
ready, waits for a line, acts, says the outcome and dies without any clearing up.

    python redeemer.py sqlite PATH | redis URL  nonce | document  TENANT TEXT NOW [CA-FILE CERTIFICATE-FILE KEY-FILE]
"""

import os
import sys
from datetime import datetime, timedelta
from pathlib import Path

from verifier.adapters.redis.nonce_store import RedisNonceStore
from verifier.adapters.redis.urls import RedisOptions
from verifier.adapters.sqlite.nonce_store import SqliteNonceStore
from verifier.ports.stores import DocumentKey, NonceKey


def main(kind: str, place: str, what: str, tenant: str, text: str, now: str, *tls: str) -> None:
    store = (
        SqliteNonceStore(Path(place)) if kind == "sqlite" else RedisNonceStore.from_url(place, options=options(*tls))
    )
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


def options(*tls: str) -> RedisOptions:
    if not tls:
        return RedisOptions()
    ca_file, certificate_file, key_file = map(Path, tls)
    return RedisOptions(ca_file=ca_file, certificate_file=certificate_file, key_file=key_file)


if __name__ == "__main__":
    main(*sys.argv[1:])
