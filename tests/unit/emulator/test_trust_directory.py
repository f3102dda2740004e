"""A trust directory is complete, contains no key, and replaces only one that an emulator wrote."""

import hashlib
import ssl
import tomllib
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization

from verifier.emulator import trust_directory as subject
from verifier.emulator.clouds import AzureCloud
from verifier.emulator.pki import Pki
from verifier.emulator.trust_directory import (
    ForeignDirectoryError,
    TrustedCertificate,
    write_trust_directory,
)

CLOUD = AzureCloud.PUBLIC


def certificates(pki: Pki) -> tuple[TrustedCertificate, ...]:
    return (
        TrustedCertificate(name="emulator-root", role="root", certificate=pki.root.certificate),
        TrustedCertificate(name="emulator-issuing-ca", role="intermediate", certificate=pki.issuing_ca.certificate),
    )


def test_manifest_lists_the_certificates(pki: Pki, tmp_path: Path) -> None:
    directory = tmp_path / "trust"
    write_trust_directory(directory, cloud=CLOUD, certificates=certificates(pki))
    manifest = tomllib.loads((directory / "manifest.toml").read_text(encoding="utf-8"))
    assert manifest["format"] == 1
    assert manifest["mode"] == "replace"
    assert manifest["clouds"] == {
        "AzurePublicCloud": {"domain": "metadata.azure.com", "anchors": ["roots/emulator-root.pem"]}
    }
    root, intermediate = manifest["certificates"]
    assert (root["file"], root["role"]) == ("roots/emulator-root.pem", "root")
    assert (intermediate["file"], intermediate["role"]) == ("intermediates/emulator-issuing-ca.pem", "intermediate")
    for entry, identity in ((root, pki.root), (intermediate, pki.issuing_ca)):
        assert entry["clouds"] == ["AzurePublicCloud"]
        assert entry["source"] == "urn:imds-verifier:emulator"
        pem = (directory / entry["file"]).read_text(encoding="ascii")
        assert x509.load_pem_x509_certificates(pem.encode()) == [identity.certificate]
        assert entry["sha256"] == hashlib.sha256(ssl.PEM_cert_to_DER_cert(pem)).hexdigest()


def test_directory_has_certificates_and_no_key(pki: Pki, tmp_path: Path) -> None:
    directory = tmp_path / "trust"
    write_trust_directory(directory, cloud=CLOUD, certificates=certificates(pki))
    files = sorted(file for file in directory.rglob("*") if file.is_file())
    assert [file.relative_to(directory).as_posix() for file in files] == [
        "intermediates/emulator-issuing-ca.pem",
        "manifest.toml",
        "roots/emulator-root.pem",
    ]
    assert all("PRIVATE" not in file.read_text(encoding="utf-8") for file in files)


def test_no_temporary_directory_remains(pki: Pki, tmp_path: Path) -> None:
    write_trust_directory(tmp_path / "trust", cloud=CLOUD, certificates=certificates(pki))
    assert [entry.name for entry in tmp_path.iterdir()] == ["trust"]


def test_directory_has_the_default_mode(pki: Pki, tmp_path: Path) -> None:
    directory = tmp_path / "trust"
    write_trust_directory(directory, cloud=CLOUD, certificates=certificates(pki))
    plain = tmp_path / "plain"
    plain.mkdir()
    assert directory.stat().st_mode == plain.stat().st_mode


def test_missing_parents_are_created(pki: Pki, tmp_path: Path) -> None:
    directory = tmp_path / "a" / "b"
    write_trust_directory(directory, cloud=CLOUD, certificates=certificates(pki))
    assert (directory / "manifest.toml").is_file()


def test_emulator_directory_and_empty_directory_are_replaced(pki: Pki, tmp_path: Path) -> None:
    directory = tmp_path / "trust"
    directory.mkdir()
    write_trust_directory(directory, cloud=CLOUD, certificates=certificates(pki))
    write_trust_directory(directory, cloud=CLOUD, certificates=certificates(pki)[:1])
    assert [file.name for file in directory.rglob("*.pem")] == ["emulator-root.pem"]
    assert [entry.name for entry in tmp_path.iterdir()] == ["trust"]


@pytest.mark.parametrize(
    "manifest",
    [
        None,
        "",
        "not toml",
        "x = " + "9" * 5000,
        "x = " + "[" * 5000,
        'certificates = "x"',
        '[[certificates]]\nsource = "https://www.microsoft.com/"',
    ],
    ids=["none", "empty", "no TOML", "a long integer", "nested", "a string", "another source"],
)
def test_directory_with_other_files_is_not_changed(pki: Pki, tmp_path: Path, manifest: str | None) -> None:
    directory = tmp_path / "trust"
    for folder in ("roots", "intermediates"):
        (directory / folder).mkdir(parents=True)
    kept = directory / "roots" / "kept.pem"
    kept.write_text("kept", encoding="ascii")
    if manifest is not None:
        (directory / "manifest.toml").write_text(manifest, encoding="utf-8")
    with pytest.raises(ForeignDirectoryError, match="no emulator wrote"):
        write_trust_directory(directory, cloud=CLOUD, certificates=certificates(pki))
    assert kept.read_text(encoding="ascii") == "kept"


def test_emulator_directory_with_an_added_file_is_refused(pki: Pki, tmp_path: Path) -> None:
    directory = tmp_path / "trust"
    write_trust_directory(directory, cloud=CLOUD, certificates=certificates(pki))
    (directory / "notes.txt").touch()
    with pytest.raises(ForeignDirectoryError):
        write_trust_directory(directory, cloud=CLOUD, certificates=certificates(pki))


def test_file_and_symbolic_link_are_refused(pki: Pki, tmp_path: Path) -> None:
    file, link = tmp_path / "file", tmp_path / "link"
    file.touch()
    (tmp_path / "real").mkdir()
    link.symlink_to(tmp_path / "real")
    for target in (file, link):
        with pytest.raises(ForeignDirectoryError, match="not a directory"):
            write_trust_directory(target, cloud=CLOUD, certificates=certificates(pki))


def test_failure_leaves_no_partial_directory(pki: Pki, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(subject, "_manifest_lines", fail)
    with pytest.raises(OSError, match="disk full"):
        write_trust_directory(tmp_path / "trust", cloud=CLOUD, certificates=certificates(pki))
    assert list(tmp_path.iterdir()) == []


def test_missing_root_and_unsafe_file_name_are_refused(pki: Pki, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="needs a root"):
        write_trust_directory(tmp_path / "trust", cloud=CLOUD, certificates=certificates(pki)[1:])
    with pytest.raises(ValueError, match="file name"):
        TrustedCertificate(name="../escape", role="root", certificate=pki.root.certificate)


def test_text_is_quoted_in_the_manifest(pki: Pki, tmp_path: Path) -> None:
    odd = replace(certificates(pki)[0], note='A "note".\n')
    write_trust_directory(tmp_path / "trust", cloud=CLOUD, certificates=(odd,))
    manifest = tomllib.loads((tmp_path / "trust" / "manifest.toml").read_text(encoding="utf-8"))
    assert [entry["note"] for entry in manifest["certificates"]] == [odd.note]


def test_files_are_pem_certificates(pki: Pki, tmp_path: Path) -> None:
    write_trust_directory(tmp_path / "trust", cloud=CLOUD, certificates=certificates(pki))
    expected = pki.root.certificate.public_bytes(serialization.Encoding.PEM)
    assert (tmp_path / "trust" / "roots" / "emulator-root.pem").read_bytes() == expected
