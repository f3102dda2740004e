"""Create the service of the settings, and run it: the command `serve`."""

import argparse
import sys
from datetime import timedelta
from functools import partial

from verifier import __version__
from verifier.adapters.clock import SystemClock
from verifier.adapters.http.options import WorkerApplication
from verifier.adapters.polling import start_polling
from verifier.adapters.settings.live_settings import LiveSettings
from verifier.adapters.settings.settings import Settings, SettingsError, load_settings, settings_file
from verifier.adapters.settings.text import settings_text
from verifier.adapters.stores.decision_writer import DecisionWriter, RequiredDecisions
from verifier.adapters.stores.instrumented_stores import instrument_stores
from verifier.adapters.telemetry.composite import CompositeRecorder
from verifier.adapters.telemetry.log import LogRecorder, configure_logging
from verifier.adapters.telemetry.metrics import Metrics, MetricsRecorder
from verifier.adapters.telemetry.shared_values import forget_worker, shared_values
from verifier.adapters.telemetry.trust_metrics import TrustCollector
from verifier.adapters.tokens.issuer import SignedResults
from verifier.adapters.tokens.pkcs11_sessions import Pkcs11Sessions
from verifier.adapters.tokens.pkcs11_signer import Pkcs11Signing
from verifier.adapters.trust.live_trust import LiveTrust
from verifier.adapters.trust.published import read_bundle
from verifier.api.admission import Admission
from verifier.api.app import answer_unhandled, create_app
from verifier.api.appraisals import Appraisals
from verifier.api.authentication import Administrators, Callers, Tenants
from verifier.api.decision_routes import create_decision_blueprint
from verifier.api.inspection_routes import create_inspection_blueprint
from verifier.api.pages import create_pages_blueprint
from verifier.api.routes import Service, create_metrics_blueprint
from verifier.api.source_addresses import SourceAddresses
from verifier.api.trust_routes import create_trust_blueprint
from verifier.cli.commands import ExitStatus
from verifier.core.discovery import DiscoveryMode
from verifier.ports.telemetry import Recorder, TokenAudienceShared, TrustOddityFound
from verifier.startup import (
    StartupState,
    create_fetcher,
    load_spans,
    pkcs11_options,
    server_options,
    serves_pages,
    start_up,
)
from verifier.usecases.appraise import Verifier
from verifier.usecases.chain_cache import ChainCache
from verifier.usecases.decisions import Decisions
from verifier.usecases.inspection import Inspector
from verifier.usecases.issuer_discovery import IssuerDiscovery
from verifier.usecases.readiness import Readiness
from verifier.usecases.trust_administration import TrustAdministration
from verifier.wiring.feeds import POLL_SECONDS, SettingsFeed, create_feed, open_client


def callers_of(settings: Settings, *, needs_tenants: bool = False) -> Callers:
    """Return the administrators, tenants and policies of the settings.

    Raises SettingsError, also if it `needs_tenants` and the settings have none: the service would be open.
    """
    if needs_tenants and not settings.tenants:
        raise SettingsError("tenants: without a tenant, the service would be open; add one, or restart the service")
    try:
        administrators = Administrators(key_hashes=settings.admin_keys)
    except ValueError as error:
        raise SettingsError(f"admin_keys: {error}") from error
    try:
        tenants = Tenants(key_hashes=settings.tenant_keys, agent_key_hashes=settings.agent_keys)
    except ValueError as error:
        raise SettingsError(f"tenants: {error}") from error
    return Callers(administrators=administrators, tenants=tenants, policies=settings.named_policies)


def create_signing(settings: Settings, prepared: StartupState, recorder: Recorder) -> Pkcs11Signing | None:
    """Return None if the settings name no PKCS#11 library. It is loaded when the first key in a token signs."""
    options = pkcs11_options(settings)
    return None if options is None else Pkcs11Signing(Pkcs11Sessions(options), prepared.make_signing_runner(), recorder)


def create_token_issuer(
    settings: Settings, prepared: StartupState, recorder: Recorder, signing: Pkcs11Signing | None
) -> SignedResults | None:
    """Create the token issuer. Return None if no keys are configured.

    Raises TokenKeyError if the keys cannot be read and those of the start cannot be used either.
    """
    if settings.token_keys_dir is None or settings.token_issuer is None:
        return None
    return SignedResults(
        settings.token_keys_dir,
        issuer=settings.token_issuer,
        audience=settings.token_audience,
        lifetime=timedelta(seconds=settings.token_lifetime_seconds),
        build=f"imds-verifier {__version__}",
        recorder=recorder,
        signing=signing,
        last_good=prepared.keys,
    )


