"""Send hostile inputs to the verifier and print a table of the outcomes.

`make hostile` runs this from the repository. The inputs are mutants of documents, of requests and of signers'
certificates, which their CA signs again. The exit status is 1 if an input

- caused an exception other than a refusal, or an answer with status 500,
- was accepted and differs from the original in a way that has no name in the table, or
- cost more than 250 RSA-2048 verifications without the chain check.

The same seed and number of processes give the same changes. The keys are new in each process.
"""

import argparse
import multiprocessing
import sys
import warnings
from collections.abc import Callable

from support.hostile_certificates import attack_certificates
from support.hostile_documents import attack_documents, document_cost
from support.hostile_requests import attack_requests
from support.tally import Tally, confirm_costs

_ATTACKS: dict[str, Callable[[int, int], Tally]] = {
    "documents": attack_documents,
    "requests": attack_requests,
    "certificates": attack_certificates,
}
_COSTS: dict[str, Callable[[bytes], float]] = {"documents": document_cost, "certificates": document_cost}
#: The most shards for each seed, so that shards of two seeds differ.
_MAX_PROCESSES = 64


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(description="Send hostile inputs to the verifier.")
    for kind in _ATTACKS:
        parser.add_argument(f"--{kind}", type=int, default=0, metavar="NUMBER", help=f"how many {kind}")
    parser.add_argument("--processes", type=int, choices=range(1, _MAX_PROCESSES + 1), default=1, metavar="NUMBER")
    parser.add_argument("--seed", type=int, default=1)
    options = vars(parser.parse_args(arguments))
    faults = 0
    for kind in _ATTACKS:
        if options[kind]:
            tally = _run(kind, options[kind], processes=options["processes"], seed=options["seed"])
            faults += tally.fault_count
            _print(tally)
    return 1 if faults else 0


def _run(kind: str, number: int, *, processes: int, seed: int) -> Tally:
    shares = [number * (shard + 1) // processes - number * shard // processes for shard in range(processes)]
    parts = [(kind, share, seed * _MAX_PROCESSES + shard) for shard, share in enumerate(shares)]
    tally = Tally(kind=kind)
    if processes == 1:
        tally.add(_attack(*parts[0]))
    else:
        with multiprocessing.get_context("spawn").Pool(processes) as pool:
            for part in pool.starmap(_attack, parts):
                tally.add(part)
    if kind in _COSTS:
        confirm_costs(tally, _COSTS[kind])
    return tally


def _attack(kind: str, number: int, seed: int) -> Tally:
    # cryptography warns of names that it will refuse one day. The service does not make warnings errors.
    warnings.simplefilter("ignore")
    return _ATTACKS[kind](number, seed)


def _print(tally: Tally) -> None:
    cost = f", at most {tally.worst:.0f} RSA verifications each" if tally.worst else ""
    lines = [f"{tally.number:,} {tally.kind}, {tally.seconds:.0f} s of CPU time{cost}, {tally.fault_count} faults"]
    lines += [f"{count:10,}  refused: {code}" for code, count in tally.refused.most_common()]
    lines += [f"{count:10,}  accepted: {name}" for name, count in tally.accepted.most_common()]
    lines += [f"FAULT {fault}" for fault in tally.faults]
    sys.stdout.write("\n".join(lines) + "\n\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
