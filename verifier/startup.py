"""Check trust, keys and stores before the first worker starts, and make adapters of settings."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from functools import partial

from verifier.adapters.http.options import ServerOptions
from verifier.adapters.redis.link import RedisLink
from verifier.adapters.redis.urls import Login, RedisOptions
from verifier.adapters.settings.settings import Settings, SettingsError
from verifier.adapters.settings.values import is_loopback
from verifier.adapters.sqlite.files import BUSY_TIMEOUT
from verifier.adapters.stores.blocking import Runner, run_inline
from verifier.adapters.stores.decision_stores import open_decision_link, open_decision_store
from verifier.adapters.stores.factory import Stores, open_stores
from verifier.adapters.tokens.keys import KeyRing, load_ring
from verifier.adapters.tokens.pkcs11_sessions import Pkcs11Options
from verifier.adapters.tokens.pkcs11_signer import SIGNATURE_TIMEOUT, TURN_TIMEOUT
from verifier.adapters.tokens.signers import Pkcs11Key
from verifier.adapters.trust.files import load_bundle
from verifier.core.discovery import DiscoveryMode
from verifier.core.trust.bundle import TrustBundle
from verifier.core.values import dataclass
from verifier.ports.clock import Clock
from verifier.ports.decisions import DecisionStore
from verifier.ports.telemetry import Recorder
from verifier.ports.tokens import TokenKeyError
from verifier.ports.trust import IssuerFetcher

#: How long a look at a feed waits for one file of a directory.
FILE_TIMEOUT = timedelta(seconds=10)


@dataclass(frozen=True, slots=True, kw_only=True)
class StartupState:
    """What was loaded at the start. It holds no connection.

    A worker that starts later can start with it, even if trust or a store has become unavailable since.
    """

    trust: TrustBundle
    keys: KeyRing | None
    stores: Stores
    make_runner: Callable[[], Runner]
    #: Makes a runner that also limits how long a caller waits for a file system.
    make_file_runner: Callable[[], Runner]
    #: Makes a runner with a thread for each session with an HSM.
    make_signing_runner: Callable[[], Runner]


def start_up(
    settings: Settings, runner: Callable[[timedelta, timedelta | None, int], Runner] = lambda *_: run_inline
) -> StartupState:
    """Load and check everything that the service needs. Raises TrustError, SettingsError and StoreUnavailable.

    `runner` creates a runner of blocking calls, from the time that they wait for their turn, the time that they may
    take, and the number of threads. Those of a store wait no longer for their turn than for the database.
    """
    trust, keys, stores = load_bundle(settings.trust_dir), _load_token_keys(settings), connect_stores(settings)
    return StartupState(
        trust=trust,
        keys=keys,
        stores=connect_decisions(settings, stores),
        make_runner=partial(runner, BUSY_TIMEOUT, None, 1),
        make_file_runner=partial(runner, FILE_TIMEOUT, FILE_TIMEOUT, 1),
        make_signing_runner=partial(runner, TURN_TIMEOUT, SIGNATURE_TIMEOUT, settings.pkcs11_sessions),
    )


def server_options(settings: Settings) -> ServerOptions:
    """Return what the settings say of the HTTP server."""
    return ServerOptions(
        host=settings.host,
        port=settings.port,
        workers=settings.workers,
        connections=settings.worker_connections,
        # Decisions may be in a Redis of their own.
        store_connections=2 * settings.redis_connections,
        request_seconds=settings.request_seconds,
        keep_alive_seconds=settings.keep_alive_seconds,
        graceful_stop_seconds=settings.graceful_stop_seconds,
        metrics_host=settings.metrics_host,
        metrics_port=settings.metrics_port,
    )


def serves_pages(settings: Settings) -> bool:
    """Return whether the service serves its pages. By default it does so on loopback only."""
    return is_loopback(settings.host) if settings.pages is None else settings.pages


def redis_options(settings: Settings, url: str) -> RedisOptions:
    """Return what the settings say of connections to the Redis that `url` names.

    The password is only for the Redis of the nonces. Another server must not learn it.
    """
    password = settings.redis_password if url == settings.nonce_store.get_secret_value() else None
    sentinel_password = settings.redis_sentinel_password
    return RedisOptions(
        password=password.get_secret_value() if password else "",
        ca_file=settings.redis_ca_file,
        certificate_file=settings.redis_certificate_file,
        key_file=settings.redis_key_file,
        sentinel=Login(
            username=settings.redis_sentinel_username or "",
            password=sentinel_password.get_secret_value() if sentinel_password else "",
        ),
        wait_replicas=settings.nonce_wait_replicas,
        wait_timeout=timedelta(seconds=settings.nonce_wait_seconds),
    )


def pkcs11_options(settings: Settings) -> Pkcs11Options | None:
    """Return what the settings say of PKCS#11, or None if they name no library."""
    if settings.pkcs11_module is None:
        return None
    pin = settings.pkcs11_pin
    return Pkcs11Options(
        module=settings.pkcs11_module,
        pin=pin.get_secret_value() if pin else None,
        sessions=settings.pkcs11_sessions,
    )


