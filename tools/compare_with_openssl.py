"""Compare the product with OpenSSL: chain cases with `openssl verify`, mutants of documents with `openssl cms -verify`.

Run from the repository: `make differential`, or `PYTHONPATH=tests .venv/bin/python tools/compare_with_openssl.py
[COUNT]`. COUNT is the number of mutants, 20,000 by default. They differ from run to run. The counts are printed. The
exit status is 1 if a chain case has a difference that is not listed, or if a document is a fault.
"""

import random
import sys
import warnings
from collections import Counter
from time import monotonic

from support.chain_cases import load_cases
from support.chain_cases.deciders import DECIDERS
from support.chain_cases.divergences import find_faults, load_divergences
from support.cms_differential import compare_all
from support.document_bases import BASES
from support.mutations import random_mutants

COUNT = 20_000


def main(arguments: list[str]) -> int:
    # cryptography warns of certificates that it will refuse one day. The service does not make warnings errors.
    warnings.simplefilter("ignore")
    faults = [*_compare_chains(), *_compare_documents(int(arguments[0]) if arguments else COUNT)]
    for fault in faults:
        sys.stdout.write(f"\nFAULT: {fault}\n")
    return 1 if faults else 0


def _compare_chains() -> list[str]:
    """Print how often each decider accepts, refuses, and differs from what is expected. Return the faults."""
    counts: dict[str, Counter[str]] = {name: Counter() for name in DECIDERS}
    faults = []
    for case in load_cases():
        decisions = {name: decide(case) for name, decide in DECIDERS.items()}
        for name, made in decisions.items():
            counts[name].update([made.decision, *(["different"] if made.decision != case.expected else [])])
        faults += [f"{case.name}: {fault}" for fault in find_faults(case, decisions, load_divergences())]
    sys.stdout.write(f"{len(load_cases())} chain cases\n")
    for name, count in counts.items():
        sys.stdout.write(
            f"{name:>14}: {count['accept']} accepted, {count['refuse']} refused, {count['different']} not as expected\n"
        )
    return faults


def _compare_documents(total: int) -> list[str]:
    """Print the outcomes of mutants of each base. Return the faults."""
    started = monotonic()
    seed = random.SystemRandom().randrange(1 << 32)
    outcomes: Counter[str] = Counter()
    faults: list[str] = []
    for base in BASES:
        mutants = random_mutants(base.make(), -(-total // len(BASES)), seed)
        tally = compare_all(mutants, is_accepted=base.is_accepted)
        outcomes += tally.outcomes
        faults += tally.faults
    sys.stdout.write(f"\n{total} mutants of documents with seed {seed}, {monotonic() - started:.0f} s\n")
    for outcome, number in outcomes.most_common():
        sys.stdout.write(f"{number:7}  {outcome}\n")
    return faults


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
