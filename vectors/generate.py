"""Generate the vectors: `python vectors/generate.py`. Private keys are not stored.

A run generates new keys, and so changes every file but those of real documents. With `--add`, it generates only missing
vectors. New authorities sign these, and the run adds them to the trust directory. Recipes of such vectors must use the
shared PKI.
"""

import argparse
import shutil
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
# A manual run has neither tests/ nor the repository on the path.
sys.path[:0] = [str(HERE.parent / "tests"), str(HERE.parent)]

from vectors.recipes import (  # noqa: E402 - after the path is set
    accepted,
    attacks,
    authorities,
    azure_page,
    bounded,
    certificates,
    chains,
    claims,
    comparisons,
    exactness,
    forms,
    names,
    nonces,
    real_documents,
    signatures,
)
from verifier.core.reasons import Reason  # noqa: E402 - as above

MODULES = (
    forms,
    signatures,
    names,
    claims,
    chains,
    nonces,
    azure_page,
    accepted,
    exactness,
    bounded,
    certificates,
    attacks,
    comparisons,
    real_documents,
)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--add", action="store_true", help="generate only missing vectors")
    if parser.parse_args().add:
        add()
    else:
        make_all()


def add() -> None:
    missing = [recipe for module in MODULES for recipe in module.recipes() if not recipe.place(HERE).exists()]
    for recipe in missing:
        recipe.write(HERE)
    if not all(recipe.is_real for recipe in missing):
        authorities.extend_trust(HERE / "trust")
    authorities.add_real_trust(HERE / "trust")
    sys.stdout.write(f"{len(missing)} vectors added\n")


def make_all() -> None:
    for directory in (*Reason, "verified"):
        shutil.rmtree(HERE / directory, ignore_errors=True)
    authorities.write_trust(HERE / "trust")
    recipes = [recipe for module in MODULES for recipe in module.recipes()]
    for recipe in recipes:
        recipe.write(HERE)
    sys.stdout.write(f"{len(recipes)} vectors\n")


if __name__ == "__main__":
    main()
