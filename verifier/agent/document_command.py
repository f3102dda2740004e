"""The command `document`: prints IMDS's answer to a nonce, for a transport that the agent does not have."""

from __future__ import annotations

import argparse
import time

from verifier.agent import files
from verifier.agent.budget import Budget
from verifier.agent.challenge import NONCE
from verifier.agent.command import report
from verifier.agent.exit_codes import ExitCode, NotAttested
from verifier.agent.imds import ImdsClient
from verifier.agent.options import add_imds_options, as_argument


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--nonce", type=_nonce, required=True, metavar="NONCE", help="nonce of the verifier: 1 to 32 letters and digits"
    )
    add_imds_options(parser)


def run(arguments: argparse.Namespace) -> int:
    """Print the unchanged answer and return an `ExitCode`. Unless it is VERIFIED (0), one sentence is on stderr.

    Not checked: the document. Only a verifier checks it.
    """
    budget = Budget.start(arguments.timeout, monotonic=time.monotonic, sleep=time.sleep)
    imds = ImdsClient(endpoint=arguments.imds, api_version=arguments.api_version, budget=budget)
    try:
        document = imds.attested_document(arguments.nonce)
        if arguments.output is None:
            files.print_out(document.raw)
        else:
            files.write(arguments.output, document.raw)
    except NotAttested as error:
        report(error)
        return error.exit_code
    except (ValueError, OSError) as error:
        report(NotAttested(ExitCode.USAGE, str(error)))
        return ExitCode.USAGE
    except KeyboardInterrupt:
        report(NotAttested(ExitCode.INTERRUPTED, "interrupted"))
        return ExitCode.INTERRUPTED
    return ExitCode.VERIFIED


def _nonce(text: str) -> str:
    return as_argument(text, NONCE, "1 to 32 letters and digits")
