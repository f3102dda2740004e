"""An authority from files signs the signers. An unusable one is refused with the name of its file."""

from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519

from verifier.emulator import pki as pki_module
from verifier.emulator.authority import UnusableAuthorityError, read_authority
from verifier.emulator.pki import CA_LIFETIME, Identity, Pki, PrivateKey, Validity


def pem(*certificates: x509.Certificate) -> bytes:
    return b"".join(one.public_bytes(serialization.Encoding.PEM) for one in certificates)


def key_pem(key: PrivateKey | ed25519.Ed25519PrivateKey, *, password: bytes | None = None) -> bytes:
    encryption: serialization.KeySerializationEncryption = serialization.NoEncryption()
    if password is not None:
        encryption = serialization.BestAvailableEncryption(password)
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption)


def write(directory: Path, *, certificates: bytes, key: bytes) -> Path:
    directory.mkdir()
    (directory / "tls.crt").write_bytes(certificates)
    (directory / "tls.key").write_bytes(key)
    return directory


def root(now: datetime, key: PrivateKey, *, lifetime: timedelta = CA_LIFETIME) -> Identity:
    return pki_module.make_root(
        subject=pki_module.make_name("An Authority"), key=key, validity=Validity.around(now, lifetime)
    )


@pytest.mark.parametrize("kind", ["rsa", "ec"])
def test_signer_verifies_under_the_authority(tmp_path: Path, pki: Pki, now: datetime, kind: str) -> None:
    made = pki.root if kind == "rsa" else root(now, pki_module.make_ec_key(ec.SECP256R1()))
    directory = write(tmp_path / "ca", certificates=pem(made.certificate), key=key_pem(made.key))
    read = read_authority(directory, now=now)
    signer = pki_module.make_cloud_signer(issuer=read, now=now, domain="metadata.azure.us", region="usgovvirginia")
    signer.certificate.verify_directly_issued_by(made.certificate)
    assert signer.certificate.not_valid_before_utc <= now < signer.certificate.not_valid_after_utc


def test_signer_expires_with_its_authority_at_the_latest(pki: Pki, now: datetime) -> None:
    short = root(now, pki.root.key, lifetime=timedelta(days=2))
    signer = pki_module.make_cloud_signer(issuer=short, now=now, domain="metadata.azure.com", region="eastus")
    assert signer.certificate.not_valid_after_utc == short.certificate.not_valid_after_utc


def without_key_usage(pki: Pki, now: datetime) -> bytes:
    subject = pki_module.make_name("No key usage")
    certificate = pki_module.issue(
        subject=subject,
        public_key=pki.root.key.public_key(),
        issuer_name=subject,
        issuer_key=pki.root.key,
        validity=Validity.around(now, CA_LIFETIME),
        extensions=pki_module.root_extensions(pki.root.key.public_key())[:1],
        signing_hash=hashes.SHA256(),
    )
    return pem(certificate)


@pytest.mark.parametrize(
    ("certificates", "key", "fault"),
    [
        (
            lambda pki, _: pem(pki.root.certificate),
            lambda pki: key_pem(pki.signer.key),
            "tls.key does not match .*tls.crt",
        ),
        (lambda pki, _: pem(pki.issuing_ca.certificate), lambda pki: key_pem(pki.issuing_ca.key), "self-signed CA"),
        (lambda pki, _: pem(pki.signer.certificate), lambda pki: key_pem(pki.signer.key), "self-signed CA"),
        (without_key_usage, lambda pki: key_pem(pki.root.key), "self-signed CA"),
        (
            lambda pki, _: pem(pki.root.certificate, pki.issuing_ca.certificate),
            lambda pki: key_pem(pki.root.key),
            "tls.crt contains 2 certificates",
        ),
        (lambda _, __: b"no PEM", lambda pki: key_pem(pki.root.key), "tls.crt is not a PEM certificate"),
        (lambda _, __: b"x" * 65_537, lambda pki: key_pem(pki.root.key), "tls.crt is larger than 65536 bytes"),
        (lambda pki, _: pem(pki.root.certificate), lambda _: b"no PEM", "tls.key is not an unencrypted PEM key"),
        (
            lambda pki, _: pem(pki.root.certificate),
            lambda pki: key_pem(pki.root.key, password=b"secret"),
            "tls.key is not an unencrypted PEM key",
        ),
        (
            lambda pki, _: pem(pki.root.certificate),
            lambda _: key_pem(ed25519.Ed25519PrivateKey.generate()),
            "tls.key contains neither an RSA nor an EC key",
        ),
        (
            lambda pki, now: pem(root(now - timedelta(days=20), pki.root.key, lifetime=timedelta(days=10)).certificate),
            lambda pki: key_pem(pki.root.key),
            "tls.crt is expired or not yet valid",
        ),
    ],
)
def test_authority_that_cannot_sign_is_refused(
    tmp_path: Path,
    pki: Pki,
    now: datetime,
    certificates: Callable[[Pki, datetime], bytes],
    key: Callable[[Pki], bytes],
    fault: str,
) -> None:
    directory = write(tmp_path / "ca", certificates=certificates(pki, now), key=key(pki))
    with pytest.raises(UnusableAuthorityError, match=fault):
        read_authority(directory, now=now)


def test_missing_file_is_named(tmp_path: Path, now: datetime) -> None:
    with pytest.raises(UnusableAuthorityError, match=r"tls\.crt: No such file"):
        read_authority(tmp_path, now=now)
