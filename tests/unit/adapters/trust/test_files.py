"""Trust directories: what loads, what an overlay does, and every way in which one is refused."""

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from verifier.adapters.trust import files
from verifier.adapters.trust.files import (
    MAX_CERTIFICATE_BYTES,
    MAX_ENTRIES,
    MAX_MANIFEST_BYTES,
    TrustDirectory,
    load_bundle,
    shipped_directory,
)
from verifier.core.trust.bundle import State, TrustBundle, TrustError
from verifier.core.trust.clouds import SERVED_BY_DEFAULT, Cloud
from verifier.ports.trust import TrustSource

NOW = datetime(2026, 11, 1, tzinfo=UTC)
#: Who owns nothing, on Debian and elsewhere.
NOBODY = 65534
ROOT = "roots/digicert-global-root-g2.pem"
ROOT_SHA256 = "cb3ccbb76031e5e0138f8dd39a23f9de47ffc35e43c1144cea27d46a5ab1cb5f"
PIN = "intermediates/microsoft-tls-rsa-root-g2-xsign.pem"
PIN_SHA256 = "ddcd1e8a20638d4aaff7201bb1d56452acd2c759f1686bdc38f73dd15732bdc2"
#: Unknown to the shipped bundle once it is written with the certificate that `fresh` makes.
FRESH = "intermediates/fresh.pem"

#: A whole, valid manifest: the tests put one fault into it. Every value stands there once.
MANIFEST = f"""\
format = 1
mode = "replace"

[clouds.AzurePublicCloud]
domain = "metadata.azure.com"
anchors = ["{ROOT}"]

[[certificates]]
file = "{ROOT}"
sha256 = "{ROOT_SHA256}"
role = "root"
clouds = ["AzurePublicCloud"]
source = "https://ca.example/root.crt"

[[certificates]]
file = "{PIN}"
sha256 = "{PIN_SHA256}"
role = "intermediate"
clouds = [ "AzurePublicCloud" ]
source = "https://ca.example/pin.crt"
note = "a note"
activate_at = 2026-06-01T00:00:00Z
retire_at = 2026-12-01T00:00:00Z
"""


def pin_entry(file: str, sha256: str, rest: str = "") -> str:
    return f"""
[[certificates]]
file = "{file}"
sha256 = "{sha256}"
role = "intermediate"
clouds = ["AzurePublicCloud"]
source = "https://ca.example/pin.crt"
{rest}
"""


