"""Open the decision store that the settings name."""

from collections.abc import Callable
from typing import cast

from verifier.adapters.redis.decision_store import RedisDecisionStore
from verifier.adapters.redis.link import RedisLink
from verifier.adapters.redis.urls import RedisOptions
from verifier.adapters.sqlite.decision_store import SqliteDecisionStore
from verifier.adapters.stores.factory import MissingStoreError, file_beside, sqlite_path
from verifier.ports.decisions import DECISION_STORE_SETTING, DecisionStore
from verifier.ports.stores import StoreUnavailable


def open_decision_link(
    url: str, nonces: RedisLink | None, *, nonce_url: str, connections: int, options: RedisOptions | None = None
) -> RedisLink | None:
    """Return the link to the Redis that `url` names, which is that of the nonces if both URLs are the same.

    Returns None for a SQLite file. Raises ValueError without repeating an invalid URL.
    """
    if sqlite_path(url) is not None:
        return None
    if url == nonce_url and nonces is not None:
        return nonces
    return RedisLink.open(url, options=options, connections=connections, setting=DECISION_STORE_SETTING)


def open_decision_store(
    url: str, *, nonce_url: str, link: RedisLink | None, bytes_per_tenant: int, required: bool, create: bool = True
) -> DecisionStore:
    """Open the decision store that `url` names, which is on `link` unless the URL names a file.

    If the URL is that of the nonces, the file is beside theirs. If the store is not required and cannot be opened, its
    first calls try to open it again: decisions must not stop the service.
    Raises ValueError, StoreUnavailable if the store is required, and MissingStoreError if the file does not exist and
    may not be created.
    """
    if link is not None:
        return RedisDecisionStore(link, bytes_per_tenant=bytes_per_tenant)
    path = sqlite_path(url)
    if path is None:
        raise ValueError("a link is needed for a Redis")
    file = file_beside(path, "decisions") if url == nonce_url else path

    if not (create or file.exists()):
        raise MissingStoreError(f"there is no file {file}")

    def open_file() -> DecisionStore:
        return SqliteDecisionStore(file, bytes_per_tenant=bytes_per_tenant)

    try:
        return open_file()
    except StoreUnavailable:
        if required:
            raise
        return cast("DecisionStore", _Deferred(open_file))


class _Deferred:
    """Open the store at the first call that can open it. This class implements every port that the store implements."""

    def __init__(self, open_store: Callable[[], object]) -> None:
        self._open_store = open_store
        self._store: object = None

    def __getattr__(self, operation: str) -> Callable[..., object]:
        def call(*args: object, **kwargs: object) -> object:
            if self._store is None:
                self._store = self._open_store()
            method: Callable[..., object] = getattr(self._store, operation)
            return method(*args, **kwargs)

        return call
