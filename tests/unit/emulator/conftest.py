"""One PKI for the whole run, because making RSA keys is slow."""

from datetime import UTC, datetime

import pytest

from verifier.emulator.pki import Pki, make_pki


@pytest.fixture(scope="session")
def now() -> datetime:
    return datetime(2026, 11, 23, 8, 0, 0, tzinfo=UTC)


@pytest.fixture(scope="session")
def pki(now: datetime) -> Pki:
    return make_pki(now=now)
