"""What the tests of the whole service share: one PKI's trust, and one service that they do not stop."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser
from support.browsers import open_browser
from support.live_documents import write_current_trust
from support.services import RunningServer, running_service


@pytest.fixture(scope="session")
def trust_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A trust directory for the documents of `support.live_documents`."""
    return write_current_trust(tmp_path_factory.mktemp("trust") / "trust")


@pytest.fixture(scope="session")
def service(tmp_path_factory: pytest.TempPathFactory, trust_dir: Path) -> Iterator[RunningServer]:
    """Two workers over SQLite. Who stops it, or reads its log, starts one of their own."""
    store = f"sqlite://{tmp_path_factory.mktemp('store')}/nonces.sqlite3"
    with running_service(nonce_store=store, trust_dir=trust_dir, VERIFIER_REQUEST_SECONDS="2") as running:
        yield running


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """One for each module, because playwright keeps an event loop running."""
    with open_browser() as running:
        yield running
