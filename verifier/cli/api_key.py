"""A new key for a tenant or an administrator, shown once with the hash that the settings take."""

import argparse
import hashlib
import secrets
import sys

from verifier.cli.commands import Command, ExitStatus

#: As much chance as SHA-256 can keep: one round of it then hides the key.
_BYTES = 32


def api_key_command() -> Command:
    return Command(
        name="api-key",
        summary="Make an API key: print it, and the SHA-256 that the settings take.",
        configure=_configure,
        run=_run,
    )


def _configure(parser: argparse.ArgumentParser) -> None:
    parser.epilog = (
        "The key goes to whoever calls, the hash into the settings: tenants.NAME.keys, or admin_keys. "
        "Nothing is kept here, so that a key that is lost is lost."
    )


def _run(_: argparse.Namespace) -> int:
    key = secrets.token_urlsafe(_BYTES)
    sys.stdout.write(f"key:    {key}\nsha256: {hashlib.sha256(key.encode('ascii')).hexdigest()}\n")
    return ExitStatus.DONE
