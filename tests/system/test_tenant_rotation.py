"""Tenants and their keys change on a live service under load: one key follows another, and no request fails."""

import hashlib
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import pytest
from support.live_documents import current_document
from support.load import repeated
from support.processes import await_everywhere
from support.services import Answer, RunningServer, running_service

_ROTATIONS = 4
_WITHIN_SECONDS = 30.0


def text_of(tenants: Mapping[str, Sequence[str]], *, more: str = "") -> str:
    """The settings file with these tenants and their keys; `more` is added to the first."""
    parts = []
    for number, (name, keys) in enumerate(tenants.items()):
        hashes = ", ".join(f'"{hashlib.sha256(key.encode()).hexdigest()}"' for key in keys)
        parts.append(f"[tenants.{name}]\nkeys = [{hashes}]\n{more if number == 0 else ''}\n")
    return "".join(parts)


def put(file: Path, text: str) -> None:
    written = file.with_suffix(".new")
    written.write_text(text, "utf-8")
    written.replace(file)


def ask_for_nonce(service: RunningServer, key: str) -> Answer:
    return service.request("POST", "/v1/nonces", headers={"Authorization": f"Bearer {key}"})


def is_answered(service: RunningServer, key: str, status: int) -> bool:
    return ask_for_nonce(service, key).status == status


@dataclass(slots=True)
class Load:
    """Nonces and documents from several callers, each with the key that is in use as its request begins."""

    service: RunningServer
    key: str
    rounds: list[int] = field(default_factory=list)
    failed: list[tuple[str, Answer]] = field(default_factory=list)
    faults: list[Exception] = field(default_factory=list)

    @contextmanager
    def flowing(self, *, callers: int = 3) -> Iterator[None]:
        self.rounds = [0] * callers
        with repeated([partial(self.go_round, caller) for caller in range(callers)], self.faults):
            yield

    def go_round(self, caller: int) -> None:
        self.attest()
        self.rounds[caller] += 1

    def attest(self) -> None:
        key = self.key
        issued = ask_for_nonce(self.service, key)
        self.keep("nonce", issued, 201)
        answer = self.service.request(
            "POST",
            "/v1/attestations",
            current_document(str(issued.json["nonce"])),
            headers={"Authorization": f"Bearer {key}", "Content-Type": "application/octet-stream"},
        )
        self.keep("attestation", answer, 200)

    def keep(self, what: str, answer: Answer, expected: int) -> None:
        if answer.status != expected:
            self.failed.append((what, answer))

    def follow(self, key: str) -> None:
        """Every caller uses `key`, and has finished what it began with another one."""
        self.key = key
        before = list(self.rounds)
        deadline = time.monotonic() + _WITHIN_SECONDS
        while any(now < then + 2 for now, then in zip(self.rounds, before, strict=True)):
            assert time.monotonic() < deadline
            assert self.faults == []
            threading.Event().wait(0.01)


@pytest.fixture(params=["sqlite", "redis"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite://{tmp_path}/nonces.sqlite3"
    url: str = request.getfixturevalue("redis_url")
    return url


def test_keys_follow_one_another_under_load_without_a_failed_request(
    tmp_path: Path, trust_dir: Path, store: str
) -> None:
    file = tmp_path / "verifier.toml"
    key, steady = "key-number-0", "the-key-of-south"
    put(file, text_of({"north": [key], "south": [steady]}, more='rate = "100000/hour"'))
    with running_service(
        nonce_store=store, trust_dir=trust_dir, VERIFIER_CONFIG=str(file), VERIFIER_TRUST_REFRESH_SECONDS="0.2"
    ) as service:
        load = Load(service, key)
        with load.flowing():
            for number in range(1, _ROTATIONS + 1):
                before, key = key, f"key-number-{number}"
                kept = ask_for_nonce(service, before).json["nonce"]
                put(file, text_of({"north": [before, key], "south": [steady]}, more='rate = "100000/hour"'))
                await_everywhere(partial(is_answered, service, key, 201))
                load.follow(key)
                put(file, text_of({"north": [key], "south": [steady]}, more='rate = "100000/hour"'))
                await_everywhere(partial(is_answered, service, before, 401))
                # A nonce is the tenant's, not the key's.
                answer = service.request(
                    "POST",
                    "/v1/attestations",
                    current_document(str(kept)),
                    headers={"Authorization": f"Bearer {key}", "Content-Type": "application/octet-stream"},
                )
                assert answer.status == 200, answer.body
                assert ask_for_nonce(service, steady).status == 201
        assert load.faults == []
        assert load.failed == []
        assert min(load.rounds) > _ROTATIONS


def test_tenants_come_and_go_and_their_rates_change(tmp_path: Path, trust_dir: Path) -> None:
    file = tmp_path / "verifier.toml"
    put(file, text_of({"north": ["north-key"]}))
    with running_service(
        nonce_store=f"sqlite://{tmp_path}/nonces.sqlite3",
        trust_dir=trust_dir,
        VERIFIER_CONFIG=str(file),
        VERIFIER_TRUST_REFRESH_SECONDS="0.2",
    ) as service:
        assert ask_for_nonce(service, "south-key").status == 401
        put(file, text_of({"south": ["south-key"], "north": ["north-key"]}, more='rate = "2/hour"'))
        await_everywhere(lambda: ask_for_nonce(service, "south-key").status == 429)
        assert ask_for_nonce(service, "north-key").status == 201
        put(file, text_of({"north": ["north-key"]}))
        await_everywhere(lambda: ask_for_nonce(service, "south-key").status == 401)


def test_the_last_tenant_cannot_be_taken_from_a_live_service(tmp_path: Path, trust_dir: Path) -> None:
    """It would be open to everybody: an emptied file is more likely a slip than a wish."""
    file = tmp_path / "verifier.toml"
    put(file, text_of({"north": ["north-key"]}))
    with running_service(
        nonce_store=f"sqlite://{tmp_path}/nonces.sqlite3",
        trust_dir=trust_dir,
        VERIFIER_CONFIG=str(file),
        VERIFIER_TRUST_REFRESH_SECONDS="0.2",
    ) as service:
        put(file, "[policies.gold]\nrequirePlan = true\n")
        # Both workers say so, and the callers see nothing of it.
        await_everywhere(lambda: "".join(service.log).count("without a tenant, the service would be open") >= 2)
        assert service.request("POST", "/v1/nonces").status == 401
        assert ask_for_nonce(service, "north-key").status == 201
        put(file, text_of({"north": ["other-key"]}))
        await_everywhere(lambda: ask_for_nonce(service, "other-key").status == 201)
        await_everywhere(lambda: ask_for_nonce(service, "north-key").status == 401)
