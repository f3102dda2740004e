"""Appraise mutants of a signer's certificate that its CA signed again: each is refused or accepted, and nothing else.

Run from the repository: `make certificate-mutants`, or
`PYTHONPATH=tests .venv/bin/python tools/mutate_certificates.py [COUNT]`.
COUNT is how many to take from all mutants by chance, with a fixed seed: 10,000 if it is missing. The keys are new ones
in each run. What the accepted ones differ in is printed with the reason. The exit status is 1 if an exception other
than a refusal came up, or an accepted mutant differs in something that has no reason.
"""

import random
import sys
import warnings
from collections import Counter
from time import process_time

from support.certificate_mutants import EXPLAINED, all_mutants, differences, mint

COUNT = 10_000
KINDS = ("EC", "RSA")


def main(arguments: list[str]) -> int:
    # cryptography warns of names that it will refuse one day. The service does not make warnings errors.
    warnings.simplefilter("ignore")
    chosen = [(kind, mutant) for kind in KINDS for mutant in all_mutants(kind)]
    total = len(chosen)
    count = min(int(arguments[0]) if arguments else COUNT, total)
    chosen = random.Random(count).sample(chosen, count)  # noqa: S311 - the same ones in every run
    outcomes: Counter[str] = Counter()
    accepted: Counter[str] = Counter()
    faults: list[str] = []
    started = process_time()
    for kind, mutant in chosen:
        try:
            reason = mint(kind).appraise(mutant)
        except Exception as error:  # noqa: BLE001 - this is what is looked for
            outcomes["EXCEPTION"] += 1
            faults.append(f"{type(error).__name__}: {error}, for the signed part {mutant.hex()}")
            continue
        outcomes[reason.value if reason else "accepted"] += 1
        if reason is None:
            accepted.update(differences(mint(kind).tbs, mutant))
    sys.stdout.write(f"{count} of {total} mutants, {process_time() - started:.0f} s of CPU time\n\n")
    for outcome, number in outcomes.most_common():
        sys.stdout.write(f"{number:7}  {outcome}\n")
    sys.stdout.write("\nThe accepted ones differ in (some in several things):\n")
    for difference, number in accepted.most_common():
        sys.stdout.write(f"{number:7}  {difference}: {EXPLAINED.get(difference, 'NO REASON')}\n")
    for fault in faults:
        sys.stdout.write(f"\n{fault}\n")
    return 1 if faults or accepted.keys() - EXPLAINED.keys() else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
