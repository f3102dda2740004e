"""Secrets from files: exactly what the file holds but for the line's end, and never a word of it in a message."""

from pathlib import Path

import pytest

from verifier.adapters.settings.secret_files import MAX_BYTES, read_secret_files
from verifier.adapters.settings.settings import SettingsError, load_settings, secret_settings

VARIABLES = {"VERIFIER_NONCE_STORE": "nonce_store", "VERIFIER_OTHER": "other"}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "secret"


def read(file: Path) -> dict[str, str]:
    return read_secret_files({"VERIFIER_NONCE_STORE_FILE": str(file)}, VARIABLES)


@pytest.mark.parametrize(
    ("data", "secret"),
    [
        (b"redis://:s3cret@localhost/0", "redis://:s3cret@localhost/0"),
        (b"s3cret\n", "s3cret"),
        (b"s3cret\r\n", "s3cret"),
        (b"s3cret\n\n", "s3cret\n"),
        (b"s3cret\r", "s3cret\r"),
        (b" s3cret \n", " s3cret "),
        ("gehe\N{LATIN SMALL LETTER I}m\N{SNOWMAN}\n".encode(), "geheim\N{SNOWMAN}"),
        (b"x" * MAX_BYTES, "x" * MAX_BYTES),
    ],
)
def test_is_what_the_file_holds_but_for_one_end_of_line(file: Path, data: bytes, secret: str) -> None:
    file.write_bytes(data)
    assert read(file) == {"nonce_store": secret}


def test_reads_no_secret_without_a_file() -> None:
    assert read_secret_files({"VERIFIER_NONCE_STORE": "redis://localhost"}, VARIABLES) == {}


def test_each_of_several(file: Path) -> None:
    file.write_text("s3cret")
    environment = {"VERIFIER_NONCE_STORE_FILE": str(file), "verifier_other_file": str(file)}
    assert read_secret_files(environment, VARIABLES) == {"nonce_store": "s3cret", "other": "s3cret"}


@pytest.mark.parametrize("variable", ["VERIFIER_NONCE_STORE", "verifier_nonce_store"])
def test_refuses_the_value_and_the_file_at_once(file: Path, variable: str) -> None:
    file.write_text("s3cret")
    with pytest.raises(ValueError, match="VERIFIER_NONCE_STORE and VERIFIER_NONCE_STORE_FILE are both set") as refusal:
        read_secret_files({variable: "s3cret", "VERIFIER_NONCE_STORE_FILE": str(file)}, VARIABLES)
    assert "s3cret" not in str(refusal.value)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "is empty"),
        (b"\n", "is empty"),
        (b"\r\n", "is empty"),
        (b"s3cret\xff", "it is not UTF-8 text"),
        (b"s3cret" * MAX_BYTES, "is larger than"),
    ],
)
def test_refuses_a_file_that_holds_no_secret(file: Path, data: bytes, said: str) -> None:
    file.write_bytes(data)
    with pytest.raises(ValueError, match=f"^VERIFIER_NONCE_STORE_FILE: {file}:? {said}") as refusal:
        read(file)
    assert "s3cret" not in str(refusal.value)
    assert refusal.value.__cause__ is None


@pytest.mark.parametrize("kind", ["missing", "directory"])
def test_names_the_file_that_cannot_be_read(file: Path, kind: str) -> None:
    if kind == "directory":
        file.mkdir()
    with pytest.raises(ValueError, match=f"^VERIFIER_NONCE_STORE_FILE: {file}: [A-Z]"):
        read(file)


class TestSettings:
    @pytest.fixture(autouse=True)
    def _no_settings(self, monkeypatch: pytest.MonkeyPatch) -> None:
        for name in ("VERIFIER_CONFIG", "VERIFIER_NONCE_STORE"):
            monkeypatch.delenv(name, raising=False)

    def test_the_store_is_a_secret(self) -> None:
        assert "nonce_store" in secret_settings()

    def test_come_from_a_file(self, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        file.write_text("redis://:s3cret@localhost/0\n")
        monkeypatch.setenv("VERIFIER_NONCE_STORE_FILE", str(file))
        assert load_settings().nonce_store.get_secret_value() == "redis://:s3cret@localhost/0"

    def test_a_file_of_a_secret_counts_over_the_settings_file(
        self, file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        file.write_text("redis://:s3cret@localhost/0")
        config = tmp_path / "verifier.toml"
        config.write_text('nonce_store = "redis://other"')
        monkeypatch.setenv("VERIFIER_CONFIG", str(config))
        monkeypatch.setenv("VERIFIER_NONCE_STORE_FILE", str(file))
        assert load_settings().nonce_store.get_secret_value() == "redis://:s3cret@localhost/0"

    def test_a_file_that_is_missing_stops_the_start(self, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("VERIFIER_NONCE_STORE_FILE", str(file))
        with pytest.raises(SettingsError, match=f"VERIFIER_NONCE_STORE_FILE: {file}: No such file"):
            load_settings()

    def test_both_at_once_stop_the_start(self, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        file.write_text("redis://localhost")
        monkeypatch.setenv("VERIFIER_NONCE_STORE", "redis://localhost")
        monkeypatch.setenv("VERIFIER_NONCE_STORE_FILE", str(file))
        with pytest.raises(SettingsError, match="both set"):
            load_settings()

    @pytest.mark.parametrize(
        "name", ["VERIFIER_PORT_FILE", "VERIFIER_ADMIN_KEYS_FILE", "VERIFIER_NONCE_STORE_FILE_FILE"]
    )
    def test_a_file_for_what_is_no_secret_is_unknown(self, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv(name, "/nowhere")
        with pytest.raises(SettingsError, match=f"unknown setting {name}; expected one of .*VERIFIER_NONCE_STORE_FILE"):
            load_settings()
