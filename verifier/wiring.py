"""The composition root: the one module that knows all the others, and makes the service of them."""

import argparse
import sys
from functools import partial
from pathlib import Path

from flask import Flask

from verifier import __version__
from verifier.agent import command as agent_command
from verifier.api.app import Service, answer_unserved, create_app
from verifier.api.authentication import Administrators
from verifier.api.routes import create_metrics_blueprint
from verifier.api.trust_routes import create_trust_blueprint
from verifier.chains import ChainMemory
from verifier.cli.commands import Command, ExitStatus, run_command
from verifier.cli.demo import demo_command
from verifier.cli.trust import trust_command
from verifier.cli.verify import inspect_command, verify_command
from verifier.core.discovery import DiscoveryMode
from verifier.core.trust import TrustBundle, TrustError
from verifier.discovery_service import IssuerDiscovery
from verifier.edge.aia import AiaFetcher
from verifier.edge.clock import SystemClock
from verifier.edge.http_server import ServerOptions, serve
from verifier.edge.live_trust import LiveTrust
from verifier.edge.metrics import FanOut, Metrics, MetricsRecorder, forget_worker, shared_values
from verifier.edge.settings import Settings, SettingsError, load_settings
from verifier.edge.stores import Stores, open_stores
from verifier.edge.telemetry import LogRecorder, configure_logging
from verifier.edge.trust_files import TrustDirectory, load_bundle
from verifier.emulator import command as emulator_command
from verifier.ports import Unavailable
from verifier.service import ArchiveVerifier, Readiness, Verifier
from verifier.trust_service import TrustAdministration


def connect_stores(settings: Settings) -> Stores:
    """Raises SettingsError and StoreUnavailable."""
    try:
        return open_stores(settings.nonce_store.get_secret_value(), threads=settings.threads)
    except ValueError as error:
        raise SettingsError(f"nonce_store: {error}") from error


def administrators_of(settings: Settings) -> Administrators:
    """Raises SettingsError."""
    try:
        return Administrators(key_hashes=settings.admin_keys)
    except ValueError as error:
        raise SettingsError(f"admin_keys: {error}") from error


def create_service(settings: Settings, counts: MetricsRecorder, last_good: TrustBundle) -> Flask:
    """The application over the stores and the trust that the settings name. One for each worker.

    `last_good` is the trust of the files as the service started with it: a worker that starts later does so too
    where they have been broken since.
    """
    clock = SystemClock()
    recorder = FanOut((LogRecorder(), counts))
    stores = connect_stores(settings)
    trust = LiveTrust(
        settings.trust_dir,
        stores.registry,
        admit=settings.discovery is DiscoveryMode.ADMIT,
        recorder=recorder,
        last_good=last_good,
    )
    trust.start(interval_seconds=settings.trust_refresh_seconds)
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
        policies=settings.named_policies,
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
            readiness=Readiness(trust=trust, nonces=stores.nonces, clock=clock),
            recorder=recorder,
            maximum_body_octets=settings.maximum_body_octets,
            blueprints=(
                create_trust_blueprint(
                    administration, administrators_of(settings), clock, maximum_body_octets=settings.maximum_body_octets
                ),
                create_metrics_blueprint(metrics.render),
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


def run_service(_: argparse.Namespace) -> int:
    """Serves until told to stop. What cannot work is told before the first worker starts."""
    settings = load_settings()
    trust = load_bundle(settings.trust_dir)
    connect_stores(settings)
    administrators_of(settings)
    configure_logging()
    options = ServerOptions(
        host=settings.host,
        port=settings.port,
        workers=settings.workers,
        threads=settings.threads,
        request_seconds=settings.request_seconds,
        graceful_stop_seconds=settings.graceful_stop_seconds,
    )
    with shared_values():
        # Before the workers: they add up what they count in files that this process makes.
        counts = MetricsRecorder()
        serve(
            partial(create_service, settings, counts, trust),
            options,
            ready=_announce,
            unserved=partial(answer_unserved, FanOut((LogRecorder(), counts))),
            worker_ended=forget_worker,
        )
    return ExitStatus.DONE


def _announce(url: str) -> None:
    sys.stdout.write(f"service: listening on {url}\n")
    sys.stdout.flush()


def _configure_service(parser: argparse.ArgumentParser) -> None:
    parser.epilog = "Settings are environment variables, VERIFIER_*, and the TOML file that VERIFIER_CONFIG names."


COMMANDS = (
    Command(name="serve", summary="Run the service.", configure=_configure_service, run=run_service),
    verify_command(create_archive_verifier, SystemClock()),
    inspect_command(),
    trust_command(create_administration, SystemClock(), AiaFetcher),
    Command(
        name="attest",
        summary="Attest this VM to a service: the agent.",
        configure=agent_command.configure,
        run=agent_command.run,
    ),
    Command(
        name="emulator",
        summary="Serve an instance metadata service for tests.",
        configure=emulator_command.configure,
        run=emulator_command.run,
    ),
    demo_command(),
)


def main() -> int:
    """The console script."""
    try:
        return run_command(COMMANDS, sys.argv[1:])
    except (SettingsError, TrustError) as error:
        sys.stderr.write(f"imds-verifier: {error}\n")
        return ExitStatus.USAGE
    except Unavailable as error:
        sys.stderr.write(f"imds-verifier: {error.detail}\n")
        return ExitStatus.UNAVAILABLE