def load_spans(endpoint: str | None) -> Callable[[Clock, str], tuple[Recorder, ...]]:
    """Return a function that opens the span recorder in a worker. It opens none if there is no endpoint.

    OpenTelemetry is imported only if an endpoint is set. Raises SettingsError if it is not installed.
    """
    if endpoint is None:
        return lambda _, __: ()
    try:
        from verifier.adapters.telemetry.spans import SpanRecorder  # noqa: PLC0415 - an optional extra
    except ModuleNotFoundError as error:
        raise SettingsError("otlp_endpoint: spans need an optional extra, install imds-verifier[otel]") from error
    return lambda clock, version: (SpanRecorder.exporting(endpoint, clock=clock, version=version),)


def create_fetcher(mode: DiscoveryMode) -> IssuerFetcher | None:
    """Return the fetcher of issuers. Return None if the mode fetches none: it imports an HTTP client."""
    if not mode.fetches:
        return None
    from verifier.adapters.aia.fetcher import AiaFetcher  # noqa: PLC0415 - for modes that fetch

    return AiaFetcher()


def connect_stores(settings: Settings) -> Stores:
    """Open the stores that the settings name. Raises SettingsError and StoreUnavailable."""
    url = settings.nonce_store.get_secret_value()
    try:
        return open_stores(url, connections=settings.redis_connections, options=redis_options(settings, url))
    except ValueError as error:
        raise SettingsError(f"nonce_store: {error}") from error


def connect_decisions(settings: Settings, stores: Stores) -> Stores:
    """Add the decision store that the settings name to the stores.

    Raises SettingsError, and StoreUnavailable if decisions are required.
    """
    store, link = open_decisions(settings, shared=stores.link, required=settings.audit_required)
    return replace(stores, decisions=store, decision_link=link)


def open_decisions(
    settings: Settings, *, shared: RedisLink | None = None, required: bool, create: bool = True
) -> tuple[DecisionStore | None, RedisLink | None]:
    """Return the decision store that the settings name, or None, and its link if it is on a Redis.

    `shared` is the link of the nonces. Raises SettingsError, MissingStoreError if a file does not exist and may not be
    created, and StoreUnavailable if decisions are required.
    """
    url, nonce_url = settings.decision_url, settings.nonce_store.get_secret_value()
    if url is None:
        return None, None
    # Decisions need not wait for replicas: a lost one changes no verdict.
    options = replace(redis_options(settings, url), wait_replicas=0)
    try:
        link = open_decision_link(
            url, shared, nonce_url=nonce_url, connections=settings.redis_connections, options=options
        )
        store = open_decision_store(
            url,
            nonce_url=nonce_url,
            link=link,
            bytes_per_tenant=settings.decision_bytes,
            required=required,
            create=create,
        )
    except ValueError as error:
        raise SettingsError(f"decision_store: {error}") from error
    return store, link


def _load_token_keys(settings: Settings) -> KeyRing | None:
    """Return None if no token keys are configured. Raises SettingsError. Not checked: that a token can sign."""
    if settings.token_keys_dir is None:
        return None
    try:
        ring = load_ring(settings.token_keys_dir)
    except TokenKeyError as error:
        raise SettingsError(f"token_keys_dir: {error}") from error
    module = settings.pkcs11_module
    if isinstance(ring.signing.private_key, Pkcs11Key) and module is None:
        raise SettingsError(f"pkcs11_module: set it, because {ring.signing.file_name} is the signing key")
    if module is not None and not module.is_file():
        raise SettingsError(f"pkcs11_module: there is no file {module}")
    return ring
