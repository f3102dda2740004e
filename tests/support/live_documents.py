"""A PKI and documents that are valid while the suite runs, for services that read the machine's clock."""

from datetime import UTC, datetime
from functools import cache
from pathlib import Path

from support import documents

from verifier.emulator import pki
from verifier.emulator.clouds import AzureCloud
from verifier.emulator.documents import VirtualMachine
from verifier.emulator.trust_directory import TrustedCertificate, write_trust_directory


@cache
def current_pki() -> pki.Pki:
    """One for the whole run: making its keys is what takes the time."""
    return pki.make_pki(now=datetime.now(UTC))


def current_document(nonce: str | None, *, vm: VirtualMachine = documents.VM) -> bytes:
    """The DER of a document that was made just now."""
    return documents.document(nonce=nonce, created_on=datetime.now(UTC), signer=current_pki().signer, vm=vm)


def write_current_trust(directory: Path) -> Path:
    """`directory` is a trust directory that makes a service accept the current PKI's documents, and only those."""
    return write_trust_in(current_pki(), directory)


def write_trust_in(made: pki.Pki, directory: Path) -> Path:
    """Trust one PKI for the cloud Public."""
    write_trust_directory(
        directory,
        cloud=AzureCloud.PUBLIC,
        certificates=(
            TrustedCertificate(name="root", role="root", certificate=made.root.certificate),
            TrustedCertificate(name="issuing-ca", role="intermediate", certificate=made.issuing_ca.certificate),
        ),
    )
    return directory
