"""A token of SoftHSM2 in a directory of its own: the HSM of the tests."""

import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

PIN = "12345678"
TOKEN = "results"  # noqa: S105 - a name
_SECONDS = 60
#: Where Debian, Fedora and their likes install the library.
_MODULES = ("/usr/lib/softhsm/libsofthsm2.so", "/usr/lib64/pkcs11/libsofthsm2.so", "/usr/lib64/libsofthsm2.so")
_TOOLS = ("softhsm2-util", "pkcs11-tool")


@dataclass(frozen=True, slots=True, kw_only=True)
class SoftHsm:
    directory: Path
    module: str

    @property
    def environment(self) -> dict[str, str]:
        """The settings of the service, and where the library has its tokens."""
        return {
            "SOFTHSM2_CONF": str(self.directory / "softhsm2.conf"),
            "VERIFIER_PKCS11_MODULE": self.module,
            "VERIFIER_PKCS11_PIN_FILE": str(self.directory / "pin"),
        }

    def generate(self, name: str, *, kind: str = "EC:prime256v1", key_id: str = "01", token: str = TOKEN) -> str:
        """The URI of a new key pair, which its token made."""
        self.run(
            *("pkcs11-tool", "--module", self.module, "--token-label", token, "--login", "--pin", PIN),
            *("--keypairgen", "--key-type", kind, "--label", name, "--id", key_id),
        )
        return f"pkcs11:token={token};object={name}"

    def delete(self, name: str, kind: str) -> None:
        self.run(
            *("pkcs11-tool", "--module", self.module, "--token-label", TOKEN, "--login", "--pin", PIN),
            *("--delete-object", "--type", kind, "--label", name),
        )

    def add_token(self, label: str) -> None:
        self.run("softhsm2-util", "--init-token", "--free", "--label", label, "--so-pin", "87654321", "--pin", PIN)

    def lose(self) -> None:
        """The token is gone, as if somebody had pulled it out."""
        self._tokens.rename(self.directory / "away")
        self._tokens.mkdir()

    def restore(self) -> None:
        self._tokens.rmdir()
        (self.directory / "away").rename(self._tokens)

    def run(self, *command: str) -> None:
        subprocess.run(
            command,
            env={**os.environ, **self.environment},
            check=True,
            capture_output=True,
            timeout=_SECONDS,
        )

    @property
    def _tokens(self) -> Path:
        return self.directory / "tokens"


def create_softhsm(directory: Path) -> SoftHsm:
    """A token without keys. Skips the test if SoftHSM2 or OpenSC's pkcs11-tool is not installed."""
    module = next(filter(os.path.exists, _MODULES), None)
    missing = [name for name in _TOOLS if shutil.which(name) is None]
    if module is None or missing:
        pytest.skip(f"needs SoftHSM2 and pkcs11-tool: install softhsm2 and opensc (missing: {missing or 'library'})")
    (directory / "tokens").mkdir(parents=True)
    (directory / "softhsm2.conf").write_text(
        f"directories.tokendir = {directory}/tokens\nobjectstore.backend = file\nlog.level = ERROR\n", "utf-8"
    )
    (directory / "pin").write_text(f"{PIN}\n", "utf-8")
    made = SoftHsm(directory=directory, module=module)
    made.add_token(TOKEN)
    return made
