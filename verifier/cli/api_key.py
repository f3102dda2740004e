"""Implement `imds-verifier api-key`: create an API key for a tenant or an administrator, and print its hash."""

import argparse
import hashlib
import secrets
import sys

from verifier.cli.commands import CommandParts, ExitStatus

#: 256 random bits. A single SHA-256 hides a key of this entropy.
_BYTES = 32


def api_key_command() -> CommandParts:
    return CommandParts(
        configure=_configure,
        run=_run,
    )


def _configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--agent",
        action="store_true",
        help="create an agent key, which may be on customers' VMs; it can only get nonces and post documents",
    )
    parser.epilog = (
        "Give the key to the caller. Put the hash into the settings: tenants.NAME.keys, tenants.NAME.agent_keys with "
        "--agent, or admin_keys. The command does not store the key, so a lost key cannot be recovered."
    )


def _run(arguments: argparse.Namespace) -> int:
    key = secrets.token_urlsafe(_BYTES)
    sys.stdout.write(f"key:    {key}\nsha256: {hashlib.sha256(key.encode('ascii')).hexdigest()}\n")
    if arguments.agent:
        # Agents accept the whole output as their key file, so this line is not a part of it.
        sys.stderr.write("This is an agent key: put its sha256 into tenants.NAME.agent_keys.\n")
    return ExitStatus.DONE
