"""Implement `imds-verifier verify`: appraise documents from files, without a service."""

import argparse
import json
import sys
from collections.abc import Callable
from datetime import datetime
from functools import partial
from pathlib import Path

from verifier.api import json_codec, problem_codec
from verifier.api.answers import ProblemJson
from verifier.cli.commands import CommandParts, ExitStatus, UsageError, read_document_file, read_moment
from verifier.cli.document_files import find_documents
from verifier.cli.verify_many import status_of, verify_many
from verifier.core import evidence
from verifier.core.encoding.printable import printable
from verifier.core.model import AttestationResult
from verifier.core.policy import UnknownPolicyError
from verifier.core.reasons import Outcome, Reason, Refused
from verifier.core.trust.bundle import TrustError
from verifier.ports.clock import Clock
from verifier.usecases.archive import ArchiveVerifier

#: Creates the verifier over the trust directory that is given, or over the one of the settings.
ArchiveVerifierFactory = Callable[[Path | None], ArchiveVerifier]

FILE_HELP = "the document as JSON from IMDS, base64, DER or PEM; - is standard input"


#: Appended to `document-expired`, unless the moment was given.
AT_HINT = " If the document is from an archive, name a moment in its lifetime with `--at TIME`."


def verify_command(create: ArchiveVerifierFactory, clock: Clock) -> CommandParts:
    def run(arguments: argparse.Namespace) -> int:
        at = read_moment("--at", arguments.at) if arguments.at else clock.now()
        problem = partial(problem_of, hint="" if arguments.at else AT_HINT)
        found = find_documents(arguments.files)
        try:
            verifier = create(arguments.trust_dir)
            appraise = partial(appraise_file, verifier, at=at, nonce=arguments.nonce, policy=arguments.policy)
            if len(arguments.files) > 1 or found.files[0].name != arguments.files[0]:
                return verify_many(found, appraise, problem, as_json=arguments.json)
            result = appraise(read_document_file(found.files[0].name))
        except Refused as refused:
            return tell_refusal(refused, problem(refused), as_json=arguments.json)
        except (TrustError, UnknownPolicyError) as error:
            raise UsageError(str(error)) from error
        sys.stdout.write(as_json_text(json_codec.result_json(result)) if arguments.json else _as_text(result))
        return ExitStatus.DONE

    def configure(parser: argparse.ArgumentParser) -> None:
        parser.epilog = (
            "Several files, or a directory: one line for each file, a summary on standard error, and the worst exit "
            "status. Order: 0 verified, 1 refused, 2 malformed or unreadable, 3 a dependency is unavailable. "
            "In a directory, hidden names and symbolic links to directories are skipped."
        )
        parser.add_argument("files", metavar="FILE", nargs="+", help=f"{FILE_HELP}; or a directory, with all in it")
        parser.add_argument("--at", metavar="TIME", help="appraise as of this moment, e.g. 2026-07-28T13:24:00Z")
        parser.add_argument("--nonce", help="refuse a document that carries a different nonce")
        parser.add_argument("--policy", metavar="NAME", help="the policy to satisfy (default: `default`)")
        parser.add_argument("--trust-dir", metavar="DIR", type=Path, help="add to or replace the shipped trust bundle")
        parser.add_argument(
            "--json", action="store_true", help="print the JSON of the HTTP API; for several files as JSON Lines"
        )

    return CommandParts(
        configure=configure,
        run=run,
    )


def appraise_file(
    verifier: ArchiveVerifier, raw: bytes, *, at: datetime, nonce: str | None, policy: str | None
) -> AttestationResult:
    """Appraise the content of a file. Raises Refused and UnknownPolicyError."""
    evidence.check_size(raw)
    return verifier.appraise(evidence.from_file(raw), at=at, nonce=nonce, policy=policy)


def problem_of(refused: Refused, *, hint: str) -> ProblemJson:
    problem = problem_codec.refusal_json(refused)
    if refused.reason is Reason.DOCUMENT_EXPIRED:
        problem["detail"] += hint
    return problem


def tell_refusal(refused: Refused, problem: ProblemJson, *, as_json: bool) -> int:
    if as_json:
        sys.stdout.write(as_json_text(problem))
    else:
        sys.stderr.write(f"refused, {refused.code}: {printable(problem['detail'])}\n")
    return status_of(refused)


def _as_text(result: AttestationResult) -> str:
    shown = json_codec.result_json(result)
    lines = [f"verified: a document of {shown['cloud']}, as of {shown['evaluatedAt']}"]
    claims: dict[str, object] = {**json_codec.claims_json(result.claims)}
    plan = claims.pop("plan")
    if isinstance(plan, dict):
        claims |= {f"plan.{name}": value for name, value in plan.items()}
    for name, value in claims.items():
        lines.append(f"  {name}: {'(absent)' if value is None else printable(str(value)) or '(empty)'}")
    lines.append(
        "signed by "
        + " <- ".join(
            printable(subject)
            for subject in (result.content.signer.subject, *(link.subject for link in result.content.chain))
        )
    )
    lines += [
        f"not checked, {check.name}: {check.detail}" for check in result.checks if check.outcome is Outcome.SKIPPED
    ]
    return "\n".join(lines) + "\n"


def as_json_text(value: json_codec.Json) -> str:
    return json.dumps(value, indent=2) + "\n"
