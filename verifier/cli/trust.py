"""Implement `imds-verifier trust`: show and change the trusted certificate authorities, in the configured store."""

import argparse
import getpass
import json
import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Protocol

from verifier.api import trust_json_codec
from verifier.api.json_codec import Json
from verifier.cli.commands import CommandParts, ExitStatus, UsageError, read_document_file, read_moment
from verifier.cli.trust_arguments import (
    configure_add,
    configure_denial,
    configure_export,
    configure_list,
    configure_sha256,
    configure_status,
    configure_update,
)
from verifier.cli.trust_check import check_trust, configure_check, require_source
from verifier.cli.trust_export import export_json, export_pins, export_text, write_overlay
from verifier.cli.trust_feed import FeedWorkshop, configure_feed
from verifier.cli.trust_proposal import LoadDirectory
from verifier.cli.trust_text import list_text, status_text
from verifier.core.encoding.moments import moment_json
from verifier.core.encoding.printable import printable
from verifier.core.trust.bundle import EXPIRY_WARNING, AuthorityIdentity, Denials, Origin, oddities_of
from verifier.core.trust.certificates import Certificate
from verifier.core.trust.clouds import Cloud
from verifier.core.values import dataclass
from verifier.ports.clock import Clock
from verifier.ports.stores import Unavailable
from verifier.ports.trust import FeedFailed, IssuerFetcher
from verifier.usecases.trust_administration import (
    TrustAdministration,
    UnfitAuthorityError,
    UnknownAuthorityError,
    read_authority,
)
from verifier.usecases.trust_feed import TrustFeed
from verifier.usecases.trust_survey import TrustSurvey, survey_trust

#: The largest certificate file, as in trust directories.
MAX_CERTIFICATE_BYTES = 64 * 1024

_UNSAFE = re.compile(r"[^A-Za-z0-9._@-]")


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenTrust:
    """Hold the use cases over one store and one trust directory, and the names of both for the operator."""

    administration: TrustAdministration
    #: Without a client: it shows and approves what was offered.
    feed: TrustFeed
    #: Returns the feed of a source with a root, or those of the settings in place of None. Raises FeedFailed.
    open_feed: Callable[[str | None, Path | None], TrustFeed]
    #: A URL with its password masked.
    store: str
    trust_directory: str
    #: Loads a trust directory in the form of the shipped one, or an overlay. Raises TrustError.
    load_directory: LoadDirectory

    def json(self) -> Json:
        return {"store": self.store, "trustDirectory": self.trust_directory}


class TrustOpener(Protocol):
    """Open the store and the trust directory of the settings. `create` permits it to create a missing store."""

    def __call__(self, *, create: bool) -> OpenTrust: ...


def trust_command(
    open_trust: TrustOpener,
    clock: Clock,
    create_fetcher: Callable[[], IssuerFetcher],
    open_workshop: Callable[[], FeedWorkshop],
) -> CommandParts:
    """Return the command. It calls the other arguments when a subcommand needs them."""
    actions = _Actions(open_trust=open_trust, clock=clock, create_fetcher=create_fetcher)

    def configure(parser: argparse.ArgumentParser) -> None:
        subparsers = parser.add_subparsers(dest="trust_command", required=True, metavar="ACTION")
        for name, summary, add_arguments, run in actions.table():
            subparser = subparsers.add_parser(name, help=summary, description=summary)
            add_arguments(subparser)
            subparser.add_argument(
                "--create", action="store_true", help="create the store of the settings if it does not exist"
            )
            subparser.add_argument(
                "--json", action="store_true", help="print the result as JSON, with the store and the trust directory"
            )
            subparser.set_defaults(trust_run=run)
        configure_feed(subparsers, open_workshop)

    def run(arguments: argparse.Namespace) -> int:
        try:
            status: int = arguments.trust_run(arguments)
        except Unavailable as error:
            sys.stderr.write(f"imds-verifier trust: {error.detail}\n")
            return ExitStatus.UNAVAILABLE
        except (UnknownAuthorityError, UnfitAuthorityError) as error:
            sys.stderr.write(f"refused: {error}\n")
            return ExitStatus.REFUSED
        return status

    return CommandParts(
        configure=configure,
        run=run,
    )


def operator_name() -> str:
    """Return the operator's name for the trust audit log: `cli:NAME`. Not checked: LOGNAME, which any user can set."""
    try:
        name = getpass.getuser()
    except (OSError, KeyError, ImportError):  # a container may run as a user without a name
        name = f"uid-{os.getuid()}" if hasattr(os, "getuid") else "unknown"
    return f"cli:{_UNSAFE.sub('_', name)[:64]}"


