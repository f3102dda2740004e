"""Name the documents that fill the inspector with one click. They are copies of vectors, and never expire."""

from datetime import UTC, datetime
from typing import Final

from verifier.core.values import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """A genuine document of Azure, or a changed copy of it. `vector` is its source, `at` the time to inspect it."""

    asset: str
    label: str
    vector: str
    at: datetime

    @property
    def moment(self) -> str:
        return self.at.strftime("%Y-%m-%dT%H:%M:%SZ")


EXAMPLES: Final = (
    Example(
        asset="example-verified.json",
        label="A verified document",
        vector="verified/public-eastus-2026-07-28",
        at=datetime(2026, 7, 28, 13, 25, tzinfo=UTC),
    ),
    Example(
        asset="example-expired.json",
        label="An expired document",
        vector="document-expired/public-eastus-2026-07-28",
        at=datetime(2026, 7, 29, 13, 25, tzinfo=UTC),
    ),
    Example(
        asset="example-tampered.json",
        label="A tampered document",
        vector="signature-invalid/public-eastus-2026-07-28-other-vm-id",
        at=datetime(2026, 7, 28, 13, 25, tzinfo=UTC),
    ),
)
