"""What a start of the service makes sure of before there is a worker: that trust, keys and stores are there."""

from dataclasses import dataclass

from verifier.core.trust import TrustBundle
from verifier.edge.decision_trails import RedisTrail, open_trail
from verifier.edge.settings import Settings, SettingsError
from verifier.edge.stores import Stores, open_stores
from verifier.edge.token_keys import KeyRing, load_ring
from verifier.edge.trust_files import load_bundle
from verifier.ports import DecisionTrail
from verifier.token_ports import TokenKeyError


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """What was there at the start. A worker that starts later does so too where it has been broken or away since, and
    makes no store anew. Nothing here holds a connection."""

    trust: TrustBundle
    keys: KeyRing | None
    stores: Stores
    trail: DecisionTrail | None

    @property
    def trail_blocks(self) -> bool:
        """Whether the trail is in a file, so that an append blocks its thread."""
        return not isinstance(self.trail, RedisTrail)


def prepare(settings: Settings) -> Prepared:
    """Raises TrustError, SettingsError and StoreUnavailable."""
    trust, keys, stores = load_bundle(settings.trust_dir), _load_token_keys(settings), connect_stores(settings)
    return Prepared(trust=trust, keys=keys, stores=stores, trail=_open_audit(settings, stores))


def connect_stores(settings: Settings) -> Stores:
    """Raises SettingsError and StoreUnavailable."""
    try:
        return open_stores(
            settings.nonce_store.get_secret_value(),
            connections=settings.redis_connections,
            options=settings.redis_options,
        )
    except ValueError as error:
        raise SettingsError(f"nonce_store: {error}") from error


def _load_token_keys(settings: Settings) -> KeyRing | None:
    """None where none are configured. Raises SettingsError."""
    if settings.token_keys_dir is None:
        return None
    try:
        return load_ring(settings.token_keys_dir)
    except TokenKeyError as error:
        raise SettingsError(f"token_keys_dir: {error}") from error


def _open_audit(settings: Settings, stores: Stores) -> DecisionTrail | None:
    """On Redis, by the link of the other stores. Raises SettingsError and StoreUnavailable."""
    try:
        return open_trail(
            settings.audit,
            store_url=settings.nonce_store.get_secret_value(),
            link=stores.link,
            maximum_octets=settings.audit_maximum_octets,
            maximum_entries=settings.audit_maximum_entries,
        )
    except ValueError as error:
        raise SettingsError(f"audit: {error}") from error
