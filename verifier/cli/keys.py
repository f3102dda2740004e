"""`imds-verifier keys`: the keys that sign results, on the directory of the settings. The running service follows."""

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path

from verifier.api.json_codec import key_set_json
from verifier.cli.commands import Command, ExitStatus
from verifier.ports.tokens import TokenAlgorithm, TokenKeyAdministration, TokenKeyError

_Action = Callable[[TokenKeyAdministration, argparse.Namespace], str]


def keys_command(create: Callable[[Path | None], TokenKeyAdministration]) -> Command:
    """`create` is called when a subcommand runs, with the directory that was named, if one was."""

    def run(arguments: argparse.Namespace) -> int:
        keys = create(arguments.dir)
        try:
            done = arguments.keys_run(keys, arguments)
        except TokenKeyError as error:
            sys.stderr.write(f"refused: {error}\n")
            return ExitStatus.REFUSED
        sys.stdout.write(f"{done}\n")
        return ExitStatus.DONE

    return Command(
        name="keys", summary="Make, show and change the keys that sign results.", configure=_configure, run=run
    )


def _configure(parser: argparse.ArgumentParser) -> None:
    subparsers = parser.add_subparsers(dest="keys_command", required=True, metavar="ACTION")

    def add(name: str, summary: str, action: _Action) -> argparse.ArgumentParser:
        subparser = subparsers.add_parser(name, help=summary, description=summary)
        subparser.add_argument(
            "--dir", type=Path, help="the directory, in place of the one that VERIFIER_TOKEN_KEYS_DIR names"
        )
        subparser.set_defaults(keys_run=action)
        return subparser

    generate = add("generate", "Make a key, which is published; the first one signs. Prints its kid.", _generate)
    algorithms = [algorithm.value for algorithm in TokenAlgorithm]
    generate.add_argument("--algorithm", choices=algorithms, default=TokenAlgorithm.ES256.value)
    add("show", "Print the public keys (JWKS), the one that signs first.", _show)
    rotate = add("rotate", "Let a published key sign from now on; the others stay published.", _rotate)
    rotate.add_argument("--now", action="store_true", help="although not everybody can know the key yet")
    retire = add("retire", "Remove a key that signs no more.", _retire)
    retire.add_argument("--now", action="store_true", help="although tokens that it signed may still be shown")
    for subparser in (rotate, retire):
        subparser.add_argument("kid", help="the key, by its kid")


def _generate(keys: TokenKeyAdministration, arguments: argparse.Namespace) -> str:
    return keys.generate(TokenAlgorithm(arguments.algorithm))


def _show(keys: TokenKeyAdministration, _: argparse.Namespace) -> str:
    return json.dumps(key_set_json(keys.published()), indent=2)


def _rotate(keys: TokenKeyAdministration, arguments: argparse.Namespace) -> str:
    keys.sign_with(arguments.kid, at_once=arguments.now)
    return f"{arguments.kid} signs"


def _retire(keys: TokenKeyAdministration, arguments: argparse.Namespace) -> str:
    keys.retire(arguments.kid, at_once=arguments.now)
    return f"{arguments.kid} is gone"
