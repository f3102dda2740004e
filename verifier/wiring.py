"""The composition root: the one module that knows all the others, and makes the service of them."""

import argparse
import sys
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from pathlib import Path

from flask import Flask

from verifier import __version__
from verifier.agent import command as agent_command
from verifier.api.admission import Admission
from verifier.api.app import Service, create_app, refuse_unserved
from verifier.api.appraisals import Appraisals
from verifier.api.authentication import Administrators, Tenants
from verifier.api.routes import create_metrics_blueprint
from verifier.api.trust_routes import create_trust_blueprint
from verifier.chains import ChainMemory
from verifier.cli.api_key import api_key_command
from verifier.cli.commands import Command, ExitStatus, run_command
from verifier.cli.demo import demo_command
from verifier.cli.keys import keys_command
from verifier.cli.trust import trust_command
from verifier.cli.verify import inspect_command, verify_command
from verifier.core.discovery import DiscoveryMode
from verifier.core.trust import TrustError
from verifier.discovery_service import IssuerDiscovery
from verifier.edge.aia import AiaFetcher
from verifier.edge.blocking import Runner, TrailInTurn, make_inline_runner
from verifier.edge.clock import SystemClock
from verifier.edge.live_settings import LiveSettings
from verifier.edge.live_trust import LiveTrust
from verifier.edge.metrics import Metrics, MetricsRecorder, forget_worker, shared_values
from verifier.edge.preparation import Prepared, connect_stores, prepare
from verifier.edge.recorders import FanOut, load_spans
from verifier.edge.settings import Settings, SettingsError, load_settings, settings_file
from verifier.edge.settings_text import settings_text
from verifier.edge.sqlite_files import BUSY_TIMEOUT
from verifier.edge.telemetry import LogRecorder, configure_logging
from verifier.edge.timed_stores import timed_stores
from verifier.edge.token_files import TokenKeyDirectory
from verifier.edge.token_keys import KeyRing
from verifier.edge.tokens import SignedResults
from verifier.edge.trust_files import TrustDirectory
from verifier.emulator import command as emulator_command
from verifier.ports import Recorder, Unavailable
from verifier.service import ArchiveVerifier, Readiness, Verifier
from verifier.token_ports import TokenKeyAdministration
from verifier.trust_service import TrustAdministration


def administrators_of(settings: Settings) -> Administrators:
    """Raises SettingsError."""
    try:
        return Administrators(key_hashes=settings.admin_keys)
    except ValueError as error:
        raise SettingsError(f"admin_keys: {error}") from error


def tenants_of(settings: Settings, *, are_needed: bool = False) -> Tenants:
    """Raises SettingsError; also where there is none and `are_needed`, since the service would be open."""
    if are_needed and not settings.tenants:
        raise SettingsError("tenants: the last one is gone, and without any the service would be open; restart it")
    try:
        return Tenants(key_hashes=settings.tenant_keys)
    except ValueError as error:
        raise SettingsError(f"tenants: {error}") from error


def follow_settings(settings: Settings, recorder: Recorder) -> LiveSettings:
    """The settings over the file that they came from, where there is one. Not checked: that it is still as it was;
    `refresh` finds out, once everything that is made of settings is a view of them."""
    return LiveSettings(settings, load=load_settings, file=settings_file(), recorder=recorder)


def create_token_issuer(settings: Settings, recorder: Recorder, last_good: KeyRing | None) -> SignedResults | None:
    """None where no keys are configured. Raises TokenKeyError where there is no `last_good` to go on with."""
    if settings.token_keys_dir is None or settings.token_issuer is None:
        return None
    tokens = SignedResults(
        settings.token_keys_dir,
        issuer=settings.token_issuer,
        audience=settings.token_audience,
        lifetime=timedelta(seconds=settings.token_lifetime_seconds),
        build=f"imds-verifier {__version__}",
        recorder=recorder,
        last_good=last_good,
    )
    tokens.start(interval_seconds=settings.trust_refresh_seconds)
    return tokens


def create_service(
    settings: Settings,
    counts: MetricsRecorder,
    prepared: Prepared,
    make_runner: Callable[[], Runner] = make_inline_runner,
) -> Flask:
    """Make the application over the stores and the trust that the settings name. Each worker has one.

    Calls that block their thread go through a runner, one for each file.
    """
    clock = SystemClock()
    recorder = FanOut((LogRecorder(), counts, *load_spans(settings.otlp_endpoint)(clock, __version__)))
    stores = timed_stores(prepared.stores, counts, make_runner)
    trail = prepared.trail
    if trail is not None and prepared.trail_blocks:
        trail = TrailInTurn(trail, make_runner())
    trust = LiveTrust(
        settings.trust_dir,
        stores.registry,
        admit=settings.discovery is DiscoveryMode.ADMIT,
        recorder=recorder,
        last_good=prepared.trust,
    )
    trust.start(interval_seconds=settings.trust_refresh_seconds)
    live = follow_settings(settings, recorder)
    administrators = live.view(administrators_of)
    tenants = live.view(partial(tenants_of, are_needed=bool(settings.tenants)))
    live.refresh()
    live.start(interval_seconds=settings.trust_refresh_seconds)
    tokens = create_token_issuer(settings, recorder, prepared.keys)
    chains = ChainMemory()
    verifier = Verifier(
        trust=trust,
        nonces=stores.nonces,
        clock=clock,
        discovery=IssuerDiscovery(
            mode=settings.discovery,
            trust=trust,
            registry=stores.registry,
            fetcher=AiaFetcher(),
            recorder=recorder,
        ),
        chains=chains,
        limits=settings.limits,
        nonce_form=settings.nonce_form,
        nonce_mode=settings.nonce_mode,
        policies=live.policies,
    )
    metrics = Metrics(
        recorder=counts,
        trust=trust,
        registry=stores.registry,
        clock=clock,
        chains=chains,
        version=__version__,
    )
    administration = TrustAdministration(trust=trust, registry=stores.registry, recorder=recorder, clock=clock)
    return create_app(
        Service(
            verifier=verifier,
            readiness=Readiness(trust=trust, nonces=stores.nonces, clock=clock, tokens=tokens),
            recorder=recorder,
            admission=Admission(tenants=tenants, administrators=administrators, limiter=stores.limiter),
            appraisals=Appraisals(recorder=recorder, clock=clock, trail=trail, trail_required=settings.audit_required),
            maximum_body_octets=settings.maximum_body_octets,
            version=__version__,
            tokens=tokens,
            blueprints=(
                create_trust_blueprint(
                    administration,
                    administrators,
                    clock,
                    tenants=tenants,
                    maximum_body_octets=settings.maximum_body_octets,
                ),
                create_metrics_blueprint(metrics.render, own_listener=settings.metrics_port is not None),
            ),
        )
    )


