"""Implement `imds-verifier inspect`: show what an appraisal of a document finds, without a service."""

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

from verifier.api.inspection_codec import inspection_json
from verifier.cli.commands import CommandParts, ExitStatus, UsageError, read_document_file, read_moment
from verifier.cli.verify import FILE_HELP, as_json_text
from verifier.core import evidence
from verifier.core.model import RawDocument
from verifier.core.policy import UnknownPolicyError
from verifier.core.reasons import FormatRefused
from verifier.core.trust.bundle import TrustError
from verifier.usecases.inspection import Inspector, Question

#: Creates the inspector over the trust directory that is given, or over the one of the settings.
InspectorFactory = Callable[[Path | None], Inspector]


def inspect_command(create: InspectorFactory) -> CommandParts:
    def run(arguments: argparse.Namespace) -> int:
        at = read_moment("--at", arguments.at) if arguments.at else None
        raw = read_document_file(arguments.file)
        try:
            inspection = create(arguments.trust_dir).inspect(_decode(raw), Question(at=at, policy=arguments.policy))
        except (TrustError, UnknownPolicyError) as error:
            raise UsageError(str(error)) from error
        sys.stdout.write(as_json_text(inspection_json(inspection)))
        is_readable = inspection.authentic is not None or inspection.unverified is not None
        return ExitStatus.DONE if is_readable else ExitStatus.USAGE

    return CommandParts(configure=_configure, run=run)


def _configure(parser: argparse.ArgumentParser) -> None:
    parser.epilog = (
        "The output is that of POST /v1/inspections. Exit status: 0 also for a refused document, 2 if the document "
        "cannot be read; `structure` then shows where."
    )
    parser.add_argument("file", metavar="FILE", help=FILE_HELP)
    parser.add_argument("--at", metavar="TIME", help="appraise as of this moment, e.g. 2026-07-28T13:24:00Z")
    parser.add_argument("--policy", metavar="NAME", help="one more policy to satisfy, besides `default`")
    parser.add_argument("--trust-dir", metavar="DIR", type=Path, help="add to or replace the shipped trust bundle")


def _decode(raw: bytes) -> RawDocument | FormatRefused:
    try:
        evidence.check_size(raw)
        return evidence.from_file(raw)
    except FormatRefused as refused:
        return refused
