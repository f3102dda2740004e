"""Implement `imds-verifier trust feed`: make, sign, publish and renew a trust feed. No command needs the service."""

import argparse
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Final

from verifier.cli.commands import ExitStatus, UsageError
from verifier.cli.trust_feed_text import bundle_lines, overview_json, overview_text, root_lines
from verifier.core.trust.bundle import TrustedCertificate, TrustError
from verifier.core.trust.published import PublishedBundle
from verifier.core.values import dataclass
from verifier.ports.clock import Clock
from verifier.ports.feed_publishing import (
    ONLINE_LASTS,
    ROOT_LASTS,
    TARGETS_LAST,
    FeedPublisher,
    Proposal,
    PublishingRefused,
    Rotation,
)
from verifier.usecases.feed_publication import next_bundle

_MAX_DAYS: Final = 3650


@dataclass(frozen=True, slots=True, kw_only=True)
class FeedWorkshop:
    """Hold what the commands need: the publisher, and the reader and writer of bundles and trust directories."""

    publisher: FeedPublisher
    #: Reads the entries of a trust directory or of a bundle. Raises TrustError.
    read_entries: Callable[[Path], Sequence[TrustedCertificate]]
    read_bundle: Callable[[bytes], PublishedBundle]
    write_bundle: Callable[[PublishedBundle], bytes]
    clock: Clock


def configure_feed(
    commands: "argparse._SubParsersAction[argparse.ArgumentParser]", open_workshop: Callable[[], FeedWorkshop]
) -> None:
    """Add `feed` and its actions to the actions of `trust`. They call `open_workshop` when they run."""
    actions = _Actions(open_workshop)
    summary = "Make, sign, publish and renew a trust feed."
    parser = commands.add_parser("feed", help=summary, description=summary)
    parser.set_defaults(trust_run=_run_feed)
    subparsers = parser.add_subparsers(dest="feed_command", required=True, metavar="ACTION")
    for name, summary, add_arguments, run in actions.table():
        subparser = subparsers.add_parser(name, help=summary, description=summary)
        add_arguments(subparser)
        subparser.set_defaults(feed_run=run)


def _run_feed(arguments: argparse.Namespace) -> int:
    """Run the action. A refusal names what may not be published or signed."""
    try:
        status: int = arguments.feed_run(arguments)
    except (PublishingRefused, TrustError) as error:
        sys.stderr.write(f"refused: {error}\n")
        return ExitStatus.REFUSED
    except OSError as error:
        raise UsageError(f"{error.filename}: {error.strerror}" if error.filename else str(error)) from error
    return status


_Configure = Callable[[argparse.ArgumentParser], None]
_Run = Callable[[argparse.Namespace], int]


class _Actions:
    def __init__(self, open_workshop: Callable[[], FeedWorkshop]) -> None:
        self._open = open_workshop

    def table(self) -> tuple[tuple[str, str, _Configure, _Run], ...]:
        return (
            ("init", "Make a feed with new keys in a directory.", _configure_init, self.init),
            ("keys", "Show the keys and what waits for signatures, or make a new key.", _configure_keys, self.keys),
            ("publish", "Write the next bundle for signatures.", _configure_publish, self.publish),
            ("sign", "Sign what waits for signatures with one key.", _configure_sign, self.sign),
            ("show", "Show what a signature would be for.", _configure_show, self.show),
            ("renew", "Sign snapshot and timestamp again, e.g. daily.", _configure_renew, self.renew),
            ("rotate", "Replace keys, or renew the root.", _configure_rotate, self.rotate),
        )

    def init(self, arguments: argparse.Namespace) -> int:
        publisher = self._open().publisher
        lasting = _days(arguments.root_days)
        publisher.init(arguments.directory, keys=arguments.keys, threshold=arguments.threshold, lasting=lasting)
        sys.stderr.write(f"private keys: {arguments.directory / 'keys'}; move those of maintainers to other machines\n")
        return self._tell(arguments)

    def keys(self, arguments: argparse.Namespace) -> int:
        if arguments.new is not None:
            sys.stdout.write(f"{self._open().publisher.new_key(arguments.new)}\n")
            return ExitStatus.DONE
        if arguments.directory is None:
            raise UsageError("keys: name the directory of a feed, or --new FILE")
        return self._tell(arguments)

    def publish(self, arguments: argparse.Namespace) -> int:
        workshop = self._open()
        raw = workshop.publisher.published(arguments.directory)
        lasting = _days(arguments.days)
        bundle = next_bundle(
            workshop.read_entries(arguments.source),
            previous=None if raw is None else workshop.read_bundle(raw),
            version=arguments.version,
            now=workshop.clock.now().replace(microsecond=0),
            lasting=lasting,
        )
        written = workshop.write_bundle(bundle)
        # Followers read it with the same limits.
        workshop.read_bundle(written)
        workshop.publisher.propose(arguments.directory, written, lasting=lasting)
        self._describe(workshop, arguments.directory)
        for key in arguments.key:
            workshop.publisher.sign(arguments.directory, key)
        return self._complete(arguments, workshop.publisher)

    def sign(self, arguments: argparse.Namespace) -> int:
        workshop = self._open()
        self._describe(workshop, arguments.place)
        for file in workshop.publisher.sign(arguments.place, arguments.key):
            sys.stderr.write(f"signed {file}\n")
        if not arguments.place.is_dir():
            return ExitStatus.DONE
        arguments.directory = arguments.place
        return self._complete(arguments, workshop.publisher)

    def show(self, arguments: argparse.Namespace) -> int:
        if not self._describe(self._open(), arguments.place):
            sys.stderr.write("nothing waits for signatures\n")
        return ExitStatus.DONE

    def renew(self, arguments: argparse.Namespace) -> int:
        publisher = self._open().publisher
        lasting = _days(arguments.online_days)
        if not publisher.complete(arguments.directory, online_key=arguments.online_key, lasting=lasting):
            publisher.renew(arguments.directory, online_key=arguments.online_key, lasting=lasting)
        return self._tell(arguments)

    def rotate(self, arguments: argparse.Namespace) -> int:
        workshop = self._open()
        publisher = workshop.publisher
        rotation = Rotation(
            add=arguments.add, remove=arguments.remove, threshold=arguments.threshold, online=arguments.online
        )
        publisher.rotate(arguments.directory, rotation, lasting=_days(arguments.root_days))
        self._describe(workshop, arguments.directory)
        for key in arguments.key:
            publisher.sign(arguments.directory, key)
        return self._complete(arguments, publisher)

    def _describe(self, workshop: FeedWorkshop, place: Path) -> bool:
        """Print what waits for signatures, so that a maintainer sees what a signature is for. Return whether any does.

        Without the directory of the feed, each certificate and key is shown as new.
        """
        proposal = workshop.publisher.proposed(place)
        if proposal.root is not None:
            sys.stderr.write("".join(root_lines(proposal.root)))
        if proposal.bundle is not None:
            before = workshop.publisher.published(place) if place.is_dir() else None
            bundle = workshop.read_bundle(proposal.bundle)
            known = replace(bundle, entries=()) if before is None else workshop.read_bundle(before)
            sys.stderr.write("".join(bundle_lines(bundle, known, proposal)))
        return proposal != Proposal()

    def _complete(self, arguments: argparse.Namespace, publisher: FeedPublisher) -> int:
        lasting = _days(arguments.online_days)
        if publisher.complete(arguments.directory, online_key=arguments.online_key, lasting=lasting):
            sys.stderr.write(f"published in {arguments.directory / 'public'}\n")
        return self._tell(arguments)

    def _tell(self, arguments: argparse.Namespace) -> int:
        overview = self._open().publisher.overview(arguments.directory)
        sys.stdout.write(overview_json(overview) if arguments.json else overview_text(overview))
        return ExitStatus.DONE


