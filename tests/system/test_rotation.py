"""Policies and keys change on a live service under load: nobody notices but who is meant to."""

import hashlib
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import pytest
from support.documents import imds_answer
from support.live_documents import current_document
from support.load import repeated
from support.processes import await_everywhere
from support.services import Answer, RunningServer, running_service

_ROTATIONS = 20
_WITHIN_SECONDS = 20.0
#: The key of the administrator whom every state of the file has.
_STEADY_KEY = "a-key-that-stays"


@dataclass(frozen=True, slots=True)
class State:
    """One state of the settings file, which no other one looks like from outside."""

    number: int

    @property
    def admin_key(self) -> str:
        return f"a-key-of-rotation-{self.number}"

    @property
    def policy(self) -> str:
        return f"rotation-{self.number}"

    def text(self) -> str:
        return "\n".join(
            [
                "[admin_keys]",
                f'steady = "{_hash(_STEADY_KEY)}"',
                f'turning = "{_hash(self.admin_key)}"',
                "[policies.steady]",
                f'anyOf = [{{ publishers = ["contoso"] }}, {{ publishers = ["number-{self.number}"] }}]',
                f"[policies.{self.policy}]",
                "requirePlan = true",
                "",
            ]
        )


def _hash(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()


def put_atomically(file: Path, text: str) -> None:
    written = file.with_suffix(".new")
    written.write_text(text, "utf-8")
    written.replace(file)


def flip_symlink(file: Path, text: str) -> None:
    """As a Kubernetes volume does: the file is a link into `..data`, a link to a directory, which is swapped."""
    directory = file.parent / f"..{time.monotonic_ns()}"
    directory.mkdir()
    (directory / file.name).write_text(text, "utf-8")
    swapped = file.parent / "..data_tmp"
    swapped.symlink_to(directory.name)
    swapped.replace(file.parent / "..data")
    if not file.is_symlink():
        file.symlink_to(Path("..data", file.name))


@dataclass(slots=True)
class Load:
    """Nonces, documents and looks at trust, one after another from several callers, until it is over."""

    service: RunningServer
    headers: Mapping[str, str] = field(default_factory=dict)
    answers: list[tuple[str, Answer]] = field(default_factory=list)
    faults: list[Exception] = field(default_factory=list)

    @contextmanager
    def flowing(self, *, callers: int = 3) -> Iterator[None]:
        with repeated([self.flow] * callers, self.faults):
            yield

    def flow(self) -> None:
        self.attest("steady")
        self.keep("trust", look(self.service, _STEADY_KEY))

    def attest(self, policy: str) -> None:
        issued = self.service.post_json("/v1/nonces", {"policy": policy})
        self.keep("nonce", issued)
        evidence = imds_answer(current_document(str(issued.json["nonce"])))
        self.keep("attestation", self.service.post_json("/v1/attestations", evidence))

    def keep(self, what: str, answer: Answer) -> None:
        self.answers.append((what, answer))

    @property
    def failed(self) -> list[tuple[str, Answer]]:
        expected = {"nonce": 201, "attestation": 200, "trust": 200}
        return [(what, answer) for what, answer in self.answers if answer.status != expected[what]]


def look(service: RunningServer, key: str) -> Answer:
    return service.request("GET", "/v1/trust", headers={"Authorization": f"Bearer {key}"})


def is_known(service: RunningServer, policy: str) -> bool:
    answer = service.post_json("/v1/nonces", {"policy": policy})
    assert answer.status in {201, 400}, answer.body
    return answer.status == 201


def in_force(service: RunningServer, state: State, before: State) -> bool:
    return (
        is_known(service, state.policy)
        and not is_known(service, before.policy)
        and look(service, state.admin_key).status == 200
        and look(service, before.admin_key).status == 401
    )


@pytest.mark.parametrize("change", [put_atomically, flip_symlink])
def test_policies_and_admin_keys_rotate_under_load_without_a_failed_request(
    change: Callable[[Path, str], None], tmp_path: Path, trust_dir: Path
) -> None:
    folder = tmp_path / "settings"
    folder.mkdir()
    file = folder / "verifier.toml"
    state = State(0)
    change(file, state.text())
    with running_service(
        nonce_store=f"sqlite://{tmp_path}/nonces.sqlite3",
        trust_dir=trust_dir,
        VERIFIER_CONFIG=str(file),
        VERIFIER_TRUST_REFRESH_SECONDS="0.2",
    ) as service:
        load = Load(service)
        with load.flowing():
            await_everywhere(lambda: is_known(service, State(0).policy))
            for number in range(1, _ROTATIONS + 1):
                before, state = state, State(number)
                change(file, state.text())
                if number in {1, _ROTATIONS // 2, _ROTATIONS}:
                    await_everywhere(partial(in_force, service, state, before))
                else:
                    # Faster than a worker looks, so that some states are never seen.
                    threading.Event().wait(0.15)
        assert load.faults == []
        assert load.failed == []
        assert len(load.answers) > _ROTATIONS
        metrics = service.request("GET", "/metrics").body.decode()
        assert 'verifier_settings_reload_total{outcome="refused"} 0.0' in metrics
    log = "".join(service.log)
    assert '"settings reloaded"' in log
    assert "changed: admin_keys, policies" in log


def test_broken_settings_change_nothing_and_corrected_ones_are_taken(tmp_path: Path, trust_dir: Path) -> None:
    file = tmp_path / "verifier.toml"
    first, second = State(1), State(2)
    put_atomically(file, first.text())
    with running_service(
        nonce_store=f"sqlite://{tmp_path}/nonces.sqlite3",
        trust_dir=trust_dir,
        VERIFIER_CONFIG=str(file),
        VERIFIER_TRUST_REFRESH_SECONDS="0.2",
    ) as service:
        load = Load(service)
        with load.flowing(callers=2):
            put_atomically(file, f"{second.text()}\nworkers = ")
            await_everywhere(lambda: "refused" in "".join(service.log))
            assert is_known(service, first.policy)
            assert not is_known(service, second.policy)
            put_atomically(file, second.text())
            await_everywhere(lambda: in_force(service, second, first))
        assert load.faults == []
        assert load.failed == []


def test_a_nonce_of_a_policy_that_was_taken_away_is_refused(tmp_path: Path, trust_dir: Path) -> None:
    file = tmp_path / "verifier.toml"
    first, second = State(1), State(2)
    put_atomically(file, first.text())
    with running_service(
        nonce_store=f"sqlite://{tmp_path}/nonces.sqlite3",
        trust_dir=trust_dir,
        VERIFIER_CONFIG=str(file),
        VERIFIER_TRUST_REFRESH_SECONDS="0.2",
    ) as service:
        evidence = imds_answer(current_document(service.issue_nonce(policy=first.policy)))
        put_atomically(file, second.text())
        await_everywhere(lambda: in_force(service, second, first))
        refused = service.post_json("/v1/attestations", evidence)
        assert (refused.status, refused.code) == (403, "policy-denied")
        again = service.post_json("/v1/attestations", evidence)
        assert (again.status, again.code) == (409, "nonce-replayed")