_Configure = Callable[[argparse.ArgumentParser], None]
_Run = Callable[[argparse.Namespace], int]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Actions:
    open_trust: TrustOpener
    clock: Clock
    create_fetcher: Callable[[], IssuerFetcher]

    def table(self) -> tuple[tuple[str, str, _Configure, _Run], ...]:
        return (
            ("status", "Show when trust expires, and what needs a decision.", configure_status, self.status),
            ("list", "Show every trusted certificate with its state.", configure_list, self.show_list),
            ("check", "Compare the pins with what Azure publishes.", configure_check, self.check),
            ("add", "Pin an intermediate authority from a file.", configure_add, self.add),
            ("approve", "Pin a discovered authority and the authorities above it.", configure_sha256, self.approve),
            ("reject", "Never admit any certificate of a CA.", configure_sha256, self.reject),
            ("remove", "Remove an operator's pin.", configure_sha256, self.remove),
            ("deny", "Revoke a key or serial number at once.", configure_denial, self.deny),
            ("allow", "Remove a denial.", configure_denial, self.allow),
            ("update", "Look at the trust feed now, and approve a version.", configure_update, self.update),
            ("export", "Print operators' pins as manifest entries and PEM.", configure_export, self.export),
        )

    def status(self, arguments: argparse.Namespace) -> int:
        if arguments.warn_days < 0:
            raise UsageError("--warn-days: expected a number of days from 0")
        warning = timedelta(days=arguments.warn_days)
        opened = self._open(arguments)
        survey = self._survey(arguments, opened)
        _print(
            arguments,
            opened,
            survey,
            status_text(survey, warning=warning, asked=[Cloud(name) for name in arguments.cloud or ()]),
        )
        counted = set(arguments.cloud or (cloud.cloud for cloud in survey.clouds if cloud.is_counted))
        holding = {cloud.cloud for cloud in survey.clouds if not cloud.ends_within(warning, at=survey.at)}
        return ExitStatus.DONE if counted <= holding else ExitStatus.REFUSED

    def show_list(self, arguments: argparse.Namespace) -> int:
        opened = self._open(arguments)
        survey = self._survey(arguments, opened)
        _print(arguments, opened, survey, list_text(survey))
        return ExitStatus.DONE

    def check(self, arguments: argparse.Namespace) -> int:
        require_source(arguments)
        opened = self._open(arguments)
        return check_trust(
            arguments,
            administration=opened.administration,
            place=opened.json(),
            clock=self.clock,
            create_fetcher=self.create_fetcher,
            load_directory=opened.load_directory,
        )

    def add(self, arguments: argparse.Namespace) -> int:
        raw = read_document_file(arguments.file, limit=MAX_CERTIFICATE_BYTES)
        if len(raw) > MAX_CERTIFICATE_BYTES:
            raise UsageError(f"{arguments.file}: larger than {MAX_CERTIFICATE_BYTES} bytes")
        with _value_errors_as_usage():
            certificate = trust_json_codec.read_pem(raw) if b"-----BEGIN " in raw else read_authority(raw)
            note = trust_json_codec.read_note(arguments.note)
        opened = self._open(arguments)
        self._warn_of(certificate, force=arguments.force)
        clouds = frozenset(Cloud(cloud) for cloud in arguments.cloud)
        opened.administration.pin(certificate, clouds, by=operator_name(), note=note)
        return self._changed(arguments, opened, f"pinned {certificate.sha256}")

    def approve(self, arguments: argparse.Namespace) -> int:
        sha256 = _read_sha256(arguments)
        opened = self._open(arguments)
        opened.administration.approve(sha256, by=operator_name())
        return self._changed(arguments, opened, f"approved {sha256}")

    def reject(self, arguments: argparse.Namespace) -> int:
        sha256 = _read_sha256(arguments)
        opened = self._open(arguments)
        opened.administration.reject(sha256, by=operator_name())
        return self._changed(arguments, opened, "\n".join((f"rejected {sha256}", *_pins_left(opened, sha256))))

    def remove(self, arguments: argparse.Namespace) -> int:
        sha256 = _read_sha256(arguments)
        opened = self._open(arguments)
        opened.administration.unpin(sha256, by=operator_name())
        return self._changed(arguments, opened, f"not pinned by an operator any more: {sha256}")

    def deny(self, arguments: argparse.Namespace) -> int:
        opened = self._open(arguments)
        opened.administration.deny(_read_denial(arguments, opened.administration), by=operator_name())
        return self._changed(arguments, opened, f"denied {arguments.what}")

    def allow(self, arguments: argparse.Namespace) -> int:
        opened = self._open(arguments)
        opened.administration.allow(_read_denial(arguments, opened.administration), by=operator_name())
        return self._changed(arguments, opened, f"denied no longer: {arguments.what}")

    def update(self, arguments: argparse.Namespace) -> int:
        opened = self._open(arguments)
        done = []
        changes = (arguments.approve, arguments.reject, arguments.leave, arguments.forget)
        if arguments.source is not None or not any(changes):
            try:
                status = opened.open_feed(arguments.source, arguments.root).look(by=operator_name())
            except FeedFailed as error:
                raise UnfitAuthorityError(str(error)) from error
            if status.problem:
                raise UnfitAuthorityError(status.problem)
            done.append("looked at the feed")
        if arguments.approve is not None:
            opened.feed.approve(arguments.approve, by=operator_name())
            done.append(f"version {arguments.approve} of the feed is in force")
        if arguments.reject is not None:
            opened.feed.reject(arguments.reject, by=operator_name())
            done.append(f"version {arguments.reject} of the feed is rejected")
        if arguments.leave:
            opened.feed.leave(by=operator_name())
            done.append("no version of the feed is in force")
        if arguments.forget:
            opened.feed.forget(by=operator_name())
            done.append("every version of the feed is forgotten, and none is in force")
        return self._changed(arguments, opened, "\n".join(done))

    def export(self, arguments: argparse.Namespace) -> int:
        opened = self._open(arguments)
        pins = export_pins(survey_trust(opened.administration, opened.feed, at=self.clock.now()).operator_pins)
        if arguments.into is not None:
            write_overlay(arguments.into, pins)
        elif arguments.json:
            sys.stdout.write(json.dumps({**export_json(pins), **opened.json()}, indent=2) + "\n")
        else:
            sys.stdout.write(export_text(pins))
        return ExitStatus.DONE

    def _open(self, arguments: argparse.Namespace) -> OpenTrust:
        """Open the store and print its name first, so that the output names it even if the command fails."""
        opened = self.open_trust(create=arguments.create)
        sys.stderr.write(f"store {opened.store}, trust directory {opened.trust_directory}\n")
        return opened

    def _warn_of(self, certificate: Certificate, *, force: bool) -> None:
        """Print a warning for each oddity of the certificate. Raises UnfitAuthorityError outside its validity."""
        now = self.clock.now()
        warnings = list(oddities_of(certificate))
        if not certificate.not_before <= now <= certificate.not_after:
            span = f"{moment_json(certificate.not_before)} to {moment_json(certificate.not_after)}"
            untimely = f"the certificate is valid from {span}, and it is {moment_json(now)}"
            if not force:
                raise UnfitAuthorityError(f"{untimely}; to pin it anyway, add --force")
            warnings.append(untimely)
        for warning in warnings:
            sys.stderr.write(f"warning: {warning}\n")

    def _survey(self, arguments: argparse.Namespace, opened: OpenTrust) -> TrustSurvey:
        at = read_moment("--at", arguments.at) if arguments.at else self.clock.now()
        return survey_trust(opened.administration, opened.feed, at=at)

    def _changed(self, arguments: argparse.Namespace, opened: OpenTrust, done: str) -> int:
        survey = survey_trust(opened.administration, opened.feed, at=self.clock.now())
        _print(arguments, opened, survey, f"{done}\n{status_text(survey, warning=EXPIRY_WARNING)}")
        return ExitStatus.DONE


