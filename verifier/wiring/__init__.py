"""Connect all parts: the composition root. Each command imports what it needs when it runs.

Windows has no gunicorn and no `fcntl`, so that it can run neither `serve` nor `demo`.
"""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from verifier import __version__
from verifier.adapters.clock import SystemClock
from verifier.cli.commands import Command, CommandParts, ExitStatus, run_command

if TYPE_CHECKING:
    from verifier.cli.trust_feed import FeedWorkshop


def _load_serve() -> CommandParts:
    from verifier.wiring.service import configure_service, run_service  # noqa: PLC0415 - for this command alone

    return CommandParts(configure=configure_service, run=run_service)


def _load_verify() -> CommandParts:
    from verifier.cli.verify import verify_command  # noqa: PLC0415 - for this command alone
    from verifier.wiring.offline import create_archive_verifier  # noqa: PLC0415 - as above

    return verify_command(create_archive_verifier, SystemClock())


def _load_inspect() -> CommandParts:
    from verifier.cli.inspection import inspect_command  # noqa: PLC0415 - for this command alone
    from verifier.wiring.offline import create_inspector  # noqa: PLC0415 - as above

    return inspect_command(create_inspector)


def _load_policy() -> CommandParts:
    from verifier.adapters.settings.policy_file import read_policy_file  # noqa: PLC0415 - for this command alone
    from verifier.cli.policy import policy_command  # noqa: PLC0415 - as above
    from verifier.wiring.offline import create_archive_verifier  # noqa: PLC0415 - as above

    return policy_command(create_archive_verifier, read_policy_file, SystemClock())


def _load_conformance() -> CommandParts:
    from verifier.cli.conformance import Targets, conformance_command  # noqa: PLC0415 - for this command alone
    from verifier.wiring.conformance import open_own, open_remote, policies_of  # noqa: PLC0415 - as above

    return conformance_command(Targets(own=open_own, remote=open_remote, check_policies=policies_of))


def _load_config() -> CommandParts:
    from verifier.adapters.settings.starter import starter_text  # noqa: PLC0415 - for this command alone
    from verifier.cli.config import config_command  # noqa: PLC0415 - as above

    return config_command(starter_text, _check_settings)


def _check_settings(file: Path) -> Sequence[str]:
    from verifier.wiring.settings_check import check_settings  # noqa: PLC0415 - only `config check` needs the service

    return check_settings(file)


def _load_api_key() -> CommandParts:
    from verifier.cli.api_key import api_key_command  # noqa: PLC0415 - for this command alone

    return api_key_command()


def _load_trust() -> CommandParts:
    from verifier.adapters.aia.fetcher import AiaFetcher  # noqa: PLC0415 - for this command alone
    from verifier.cli.trust import trust_command  # noqa: PLC0415 - as above
    from verifier.wiring.administration import open_trust  # noqa: PLC0415 - as above

    return trust_command(open_trust, SystemClock(), AiaFetcher, _open_workshop)


def _open_workshop() -> "FeedWorkshop":
    from verifier.wiring.feed_workshop import open_workshop  # noqa: PLC0415 - only `trust feed` needs python-tuf

    return open_workshop()


def _load_decisions() -> CommandParts:
    from verifier.cli.decisions import decisions_command  # noqa: PLC0415 - for this command alone
    from verifier.wiring.administration import open_decisions  # noqa: PLC0415 - as above

    return decisions_command(open_decisions, SystemClock())


def _load_usage() -> CommandParts:
    from verifier.cli.usage import usage_command  # noqa: PLC0415 - for this command alone
    from verifier.wiring.administration import open_decisions  # noqa: PLC0415 - as above

    return usage_command(open_decisions, SystemClock())


def _load_keys() -> CommandParts:
    from verifier.cli.keys import keys_command  # noqa: PLC0415 - for this command alone
    from verifier.wiring.administration import create_key_administration  # noqa: PLC0415 - as above

    return keys_command(create_key_administration)


def _load_attest() -> CommandParts:
    from verifier.agent import command  # noqa: PLC0415 - for this command alone

    return CommandParts(configure=command.configure, run=command.run)


def _load_document() -> CommandParts:
    from verifier.agent import document_command  # noqa: PLC0415 - for this command alone

    return CommandParts(configure=document_command.configure, run=document_command.run)


def _load_emulator() -> CommandParts:
    from verifier.emulator import command  # noqa: PLC0415 - for this command alone

    return CommandParts(configure=command.configure, run=command.run)


def _load_demo() -> CommandParts:
    from verifier.cli.demo import demo_command  # noqa: PLC0415 - for this command alone

    return demo_command()


COMMANDS = (
    Command(name="serve", summary="Run the service.", load=_load_serve),
    Command(
        name="verify",
        summary="Verify attested documents from files, at present or at an earlier time, and print their claims.",
        load=_load_verify,
    ),
    Command(
        name="inspect",
        summary="Show each check of a document, its claims and its structure, as JSON.",
        load=_load_inspect,
    ),
    Command(name="policy", summary="Test the policies in a file on a document.", load=_load_policy),
    Command(
        name="conformance",
        summary="Compare the answers of this verifier, or of another one, with the conformance vectors.",
        load=_load_conformance,
    ),
    Command(name="config", summary="Write a settings file to start with, or check one.", load=_load_config),
    Command(
        name="api-key",
        summary="Create an API key: print the key, and its SHA-256 for the settings.",
        load=_load_api_key,
    ),
    Command(
        name="trust",
        summary="Show which certificate authorities are trusted and until when, and change it on the running service.",
        load=_load_trust,
    ),
    Command(
        name="decisions",
        summary="Show why documents were accepted or refused, and erase the records of a VM.",
        load=_load_decisions,
    ),
    Command(name="usage", summary="Count the distinct VMs that were verified.", load=_load_usage),
    Command(name="keys", summary="Create, show, rotate and retire the keys that sign results.", load=_load_keys),
    Command(name="attest", summary="Run the agent: attest this VM to a service or a backend.", load=_load_attest),
    Command(name="document", summary="Print what IMDS answers to a nonce, on a VM.", load=_load_document),
    Command(
        name="emulator",
        summary="Run an emulated instance metadata service for tests, with a VM described in a file.",
        load=_load_emulator,
    ),
    Command(
        name="demo",
        summary="Run the service, the agent and an emulated IMDS on this machine, and try two attacks.",
        load=_load_demo,
    ),
)


def main() -> int:
    """Run the console script and return its exit status."""
    try:
        return run_command(COMMANDS, sys.argv[1:], version=__version__)
    except OSError as error:
        # For example a full disk behind the output. Without this, Python's status 1 would say "refused".
        sys.stderr.write(f"imds-verifier: {error.strerror or error}\n")
        return ExitStatus.UNAVAILABLE
    except Exception as error:  # noqa: BLE001 - an unknown one is raised again
        # The module imports what the exceptions need, which `--version` and `attest` do not.
        from verifier.wiring.failures import status_of_failure  # noqa: PLC0415 - as above

        return status_of_failure(error)
