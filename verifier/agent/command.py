"""The command `attest`: prints the verified claims of this machine, or one sentence that says why it has none."""

from __future__ import annotations

import argparse
import json
import random
import re
import sys
import time
from pathlib import Path
from typing import Final

from verifier.agent import files
from verifier.agent.backend_client import BackendClient
from verifier.agent.budget import Budget
from verifier.agent.challenge import Binding
from verifier.agent.exit_codes import ExitCode, NotAttested
from verifier.agent.flow import attest
from verifier.agent.imds import AttestedDocument, ImdsClient
from verifier.agent.key_tools import find_key_tool
from verifier.agent.options import add_imds_options, as_argument, read_endpoint
from verifier.agent.proof_key import ProofKey
from verifier.agent.relying_party_client import RelyingPartyClient, Target
from verifier.agent.results import OutputFormat, VerifiedResult, printable
from verifier.agent.service_client import ServiceClient
from verifier.agent.verifier_client import VerifierClient
from verifier.agent.watch import StoppedError, stopped_by_signals, watch

# RFC 7638 3: SHA-256 in base64url.
_THUMBPRINT: Final = re.compile(r"[0-9A-Za-z_-]{43}", re.ASCII)
_GUID: Final = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.ASCII | re.IGNORECASE)
_IN_BRACES: Final = re.compile(r"\{(.*)\}")
_POLICY: Final = re.compile(r"[0-9A-Za-z._@-]{1,64}", re.ASCII)


