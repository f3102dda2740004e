"""Implement `imds-verifier decisions`: search, follow and erase the records of appraisals in the configured store."""

import argparse
import json
import re
import sys
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from datetime import timedelta
from typing import TypeVar

from verifier.api.decision_queries import parse_code, parse_moment
from verifier.cli.commands import CommandParts, ExitStatus, UsageError
from verifier.cli.decision_text import decision_text
from verifier.core.values import dataclass
from verifier.core.vm_ids import parse_vm_id
from verifier.ports.clock import Clock
from verifier.ports.decisions import Selection, Verdict
from verifier.usecases.decisions import MAX_LIMIT, Decisions

#: `--follow` looks again at records of this time, because each worker writes its own a little later.
_OVERLAP = timedelta(minutes=2)
_FOLLOW_SECONDS = 1.0
#: How many request ids `--follow` remembers, so that it shows none twice.
_MAX_SEEN = 100_000
_DEFAULT_LIMIT = 100
_REQUEST_ID = re.compile(r"[0-9a-f]{32}")


_Write = Callable[[Mapping[str, object]], object]
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenDecisions:
    """Hold the decisions of one store, and the name of the store for the operator."""

    decisions: Decisions
    #: A URL with its password masked.
    store: str


#: Opens the decisions of the store that the settings name.
DecisionsOpener = Callable[[], OpenDecisions]


def decisions_command(open_decisions: DecisionsOpener, clock: Clock) -> CommandParts:
    def run(arguments: argparse.Namespace) -> int:
        selection = Selection(
            vm_id=arguments.vm_id,
            subscription_id=arguments.subscription_id,
            verdict=None if arguments.verdict is None else Verdict(arguments.verdict),
            code=arguments.code,
            plan=None if arguments.plan is None else arguments.plan.casefold(),
            since=arguments.since,
            until=arguments.until,
        )
        _check(arguments, selection)
        if arguments.action == "erase":
            return _erase(open_decisions, selection, arguments.tenant)
        write = _write_json if arguments.json else _write_text
        opened = open_decisions()
        if arguments.follow:
            return _follow(opened.decisions, selection, arguments.tenant, write, clock)
        if arguments.request_id is None:
            limit = sys.maxsize if arguments.all else arguments.limit
            found = _search(opened.decisions, selection, arguments.tenant, limit)
        else:
            found = _find(opened.decisions, arguments.request_id, arguments.tenant)
        is_found = False
        for decision in found:
            is_found = True
            write(decision)
        if not is_found:
            sys.stderr.write(f"imds-verifier decisions: none found in {opened.store}\n")
        return ExitStatus.DONE if is_found or arguments.request_id is None else ExitStatus.REFUSED

    return CommandParts(configure=_configure, run=run)


