"""The shipped bundle, compared with the record of the source of each certificate, and checked for consistency."""

import csv
import tomllib
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.x509.oid import AuthorityInformationAccessOID, ExtensionOID

from verifier.adapters.trust.files import load_bundle, shipped_directory
from verifier.core.trust.bundle import State, TrustedCertificate
from verifier.core.trust.certificates import Certificate
from verifier.core.trust.clouds import Cloud

DIRECTORY = shipped_directory()
BUNDLE = load_bundle()
MANIFEST = tomllib.loads((DIRECTORY / "manifest.toml").read_text(encoding="utf-8"))
FILES = {entry["file"].partition("/")[2]: entry for entry in MANIFEST["certificates"]}
with (DIRECTORY / "PROVENANCE.tsv").open(encoding="utf-8", newline="") as record:
    PROVENANCE = {
        row["file"]: row for row in csv.DictReader(record, delimiter="\t", quoting=csv.QUOTE_NONE, strict=True)
    }

MICROSOFT_ANCHORS = {
    "DigiCert Global Root G2",
    "DigiCert Global Root G3",
    "Microsoft RSA Root Certificate Authority 2017",
    "Microsoft ECC Root Certificate Authority 2017",
    "Microsoft TLS RSA Root G2",
    "Baltimore CyberTrust Root",
}
ANCHORS = {
    Cloud.PUBLIC: MICROSOFT_ANCHORS,
    Cloud.US_GOVERNMENT: MICROSOFT_ANCHORS,
    Cloud.CHINA: {"DigiCert Global Root CA", "DigiCert Global Root G2"},
    Cloud.GERMANY: {"D-TRUST Root Class 3 CA 2 2009"},
}
MICROSOFT_PINS = {
    *(f"Microsoft IT TLS CA {number}" for number in (1, 2, 4, 5)),
    *(f"Microsoft RSA TLS CA {number}" for number in ("01", "02")),
    *(f"Microsoft Azure TLS Issuing CA {number}" for number in ("01", "02", "05", "06")),
    *(f"Microsoft Azure RSA TLS Issuing CA {number}" for number in ("03", "04", "07", "08")),
    *(f"Microsoft Azure ECC TLS Issuing CA {number:02}" for number in range(1, 9)),
    "Microsoft TLS RSA Root G2",
    "Microsoft TLS ECC Root G2",
    *(f"Microsoft TLS G2 RSA CA OCSP {number:02}" for number in range(2, 17, 2)),
}
PINS = {
    Cloud.PUBLIC: MICROSOFT_PINS,
    Cloud.US_GOVERNMENT: MICROSOFT_PINS,
    Cloud.CHINA: {
        "DigiCert Basic RSA CN CA G2",
        "DigiCert Cloud Services CA-1",
        "DigiCert Global G2 TLS RSA SHA256 2020 CA1",
        "DigiCert SHA2 Secure Server CA",
        "DigiCert TLS RSA SHA256 2020 CA1",
        "GeoTrust Global TLS RSA4096 SHA256 2022 CA1",
    },
    Cloud.GERMANY: {"D-TRUST SSL Class 3 CA 1 2009"},
}


def common_name(entry: TrustedCertificate) -> str:
    (name,) = entry.certificate.common_names
    return name.decode("utf-8")


def read(file: str) -> Certificate:
    return Certificate.from_pem((DIRECTORY / FILES[file]["file"]).read_bytes())


def test_lists_the_certificates_of_the_record_and_no_others() -> None:
    assert set(FILES) == set(PROVENANCE)
    assert len(FILES) == 59


@pytest.mark.parametrize("file", sorted(PROVENANCE))
def test_certificate_is_the_one_on_record(file: str) -> None:
    row = PROVENANCE[file]
    certificate = read(file)
    assert certificate.sha256 == row["sha256"]
    assert certificate.parsed.fingerprint(hashes.SHA1()).hex() == row["sha1"]  # noqa: S303 - the published form
    assert certificate.spki_sha256 == row["spki_sha256"]
    assert certificate.serial_number == int(row["serial_hex"], 16)
    assert certificate.not_before == datetime.fromisoformat(row["not_before"])
    assert certificate.not_after == datetime.fromisoformat(row["not_after"])
    assert certificate.common_names == (row["subject_cn"].encode("utf-8"),)
    issuers = certificate.parsed.issuer.get_attributes_for_oid(x509.NameOID.COMMON_NAME)
    assert [attribute.value for attribute in issuers] == [row["issuer_cn"]]
    assert issuer_addresses(certificate) == row["aia_ca_issuers"].strip("-").split()


@pytest.mark.parametrize("file", sorted(PROVENANCE))
def test_manifest_entry_names_the_source_on_record(file: str) -> None:
    assert FILES[file]["source"] == PROVENANCE[file]["download_url"].split()[0]


@pytest.mark.parametrize("file", sorted(PROVENANCE))
def test_manifest_note_says_when_the_certificate_ends(file: str) -> None:
    assert PROVENANCE[file]["not_after"][:10] in FILES[file]["note"]


@pytest.mark.parametrize("cloud", Cloud)
def test_each_cloud_has_its_own_anchors_and_no_others(cloud: Cloud) -> None:
    assert {common_name(entry) for entry in BUNDLE.clouds[cloud].anchors} == ANCHORS[cloud]
    assert len(BUNDLE.clouds[cloud].anchors) == len(ANCHORS[cloud])