def certificate(*, is_ca: bool = True) -> tuple[bytes, str]:
    """A certificate in PEM, and its fingerprint."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "Fresh")])
    built = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(NOW - timedelta(days=1))
        .not_valid_after(NOW + timedelta(days=365))
        .add_extension(x509.BasicConstraints(ca=is_ca, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    return built.public_bytes(Encoding.PEM), built.fingerprint(hashes.SHA256()).hex()


@pytest.fixture
def overlay(tmp_path: Path) -> Path:
    """A valid directory that replaces the shipped one, made of two of its certificates."""
    directory = tmp_path / "overlay"
    for file in (ROOT, PIN):
        (directory / file).parent.mkdir(parents=True)
        shutil.copyfile(shipped_directory() / file, directory / file)
    (directory / "manifest.toml").write_text(MANIFEST, encoding="utf-8")
    return directory


def rewrite(directory: Path, old: str, new: str) -> None:
    manifest = directory / "manifest.toml"
    text = manifest.read_text(encoding="utf-8")
    assert text.count(old) == 1
    manifest.write_text(text.replace(old, new), encoding="utf-8")


def write_overlay(directory: Path, manifest: str, files: dict[str, bytes]) -> Path:
    for file, raw in files.items():
        (directory / file).parent.mkdir(parents=True, exist_ok=True)
        (directory / file).write_bytes(raw)
    (directory / "manifest.toml").write_text(manifest, encoding="utf-8")
    return directory


def fingerprints(bundle: TrustBundle, cloud: Cloud = Cloud.PUBLIC) -> set[str]:
    trust = bundle.clouds[cloud]
    return {entry.certificate.sha256 for entry in (*trust.anchors, *trust.pins)}


@contextmanager
def bound_by_modes(directory: Path) -> Iterator[None]:
    """Inside, this process is somebody who owns `directory` and whom its modes bind: they do not bind root."""
    if os.geteuid() != 0:
        yield
        return
    for path in (directory, *directory.rglob("*")):
        os.chown(path, NOBODY, NOBODY)
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)


class TestShipped:
    def test_loads_for_every_cloud(self) -> None:
        bundle = load_bundle()
        assert set(bundle.clouds) == set(Cloud)
        assert {cloud for cloud, trust in bundle.clouds.items() if trust.usable_anchors(NOW)} == SERVED_BY_DEFAULT
        assert bundle.open_clouds(frozenset(Cloud), at=NOW).keys() == SERVED_BY_DEFAULT

    def test_is_read_from_one_directory(self) -> None:
        assert (shipped_directory() / "manifest.toml").is_file()

    def test_generation_is_the_same_every_time(self) -> None:
        assert load_bundle().generation == load_bundle().generation

    def test_refuses_a_mode(self, overlay: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(files, "shipped_directory", lambda: overlay)
        with pytest.raises(TrustError, match="mode belongs to an overlay"):
            load_bundle()

    def test_refuses_a_missing_directory(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(files, "shipped_directory", lambda: tmp_path / "away")
        with pytest.raises(TrustError, match=r"away/manifest\.toml: cannot be read: No such file"):
            load_bundle()


class TestTrustDirectory:
    def test_gives_the_same_bundle_each_time(self) -> None:
        source: TrustSource = TrustDirectory()
        assert source.bundle() is source.bundle()
        assert source.bundle() == load_bundle()

    def test_gives_the_bundle_of_its_overlay(self, overlay: Path) -> None:
        assert TrustDirectory(overlay).bundle() == load_bundle(overlay)

    def test_keeps_what_it_read_at_construction(self, overlay: Path) -> None:
        source = TrustDirectory(overlay)
        before = source.bundle()
        shutil.rmtree(overlay)
        assert source.bundle() is before

    def test_cannot_be_constructed_over_a_broken_directory(self, overlay: Path) -> None:
        rewrite(overlay, "format = 1", "format = 2")
        with pytest.raises(TrustError):
            TrustDirectory(overlay)


class TestReplace:
    def test_trusts_only_what_the_overlay_lists(self, overlay: Path) -> None:
        bundle = load_bundle(overlay)
        assert set(bundle.clouds) == {Cloud.PUBLIC}
        assert fingerprints(bundle) == {ROOT_SHA256, PIN_SHA256}

    def test_reads_every_field(self, overlay: Path) -> None:
        (pin,) = load_bundle(overlay).clouds[Cloud.PUBLIC].pins
        assert pin.source == "https://ca.example/pin.crt"
        assert pin.note == "a note"
        assert pin.activate_at == datetime(2026, 6, 1, tzinfo=UTC)
        assert pin.retire_at == datetime(2026, 12, 1, tzinfo=UTC)

    def test_may_list_anchors_alone(self, overlay: Path) -> None:
        shutil.rmtree(overlay / "intermediates")
        text = MANIFEST.partition(f'[[certificates]]\nfile = "{PIN}"')[0]
        (overlay / "manifest.toml").write_text(text, encoding="utf-8")
        assert fingerprints(load_bundle(overlay)) == {ROOT_SHA256}

    def test_refuses_an_empty_bundle(self, tmp_path: Path) -> None:
        directory = write_overlay(tmp_path, 'format = 1\nmode = "replace"\n', {})
        with pytest.raises(TrustError, match="an empty trust bundle"):
            load_bundle(directory)

    def test_refuses_a_cloud_that_has_pins_and_no_anchor(self, overlay: Path) -> None:
        rewrite(overlay, '[ "AzurePublicCloud" ]', '["AzureChinaCloud"]')
        with pytest.raises(TrustError, match="AzureChinaCloud: a cloud without an anchor"):
            load_bundle(overlay)


class TestAdd:
    def test_adds_a_pin_without_repeating_the_anchors(self, tmp_path: Path) -> None:
        pem, sha256 = certificate()
        directory = write_overlay(tmp_path, 'format = 1\nmode = "add"\n' + pin_entry(FRESH, sha256), {FRESH: pem})
        shipped, bundle = load_bundle(), load_bundle(directory)
        assert fingerprints(bundle) == fingerprints(shipped) | {sha256}
        assert fingerprints(bundle, Cloud.CHINA) == fingerprints(shipped, Cloud.CHINA)
        assert bundle.generation != shipped.generation

    def test_adds_an_anchor_that_its_cloud_lists(self, tmp_path: Path) -> None:
        pem, sha256 = certificate()
        manifest = MANIFEST.replace('"replace"', '"add"').replace(ROOT, "roots/fresh.pem").replace(ROOT_SHA256, sha256)
        pin = (shipped_directory() / PIN).read_bytes()
        directory = write_overlay(tmp_path, manifest, {"roots/fresh.pem": pem, PIN: pin})
        anchors = load_bundle(directory).clouds[Cloud.PUBLIC].anchors
        assert {entry.certificate.sha256 for entry in anchors} > {sha256, ROOT_SHA256}

    def test_puts_an_entry_in_the_place_of_the_shipped_one(self, overlay: Path) -> None:
        rewrite(overlay, '"replace"', '"add"')
        bundle = load_bundle(overlay)
        assert fingerprints(bundle) == fingerprints(load_bundle())
        retired = bundle.clouds[Cloud.PUBLIC].entry(PIN_SHA256)
        assert retired.state_at(datetime(2026, 12, 1, tzinfo=UTC)) is State.RETIRED
        assert PIN_SHA256 not in fingerprints(bundle, Cloud.US_GOVERNMENT)

    def test_an_empty_overlay_is_the_shipped_bundle(self, tmp_path: Path) -> None:
        directory = write_overlay(tmp_path, 'format = 1\nmode = "add"\n', {})
        assert load_bundle(directory).generation == load_bundle().generation


class TestGeneration:
    def test_does_not_depend_on_notes(self, overlay: Path) -> None:
        before = load_bundle(overlay).generation
        rewrite(overlay, "a note", "another note")
        assert load_bundle(overlay).generation == before

    def test_does_not_depend_on_the_offset_of_a_time(self, overlay: Path) -> None:
        before = load_bundle(overlay).generation
        rewrite(overlay, "2026-12-01T00:00:00Z", "2026-12-01T05:30:00+05:30")
        assert load_bundle(overlay).generation == before

    def test_changes_with_a_planned_time(self, overlay: Path) -> None:
        before = load_bundle(overlay).generation
        rewrite(overlay, "2026-12-01T00:00:00Z", "2026-12-01T00:00:01Z")
        assert load_bundle(overlay).generation != before


#: What is written in the place of what, and how the refusal says so.
FAULTS = {
    "format-newer": ("format = 1", "format = 2", r"manifest\.toml has format 2, and this release knows format 1"),
    "format-newer-with-other-keys": ("format = 1", "format = 2\nstrict = false", "format 1: update imds-verifier"),
    "format-zero": ("format = 1", "format = 0", "format must be 1"),
    "format-boolean": ("format = 1", "format = true", "format: Input should be a valid integer"),
    "format-float": ("format = 1", "format = 1.0", "format: Input should be a valid integer"),
    "format-text": ("format = 1", 'format = "1"', "format: Input should be a valid integer"),
    "format-missing": ("format = 1\n", "", "format: is missing"),
    "mode-missing": ('mode = "replace"\n', "", "mode: is missing"),
    "mode-unknown": ('"replace"', '"merge"', "mode: Input should be 'add' or 'replace'"),
    "mode-type": ('mode = "replace"', "mode = 1", "mode: Input should be 'add' or 'replace'"),
    "unknown-key": ("format = 1", "format = 1\nstrict = false", "strict: unknown key"),
    "unknown-cloud-key": ("domain =", "region = 1\ndomain =", r"clouds\.AzurePublicCloud\.region: unknown key"),
    "unknown-entry-key": ("note =", "retired_at = 1\nnote =", rf"certificate 2 \({PIN}\): retired_at: unknown key"),
    "table-misspelt": (
        '[[certificates]]\nfile = "roots',
        '[[certificate]]\nfile = "roots',
        "certificate: unknown key",
    ),
    "not-toml": ("format = 1", "format = ", "not TOML"),
    "key-twice": ("format = 1", "format = 1\nformat = 1", "not TOML"),
    "nested-too-deep": ("format = 1", "format = " + "[" * 5000, "nested too deep|not TOML"),
    "integer-too-long": ("format = 1", "format = " + "9" * 5000, "not TOML"),
    "cloud-unknown": (
        "[clouds.AzurePublicCloud]",
        "[clouds.AzureStackCloud]",
        r"clouds\.AzureStackCloud.*: Input should be 'AzurePublicCloud'",
    ),
    "cloud-type": (
        "[clouds.AzurePublicCloud]",
        "[[clouds.AzurePublicCloud]]",
        r"clouds\.AzurePublicCloud: must be a table",
    ),
    "clouds-type": ("[clouds.AzurePublicCloud]", "[[clouds]]", "clouds: must be a table"),
    "domain-of-another": (
        '"metadata.azure.com"',
        '"metadata.azure.us"',
        "the domain of AzurePublicCloud must be metadata.azure.com",
    ),
    "domain-case": (
        '"metadata.azure.com"',
        '"Metadata.azure.com"',
        "the domain of AzurePublicCloud must be metadata.azure.com",
    ),
    "domain-type": ('"metadata.azure.com"', "1", "domain: Input should be a valid string"),
    "domain-missing": ('domain = "metadata.azure.com"\n', "", "domain: is missing"),
    "anchors-missing": (f'anchors = ["{ROOT}"]\n', "", "anchors: is missing"),
    "anchors-empty": (f'anchors = ["{ROOT}"]', "anchors = []", "anchors: List should have at least 1 item"),
    "anchors-item-type": (f'anchors = ["{ROOT}"]', "anchors = [1]", r"anchors\.0: Input should be a valid string"),
    "anchors-type": (f'anchors = ["{ROOT}"]', f'anchors = "{ROOT}"', "anchors: Input should be a valid list"),
    "anchor-twice": (f'anchors = ["{ROOT}"]', f'anchors = ["{ROOT}", "{ROOT}"]', f"anchors: names '{ROOT}' twice"),
    "anchor-unlisted": (
        f'["{ROOT}"]',
        f'["{ROOT}", "roots/other.pem"]',
        r"anchor 'roots/other\.pem' is not listed as a root of AzurePublicCloud",
    ),
    "anchor-is-a-pin": (f'["{ROOT}"]', f'["{ROOT}", "{PIN}"]', f"anchor '{PIN}' is not listed as a root"),
    "anchor-of-another-cloud": (
        'clouds = ["AzurePublicCloud"]',
        'clouds = ["AzureChinaCloud"]',
        f"anchor '{ROOT}' is not listed as a root of AzurePublicCloud",
    ),
    "root-that-no-cloud-lists": (
        'clouds = ["AzurePublicCloud"]',
        'clouds = ["AzurePublicCloud", "AzureChinaCloud"]',
        rf"{ROOT} is a root that clouds\.AzureChinaCloud does not list as an anchor",
    ),
    "file-missing": (f'file = "{ROOT}"\n', "", "certificate 1: file: is missing"),
    "file-type": (f'file = "{ROOT}"', "file = 1", "certificate 1: file: Input should be a valid string"),
    "file-of-the-other-role": (
        f'file = "{ROOT}"',
        f'file = "{PIN}"',
        rf"certificate 1 \({PIN}\): file must be in roots/, as its role is root",
    ),
    "file-away": (
        f'file = "{ROOT}"',
        'file = "roots/away.pem"',
        r"certificate 1 \(roots/away\.pem\): .*/roots/away\.pem: cannot be read: No such file",
    ),
    "sha256-missing": (f'sha256 = "{ROOT_SHA256}"\n', "", rf"\({ROOT}\): sha256: is missing"),
    "sha256-type": (f'"{ROOT_SHA256}"', "1", "sha256: Input should be a valid string"),
    "sha256-case": (ROOT_SHA256, ROOT_SHA256.upper(), "sha256: String should match pattern"),
    "sha256-short": (ROOT_SHA256, ROOT_SHA256[:-1], "sha256: String should match pattern"),
    "sha256-of-another": (ROOT_SHA256, "0" * 64, rf"\({ROOT}\): sha256 .* expected {'0' * 64}, found {ROOT_SHA256}"),
    "role-missing": ('role = "root"\n', "", "role: is missing"),
    "role-type": ('role = "root"', "role = true", "role: Input should be 'root' or 'intermediate'"),
    "role-unknown": ('role = "root"', 'role = "anchor"', "role: Input should be 'root' or 'intermediate'"),
    "entry-clouds-missing": ('clouds = [ "AzurePublicCloud" ]\n', "", "clouds: is missing"),
    "entry-clouds-type": ('[ "AzurePublicCloud" ]', '"AzurePublicCloud"', "clouds: Input should be a valid list"),
    "entry-clouds-empty": ('[ "AzurePublicCloud" ]', "[]", "clouds: List should have at least 1 item"),
    "entry-clouds-item-type": ('[ "AzurePublicCloud" ]', "[1]", r"clouds\.0: Input should be 'AzurePublicCloud'"),
    "entry-cloud-unknown": (
        '[ "AzurePublicCloud" ]',
        '["Mars"]',
        rf"\({PIN}\): clouds\.0: Input should be 'AzurePublicCloud'",
    ),
    "entry-cloud-twice": (
        '[ "AzurePublicCloud" ]',
        '["AzureChinaCloud", "AzureChinaCloud"]',
        "clouds: names 'AzureChinaCloud' twice",
    ),
    "source-missing": ('source = "https://ca.example/pin.crt"\n', "", "source: is missing"),
    "source-type": ('"https://ca.example/pin.crt"', "1", "source: Input should be a valid string"),
    "source-empty": ('"https://ca.example/pin.crt"', '""', rf"\({PIN}\): .*its source is missing"),
    "note-type": ('"a note"', "1", "note: Input should be a valid string"),
    "activate-text": (
        "2026-06-01T00:00:00Z",
        '"2026-06-01T00:00:00Z"',
        "activate_at: Input should be a valid datetime",
    ),
    "activate-date": ("2026-06-01T00:00:00Z", "2026-06-01", "activate_at: Input should be a valid datetime"),
    "activate-local": ("2026-06-01T00:00:00Z", "2026-06-01T00:00:00", "activate_at: Input should have timezone info"),
    "activate-range": ("2026-06-01T00:00:00Z", "0001-01-01T00:00:00+01:00", "activate_at: is out of range"),
    "retire-time": ("2026-12-01T00:00:00Z", "12:00:00", "retire_at: Input should be a valid datetime"),
    "retire-local": ("2026-12-01T00:00:00Z", "2026-12-01T00:00:00", "retire_at: Input should have timezone info"),
    "retire-before-activate": (
        "2026-12-01T00:00:00Z",
        "2026-06-01T00:00:00Z",
        rf"\({PIN}\): .*retire_at is not after activate_at",
    ),
}


@pytest.mark.parametrize(("old", "new", "message"), FAULTS.values(), ids=FAULTS.keys())
def test_refuses_a_manifest_with(overlay: Path, old: str, new: str, message: str) -> None:
    rewrite(overlay, old, new)
    with pytest.raises(TrustError, match=message):
        load_bundle(overlay)


@pytest.mark.parametrize(
    "file",
    [
        "",
        ".pem",
        ".hidden.pem",
        "..pem",
        "x.crt",
        "roots",
        "roots/",
        "roots/.pem",
        "roots/.hidden.pem",
        "roots/x.crt",
        "roots/x.PEM",
        "roots/x.pem/",
        "roots/sub/x.pem",
        "roots//x.pem",
        "./roots/x.pem",
        "roots/./x.pem",
        "roots/..",
        "roots/../x.pem",
        "roots/../../x.pem",
        "roots/../intermediates/x.pem",
        "../roots/x.pem",
        "/roots/x.pem",
        "/etc/passwd",
        "Roots/x.pem",
        "other/x.pem",
        "roots\\\\x.pem",
        "roots/x.pem\\n",
        "roots/x\\u0000.pem",
        "roots/é.pem",
    ],
)
def test_refuses_a_file_name_that_is_not_plainly_inside(overlay: Path, file: str) -> None:
    rewrite(overlay, f'file = "{ROOT}"', f'file = "{file}"')
    with pytest.raises(
        TrustError, match=r"certificate 1: file: must be roots/NAME\.pem, intermediates/NAME\.pem or NAME\.pem, not '"
    ):
        load_bundle(overlay)


@pytest.fixture
def flat_overlay(overlay: Path, tmp_path: Path) -> Path:
    """The overlay, without folders."""
    flat = tmp_path / "flat"
    flat.mkdir()
    for file in (ROOT, PIN):
        shutil.copyfile(overlay / file, flat / Path(file).name)
    manifest = MANIFEST.replace("roots/", "").replace("intermediates/", "")
    (flat / "manifest.toml").write_text(manifest, encoding="utf-8")
    return flat


def test_an_overlay_may_be_without_folders_as_the_keys_of_a_config_map_are(flat_overlay: Path, overlay: Path) -> None:
    assert load_bundle(flat_overlay) == load_bundle(overlay)


def test_refuses_a_certificate_beside_the_manifest_that_no_entry_lists(flat_overlay: Path) -> None:
    shutil.copyfile(flat_overlay / Path(PIN).name, flat_overlay / "forgotten.pem")
    with pytest.raises(TrustError, match=r"forgotten\.pem: no entry of manifest\.toml lists this file"):
        load_bundle(flat_overlay)


def test_the_shipped_bundle_keeps_its_folders(flat_overlay: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rewrite(flat_overlay, 'mode = "replace"\n', "")
    monkeypatch.setattr(files, "shipped_directory", lambda: flat_overlay)
    with pytest.raises(
        TrustError, match=r"certificate 1 \(digicert.*\): file must be in roots/ or intermediates/, not 'digicert"
    ):
        load_bundle()


def test_refuses_a_certificate_entry_that_is_no_table(tmp_path: Path) -> None:
    directory = write_overlay(tmp_path, 'format = 1\nmode = "add"\ncertificates = [1]\n', {})
    with pytest.raises(TrustError, match=r"certificates\.0: must be a table"):
        load_bundle(directory)


def test_refuses_certificates_that_are_no_array(tmp_path: Path) -> None:
    directory = write_overlay(tmp_path, 'format = 1\nmode = "add"\ncertificates = 1\n', {})
    with pytest.raises(TrustError, match="certificates: Input should be a valid list"):
        load_bundle(directory)


def test_refuses_a_manifest_that_is_not_utf_8(overlay: Path) -> None:
    (overlay / "manifest.toml").write_bytes(MANIFEST.replace("a note", "é").encode("latin-1"))
    with pytest.raises(TrustError, match="not TOML"):
        load_bundle(overlay)


def test_refuses_a_manifest_with_a_byte_order_mark(overlay: Path) -> None:
    (overlay / "manifest.toml").write_text(MANIFEST, encoding="utf-8-sig")
    with pytest.raises(TrustError, match="not TOML in UTF-8 without a byte order mark"):
        load_bundle(overlay)


def test_takes_a_manifest_of_the_largest_size_and_no_larger(overlay: Path) -> None:
    manifest = overlay / "manifest.toml"
    padding = MAX_MANIFEST_BYTES - len(MANIFEST) - 1
    manifest.write_text(MANIFEST + "#" + "x" * padding, encoding="utf-8")
    load_bundle(overlay)
    manifest.write_text(MANIFEST + "#" + "x" * (padding + 1), encoding="utf-8")
    with pytest.raises(TrustError, match=r"manifest\.toml: larger than 1048576 bytes"):
        load_bundle(overlay)


def test_refuses_more_entries_than_the_most(tmp_path: Path) -> None:
    entries = pin_entry(PIN, PIN_SHA256) * (MAX_ENTRIES + 1)
    directory = write_overlay(tmp_path, 'format = 1\nmode = "add"\n' + entries, {})
    with pytest.raises(TrustError, match="certificates: List should have at most 512 items"):
        load_bundle(directory)


def test_refuses_one_file_in_two_entries(overlay: Path) -> None:
    rewrite(overlay, "a note", f'a note"\n{pin_entry(PIN, PIN_SHA256)}note = "again')
    with pytest.raises(TrustError, match=rf"certificate 3 \({PIN}\): its file is listed twice"):
        load_bundle(overlay)


def test_refuses_one_certificate_in_two_files(overlay: Path) -> None:
    shutil.copyfile(overlay / PIN, overlay / FRESH)
    rewrite(overlay, "a note", f'a note"\n{pin_entry(FRESH, PIN_SHA256)}note = "again')
    with pytest.raises(TrustError, match=rf"certificate 3 \({FRESH}\): its certificate is listed twice"):
        load_bundle(overlay)


def test_refuses_a_certificate_that_is_no_authority(tmp_path: Path) -> None:
    pem, sha256 = certificate(is_ca=False)
    directory = write_overlay(tmp_path, 'format = 1\nmode = "add"\n' + pin_entry(FRESH, sha256), {FRESH: pem})
    with pytest.raises(TrustError, match=rf"certificate 1 \({FRESH}\): CN=Fresh: not a certificate authority"):
        load_bundle(directory)


def test_refuses_a_root_that_another_authority_issued(overlay: Path) -> None:
    shutil.copyfile(overlay / PIN, overlay / ROOT)
    rewrite(overlay, ROOT_SHA256, PIN_SHA256)
    with pytest.raises(TrustError, match=rf"certificate 1 \({ROOT}\): .*a root that another authority issued"):
        load_bundle(overlay)


class TestCertificateFile:
    def test_may_explain_itself_before_the_certificate(self, overlay: Path) -> None:
        (overlay / PIN).write_bytes(b"# an explanation\n" + (overlay / PIN).read_bytes())
        assert fingerprints(load_bundle(overlay)) == {ROOT_SHA256, PIN_SHA256}

    @pytest.mark.parametrize("raw", [b"", b"no certificate", b"\x30\x03\x02\x01\x00"])
    def test_refuses_what_holds_no_pem(self, overlay: Path, raw: bytes) -> None:
        (overlay / PIN).write_bytes(raw)
        with pytest.raises(TrustError, match=rf"certificate 2 \({PIN}\): file must hold exactly one PEM block"):
            load_bundle(overlay)

    def test_refuses_two_certificates(self, overlay: Path) -> None:
        (overlay / PIN).write_bytes((overlay / PIN).read_bytes() + (overlay / ROOT).read_bytes())
        with pytest.raises(TrustError, match=rf"\({PIN}\): file must hold exactly one PEM block"):
            load_bundle(overlay)

    def test_refuses_a_key_beside_the_certificate(self, overlay: Path) -> None:
        key = ec.generate_private_key(ec.SECP256R1())
        pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        (overlay / PIN).write_bytes((overlay / PIN).read_bytes() + pem)
        with pytest.raises(TrustError, match=rf"\({PIN}\): file must hold exactly one PEM block"):
            load_bundle(overlay)

    @pytest.mark.parametrize("label", [b"CERTIFICATE", b"PUBLIC KEY"])
    def test_refuses_pem_that_is_no_certificate(self, overlay: Path, label: bytes) -> None:
        (overlay / PIN).write_bytes(b"-----BEGIN %s-----\nMAMCAQA=\n-----END %s-----\n" % (label, label))
        with pytest.raises(TrustError, match=rf"certificate 2 \({PIN}\): .*(certificate|PEM)"):
            load_bundle(overlay)

    def test_takes_the_largest_size_and_no_larger(self, overlay: Path) -> None:
        path = overlay / PIN
        pem = path.read_bytes()
        path.write_bytes(b" " * (MAX_CERTIFICATE_BYTES - len(pem) - 1) + b"\n" + pem)
        load_bundle(overlay)
        path.write_bytes(b" " * (MAX_CERTIFICATE_BYTES - len(pem)) + b"\n" + pem)
        with pytest.raises(TrustError, match=rf"certificate 2 \({PIN}\): .*larger than 65536 bytes"):
            load_bundle(overlay)


class TestFiles:
    @pytest.mark.parametrize("file", ["manifest.toml", PIN])
    def test_refuses_a_directory_in_the_place_of_a_file(self, overlay: Path, file: str) -> None:
        (overlay / file).unlink()
        (overlay / file).mkdir()
        with pytest.raises(TrustError, match=f"{file}.*not a file"):
            load_bundle(overlay)

    @pytest.mark.parametrize("file", ["manifest.toml", PIN])
    def test_refuses_a_named_pipe_without_waiting_for_its_writer(self, overlay: Path, file: str) -> None:
        (overlay / file).unlink()
        os.mkfifo(overlay / file)
        with pytest.raises(TrustError, match=f"{file}.*not a file"):
            load_bundle(overlay)

    def test_refuses_a_missing_directory(self, tmp_path: Path) -> None:
        with pytest.raises(TrustError, match=r"away/manifest\.toml: cannot be read: No such file"):
            load_bundle(tmp_path / "away")

    def test_refuses_a_directory_that_is_a_file(self, overlay: Path) -> None:
        with pytest.raises(TrustError, match="cannot be read: Not a directory"):
            load_bundle(overlay / PIN)

    @pytest.mark.parametrize("file", ["manifest.toml", PIN, "roots"])
    def test_refuses_what_it_may_not_read(self, overlay: Path, file: str) -> None:
        with tempfile.TemporaryDirectory() as directory:
            shutil.copytree(overlay, Path(directory) / "overlay")
            path = Path(directory) / "overlay" / file
            mode = path.stat().st_mode
            path.chmod(0)
            try:
                with bound_by_modes(Path(directory)), pytest.raises(TrustError, match="be read: Permission denied"):
                    load_bundle(Path(directory) / "overlay")
            finally:
                path.chmod(mode)

    @pytest.mark.parametrize(
        "file", ["roots/forgotten.pem", "intermediates/forgotten.pem", "intermediates/forgotten.PEM", "forgotten.crt"]
    )
    def test_refuses_a_certificate_that_no_entry_lists(self, overlay: Path, file: str) -> None:
        shutil.copyfile(overlay / PIN, overlay / file)
        with pytest.raises(TrustError, match=rf"{file}: no entry of manifest\.toml lists this file"):
            load_bundle(overlay)

    @pytest.mark.parametrize("file", ["README.md", "roots/README", "intermediates/.keep"])
    def test_passes_over_files_that_do_not_look_pinned(self, overlay: Path, file: str) -> None:
        (overlay / file).write_text("words", encoding="utf-8")
        assert fingerprints(load_bundle(overlay)) == {ROOT_SHA256, PIN_SHA256}


class TestSymbolicLinks:
    @staticmethod
    def mounted(overlay: Path, mount: Path) -> Path:
        """The overlay as Kubernetes mounts a ConfigMap: a hidden directory, behind one link that it can swap."""
        shutil.copytree(overlay, mount / "..2026_11_01")
        (mount / "..data").symlink_to("..2026_11_01")
        for name in ("manifest.toml", "roots", "intermediates"):
            (mount / name).symlink_to(f"..data/{name}")
        return mount

    def test_are_followed_as_kubernetes_mounts_a_config_map(self, overlay: Path, tmp_path: Path) -> None:
        mount = self.mounted(overlay, tmp_path / "mount")
        assert load_bundle(mount) == load_bundle(overlay)

    def test_may_lead_to_the_directory_itself(self, overlay: Path, tmp_path: Path) -> None:
        (tmp_path / "link").symlink_to(overlay)
        assert load_bundle(tmp_path / "link") == load_bundle(overlay)

    def test_hide_no_certificate_that_no_entry_lists(self, overlay: Path, tmp_path: Path) -> None:
        shutil.copyfile(overlay / PIN, overlay / FRESH)
        mount = self.mounted(overlay, tmp_path / "mount")
        with pytest.raises(TrustError, match=r"mount/intermediates/fresh\.pem: no entry"):
            load_bundle(mount)

    @pytest.mark.parametrize("place", [PIN, "intermediates"])
    def test_may_not_lead_out_of_the_directory(self, overlay: Path, tmp_path: Path, place: str) -> None:
        outside = tmp_path / "outside"
        (overlay / place).rename(outside)
        (overlay / place).symlink_to(outside)
        with pytest.raises(TrustError, match=rf"certificate 2 \({PIN}\): file leads out of the directory"):
            load_bundle(overlay)

    @pytest.mark.parametrize("place", [PIN, "manifest.toml"])
    @pytest.mark.parametrize("break_link", [lambda path: path.name, lambda _path: "away"], ids=["loop", "dangling"])
    def test_must_lead_somewhere(self, overlay: Path, place: str, break_link: Callable[[Path], str]) -> None:
        path = overlay / place
        path.unlink()
        path.symlink_to(break_link(path))
        with pytest.raises(TrustError, match=f"{place}.*(loop of|cannot be read)"):
            load_bundle(overlay)