def as_argument(parse: Callable[[str], _T]) -> Callable[[str], _T]:
    """Return a reader of an option, which reports a ValueError of `parse` as a usage error."""

    def read(text: str) -> _T:
        try:
            return parse(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(str(error)) from error

    return read


def _configure(parser: argparse.ArgumentParser) -> None:
    parser.epilog = "Exit status: 0 done, 1 --request-id found no decision, 2 usage, 3 the store is unavailable."
    add = parser.add_argument
    add("action", nargs="?", choices=["erase"], help="delete every record of --vm-id or --subscription-id")
    add("--request-id", metavar="ID", type=as_argument(_request_id), help="show the decision of this request alone")
    add("--vm-id", metavar="GUID", type=as_argument(parse_vm_id), help="of this VM")
    add("--subscription-id", metavar="GUID", type=as_argument(parse_vm_id), help="of this subscription")
    add("--verdict", choices=[verdict.value for verdict in Verdict], help="with this verdict")
    add("--code", type=as_argument(parse_code), help="with this code: verified, or the code of a problem")
    add("--plan", metavar="NAME", help="of VMs with a plan of this name")
    add("--since", metavar="TIME", type=as_argument(parse_moment), help="from this time on: 2026-11-30T08:00:00Z")
    add("--until", metavar="TIME", type=as_argument(parse_moment), help="before this time")
    add("--tenant", metavar="NAME", help="of this tenant (default: of all). Empty: of requests without a valid key")
    number = parser.add_mutually_exclusive_group()
    number.add_argument(
        "--limit",
        metavar="NUMBER",
        type=as_argument(_number),
        default=_DEFAULT_LIMIT,
        help="show at most so many, the newest first (default %(default)s)",
    )
    number.add_argument("--all", action="store_true", help="show all, the newest first")
    number.add_argument("--follow", action="store_true", help="show new ones as they are written, until interrupted")
    add("--json", action="store_true", help="print one JSON object on each line")


def _check(arguments: argparse.Namespace, selection: Selection) -> None:
    """Raise UsageError for options that would have no effect: an erasure must be what it says."""
    is_listing = arguments.all or arguments.follow or arguments.limit != _DEFAULT_LIMIT
    if arguments.request_id is not None and (arguments.action or is_listing or selection != Selection()):
        raise UsageError("--request-id takes no other option than --tenant and --json")
    if arguments.action == "erase" and (is_listing or arguments.json):
        raise UsageError("erase takes one of --vm-id and --subscription-id, and --tenant")


def _search(
    decisions: Decisions, selection: Selection, tenant: str | None, limit: int
) -> Iterator[Mapping[str, object]]:
    """Yield at most `limit` decisions, the newest first, from as many pages as they need."""
    cursor = None
    while limit > 0:
        page = decisions.search(selection, tenant=tenant, cursor=cursor, limit=min(limit, MAX_LIMIT))
        yield from page.decisions
        limit -= len(page.decisions)
        cursor = page.cursor
        if cursor is None:
            return


def _find(decisions: Decisions, request_id: str, tenant: str | None) -> Iterator[Mapping[str, object]]:
    found = decisions.find(request_id, tenant=tenant)
    if found is not None:
        yield found


def _follow(decisions: Decisions, selection: Selection, tenant: str | None, write: _Write, clock: Clock) -> ExitStatus:
    """Show new decisions, the oldest first, until the process is interrupted."""
    seen: OrderedDict[object, None] = OrderedDict()
    since = selection.since or clock.now()
    try:
        while True:
            for decision in [*_search(decisions, replace(selection, since=since), tenant, _MAX_SEEN)][::-1]:
                if decision["requestId"] not in seen:
                    seen[decision["requestId"]] = None
                    write(decision)
            while len(seen) > _MAX_SEEN:
                seen.popitem(last=False)
            sys.stdout.flush()
            since = max(since, clock.now() - _OVERLAP)
            time.sleep(_FOLLOW_SECONDS)
    except KeyboardInterrupt:
        return ExitStatus.DONE


def _erase(open_decisions: DecisionsOpener, selection: Selection, tenant: str | None) -> ExitStatus:
    vm_id, subscription_id = selection.vm_id, selection.subscription_id
    if selection != Selection(vm_id=vm_id, subscription_id=subscription_id) or (vm_id is None) == (
        subscription_id is None
    ):
        raise UsageError("erase needs one of --vm-id and --subscription-id, and takes no other filter than --tenant")
    decisions = open_decisions().decisions
    if tenant is not None and tenant not in decisions.tenants():
        raise UsageError(f"--tenant: the store has nothing of a tenant {tenant!r}")
    erased = decisions.erase(tenant=tenant, vm_id=vm_id, subscription_id=subscription_id)
    sys.stdout.write(f"erased: {erased} decisions\n")
    return ExitStatus.DONE


def _write_json(decision: Mapping[str, object]) -> None:
    sys.stdout.write(f"{json.dumps(decision, separators=(',', ':'))}\n")


def _write_text(decision: Mapping[str, object]) -> None:
    sys.stdout.write(decision_text(decision))


def _request_id(text: str) -> str:
    if _REQUEST_ID.fullmatch(text) is None:
        raise ValueError("expected the 32 hex digits of a requestId")
    return text


def _number(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and 1 <= int(text[:10]) < 10**9):
        raise ValueError("expected a number from 1")
    return int(text)