@pytest.mark.parametrize("cloud", Cloud)
def test_each_cloud_has_its_own_pins_and_no_others(cloud: Cloud) -> None:
    assert {common_name(entry) for entry in BUNDLE.clouds[cloud].pins} == PINS[cloud]


def test_public_and_us_government_share_one_set() -> None:
    public, government = BUNDLE.clouds[Cloud.PUBLIC], BUNDLE.clouds[Cloud.US_GOVERNMENT]
    assert public.anchors == government.anchors
    assert public.pins == government.pins


@pytest.mark.parametrize(
    ("cloud", "pin"),
    [
        pytest.param(cloud, pin, id=f"{cloud}-{common_name(pin)}-{pin.certificate.serial_hex}")
        for cloud, trust in BUNDLE.clouds.items()
        for pin in trust.pins
    ],
)
def test_pin_is_signed_by_an_anchor_of_its_cloud(cloud: Cloud, pin: TrustedCertificate) -> None:
    assert any(signed_by(pin.certificate, anchor.certificate) for anchor in BUNDLE.clouds[cloud].anchors)


@pytest.mark.parametrize(
    "anchor",
    [
        pytest.param(anchor, id=common_name(anchor))
        for anchor in {
            entry.certificate.sha256: entry for trust in BUNDLE.clouds.values() for entry in trust.anchors
        }.values()
    ],
)
def test_anchor_is_signed_by_itself(anchor: TrustedCertificate) -> None:
    assert signed_by(anchor.certificate, anchor.certificate)


@pytest.mark.parametrize(
    ("cloud", "other"),
    [(cloud, other) for cloud in (Cloud.CHINA, Cloud.GERMANY) for other in Cloud if other is not cloud],
)
def test_no_pin_of_china_or_germany_serves_another_cloud(cloud: Cloud, other: Cloud) -> None:
    mine = {entry.certificate.sha256 for entry in BUNDLE.clouds[cloud].pins}
    assert mine.isdisjoint(entry.certificate.sha256 for entry in BUNDLE.clouds[other].pins)


@pytest.mark.parametrize(
    ("moment", "names"),
    [
        (datetime(2020, 6, 1, tzinfo=UTC), {"Microsoft IT TLS CA 1"}),
        (datetime(2021, 4, 1, tzinfo=UTC), {"Microsoft RSA TLS CA 01", "Microsoft RSA TLS CA 02"}),
        (datetime(2023, 10, 1, tzinfo=UTC), {"Microsoft Azure TLS Issuing CA 05"}),
        (datetime(2025, 6, 1, tzinfo=UTC), {"Microsoft Azure RSA TLS Issuing CA 03"}),
        (datetime(2026, 7, 28, tzinfo=UTC), {"Microsoft TLS G2 RSA CA OCSP 02", "Microsoft TLS RSA Root G2"}),
    ],
)
def test_pins_of_each_era_are_usable_in_their_time(moment: datetime, names: set[str]) -> None:
    assert names <= {common_name(entry) for entry in BUNDLE.clouds[Cloud.PUBLIC].usable_pins(moment)}


def test_public_pins_last_until_june_2029() -> None:
    end = datetime(2029, 6, 3, 23, 3, 41, tzinfo=UTC)
    public = BUNDLE.clouds[Cloud.PUBLIC]
    issuers = [entry for entry in public.pins if common_name(entry) == "Microsoft TLS G2 RSA CA OCSP 14"]
    assert [entry.state_at(end) for entry in issuers] == [State.EXPIRING]
    assert {common_name(entry) for entry in public.usable_pins(end + timedelta(seconds=1))} == {
        "Microsoft TLS RSA Root G2",
        "Microsoft TLS ECC Root G2",
    }


def test_germany_is_closed_and_no_other_cloud_is() -> None:
    germany = [entry for entry in BUNDLE.entries if Cloud.GERMANY in entry.clouds]
    assert [entry.retire_at for entry in germany] == [datetime(2021, 10, 29, 23, 59, 59, tzinfo=UTC)] * 2
    assert all(entry.retire_at is None for entry in BUNDLE.entries if entry not in germany)


def test_no_certificate_has_an_oddity() -> None:
    assert BUNDLE.oddities() == ()


def issuer_addresses(certificate: Certificate) -> list[str]:
    try:
        extension = certificate.parsed.extensions.get_extension_for_oid(ExtensionOID.AUTHORITY_INFORMATION_ACCESS)
    except x509.ExtensionNotFound:
        return []
    assert isinstance(extension.value, x509.AuthorityInformationAccess)
    return [
        access.access_location.value
        for access in extension.value
        if access.access_method == AuthorityInformationAccessOID.CA_ISSUERS
    ]


def signed_by(certificate: Certificate, issuer: Certificate) -> bool:
    """Verify only the signature, because verify_directly_issued_by refuses the two roots with SHA-1 self-signatures."""
    if certificate.issuer_der != issuer.subject_der:
        return False
    parsed, key = certificate.parsed, issuer.public_key
    algorithm = parsed.signature_hash_algorithm
    assert algorithm is not None
    try:
        if isinstance(key, rsa.RSAPublicKey):
            key.verify(parsed.signature, parsed.tbs_certificate_bytes, padding.PKCS1v15(), algorithm)
        else:
            assert isinstance(key, ec.EllipticCurvePublicKey)
            key.verify(parsed.signature, parsed.tbs_certificate_bytes, ec.ECDSA(algorithm))
    except InvalidSignature:
        return False
    return True
