"""Makes all vectors anew: `python tests/vectors/generate.py`. Private keys are made, used and forgotten.

Every run makes other keys, and so changes every file.
"""

import shutil
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
# Run by hand, so that neither tests/ nor the repository is on the path.
sys.path[:0] = [str(HERE.parent), str(HERE.parents[1])]

from vectors.recipes import (  # noqa: E402 - after the path is set
    accepted,
    authorities,
    azure_page,
    chains,
    claims,
    forms,
    names,
    nonces,
    signatures,
)

from verifier.core.reasons import Reason  # noqa: E402 - as above

MODULES = (forms, signatures, names, claims, chains, nonces, azure_page, accepted)


def main() -> None:
    for directory in (*Reason, "verified"):
        shutil.rmtree(HERE / directory, ignore_errors=True)
    authorities.write_trust(HERE / "trust")
    recipes = [recipe for module in MODULES for recipe in module.recipes()]
    for recipe in recipes:
        recipe.write(HERE)
    sys.stdout.write(f"{len(recipes)} vectors\n")


if __name__ == "__main__":
    main()
