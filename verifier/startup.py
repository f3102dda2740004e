"""What a start of the service makes sure of before there is a worker: that trust, keys and stores are there."""

from dataclasses import dataclass

from verifier.adapters.settings.settings import Settings, SettingsError
from verifier.adapters.stores.appraisal_logs import open_appraisal_log
from verifier.adapters.stores.factory import Stores, open_stores
from verifier.adapters.tokens.keys import KeyRing, load_ring
from verifier.adapters.trust.files import load_bundle
from verifier.core.trust.bundle import TrustBundle
from verifier.ports.telemetry import AppraisalLog
from verifier.ports.tokens import TokenKeyError


@dataclass(frozen=True, slots=True, kw_only=True)
class StartupState:
    """What was there at the start. A worker that starts later does so too where it has been broken or away since, and
    makes no store anew. Nothing here holds a connection."""

    trust: TrustBundle
    keys: KeyRing | None
    stores: Stores
    trail: AppraisalLog | None


def start_up(settings: Settings) -> StartupState:
    """Raises TrustError, SettingsError and StoreUnavailable."""
    trust, keys, stores = load_bundle(settings.trust_dir), _load_token_keys(settings), connect_stores(settings)
    return StartupState(trust=trust, keys=keys, stores=stores, trail=_open_audit(settings, stores))


def connect_stores(settings: Settings) -> Stores:
    """Raises SettingsError and StoreUnavailable."""
    try:
        return open_stores(
            settings.nonce_store.get_secret_value(),
            threads=settings.threads,
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


def _open_audit(settings: Settings, stores: Stores) -> AppraisalLog | None:
    """On Redis, by the link of the other stores. Raises SettingsError and StoreUnavailable."""
    try:
        return open_appraisal_log(
            settings.audit,
            store_url=settings.nonce_store.get_secret_value(),
            link=stores.link,
            maximum_bytes=settings.audit_maximum_bytes,
            maximum_entries=settings.audit_maximum_entries,
        )
    except ValueError as error:
        raise SettingsError(f"audit: {error}") from error
