"""Test the tests: change the code of one module at a time, and list the changes that its own tests do not notice.

Run from the repository: `make mutants`, `make mutants PART=core SHARD=1/8`, or
`make mutants MODULE=verifier/core/names.py`.
tests/mutants/README.md says how it works, and how to read the result.
"""

import argparse
import os
import sys
import time
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path

from listing import Listing, Part, Score, choose_modules, read_listing, read_parts, read_warm
from processes import Module, MutationError, load_module, survivors

DIRECTORY = Path("tests/mutants")
#: RSA keys that a process takes before it makes its own, by their bits.
_KEYS = {2047: 1, 2048: 12, 3072: 2}


def main() -> int:
    arguments = _arguments()
    parts = read_parts(DIRECTORY / "parts.toml")
    listing = read_listing(DIRECTORY / "equivalent.toml")
    _prepare(read_warm(DIRECTORY / "parts.toml"))
    sys.stdout.write(f"{'module':44} {'mutants':>7} {'killed':>6} {'equal':>5} {'left':>4} {'score':>6} {'time':>6}\n")
    faults: list[str] = []
    for part in parts:
        if arguments.part not in {"", part.name}:
            continue
        modules = choose_modules(part)
        paths = [path for path in arguments.module if path in modules] if arguments.module else modules
        faults += _run_part(part, paths, listing, arguments)
    return 1 if faults else 0


def _run_part(part: Part, paths: list[str], listing: Listing, arguments: argparse.Namespace) -> list[str]:
    total = Score()
    faults: list[str] = []
    for path in paths:
        started = time.monotonic()
        if not part.tests_of(path):
            faults += _report(f"{path:44} has no tests", [f"{path}: no tests"])
            continue
        module = load_module(path, part.tests_of(path))
        try:
            score, found = _run_module(module, part, listing, arguments)
        except MutationError as error:
            faults += _report(f"{path:44} not run", [str(error)])
            continue
        faults += _report(f"{score.row(path)} {time.monotonic() - started:5.0f}s", found)
        total += score
    if not arguments.module:
        faults += _report(total.row(f"= {part.name}"), total.faults(part))
    return faults


def _report(row: str, faults: list[str]) -> list[str]:
    sys.stdout.write("".join(f"{line}\n" for line in [row, *(f"  {fault}" for fault in faults)]))
    sys.stdout.flush()
    return faults


def _run_module(module: Module, part: Part, listing: Listing, arguments: argparse.Namespace) -> tuple[Score, list[str]]:
    number, of = arguments.shard
    counted = [index for index, mutant in enumerate(module.mutants) if not part.is_wording(module.path, mutant)]
    chosen = counted[number - 1 :: of]
    listed = listing.of(module.path)
    certain = [index for index in chosen if arguments.quick or module.mutants[index].key in listed]
    left = set(survivors(module, chosen, jobs=arguments.jobs, certain=certain))
    faults = [f"{module.path}: listed, and does not exist: {key}" for key in listed - {m.key for m in module.mutants}]
    equal = 0
    for index in chosen:
        mutant = module.mutants[index]
        if mutant.key in listed and index in left:
            equal += 1
        elif mutant.key in listed:
            faults.append(f"{module.path}:{mutant.line}: listed as equivalent, and killed: {mutant.key}")
        elif index in left:
            shown = f" (number {mutant.number})" if mutant.number > 1 else ""
            faults.append(
                f"{module.path}:{mutant.line}: survives in {mutant.function or 'the module'}: "
                f"{mutant.before}  ->  {mutant.after}{shown}"
            )
    return Score(mutants=len(chosen), killed=len(chosen) - len(left), equivalent=equal), faults


def _prepare(warm: Sequence[str]) -> None:
    """Import what the tests import, except the package."""
    for name in warm:
        import_module(name)
    if "hypothesis" in sys.modules:
        _choose_examples()
    if "cryptography.hazmat.primitives.asymmetric.rsa" in sys.modules:
        _share_keys()
    if any(name.partition(".")[0] == "verifier" for name in sys.modules):
        sys.exit("mutants: the package is imported before the forks")


def _choose_examples() -> None:
    """Let property tests take the same few examples for each mutant."""
    import hypothesis  # noqa: PLC0415 - imported already, if the tests need it

    hypothesis.settings.register_profile(
        "mutants",
        deadline=None,
        derandomize=True,
        database=None,
        max_examples=25,
        suppress_health_check=list(hypothesis.HealthCheck),
        phases=[hypothesis.Phase.explicit, hypothesis.Phase.generate],
    )
    os.environ["HYPOTHESIS_PROFILE"] = "mutants"


def _share_keys() -> None:
    """Make the RSA keys of the tests once, and not in each fork: it takes longer than most tests."""
    from cryptography.hazmat.primitives.asymmetric import rsa  # noqa: PLC0415 - as above

    make = rsa.generate_private_key
    pool = {bits: [make(public_exponent=65537, key_size=bits) for _ in range(count)] for bits, count in _KEYS.items()}

    def take(public_exponent: int, key_size: int, backend: object = None) -> rsa.RSAPrivateKey:  # noqa: ARG001 - the signature of the library
        kept = pool.get(key_size, []) if public_exponent == 65537 else []  # noqa: PLR2004 - the usual exponent
        return kept.pop() if kept else make(public_exponent=public_exponent, key_size=key_size)

    rsa.generate_private_key = take


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="mutants", description=__doc__)
    parser.add_argument("--part", default="", help="only this part of tests/mutants/parts.toml")
    parser.add_argument("--module", default=[], nargs="+", help="only these modules")
    parser.add_argument("--shard", default="1/1", type=_shard, help="each N-th mutant, as in 1/8")
    parser.add_argument("--quick", action="store_true", help="try each survivor once: some are killed by a second try")
    parser.add_argument("--jobs", default=1, type=int, help="how many mutants at the same time")
    return parser.parse_args()


def _shard(text: str) -> tuple[int, int]:
    number, _, of = text.partition("/")
    if not 0 < int(number) <= int(of):
        raise ValueError(text)
    return int(number), int(of)


if __name__ == "__main__":
    sys.exit(main())
