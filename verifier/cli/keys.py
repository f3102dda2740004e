"""Implement `imds-verifier keys`: manage the keys that sign results. A running service follows each change."""

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path

from verifier.api.json_codec import key_set_json
from verifier.cli.commands import CommandParts, ExitStatus
from verifier.ports.tokens import TokenAlgorithm, TokenKeyAdministration, TokenKeyError

_Action = Callable[[TokenKeyAdministration, argparse.Namespace], str]


def keys_command(create: Callable[[Path | None], TokenKeyAdministration]) -> CommandParts:
    """Return the command. It calls `create` with the directory of `--dir`, or None, when a subcommand runs."""

    def run(arguments: argparse.Namespace) -> int:
        keys = create(arguments.dir)
        try:
            done = arguments.keys_run(keys, arguments)
        except TokenKeyError as error:
            sys.stderr.write(f"refused: {error}\n")
            return ExitStatus.REFUSED
        sys.stdout.write(f"{done}\n")
        return ExitStatus.DONE

    return CommandParts(
        configure=_configure,
        run=run,
    )


def _configure(parser: argparse.ArgumentParser) -> None:
    subparsers = parser.add_subparsers(dest="keys_command", required=True, metavar="ACTION")

    def add(name: str, summary: str, action: _Action) -> argparse.ArgumentParser:
        subparser = subparsers.add_parser(name, help=summary, description=summary)
        subparser.add_argument("--dir", type=Path, help="the key directory (default: VERIFIER_TOKEN_KEYS_DIR)")
        subparser.set_defaults(keys_run=action)
        return subparser

    generate = add(
        "generate",
        "Create and publish a key, and print its kid. The first key signs.",
        lambda keys, arguments: keys.generate(TokenAlgorithm(arguments.algorithm)),
    )
    algorithms = [algorithm.value for algorithm in TokenAlgorithm]
    generate.add_argument("--algorithm", choices=algorithms, default=TokenAlgorithm.ES256.value)
    added = add(
        "add",
        "Publish a key that is in a PKCS#11 token, and print its kid. The first key signs.",
        lambda keys, arguments: keys.add(arguments.uri),
    )
    added.add_argument("uri", help="the PKCS#11 URI of the private key, such as 'pkcs11:token=hsm;object=results'")
    add(
        "show",
        "Print the public keys (JWKS). The signing key comes first.",
        lambda keys, _: json.dumps(key_set_json(keys.published()), indent=2),
    )
    rotate = add("rotate", "Sign with another published key. All keys stay published.", _rotate)
    rotate.add_argument("--now", action="store_true", help="do not wait until relying parties know the key")
    retire = add("retire", "Remove a key that no longer signs.", _retire)
    retire.add_argument("--now", action="store_true", help="do not wait until the tokens that it signed expire")
    for subparser in (rotate, retire):
        subparser.add_argument("kid", help="the kid of the key")


def _rotate(keys: TokenKeyAdministration, arguments: argparse.Namespace) -> str:
    keys.sign_with(arguments.kid, at_once=arguments.now)
    return f"{arguments.kid} signs"


def _retire(keys: TokenKeyAdministration, arguments: argparse.Namespace) -> str:
    keys.retire(arguments.kid, at_once=arguments.now)
    return f"{arguments.kid} is removed"
