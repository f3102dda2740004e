"""What the model of redemption shows, as a table. `make model` explores each row and prints the shortest histories.

The suite explores the rows that are not long, with two posts. A third post is a repetition of one without a verdict.
"""

import sys
import time
from dataclasses import dataclass

from model.redemption import explore
from model.states import Restart, Setup


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """`accepted` is the largest number of acceptances of one nonce. The search stops at 2."""

    title: str
    setup: Setup
    accepted: int
    is_long: bool = False


#: Each server keeps its writes over a crash, unless the title says otherwise. Any server can become the primary.
DEPLOYMENTS = (
    Claim(title="one server", setup=Setup(replicas=0), accepted=1),
    Claim(
        title="one server that can restart with older data",
        setup=Setup(replicas=0, restart=Restart.OLDER),
        accepted=2,
    ),
    Claim(title="a replica, no WAIT", setup=Setup(), accepted=2),
    Claim(
        title="a replica, no WAIT, never two primaries",
        setup=Setup(has_two_primaries=False),
        accepted=2,
    ),
    Claim(
        title="a replica, no WAIT, no primary that lacks a write",
        setup=Setup(has_lagging_primary=False),
        accepted=2,
    ),
    Claim(
        title="a replica, no WAIT, neither of them",
        setup=Setup(has_two_primaries=False, has_lagging_primary=False),
        accepted=1,
    ),
    Claim(title="a replica, WAIT 1", setup=Setup(wait_replicas=1), accepted=1),
    Claim(title="a replica, WAIT 1, four posts", setup=Setup(wait_replicas=1, posts=4), accepted=1, is_long=True),
    Claim(
        title="a replica, WAIT 1, a server can restart with older data",
        setup=Setup(wait_replicas=1, restart=Restart.OLDER),
        accepted=2,
    ),
    Claim(
        title="a replica, WAIT 1, both servers can restart with older data, no primary that lacks a write of the other",
        setup=Setup(wait_replicas=1, restart=Restart.OLDER, has_lagging_primary=False),
        accepted=2,
    ),
    Claim(
        title="a replica, WAIT 1, a server can restart empty",
        setup=Setup(wait_replicas=1, restart=Restart.EMPTY),
        accepted=1,
    ),
    Claim(
        title="a document without a nonce, a replica, no WAIT",
        setup=Setup(remembers_documents=True),
        accepted=2,
    ),
    Claim(
        title="a document without a nonce, a replica, WAIT 1",
        setup=Setup(remembers_documents=True, wait_replicas=1),
        accepted=1,
    ),
    Claim(
        title="a document without a nonce, a replica, WAIT 1, a server can restart empty",
        setup=Setup(remembers_documents=True, wait_replicas=1, restart=Restart.EMPTY),
        accepted=2,
    ),
    Claim(
        title="two replicas, WAIT 1, never two primaries",
        setup=Setup(posts=2, replicas=2, wait_replicas=1, has_two_primaries=False, time_passes=False),
        accepted=2,
        is_long=True,
    ),
    Claim(
        title="two replicas, WAIT 1, no primary that lacks a write",
        setup=Setup(posts=2, replicas=2, wait_replicas=1, has_lagging_primary=False, time_passes=False),
        accepted=2,
        is_long=True,
    ),
    Claim(
        title="two replicas, WAIT 2",
        setup=Setup(posts=2, replicas=2, wait_replicas=2),
        accepted=1,
        is_long=True,
    ),
)

#: Faults of an implementation, each with the failures that show it.
MUTANTS = (
    Claim(
        title="the nonce is read first and marked later",
        setup=Setup(replicas=0, is_atomic=False),
        accepted=2,
    ),
    Claim(
        title="the answer to WAIT is not compared",
        setup=Setup(wait_replicas=1, checks_count=False),
        accepted=2,
    ),
    Claim(
        title="WAIT is sent on another connection",
        setup=Setup(wait_replicas=1, waits_for_own_write=False),
        accepted=2,
    ),
    Claim(
        title="a document without a nonce is forgotten while it is valid",
        setup=Setup(remembers_documents=True, wait_replicas=1, forgets_early=True),
        accepted=2,
    ),
)


def main() -> int:
    """Print each row with its figures. Return 1 if a claim does not hold."""
    faults = 0
    for claim in (*DEPLOYMENTS, *MUTANTS):
        began = time.perf_counter()
        result = explore(claim.setup)
        seconds = time.perf_counter() - began
        fault = "" if result.most_accepted == claim.accepted else f", EXPECTED {claim.accepted}"
        faults += bool(fault)
        sys.stdout.write(
            f"{claim.title}: accepted at most {result.most_accepted} times{fault}"
            f" ({result.states} states, {result.transitions} transitions, {seconds:.1f} s)\n"
        )
        for number, event in enumerate(result.counterexample, 1):
            sys.stdout.write(f"{number:6}. {event}\n")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
