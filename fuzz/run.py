"""Fuzz one target with atheris: `python fuzz/run.py TARGET [OPTION OF LIBFUZZER]... [CORPUS]...`.

`make fuzz` runs this. The process ends with a status other than 0 and writes the input to a file when an input violates
the property of the target, takes too long, or takes too much memory.
"""

import importlib
import sys

import atheris

#: The code whose branches guide the fuzzer.
INSTRUMENTED = ("verifier", "tomllib", "json")


def main(arguments: list[str]) -> None:
    program, target, *options = arguments
    with atheris.instrument_imports(include=list(INSTRUMENTED)):
        harness = importlib.import_module(f"harnesses.{target}")

    def run(data: bytes) -> None:
        harness.check(data)

    # To merge a corpus, libFuzzer starts this command again.
    atheris.Setup([f"{sys.executable} {program} {target}", *options], run)
    atheris.Fuzz()


if __name__ == "__main__":
    main(sys.argv)