def _print(arguments: argparse.Namespace, opened: OpenTrust, survey: TrustSurvey, text: str) -> None:
    if arguments.json:
        text = json.dumps({**trust_json_codec.survey_json(survey), **opened.json()}, indent=2) + "\n"
    sys.stdout.write(text)


def _pins_left(opened: OpenTrust, sha256: str) -> Iterable[str]:
    """Describe the pins and anchors of the rejected CA. A rejection does not remove them."""
    entries = opened.administration.bundle().entries
    rejected = {AuthorityIdentity.of(one) for one in opened.administration.known_authorities() if one.sha256 == sha256}
    for entry in entries:
        if entry.origin is not Origin.ADMITTED and AuthorityIdentity.of(entry.certificate) in rejected:
            subject = printable(entry.certificate.subject)
            yield f"still pinned, because a rejection does not remove pins: {entry.certificate.sha256} {subject}"


def _read_sha256(arguments: argparse.Namespace) -> str:
    with _value_errors_as_usage():
        return trust_json_codec.read_fingerprint(arguments.sha256)


def _read_denial(arguments: argparse.Namespace, administration: TrustAdministration) -> Denials:
    with _value_errors_as_usage():
        return administration.read_denial(arguments.what)


@contextmanager
def _value_errors_as_usage() -> Iterator[None]:
    try:
        yield
    except ValueError as error:
        raise UsageError(str(error)) from error
