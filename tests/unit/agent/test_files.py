"""What the agent writes is whole, or is not there."""

import os
from pathlib import Path

import pytest

from verifier.agent.files import write


def test_a_new_file_is_its_owners_alone_whatever_the_umask(tmp_path: Path) -> None:
    earlier = os.umask(0)
    try:
        write(tmp_path / "file", b"x")
    finally:
        os.umask(earlier)
    assert (tmp_path / "file").stat().st_mode & 0o777 == 0o600


def test_a_file_that_was_everybodys_is_so_no_more(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"before")
    file.chmod(0o644)
    write(file, b"after")
    assert (file.read_bytes(), file.stat().st_mode & 0o777) == (b"after", 0o600)


def test_who_reads_meanwhile_has_the_file_before(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"before")
    with file.open("rb") as reader:
        write(file, b"after")
        assert reader.read() == b"before"


def test_a_link_is_replaced_and_not_followed(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.write_bytes(b"mine")
    (tmp_path / "file").symlink_to(elsewhere)
    write(tmp_path / "file", b"x")
    assert elsewhere.read_bytes() == b"mine"
    assert (tmp_path / "file").read_bytes() == b"x"


def test_nothing_is_left_of_what_could_not_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").mkdir()
    with pytest.raises(OSError, match="file"):
        write(tmp_path / "file", b"x")
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]
