"""Define the arguments of the actions of `imds-verifier trust`."""

import argparse
from pathlib import Path

from verifier.core.trust.bundle import EXPIRY_WARNING
from verifier.core.trust.clouds import Cloud


def configure_list(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--at", metavar="TIME", help="evaluate at this time, e.g. 2028-05-26T00:00:00Z")


def configure_status(parser: argparse.ArgumentParser) -> None:
    configure_list(parser)
    parser.add_argument(
        "--warn-days",
        metavar="N",
        type=int,
        default=EXPIRY_WARNING.days,
        help=f"exit with 1 if the last chain of a served cloud ends within N days (default {EXPIRY_WARNING.days})",
    )
    parser.add_argument(
        "--cloud",
        action="append",
        choices=[cloud.value for cloud in Cloud],
        help="count only this cloud for the exit status, even if it is closed or not served; may be repeated. A cloud "
        "that is not configured has no chain",
    )


def configure_add(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", metavar="FILE", help="the certificate, PEM or DER; - is standard input")
    parser.add_argument(
        "--cloud",
        action="append",
        required=True,
        choices=[cloud.value for cloud in Cloud],
        help="a cloud that the authority serves; may be repeated",
    )
    parser.add_argument("--note", default="", help="the reason for the pin")
    parser.add_argument("--force", action="store_true", help="pin a certificate that is expired or not yet valid")


def configure_sha256(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("sha256", metavar="SHA256", help="SHA-256 of the certificate, from `trust list`")


def configure_denial(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "what",
        metavar="SERIAL|SPKI",
        help="a serial number in hex, or the SHA-256 of a subjectPublicKeyInfo (64 hex digits)",
    )


def configure_update(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--from",
        dest="source",
        metavar="FILE|DIR|URL",
        help="look at this copy of the feed: an archive, a directory or an https URL (default: VERIFIER_TRUST_FEED)",
    )
    parser.add_argument(
        "--root", metavar="FILE", type=Path, help="the root metadata of the feed (default: VERIFIER_TRUST_FEED_ROOT)"
    )
    change = parser.add_mutually_exclusive_group()
    change.add_argument(
        "--approve", metavar="VERSION", type=int, help="put the offered bundle with this version in force"
    )
    change.add_argument(
        "--reject", metavar="VERSION", type=int, help="never offer this version again; a later one is offered"
    )
    change.add_argument("--leave", action="store_true", help="take the bundle of the feed out of force")
    change.add_argument(
        "--forget", action="store_true", help="take it out of force, and accept any version that the feed offers next"
    )


def configure_export(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--into", metavar="DIR", type=Path, help="write a directory for VERIFIER_TRUST_DIR")
