"""Make EC P-256 keys and sign with them.

Python's standard library has no signatures: this uses the package `cryptography` if it is installed, else the command
`openssl`. Both read and write the same PEM.
"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey

_SECONDS = 15.0


class KeyTool(Protocol):
    """Each method raises ValueError with a sentence that shows no key."""

    def generate(self) -> bytes:
        """Return a new private key: PEM, PKCS #8, not encrypted."""

    def public_key(self, private_key: Path) -> bytes:
        """Return the SubjectPublicKeyInfo in DER."""

    def sign(self, private_key: Path, message: bytes) -> bytes:
        """Return the ECDSA signature over SHA-256 in DER."""


def find_key_tool() -> KeyTool:
    """Return a tool that is installed. Raises ValueError if there is none."""
    try:
        import cryptography  # noqa: F401, PLC0415 - optional, and only for a key
    except ImportError:
        command = shutil.which("openssl")
        if command is None:
            raise ValueError(
                "--proof-key needs the Python package cryptography or the command openssl: install one of them"
            ) from None
        return OpensslTool(command)
    return CryptographyTool()


class CryptographyTool:
    """Use the Python package."""

    def generate(self) -> bytes:
        from cryptography.hazmat.primitives import serialization  # noqa: PLC0415 - optional
        from cryptography.hazmat.primitives.asymmetric import ec  # noqa: PLC0415 - optional

        return ec.generate_private_key(ec.SECP256R1()).private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )

    def public_key(self, private_key: Path) -> bytes:
        from cryptography.hazmat.primitives import serialization  # noqa: PLC0415 - optional

        return (
            _load(private_key)
            .public_key()
            .public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
        )

    def sign(self, private_key: Path, message: bytes) -> bytes:
        from cryptography.hazmat.primitives import hashes  # noqa: PLC0415 - optional
        from cryptography.hazmat.primitives.asymmetric import ec  # noqa: PLC0415 - optional

        return _load(private_key).sign(message, ec.ECDSA(hashes.SHA256()))


def _load(private_key: Path) -> EllipticCurvePrivateKey:
    from cryptography.exceptions import UnsupportedAlgorithm  # noqa: PLC0415 - optional
    from cryptography.hazmat.primitives import serialization  # noqa: PLC0415 - optional
    from cryptography.hazmat.primitives.asymmetric import ec  # noqa: PLC0415 - optional

    try:
        key = serialization.load_pem_private_key(private_key.read_bytes(), password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise ValueError(f"{private_key} is not an EC P-256 key in PEM")  # noqa: TRY004 - about the file
    return key


class OpensslTool:
    """Use the command. No key is on a command line, and none is asked for a passphrase."""

    def __init__(self, command: str) -> None:
        self._command = command

    def generate(self) -> bytes:
        return self._run("genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", what="make a key")

    def public_key(self, private_key: Path) -> bytes:
        arguments = ("pkey", "-in", str(private_key.absolute()), "-passin", "pass:", "-pubout", "-outform", "DER")
        return self._run(*arguments, what=f"read the key in {private_key}")

    def sign(self, private_key: Path, message: bytes) -> bytes:
        arguments = ("dgst", "-sha256", "-passin", "pass:", "-sign", str(private_key.absolute()))
        return self._run(*arguments, what=f"sign with the key in {private_key}", standard_input=message)

    def _run(self, *arguments: str, what: str, standard_input: bytes = b"") -> bytes:
        try:
            done = subprocess.run(  # noqa: S603 - the command of PATH, with arguments of ours
                [self._command, *arguments], input=standard_input, capture_output=True, check=True, timeout=_SECONDS
            )
        except (OSError, subprocess.SubprocessError) as error:
            # The output of openssl stays out of the sentence.
            raise ValueError(f"openssl cannot {what} ({type(error).__name__})") from None
        return done.stdout
