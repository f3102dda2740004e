"""Which files `verify` finds, in which order, and how many names it looks at."""

from pathlib import Path

import pytest

from verifier.cli.commands import UsageError
from verifier.cli.document_files import find_documents


def write(directory: Path, *names: str) -> None:
    for name in names:
        file = directory / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(b"")


def names(directory: Path, *arguments: str, limit: int = 100) -> list[str]:
    found = find_documents(arguments or (str(directory),), limit=limit)
    return [file.name.removeprefix(f"{directory}/") for file in found.files]


def test_finds_the_files_of_a_directory_before_those_of_its_directories_by_name(tmp_path: Path) -> None:
    write(tmp_path, "b", "a", "z/2", "z/1", "c/x/3", "c/4")
    assert names(tmp_path) == ["a", "b", "c/4", "c/x/3", "z/1", "z/2"]


def test_keeps_the_order_of_the_arguments_and_standard_input(tmp_path: Path) -> None:
    write(tmp_path, "one/1", "two")
    assert names(tmp_path, "-", f"{tmp_path}/two", f"{tmp_path}/one") == ["-", "two", "one/1"]


def test_skips_hidden_names_and_links_to_directories(tmp_path: Path) -> None:
    write(tmp_path, "a", ".b", ".git/c", "inner/d")
    (tmp_path / "inner" / "up").symlink_to(tmp_path)
    (tmp_path / "e").symlink_to(tmp_path / "a")
    found = find_documents((str(tmp_path),))
    assert [Path(file.name).name for file in found.files] == ["a", "e", "d"]
    assert found.skipped == 3


def test_searches_a_hidden_directory_and_a_link_that_are_named(tmp_path: Path) -> None:
    write(tmp_path, ".archive/a")
    (tmp_path / "link").symlink_to(tmp_path / ".archive")
    assert names(tmp_path, f"{tmp_path}/.archive", f"{tmp_path}/link") == [".archive/a", "link/a"]


def test_keeps_a_name_that_cannot_be_opened_with_its_fault(tmp_path: Path) -> None:
    (tmp_path / "broken").symlink_to(tmp_path / "nowhere")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    faults = {Path(file.name).name: file.fault for file in find_documents((str(tmp_path),)).files}
    assert faults.keys() == {"broken", "loop"}
    assert all(faults.values())


def test_refuses_more_names_than_the_limit(tmp_path: Path) -> None:
    write(tmp_path, "a", ".b", "inner/c")
    assert len(names(tmp_path, limit=4)) == 2
    for limit in range(4):
        with pytest.raises(UsageError, match=f"^more than {limit} names"):
            find_documents((str(tmp_path),), limit=limit)
    with pytest.raises(UsageError, match=r"^more than 1 names"):
        find_documents(("a", "b"), limit=1)


def test_finds_a_file_in_deep_directories(tmp_path: Path) -> None:
    """A recursive search would exceed Python's limit of 1,000 calls."""
    deepest = tmp_path
    for _ in range(1200):
        deepest /= "d"
        deepest.mkdir()
    file = deepest / "a"
    file.write_bytes(b"")
    assert names(tmp_path, limit=2000) == [str(file.relative_to(tmp_path))]
    # shutil.rmtree, with which pytest cleans up, is recursive.
    file.unlink()
    while deepest != tmp_path:
        deepest.rmdir()
        deepest = deepest.parent