def create_service(settings: Settings, counts: MetricsRecorder, prepared: StartupState) -> WorkerApplication:
    """Create the application of one worker, over the stores and the trust that the settings name."""
    clock = SystemClock()
    recorder = CompositeRecorder(
        (LogRecorder(settings.log_level), counts, *load_spans(settings.otlp_endpoint)(clock, __version__))
    )
    stores = instrument_stores(prepared.stores, recorder, prepared.make_runner)
    trust = LiveTrust(
        settings.trust_dir,
        stores.registry,
        admit=settings.discovery is DiscoveryMode.ADMIT,
        recorder=recorder,
        feed_clouds=settings.clouds_of_feed,
        last_good=prepared.trust,
    )
    live = LiveSettings(settings, load=load_settings, file=settings_file(), recorder=recorder)
    callers = live.view(partial(callers_of, needs_tenants=bool(settings.tenants)))
    live.refresh()
    signing = create_signing(settings, prepared, recorder)
    tokens = create_token_issuer(settings, prepared, recorder, signing)
    follow = partial(start_polling, recorder=recorder, interval_seconds=settings.trust_refresh_seconds)
    follow(trust.refresh, name="trust")
    follow(live.refresh, name="settings")
    if tokens is not None:
        follow(tokens.refresh, name="token keys")
    writer = None if stores.decisions is None else DecisionWriter(stores.decisions, recorder)
    if writer is not None:
        writer.start()
    required = None
    if stores.decisions is not None and settings.audit_required:
        required = RequiredDecisions(stores.decisions)
    appraisals = Appraisals(recorder=recorder, clock=clock, log=writer, required_log=required)
    administration = TrustAdministration(
        trust=trust, registry=stores.registry, recorder=recorder, clock=clock, served=settings.clouds
    )
    feed = create_feed(
        settings,
        administration,
        registry=stores.registry,
        recorder=recorder,
        clock=clock,
        client=SettingsFeed(settings, settings.trust_feed, run=prepared.make_file_runner())
        if settings.trust_feed
        else None,
    )
    if settings.trust_feed:
        start_polling(
            feed.poll,
            recorder=recorder,
            name="trust feed",
            interval_seconds=min(POLL_SECONDS, settings.trust_feed_seconds / 2),
            jitter=0.5,
        )
    chains = ChainCache()
    verifier = Verifier(
        trust=trust,
        nonces=stores.nonces,
        clock=clock,
        discovery=IssuerDiscovery(
            mode=settings.discovery,
            trust=trust,
            registry=stores.registry,
            fetcher=create_fetcher(settings.discovery),
            recorder=recorder,
        ),
        chains=chains,
        limits=settings.limits,
        nonce_form=settings.nonce_form,
        nonce_mode=settings.nonce_mode,
        policies=lambda: callers().policies,
        served=settings.clouds,
        tokens=tokens,
    )
    inspector = Inspector(trust=trust, clock=clock, limits=settings.limits, served=settings.clouds, chains=chains)
    metrics = Metrics(
        recorder=counts,
        trust=TrustCollector(
            trust=trust,
            registry=stores.registry,
            clock=clock,
            served=settings.clouds,
            read_feed=read_bundle if settings.trust_feed else None,
        ),
        chains=chains,
        version=__version__,
    )
    admission = Admission(
        callers=callers,
        limiter=stores.limiter,
        outstanding=stores.outstanding,
        nonce_lifetime=settings.limits.nonce_lifetime,
        addresses=SourceAddresses(trusted_proxies=settings.trusted_proxies, recorder=recorder),
    )
    decisions = None if stores.decisions is None else Decisions(store=stores.decisions)
    app = create_app(
        Service(
            verifier=verifier,
            readiness=Readiness(trust=trust, nonces=stores.nonces, clock=clock, tokens=tokens, served=settings.clouds),
            recorder=recorder,
            admission=admission,
            appraisals=appraisals,
            maximum_body_bytes=settings.maximum_body_bytes,
            version=__version__,
            tokens=tokens,
            blueprints=(
                create_decision_blueprint(decisions, admission, clock),
                create_inspection_blueprint(inspector, admission, maximum_body_bytes=settings.maximum_body_bytes),
                create_trust_blueprint(
                    administration, feed, callers, clock, maximum_body_bytes=settings.maximum_body_bytes
                ),
                *((create_pages_blueprint(__version__),) if serves_pages(settings) else ()),
                create_metrics_blueprint(metrics.render, own_listener=settings.metrics_port is not None),
            ),
        )
    )
    return WorkerApplication(
        app=app,
        unhandled=partial(answer_unhandled, recorder, appraisals),
        finish=partial(_finish, writer, signing),
    )


def _finish(writer: DecisionWriter | None, signing: Pkcs11Signing | None) -> None:
    if writer is not None:
        writer.close()
    if signing is not None:
        signing.close()


def run_service(arguments: argparse.Namespace) -> int:
    """Serve until a signal stops the service. Report invalid settings before the first worker starts."""
    # Only this command imports gevent.
    from verifier.adapters.http.jobs import NativeThreads  # noqa: PLC0415 - as above
    from verifier.adapters.http.server import serve  # noqa: PLC0415 - as above

    settings = load_settings()
    if arguments.print_settings:
        sys.stdout.write(f"{settings_text(settings)}\n")
        return ExitStatus.DONE
    prepared = start_up(settings, NativeThreads)
    callers_of(settings)
    if settings.trust_feed:
        open_client(settings, settings.trust_feed)
    # Imports that all workers share.
    load_spans(settings.otlp_endpoint)
    create_fetcher(settings.discovery)
    configure_logging(settings.log_level)
    log = LogRecorder(settings.log_level)
    if tenants := settings.tenants_sharing_an_audience:
        log.record(TokenAudienceShared(audience=str(settings.token_audience), tenants=tenants))
    for oddity in prepared.trust.oddities():
        log.record(TrustOddityFound(detail=oddity))
    with shared_values():
        # Before the workers start: they share counters in files that this process creates.
        counts = MetricsRecorder()
        serve(
            partial(create_service, settings, counts, prepared),
            server_options(settings),
            ready=_announce,
            worker_ended=forget_worker,
        )
    return ExitStatus.DONE


def _announce(url: str, metrics_url: str) -> None:
    sys.stdout.write(f"service: listening on {url}\n")
    if metrics_url:
        sys.stdout.write(f"service: metrics on {metrics_url}/metrics\n")
    sys.stdout.flush()


def configure_service(parser: argparse.ArgumentParser) -> None:
    parser.epilog = (
        "Settings are read from the environment (VERIFIER_*) and from the TOML file that VERIFIER_CONFIG names."
    )
    parser.add_argument(
        "--print-settings",
        action="store_true",
        help="print the settings as JSON with secrets masked, and exit",
    )
