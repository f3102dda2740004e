"""`imds-verifier demo --keep` leaves everything running that its output names, until it is told to stop."""

import json
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.services import Client

from verifier.api.pages.examples import EXAMPLES
from verifier.cli.demo import DemoError

_LAST = "Press Ctrl-C to stop."


@pytest.fixture
def demo() -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", "verifier", "demo", "--keep"], stdout=subprocess.PIPE, text=True
    )
    yield process
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=30)


def read_until(process: subprocess.Popen[str], last: str) -> str:
    assert process.stdout is not None
    text = ""
    for line in process.stdout:
        text += line
        if last in line:
            return text
    raise DemoError(text)


@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM])
def test_servers_run_on_until_a_signal(demo: subprocess.Popen[str], stop: signal.Signals) -> None:
    said = read_until(demo, _LAST)
    facts = dict(re.findall(r"^(Inspector|Admin key|Document|Tenant): +(\S+)$", said, re.MULTILINE))
    service = Client(url=facts["Inspector"].rstrip("/"))
    document = Path(facts["Document"])

    assert facts["Tenant"] == "default"
    page = service.request("GET", "/")
    assert (page.status, page.headers["Content-Type"]) == (200, "text/html; charset=utf-8")
    json_type = {"Content-Type": "application/json"}
    assert (
        service.request("POST", "/v1/inspections", document.read_bytes(), headers=json_type).json["verdict"]
        == "verified"
    )
    for example in EXAMPLES:
        body = service.request("GET", f"/assets/{example.asset}").body
        answer = service.request("POST", f"/v1/inspections?at={example.moment}", body, headers=json_type)
        assert answer.json["verdict"] == ("verified" if "verified" in example.vector else "refused")

    [printed] = re.findall(r"^    \{$.*^    \}$", said, re.MULTILINE | re.DOTALL)
    shown = json.loads(printed)
    authorization = {"Authorization": f"Bearer {facts['Admin key']}"}
    assert service.request("GET", f"/v1/decisions/{shown['requestId']}", headers=authorization).json == shown
    assert shown["verdict"] == "verified"

    demo.send_signal(stop)
    assert demo.wait(timeout=30) == 0
    assert demo.stdout is not None
    assert demo.stdout.read().endswith("All servers are stopped.\n")
    assert not document.parent.exists()
    with pytest.raises(ConnectionRefusedError):
        service.request("GET", "/healthz")
