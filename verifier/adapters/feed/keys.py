"""Make and read the keys of a feed: Ed25519 in PEM, with the private key for its owner only."""

import os
import stat
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)
from securesystemslib.signer import CryptoSigner, SSlibKey

from verifier.ports.feed_publishing import PublishingRefused

_MAX_KEY_BYTES = 16 * 1024


def make_key(file: Path) -> CryptoSigner:
    """Write a new private key to `file` and its public key to `file`.pub. Raises PublishingRefused if one exists."""
    # Before the first write, so that a refusal leaves no private key without its public one.
    for existing in filter(Path.exists, (file, public_file(file))):
        raise PublishingRefused(f"{existing}: exists already; a key is never overwritten")
    private = Ed25519PrivateKey.generate()
    signer = CryptoSigner(private)
    public = private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    _write_new(file, signer.private_bytes, mode=0o600)
    _write_new(public_file(file), public, mode=0o644)
    return signer


def public_file(file: Path) -> Path:
    return file.with_name(f"{file.name}.pub")


def read_signer(file: Path) -> CryptoSigner:
    """Read a private key. Raises PublishingRefused, also if others can read the file."""
    if stat.S_IMODE(file.stat().st_mode) & 0o077:
        raise PublishingRefused(f"{file}: others may read this private key; run chmod 600 {file}")
    try:
        private = load_pem_private_key(_read(file), None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise PublishingRefused(f"{file}: not an unencrypted private key in PEM") from error
    if not isinstance(private, Ed25519PrivateKey):
        raise PublishingRefused(f"{file}: not an Ed25519 key")
    return CryptoSigner(private)


def read_public(file: Path) -> SSlibKey:
    """Read a public key. Raises PublishingRefused."""
    try:
        public = load_pem_public_key(_read(file))
    except (ValueError, UnsupportedAlgorithm) as error:
        raise PublishingRefused(f"{file}: not a public key in PEM (the file that ends with .pub)") from error
    if not isinstance(public, Ed25519PublicKey):
        raise PublishingRefused(f"{file}: not an Ed25519 key")
    return SSlibKey.from_crypto(public)


def _read(file: Path) -> bytes:
    with file.open("rb") as opened:
        return opened.read(_MAX_KEY_BYTES)


def _write_new(file: Path, content: bytes, *, mode: int) -> None:
    try:
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    except FileExistsError as error:
        raise PublishingRefused(f"{file}: exists already; a key is never overwritten") from error
    with open(descriptor, "wb") as opened:  # noqa: PTH123 - a descriptor
        opened.write(content)
