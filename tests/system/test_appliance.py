"""The appliance with real processes: it bears an outage of the verifier for the grace time, and a denial not at all."""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import groupby
from pathlib import Path
from socket import create_server

import pytest
from support.command_line import call
from support.processes import await_that
from support.services import Client, RunningServer, running_server, running_service
from system.test_examples import AGENT_KEY, EXAMPLES, passport_settings, signing_settings

_SECONDS = 60
#: The least that the service allows.
TOKEN_SECONDS = 30
#: The agent with shorter pauses, so that it renews every 2 s in place of 20 s.
AGENT = """
import runpy, time
sleep = time.sleep
time.sleep = lambda seconds: sleep(seconds / 10)
runpy.run_module("verifier.agent", run_name="__main__")
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Appliance(Client):
    """The running appliance; `log` is what it printed, without the line that it listens."""

    log: list[str]

    def health(self) -> tuple[int, str, str]:
        answer = self.request("GET", "/healthz")
        return answer.status, str(answer.json["state"]), str(answer.json["until"])

    def is_in(self, state: str) -> bool:
        return self.health()[1] == state

    def states(self) -> list[str]:
        """Return the logged states in order, each once: another problem is another line."""
        return [state for state, _ in groupby(line.split()[1].rstrip(":") for line in self.log)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Vendor:
    """An emulated VM with the agent, and the settings of the vendor's verifier, which a test starts and stops."""

    directory: Path
    imds: str
    port: int
    keys: Path

    @contextmanager
    def verifier(self, policy: str = "appliance") -> Iterator[RunningServer]:
        settings = signing_settings(self.keys)
        tenants = json.loads(settings["VERIFIER_TENANTS"])
        tenants["contoso"]["policy"] = policy
        settings["VERIFIER_TENANTS"] = json.dumps(tenants)
        with running_service(
            nonce_store=f"sqlite://{self.directory}/nonces.sqlite3",
            trust_dir=self.directory / "trust",
            workers=1,
            VERIFIER_PORT=str(self.port),
            VERIFIER_TOKEN_LIFETIME_SECONDS=str(TOKEN_SECONDS),
            **settings,
        ) as running:
            yield running

    @contextmanager
    def agent(self) -> Iterator[None]:
        """Run the agent on the VM until its first token is there."""
        urls = ("--verifier", f"http://127.0.0.1:{self.port}", "--imds", self.imds)
        files = ("--key-file", "key", "--output", "token", "--status", "status")
        process = subprocess.Popen(
            [sys.executable, "-P", "-c", AGENT, *urls, *files, "--token", "--watch", "--timeout", "5"],
            cwd=self.directory,
            stderr=subprocess.DEVNULL,
        )
        try:
            await_that((self.directory / "token").exists)
            yield
        finally:
            process.terminate()
            assert process.wait(_SECONDS) == 0

    @contextmanager
    def appliance(self, verifier: RunningServer, grace_seconds: int) -> Iterator[Appliance]:
        environment = {
            **os.environ,
            **passport_settings(verifier),
            "TOKEN_FILE": "token",
            "STATUS_FILE": "status",
            "STATE_FILE": "state",
            "APPLIANCE_GRACE_SECONDS": str(grace_seconds),
            "IMDS": self.imds,
            "PORT": "0",
        }
        process = subprocess.Popen(
            [sys.executable, EXAMPLES / "appliance" / "appliance.py"],
            cwd=self.directory,
            env=environment,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert process.stdout is not None
        first = process.stdout.readline()
        url = process.stdout.readline().split("listening on ")[1].strip()
        appliance = Appliance(url=url, log=[first])
        reader = threading.Thread(target=appliance.log.extend, args=(process.stdout,))
        reader.start()
        try:
            yield appliance
        finally:
            process.terminate()
            status = process.wait(_SECONDS)
            reader.join(_SECONDS)
            process.stdout.close()
        assert status == 0


@pytest.fixture
def vendor(tmp_path: Path) -> Iterator[Vendor]:
    assert call("keys", "generate", "--dir", str(tmp_path / "keys")).status == 0
    (tmp_path / "key").write_text(AGENT_KEY, "ascii")
    with create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with running_server("emulator", "--port", "0", "--trust-dir", str(tmp_path / "trust")) as imds:
        yield Vendor(directory=tmp_path, imds=imds.url, port=port, keys=tmp_path / "keys")


def test_appliance_bears_an_outage_for_the_grace_time(vendor: Vendor) -> None:
    grace = 20
    with vendor.verifier() as verifier, vendor.agent():
        with vendor.appliance(verifier, grace) as appliance:
            status, state, licensed_until = appliance.health()
            assert (status, state) == (200, "licensed")
            # The agent renews the token.
            await_that(lambda: appliance.health()[2] > licensed_until)
            verifier.process.terminate()
            verifier.process.wait(_SECONDS)
            await_that(lambda: appliance.states()[-1] == "grace")
            status, state, until = appliance.health()
            assert (status, state) == (200, "grace")
        assert appliance.states() == ["licensed", "grace"]
        # A restart grants no new grace. The verifier's keys are not available to it.
        with vendor.appliance(verifier, grace) as appliance:
            assert appliance.health() == (200, "grace", until)
            await_that(lambda: appliance.is_in("stopped"))
            assert appliance.health() == (503, "stopped", "None")
            assert datetime.now().astimezone() - datetime.fromisoformat(until) < timedelta(seconds=10)
            with vendor.verifier():
                await_that(lambda: appliance.is_in("licensed"))
                assert appliance.health()[0] == 200
        assert appliance.states() == ["grace", "stopped", "licensed"]


def test_denied_appliance_stops_at_the_end_of_its_token(vendor: Vendor) -> None:
    with vendor.verifier() as verifier, vendor.agent(), vendor.appliance(verifier, 3600) as appliance:
        assert appliance.is_in("licensed")
        verifier.process.terminate()
        verifier.process.wait(_SECONDS)
        with vendor.verifier("strict"):
            await_that(lambda: "denies the license" in appliance.log[-1])
            assert appliance.health()[:2] == (200, "licensed")
            assert json.loads((vendor.directory / "status").read_bytes()) == {"exitCode": 1, "code": "policy-denied"}
        # An outage after the denial gives no grace.
        await_that(lambda: appliance.is_in("stopped"))
    assert "grace" not in appliance.states()
