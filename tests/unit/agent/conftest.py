"""Set dead proxies in the environment of every test, because the agent must ignore proxy settings."""

import pytest
from support.scripted_servers import dead_url


@pytest.fixture(autouse=True)
def _dead_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, dead_url())
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
