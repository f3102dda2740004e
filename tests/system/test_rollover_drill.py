"""The drill: Azure signs under an authority that nobody pinned, while two replicas serve. Seen, handled, no outage."""

import hashlib
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from support.live_documents import write_current_trust
from support.redis_server import running_redis_server
from support.rollovers import Rollover, Traffic
from support.services import Answer, RunningServer, running_service

_ADMIN_KEY = "a-key-for-the-drill"
_WITHIN_SECONDS = 5.0


@dataclass(slots=True)
class Drill:
    replicas: tuple[RunningServer, RunningServer]
    environment: dict[str, str]
    rollover: Rollover

    def attest(self, replica: RunningServer) -> Answer:
        return replica.post_json("/v1/attestations", self.rollover.document(replica.issue_nonce()))

    def issuer_pin(self, answer: Answer) -> object:
        chain = answer.json["chain"]
        assert isinstance(chain, list)
        return next(link["pin"] for link in chain if link["sha256"] == self.rollover.authority_sha256)

    def trust(self, replica: RunningServer) -> dict[str, object]:
        answer = replica.request("GET", "/v1/trust", headers={"Authorization": f"Bearer {_ADMIN_KEY}"})
        assert answer.status == 200, answer.body
        return answer.json

    def approve_by_command(self) -> None:
        subprocess.run(
            [sys.executable, "-P", "-m", "verifier", "trust", "approve", self.rollover.authority_sha256],
            check=True,
            env={**os.environ, **self.environment},
            capture_output=True,
        )

    def approve_by_request(self) -> None:
        path = f"/v1/trust/discovered/{self.rollover.authority_sha256}/approve"
        answer = self.replicas[0].request("POST", path, headers={"Authorization": f"Bearer {_ADMIN_KEY}"})
        assert answer.status == 200, answer.body

    def await_pin(self, pin: str) -> None:
        """Both replicas accept the new signer's documents under an issuer that stands as `pin`, in time."""
        deadline = time.monotonic() + _WITHIN_SECONDS
        for replica in self.replicas:
            while True:
                answer = self.attest(replica)
                if answer.status == 200 and self.issuer_pin(answer) == pin:
                    break
                assert time.monotonic() < deadline, f"{replica.url}: {answer.body!r}"


@contextmanager
def drill(mode: str, tmp_path: Path) -> Iterator[Drill]:
    trust_dir = write_current_trust(tmp_path / "trust")
    with ExitStack() as running:
        redis = running.enter_context(running_redis_server())
        environment = {
            "VERIFIER_NONCE_STORE": redis.url,
            "VERIFIER_TRUST_DIR": str(trust_dir),
            "VERIFIER_DISCOVERY": mode,
            "VERIFIER_ADMIN_KEYS": f'{{"drill": "{hashlib.sha256(_ADMIN_KEY.encode()).hexdigest()}"}}',
        }
        one, other = (
            running.enter_context(
                running_service(
                    nonce_store=redis.url,
                    trust_dir=trust_dir,
                    VERIFIER_DISCOVERY=mode,
                    VERIFIER_ADMIN_KEYS=environment["VERIFIER_ADMIN_KEYS"],
                )
            )
            for _ in range(2)
        )
        traffic = Traffic(replicas=(one, other))
        with traffic.flowing():
            yield Drill(replicas=(one, other), environment=environment, rollover=Rollover.happen())
        assert traffic.faults == []
        assert traffic.answers
        assert {answer.status for answer in traffic.answers} == {200}
        assert one.process.poll() is None
        assert other.process.poll() is None


@pytest.mark.parametrize("mode", ["pinned", "observe"])
def test_an_unknown_issuer_is_refused_recorded_approved_and_accepted_on_both_replicas(
    mode: str, tmp_path: Path
) -> None:
    with drill(mode, tmp_path) as rehearsed:
        one, other = rehearsed.replicas
        refused = rehearsed.attest(one)
        assert (refused.status, refused.code) == (422, "issuer-unpinned")

        discovered = rehearsed.trust(other)["discovered"]
        assert isinstance(discovered, list)
        assert [issuer["documents"] for issuer in discovered] == [1]
        assert discovered[0]["authorities"][0]["sha256"] == rehearsed.rollover.authority_sha256

        if mode == "pinned":
            rehearsed.approve_by_command()
        else:
            rehearsed.approve_by_request()
        rehearsed.await_pin("active")


def test_an_unknown_issuer_is_admitted_recorded_and_approved(tmp_path: Path) -> None:
    with drill("admit", tmp_path) as rehearsed:
        one, other = rehearsed.replicas
        for replica in (one, other):
            admitted = rehearsed.attest(replica)
            assert admitted.status == 200, admitted.body
            assert rehearsed.issuer_pin(admitted) == "admitted"

        discovered = rehearsed.trust(other)["discovered"]
        assert isinstance(discovered, list)
        assert discovered[0]["authorities"][0]["sha256"] == rehearsed.rollover.authority_sha256

        rehearsed.approve_by_request()
        rehearsed.await_pin("active")
