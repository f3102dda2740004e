"""Redeem one nonce, or show one document, in a process that may be one of several (`support.forking`)."""

from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

from verifier.adapters.redis.nonce_store import RedisNonceStore
from verifier.adapters.redis.urls import RedisOptions
from verifier.adapters.sqlite.nonce_store import SqliteNonceStore
from verifier.ports.stores import DocumentKey, NonceKey

KEEP = timedelta(hours=6)


def redeem(
    meet: Callable[[], None], kind: str, place: str, what: str, tenant: str, text: str, now: str, *tls: str
) -> str:
    """Return the outcome for `what` ("nonce" or "document") in the store of `kind` ("sqlite" or "redis") at `place`."""
    store = (
        SqliteNonceStore(Path(place)) if kind == "sqlite" else RedisNonceStore.from_url(place, options=options(*tls))
    )
    store.ping()
    meet()
    moment = datetime.fromisoformat(now)
    if what == "nonce":
        return type(store.redeem(NonceKey(tenant=tenant, nonce=text), keep=KEEP, now=moment)).__name__
    return str(store.remember(DocumentKey(tenant=tenant, digest=text), keep=KEEP, now=moment))


def options(*tls: str) -> RedisOptions:
    if not tls:
        return RedisOptions()
    ca_file, certificate_file, key_file = map(Path, tls)
    return RedisOptions(ca_file=ca_file, certificate_file=certificate_file, key_file=key_file)
