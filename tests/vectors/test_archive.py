"""The archive of the vectors in a release: it has every vector, no generator, and the same bytes each time."""

import subprocess
import sys
from pathlib import Path
from zipfile import ZipFile

from support.vectors import VECTORS, load_vectors

from verifier.cli.conformance_cases import read_cases, read_version

TOOL = VECTORS.parent / "tools" / "build_vectors.py"


def build(directory: Path) -> Path:
    directory.mkdir()
    command = [sys.executable, str(TOOL), str(directory), "1700000000"]
    return Path(subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip())


def test_the_archive_has_every_vector_and_the_same_bytes_each_time(tmp_path: Path) -> None:
    archive = build(tmp_path / "one")
    assert archive.read_bytes() == build(tmp_path / "two").read_bytes()

    with ZipFile(archive) as opened:
        opened.extractall(tmp_path)
    root = tmp_path / f"imds-verifier-vectors-{read_version(VECTORS)}"
    names = {path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file()}
    assert {f"vectors/{vector.name}/case.toml" for vector in load_vectors()} <= names
    assert {"LICENSE", "docs/integrate/vectors.md", "vectors/README.md", "vectors/case.schema.json"} <= names
    assert not any(name.endswith(".py") for name in names)
    assert [case.name for case in read_cases(root / "vectors")] == [vector.name for vector in load_vectors()]
