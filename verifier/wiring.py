"""The composition root: the one module that knows all the others, and makes the service of them."""

import argparse
import sys
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

from flask import Flask

from verifier.agent import command as agent_command
from verifier.api.app import Service, create_app
from verifier.cli.commands import Command, ExitStatus, run_command
from verifier.cli.demo import demo_command
from verifier.cli.verify import inspect_command, verify_command
from verifier.core.trust import TrustError
from verifier.edge.http_server import ServerOptions, serve
from verifier.edge.redis_store import RedisNonceStore
from verifier.edge.settings import Settings, SettingsError, load_settings
from verifier.edge.sqlite_store import SqliteNonceStore
from verifier.edge.telemetry import LogRecorder, configure_logging
from verifier.edge.trust_files import TrustDirectory
from verifier.emulator import command as emulator_command
from verifier.ports import NonceStore
from verifier.service import ArchiveVerifier, Readiness, Verifier


class SystemClock:
    """The machine's clock. Implements the Clock port."""

    def now(self) -> datetime:
        return datetime.now(UTC)


def open_nonce_store(url: str, *, threads: int) -> NonceStore:
    """The store that the URL names, not yet connected. Raises SettingsError for a URL that names none."""
    parts = urlsplit(url)
    match parts.scheme:
        case "sqlite" if not parts.netloc and parts.path:
            return SqliteNonceStore(Path(parts.path))
        case "redis" | "unix":
            try:
                return RedisNonceStore.from_url(url, connections=threads)
            except ValueError as error:
                raise SettingsError(f"nonce_store: {error}") from error
        case _:
            raise SettingsError("nonce_store: expected sqlite:///path, redis://host:port/db or unix:///path")


def create_service(settings: Settings) -> Flask:
    """The application over the stores and the trust that the settings name. One for each worker."""
    clock = SystemClock()
    trust = TrustDirectory(settings.trust_dir)
    nonces = open_nonce_store(settings.nonce_store.get_secret_value(), threads=settings.threads)
    verifier = Verifier(
        trust=trust,
        nonces=nonces,
        clock=clock,
        limits=settings.limits,
        nonce_form=settings.nonce_form,
        policies=settings.named_policies,
    )
    return create_app(
        Service(
            verifier=verifier,
            readiness=Readiness(trust=trust, nonces=nonces, clock=clock),
            recorder=LogRecorder(),
            maximum_body_octets=settings.maximum_body_octets,
        )
    )


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
    TrustDirectory(settings.trust_dir)
    open_nonce_store(settings.nonce_store.get_secret_value(), threads=settings.threads)
    configure_logging()
    options = ServerOptions(
        host=settings.host,
        port=settings.port,
        workers=settings.workers,
        threads=settings.threads,
        graceful_stop_seconds=settings.graceful_stop_seconds,
    )
    serve(partial(create_service, settings), options, ready=_announce)
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
