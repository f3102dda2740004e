"""Make the source tree of the distribution imds-verifier-relying-party: `relying_party_source.py DIRECTORY`.

The package stays in verifier/, beside the rest. Any build tool makes a wheel and an sdist of the tree.
"""

import shutil
import sys
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[1]
PACKAGING: Final = ROOT / "packaging" / "relying-party"
PACKAGE: Final = ROOT / "verifier" / "relying_party"


def make_source(directory: Path) -> None:
    """Replace the directory. Times of files are kept, so that an unchanged tree is not built again."""
    shutil.rmtree(directory, ignore_errors=True)
    shutil.copytree(PACKAGE, directory / "verifier" / "relying_party", ignore=shutil.ignore_patterns("__pycache__"))
    for file in (PACKAGING / "pyproject.toml", PACKAGING / "README.md", ROOT / "LICENSE"):
        shutil.copy2(file, directory / file.name)


if __name__ == "__main__":
    make_source(Path(sys.argv[1]))