def _days(number: int) -> timedelta:
    if not 1 <= number <= _MAX_DAYS:
        raise UsageError(f"expected a number of days from 1 to {_MAX_DAYS}, not {number}")
    return timedelta(days=number)


def _configure_directory(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("directory", metavar="DIR", type=Path, help="the directory of the feed")
    _configure_json(parser)


def _configure_json(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print the keys and the pending files as JSON")


def _configure_online(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--online-key", metavar="FILE", type=Path, help="the online key (default DIR/keys/online.pem)")
    _add_days(parser, "--online-days", ONLINE_LASTS, "snapshot and timestamp")


def _add_days(parser: argparse.ArgumentParser, option: str, default: timedelta, what: str) -> None:
    parser.add_argument(
        option, metavar="N", type=int, default=default.days, help=f"how long {what} last (default {default.days} days)"
    )


def _configure_init(parser: argparse.ArgumentParser) -> None:
    _configure_directory(parser)
    parser.add_argument("--keys", metavar="N", type=int, default=1, help="the number of maintainers' keys (default 1)")
    parser.add_argument(
        "--threshold", metavar="N", type=int, default=1, help="how many of them must sign (default 1: any one)"
    )
    _add_days(parser, "--root-days", ROOT_LASTS, "the root metadata")


def _configure_keys(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("directory", metavar="DIR", type=Path, nargs="?", help="the directory of the feed")
    parser.add_argument("--new", metavar="FILE", type=Path, help="write a new private key, and its public key as .pub")
    _configure_json(parser)


def _configure_publish(parser: argparse.ArgumentParser) -> None:
    _configure_directory(parser)
    parser.add_argument(
        "--from",
        dest="source",
        metavar="DIR|FILE",
        type=Path,
        required=True,
        help="a trust directory (manifest.toml), or the JSON of a bundle",
    )
    parser.add_argument("--version", metavar="N", type=int, help="the version of the bundle (default the next one)")
    _add_days(parser, "--days", TARGETS_LAST, "the bundle and its metadata")
    _configure_key(parser)
    _configure_online(parser)


def _configure_key(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--key", metavar="FILE", type=Path, action="append", default=[], help="sign with this key; may be repeated"
    )


def _configure_sign(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "place", metavar="DIR|FILE", type=Path, help="the directory of the feed, or a copy of one pending file"
    )
    parser.add_argument("--key", metavar="FILE", type=Path, required=True, help="the private key of a maintainer")
    _configure_online(parser)
    _configure_json(parser)


def _configure_show(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "place", metavar="DIR|FILE", type=Path, help="the directory of the feed, or a copy of one pending file"
    )


def _configure_renew(parser: argparse.ArgumentParser) -> None:
    _configure_directory(parser)
    _configure_online(parser)


def _configure_rotate(parser: argparse.ArgumentParser) -> None:
    _configure_directory(parser)
    parser.add_argument("--add", metavar="FILE", type=Path, action="append", default=[], help="a new public key (.pub)")
    parser.add_argument(
        "--remove", metavar="KEYID", action="append", default=[], help="a key of a maintainer to remove"
    )
    parser.add_argument("--threshold", metavar="N", type=int, help="how many maintainers must sign from then on")
    parser.add_argument("--online", metavar="FILE", type=Path, help="the public key of a new online key (.pub)")
    _add_days(parser, "--root-days", ROOT_LASTS, "the root metadata")
    _configure_key(parser)
    _configure_online(parser)
