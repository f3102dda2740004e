"""The agent replaces files atomically, and only their owner can read them."""

import os
from pathlib import Path

import pytest

from verifier.agent.files import write


def test_new_file_is_private_with_any_umask(tmp_path: Path) -> None:
    earlier = os.umask(0)
    try:
        write(tmp_path / "file", b"x")
    finally:
        os.umask(earlier)
    assert (tmp_path / "file").stat().st_mode & 0o777 == 0o600


def test_existing_readable_file_becomes_private(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"before")
    file.chmod(0o644)
    write(file, b"after")
    assert (file.read_bytes(), file.stat().st_mode & 0o777) == (b"after", 0o600)


def test_open_reader_still_sees_the_old_content(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"before")
    with file.open("rb") as reader:
        write(file, b"after")
        assert reader.read() == b"before"


def test_symbolic_link_is_replaced_not_followed(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.write_bytes(b"mine")
    (tmp_path / "file").symlink_to(elsewhere)
    write(tmp_path / "file", b"x")
    assert elsewhere.read_bytes() == b"mine"
    assert (tmp_path / "file").read_bytes() == b"x"


def test_failed_write_leaves_no_temporary_file(tmp_path: Path) -> None:
    (tmp_path / "file").mkdir()
    with pytest.raises(OSError, match="file"):
        write(tmp_path / "file", b"x")
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]
