"""VERIFIER_PAGES decides whether the service serves its pages, and the metrics listener serves none."""

from pathlib import Path

import pytest
from support.services import Client, metrics_of, running_service

PAGES = ("/", "/decisions", "/trust", "/assets/dom.js")


@pytest.mark.parametrize(("settings", "status"), [({}, 200), ({"VERIFIER_PAGES": "false"}, 404)])
def test_pages_are_served(tmp_path: Path, trust_dir: Path, settings: dict[str, str], status: int) -> None:
    store = f"sqlite://{tmp_path}/nonces.sqlite3"
    with running_service(nonce_store=store, trust_dir=trust_dir, workers=1, **settings) as service:
        # The pages are not part of the API, so OpenAPI does not describe them.
        pages = Client(url=service.url)
        assert {path: pages.request("GET", path).status for path in PAGES} == dict.fromkeys(PAGES, status)
        assert service.request("GET", "/v1/decisions").status == 401


def test_metrics_listener_serves_no_page(tmp_path: Path, trust_dir: Path) -> None:
    store = f"sqlite://{tmp_path}/nonces.sqlite3"
    with running_service(
        nonce_store=store, trust_dir=trust_dir, workers=1, VERIFIER_METRICS_PORT="0", VERIFIER_PAGES="true"
    ) as service:
        metrics = metrics_of(service)
        assert {path: metrics.request("GET", path).status for path in PAGES} == dict.fromkeys(PAGES, 404)
