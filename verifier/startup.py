"""Check trust, keys and stores before the first worker starts, and make adapters of settings."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from functools import partial

from verifier.adapters.http.options import ServerOptions
from verifier.adapters.redis.appraisal_log import RedisAppraisalLog
from verifier.adapters.redis.urls import Login, RedisOptions
from verifier.adapters.settings.settings import Settings, SettingsError
from verifier.adapters.sqlite.files import BUSY_TIMEOUT
from verifier.adapters.stores.appraisal_logs import open_appraisal_log
from verifier.adapters.stores.blocking import Runner, SerialAppraisalLog, run_inline
from verifier.adapters.stores.factory import Stores, open_stores
from verifier.adapters.tokens.keys import KeyRing, load_ring
from verifier.adapters.trust.files import load_bundle
from verifier.core.trust.bundle import TrustBundle
from verifier.ports.clock import Clock
from verifier.ports.decisions import DecisionLog
from verifier.ports.telemetry import Recorder
from verifier.ports.tokens import TokenKeyError


@dataclass(frozen=True, slots=True, kw_only=True)
class StartupState:
    """What was loaded at the start. It holds no connection.

    A worker that starts later can start with it, even if trust or a store has become unavailable since.
    """

    trust: TrustBundle
    keys: KeyRing | None
    stores: Stores
    log: DecisionLog | None
    make_runner: Callable[[], Runner]

    def appraisal_log(self) -> DecisionLog | None:
        """Return the log of one worker. An append to a file blocks, so it goes through a runner."""
        if self.log is None or isinstance(self.log, RedisAppraisalLog):
            return self.log
        return SerialAppraisalLog(self.log, self.make_runner())


def start_up(settings: Settings, runner: Callable[[timedelta], Runner] = lambda _: run_inline) -> StartupState:
    """Load and check everything that the service needs. Raises TrustError, SettingsError and StoreUnavailable.

    `runner` creates a runner of blocking calls, which wait no longer for their turn than for the database.
    """
    trust, keys, stores = load_bundle(settings.trust_dir), _load_token_keys(settings), connect_stores(settings)
    return StartupState(
        trust=trust,
        keys=keys,
        stores=stores,
        log=_open_audit(settings, stores),
        make_runner=partial(runner, BUSY_TIMEOUT),
    )


def server_options(settings: Settings) -> ServerOptions:
    """Return what the settings say of the HTTP server."""
    return ServerOptions(
        host=settings.host,
        port=settings.port,
        workers=settings.workers,
        connections=settings.worker_connections,
        store_connections=settings.redis_connections,
        request_seconds=settings.request_seconds,
        keep_alive_seconds=settings.keep_alive_seconds,
        graceful_stop_seconds=settings.graceful_stop_seconds,
        metrics_host=settings.metrics_host,
        metrics_port=settings.metrics_port,
    )


def redis_options(settings: Settings) -> RedisOptions:
    """Return what the settings say of connections to Redis besides the URL."""
    password = settings.redis_sentinel_password
    return RedisOptions(
        ca_file=settings.redis_ca_file,
        certificate_file=settings.redis_certificate_file,
        key_file=settings.redis_key_file,
        sentinel=Login(
            username=settings.redis_sentinel_username or "",
            password=password.get_secret_value() if password else "",
        ),
        wait_replicas=settings.nonce_wait_replicas,
        wait_timeout=timedelta(seconds=settings.nonce_wait_seconds),
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


def connect_stores(settings: Settings) -> Stores:
    """Open the stores that the settings name. Raises SettingsError and StoreUnavailable."""
    try:
        return open_stores(
            settings.nonce_store.get_secret_value(),
            connections=settings.redis_connections,
            options=redis_options(settings),
        )
    except ValueError as error:
        raise SettingsError(f"nonce_store: {error}") from error


def _load_token_keys(settings: Settings) -> KeyRing | None:
    """Return None if no token keys are configured. Raises SettingsError."""
    if settings.token_keys_dir is None:
        return None
    try:
        return load_ring(settings.token_keys_dir)
    except TokenKeyError as error:
        raise SettingsError(f"token_keys_dir: {error}") from error


def _open_audit(settings: Settings, stores: Stores) -> DecisionLog | None:
    """Open the appraisal log; on Redis it shares the stores' link. Raises SettingsError and StoreUnavailable."""
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
