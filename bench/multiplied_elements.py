"""What the worst document of each kind costs up to the chain step, in RSA-2048 verifications.

Run from the repository: `PYTHONPATH=.:tests python bench/multiplied_elements.py`. For each kind of element that a
sender can multiply (tests/support/multiplied.py) it appraises documents with as many as fit in 16 KiB, as many as fit
in the largest certificate, and as many as the bounds allow, and shows the dearest. Each figure is CPU time: the least
of several documents that no cache knows.
"""

import sys

from support.appraisal_cost import ROUNDS, cost_of, verification_seconds
from support.multiplied import KINDS

#: No document may cost more.
LIMIT = 250


def main() -> int:
    unit = verification_seconds()
    rows = []
    for kind in KINDS:
        costs: dict[int, tuple[float, int, str]] = {}
        for serial_number in range(1, ROUNDS + 1):
            for count, document in kind.documents(serial_number):
                seconds, outcome = cost_of(document)
                best = costs.get(count)
                if best is None or seconds < best[0]:
                    costs[count] = (seconds, len(document), outcome)
        count, (seconds, size, outcome) = max(costs.items(), key=lambda item: item[1][0])
        rows.append((seconds / unit, count, size, kind.name, outcome))
    sys.stdout.write(
        f"one RSA-2048 verification: {unit * 1e6:.1f} us\n\n{'cost':>7} {'number':>6} {'bytes':>6}  kind\n"
    )
    for cost, count, size, name, outcome in sorted(rows, reverse=True):
        sys.stdout.write(f"{cost:7.1f} {count:6} {size:6}  {name}: {outcome}\n")
    return 0 if max(rows)[0] < LIMIT else 1


if __name__ == "__main__":
    sys.exit(main())
