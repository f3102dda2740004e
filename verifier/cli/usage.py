"""Implement `imds-verifier usage`: count the distinct VMs that were verified, in the configured store."""

import argparse
import csv
import json
import sys
from collections.abc import Callable, Sequence

from verifier.api.decision_answers import UsageJson
from verifier.api.decision_queries import Period, parse_day
from verifier.api.decision_routes import usage_json
from verifier.cli.commands import CommandParts, ExitStatus, UsageError
from verifier.cli.decisions import DecisionsOpener, as_argument
from verifier.core.encoding.printable import printable
from verifier.ports.clock import Clock
from verifier.ports.decisions import NO_TENANT, Dimension

#: Spreadsheets run cells that start with one of these as formulas.
_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")


def usage_command(open_decisions: DecisionsOpener, clock: Clock) -> CommandParts:
    def run(arguments: argparse.Namespace) -> int:
        try:
            period = Period.of(arguments.first, arguments.last, today=clock.now().date())
        except ValueError as error:
            raise UsageError(str(error)) from error
        by = Dimension(arguments.by)
        decisions = open_decisions().decisions
        names = (arguments.tenant,) if arguments.tenant else (name for name in decisions.tenants() if name != NO_TENANT)
        answers = [
            usage_json(
                decisions.usage(period.first, period.last, tenant=name, by=by), by.value, period=period, tenant=name
            )
            for name in names
        ]
        write = _write_csv if arguments.csv else _write_json if arguments.json else _write_text
        write(answers)
        return ExitStatus.DONE

    return CommandParts(configure=_configure, run=run)


def _configure(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    day: Callable[[str], object] = as_argument(parse_day)
    add("--from", dest="first", metavar="DAY", type=day, help="first day in UTC (default: the first of the month)")
    add("--to", dest="last", metavar="DAY", type=day, help="last day, included (default: today)")
    add("--by", choices=[by.value for by in Dimension], default=Dimension.PLAN.value, help="default %(default)s")
    add("--tenant", metavar="NAME", help="of this tenant (default: of each)")
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--csv", action="store_true", help="print CSV with a header")
    form.add_argument("--json", action="store_true", help="print one JSON object for each tenant")


def _write_csv(answers: Sequence[UsageJson]) -> None:
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(("tenant", "from", "to", "by", "value", "virtualMachines", "exact", "isComplete"))
    for answer in answers:
        numbers = [(answer["by"], group["value"], group["virtualMachines"]) for group in answer["groups"]]
        for by, value, number in [*numbers, ("total", "", answer["total"])]:
            text = printable(f"'{value}" if value.startswith(_FORMULA_STARTS) else value)
            period = (answer["tenant"], answer["from"], answer["to"])
            writer.writerow((*period, by, text, number, answer["exact"], answer["isComplete"]))


def _write_json(answers: Sequence[UsageJson]) -> None:
    for answer in answers:
        sys.stdout.write(f"{json.dumps(answer)}\n")


def _write_text(answers: Sequence[UsageJson]) -> None:
    for answer in answers:
        error = "" if answer["exact"] else f", an estimate with a standard error of {answer['standardError']:.1%}"
        total, first, last = answer["total"], answer["from"], answer["to"]
        sys.stdout.write(
            f"{printable(answer['tenant'])}: {total} {'VM' if total == 1 else 'VMs'} from {first} to {last}{error}\n"
        )
        if not answer["isComplete"]:
            since = answer["countedSince"]
            sys.stdout.write(f"  incomplete: counted since {since}\n" if since else "  incomplete: never counted\n")
        for group in answer["groups"]:
            name = printable(group["value"]).strip("/") or f"(no {answer['by']})"
            sys.stdout.write(f"  {group['virtualMachines']:>9}  {name}\n")