def configure(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    service = parser.add_mutually_exclusive_group(required=True)
    service.add_argument("--verifier", type=read_endpoint, metavar="URL", help="base URL of the verifier")
    service.add_argument(
        "--backend",
        type=read_endpoint,
        metavar="URL",
        help="base URL of a licensing backend that has the verifier appraise the document",
    )
    add_imds_options(parser)
    add("--key-file", type=Path, metavar="FILE", help="file with the API key for the verifier or backend")
    add("--vm-id", type=_vm_id, metavar="GUID", help="bind the nonce to this VM: no document of another VM is accepted")
    add("--policy", type=_policy, metavar="NAME", help="one more policy that the document must satisfy")
    add(
        "--jkt",
        type=_thumbprint,
        metavar="THUMBPRINT",
        help="bind the result token to this RFC 7638 thumbprint of a key; write --jkt=VALUE if it begins with -",
    )
    add(
        "--proof-key",
        type=Path,
        metavar="FILE",
        help="bind the result token to the ES256 key in FILE; the agent makes the key if there is no file",
    )
    add(
        "--present",
        type=_target,
        metavar="URL",
        help="present the token to this URL of a relying party, with a DPoP proof, and print its answer; "
        "needs --proof-key",
    )
    output = parser.add_mutually_exclusive_group()
    output.add_argument(
        "--json",
        dest="output_format",
        action="store_const",
        const=OutputFormat.JSON,
        default=OutputFormat.CLAIMS,
        help="print the whole result instead of the claims",
    )
    output.add_argument(
        "--token",
        dest="output_format",
        action="store_const",
        const=OutputFormat.TOKEN,
        help="print only the result token",
    )
    add(
        "--watch",
        action="store_true",
        help="keep running and renew the result before it expires; stop on SIGTERM or SIGINT; "
        "--timeout then limits each attempt",
    )
    add(
        "--status",
        type=Path,
        metavar="FILE",
        help="write how each attempt ended to FILE, as JSON: exitCode, and code if a server reported a problem",
    )
    add("--save-document", type=Path, metavar="FILE", help="write the document of IMDS to FILE before it is posted")


def run(arguments: argparse.Namespace) -> int:
    """Run the command and return an `ExitCode`. Unless it is VERIFIED, one sentence is on stderr."""
    try:
        _check(arguments)
        if arguments.watch:
            _watch(arguments)
        else:
            _attempt(arguments)
    except NotAttested as error:
        report(error)
        return error.exit_code
    except KeyboardInterrupt:
        report(NotAttested(ExitCode.INTERRUPTED, "interrupted"))
        return ExitCode.INTERRUPTED
    return ExitCode.VERIFIED


def _check(arguments: argparse.Namespace) -> None:
    """Raise `NotAttested` with USAGE if the options do not belong together."""
    needs_token = arguments.output_format is OutputFormat.TOKEN or arguments.jkt or arguments.proof_key
    if arguments.verifier is None and needs_token:
        raise NotAttested(
            ExitCode.USAGE, "--token, --jkt and --proof-key need --verifier: with --backend the VM gets no result token"
        )
    if arguments.jkt and arguments.proof_key:
        raise NotAttested(ExitCode.USAGE, "name one of --jkt and --proof-key: the token is bound to one key")
    if arguments.present and not arguments.proof_key:
        raise NotAttested(ExitCode.USAGE, "--present needs --proof-key")


def _watch(arguments: argparse.Namespace) -> None:
    with stopped_by_signals():
        try:
            watch(
                attempt=lambda: _attempt(arguments).lifetime(arguments.output_format),
                report=report,
                sleep=time.sleep,
                random=random.SystemRandom().random,
            )
        except StoppedError:
            return


def _attempt(arguments: argparse.Namespace) -> VerifiedResult:
    """Attest once, and write the status file. Raises `NotAttested`."""
    try:
        result = _attest(arguments)
    except NotAttested as error:
        _write_status(arguments.status, error.exit_code, error.code)
        raise
    _write_status(arguments.status, ExitCode.VERIFIED, None)
    return result


def _write_status(file: Path | None, exit_code: ExitCode, code: str | None) -> None:
    if file is None:
        return
    try:
        files.write(file, f"{json.dumps({'exitCode': exit_code, 'code': code})}\n".encode())
    except OSError as error:
        raise NotAttested(ExitCode.USAGE, str(error)) from error


def _attest(arguments: argparse.Namespace) -> VerifiedResult:
    """Attest once, and print the result or write it to the output file. Raises `NotAttested`."""
    budget = Budget.start(arguments.timeout, monotonic=time.monotonic, sleep=time.sleep)
    try:
        # Opened for each attempt, as the API key is.
        key = None if arguments.proof_key is None else ProofKey.open(arguments.proof_key, find_key_tool())
        result = attest(
            imds=ImdsClient(endpoint=arguments.imds, api_version=arguments.api_version, budget=budget),
            verifier=_client(arguments, budget),
            budget=budget,
            binding=Binding(
                vm_id=arguments.vm_id, policy=arguments.policy, jkt=arguments.jkt if key is None else key.thumbprint()
            ),
            on_document=lambda document: _save(document, arguments.save_document),
            present=None
            if key is None or arguments.present is None
            else _relying_party(arguments.present, key, budget).present,
        )
        text = result.render(arguments.output_format)
        if arguments.output is not None:
            files.write(arguments.output, text.encode())
            return result
    except (ValueError, OSError) as error:
        raise NotAttested(ExitCode.USAGE, str(error)) from error
    files.print_out(text.encode())
    return result


def _save(document: AttestedDocument, file: Path | None) -> None:
    if file is not None:
        files.write(file, document.raw)


def _client(arguments: argparse.Namespace, budget: Budget) -> VerifierClient | BackendClient:
    # Read for each attempt, so that a watch uses a rotated key.
    key = None if arguments.key_file is None else files.read_key(arguments.key_file)
    if arguments.backend is not None:
        return BackendClient(service=ServiceClient(name="backend", endpoint=arguments.backend, budget=budget, key=key))
    return VerifierClient(service=ServiceClient(name="verifier", endpoint=arguments.verifier, budget=budget, key=key))


def _relying_party(target: Target, key: ProofKey, budget: Budget) -> RelyingPartyClient:
    service = ServiceClient(name="relying party", endpoint=target.endpoint, budget=budget, any_json_problem=True)
    return RelyingPartyClient(service=service, target=target, key=key)


def report(error: NotAttested) -> None:
    """Print the sentence on standard error."""
    sys.stderr.write(f"attest: {printable(str(error))}\n")
    sys.stderr.flush()


def _thumbprint(text: str) -> str:
    return as_argument(text, _THUMBPRINT, "43 characters of base64url")


def _vm_id(text: str) -> str:
    braced = _IN_BRACES.fullmatch(text)
    return as_argument(braced[1] if braced else text, _GUID, "a GUID such as 5c1a0b3e-7d42-4f0a-9b57-1f6d2e8c4a90")


def _policy(text: str) -> str:
    return as_argument(text, _POLICY, "the name of a policy")


def _target(text: str) -> Target:
    try:
        return Target.parse(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error