def create_administration() -> TrustAdministration:
    """Of the stores that the settings name, for the command line: without a service."""
    configure_logging()
    settings = load_settings()
    stores = connect_stores(settings)
    trust = LiveTrust(
        settings.trust_dir, stores.registry, admit=settings.discovery is DiscoveryMode.ADMIT, recorder=LogRecorder()
    )
    return TrustAdministration(trust=trust, registry=stores.registry, recorder=LogRecorder(), clock=SystemClock())


def create_archive_verifier(trust_dir: Path | None) -> ArchiveVerifier:
    settings = load_settings()
    return ArchiveVerifier(
        trust=TrustDirectory(trust_dir or settings.trust_dir),
        limits=settings.limits,
        policies=settings.named_policies,
    )


def create_key_administration(directory: Path | None) -> TokenKeyAdministration:
    """Of `directory`, or of the one that the settings name."""
    settings = load_settings()
    keys_dir = directory or settings.token_keys_dir
    if keys_dir is None:
        raise SettingsError("token_keys_dir: set it, or name a directory with --dir")
    return TokenKeyDirectory(
        keys_dir,
        clock=SystemClock(),
        token_lifetime=timedelta(seconds=settings.token_lifetime_seconds),
        refresh=timedelta(seconds=settings.trust_refresh_seconds),
    )


def run_service(arguments: argparse.Namespace) -> int:
    """Serve until told to stop. What cannot work is told before the first worker starts."""
    # The other commands do without gevent.
    from verifier.edge.http_jobs import NativeThread  # noqa: PLC0415 - as above
    from verifier.edge.http_server import ServerOptions, serve  # noqa: PLC0415 - as above

    settings = load_settings()
    if arguments.print_settings:
        sys.stdout.write(f"{settings_text(settings)}\n")
        return ExitStatus.DONE
    prepared = prepare(settings)
    administrators_of(settings)
    tenants_of(settings)
    load_spans(settings.otlp_endpoint)
    configure_logging()
    options = ServerOptions(
        host=settings.host,
        port=settings.port,
        workers=settings.workers,
        connections=settings.worker_connections,
        request_seconds=settings.request_seconds,
        keep_alive_seconds=settings.keep_alive_seconds,
        graceful_stop_seconds=settings.graceful_stop_seconds,
        metrics_host=settings.metrics_host,
        metrics_port=settings.metrics_port,
    )
    with shared_values():
        # Before the workers: they add up what they count in files that this process makes.
        counts = MetricsRecorder()
        serve(
            partial(create_service, settings, counts, prepared, partial(NativeThread, BUSY_TIMEOUT)),
            options,
            ready=_announce,
            refusal=partial(refuse_unserved, FanOut((LogRecorder(), counts))),
            worker_ended=forget_worker,
        )
    return ExitStatus.DONE


def _announce(url: str, metrics_url: str) -> None:
    sys.stdout.write(f"service: listening on {url}\n")
    if metrics_url:
        sys.stdout.write(f"service: metrics on {metrics_url}/metrics\n")
    sys.stdout.flush()


def _configure_service(parser: argparse.ArgumentParser) -> None:
    parser.epilog = "Settings are environment variables, VERIFIER_*, and the TOML file that VERIFIER_CONFIG names."
    parser.add_argument(
        "--print-settings",
        action="store_true",
        help="print the settings in force as JSON, with secrets masked, and serve nothing",
    )


COMMANDS = (
    Command(name="serve", summary="Run the service.", configure=_configure_service, run=run_service),
    verify_command(create_archive_verifier, SystemClock()),
    inspect_command(),
    api_key_command(),
    trust_command(create_administration, SystemClock(), AiaFetcher),
    keys_command(create_key_administration),
    Command(
        name="attest",
        summary="Attest this VM to a service: the agent.",
        configure=agent_command.configure,
        run=agent_command.run,
    ),
    Command(
        name="emulator",
        summary="Serve an instance metadata service for tests, for the machine of a file.",
        configure=emulator_command.configure,
        run=emulator_command.run,
    ),
    demo_command(),
)


def main() -> int:
    """Run the command that the arguments name."""
    try:
        return run_command(COMMANDS, sys.argv[1:])
    except (SettingsError, TrustError) as error:
        sys.stderr.write(f"imds-verifier: {error}\n")
        return ExitStatus.USAGE
    except Unavailable as error:
        sys.stderr.write(f"imds-verifier: {error.detail}\n")
        return ExitStatus.UNAVAILABLE
