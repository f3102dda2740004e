"""The agent reads key files, and replaces other files atomically so that only their owner can read them."""

import os
from pathlib import Path

import pytest

from verifier.agent.files import read_key, write


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


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (b"\xff\xff", "is not text in UTF-8, or in UTF-16 with a byte order mark"),
        (b"k" * 65_537, "is larger than 65536 bytes"),
        (b"\n# mine\n" + b"s3cret" * 7 + b"k\n", "has 3 lines; line 3 has the form of a key: keep only this line"),
        (b"", "is empty"),
        (b" \r\n", "is empty"),
        (b"sha256: 1\nkey: s3cret\n", "begins with the hash of the key: keep only the line that begins with key:"),
        (b"key: s3cret\nuser: me\n", "has 2 lines; it must have only the key"),
    ],
)
def test_key_file_is_refused_with_what_it_has_and_without_its_content(
    tmp_path: Path, content: bytes, fault: str
) -> None:
    file = tmp_path / "key"
    file.write_bytes(content)
    with pytest.raises(ValueError, match=f"^the key file {file} {fault}$") as refusal:
        read_key(file)
    assert "s3cret" not in str(refusal.value)
    assert refusal.value.__cause__ is None
