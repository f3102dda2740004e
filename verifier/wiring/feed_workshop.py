"""Connect what `imds-verifier trust feed` needs."""

from collections.abc import Sequence
from pathlib import Path

from verifier.adapters.clock import SystemClock
from verifier.adapters.feed.publisher import TufPublisher
from verifier.adapters.trust.files import read_entries
from verifier.adapters.trust.published import MAX_BUNDLE_BYTES, read_bundle, write_bundle
from verifier.cli.commands import read_document_file
from verifier.cli.trust_feed import FeedWorkshop
from verifier.core.trust.bundle import TrustedCertificate, TrustError


def open_workshop() -> FeedWorkshop:
    """Return the publisher with the readers of trust directories and bundles."""
    clock = SystemClock()
    return FeedWorkshop(
        publisher=TufPublisher(clock=clock),
        read_entries=_read_entries,
        read_bundle=read_bundle,
        write_bundle=write_bundle,
        clock=clock,
    )


def _read_entries(source: Path) -> Sequence[TrustedCertificate]:
    if source.is_dir():
        return read_entries(source)
    bundle = read_bundle(read_document_file(str(source), limit=MAX_BUNDLE_BYTES))
    if bundle.expires_at <= SystemClock().now():
        raise TrustError(f"{source}: the bundle has expired")
    return bundle.entries
