"""Create what `verify`, `inspect` and `policy` need: neither a store nor a service."""

from pathlib import Path

from verifier.adapters.clock import SystemClock
from verifier.adapters.settings.settings import load_settings
from verifier.adapters.trust.files import TrustDirectory
from verifier.core.trust.clouds import Cloud
from verifier.usecases.archive import ArchiveVerifier
from verifier.usecases.inspection import Inspector


def create_archive_verifier(trust_dir: Path | None) -> ArchiveVerifier:
    """Create a verifier of archived documents, over `trust_dir` or the trust directory of the settings."""
    settings = load_settings()
    return ArchiveVerifier(
        trust=TrustDirectory(trust_dir or settings.trust_dir),
        limits=settings.limits,
        policies=settings.named_policies,
    )


def create_inspector(trust_dir: Path | None) -> Inspector:
    """Create an inspector of documents of every cloud, over `trust_dir` or the trust directory of the settings."""
    settings = load_settings()
    return Inspector(
        trust=TrustDirectory(trust_dir or settings.trust_dir),
        clock=SystemClock(),
        limits=settings.limits,
        policies=settings.named_policies,
        served=frozenset(Cloud),
    )
