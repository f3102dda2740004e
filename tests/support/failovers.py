"""One failover under load, on conditions that lose what was not replicated: what tests and bench/failover.py share.

Half of the documents are accepted while the replica is in step. Then it is stopped, and the primary given more to
replicate than sockets hold, so that what is redeemed from then on is in the primary's memory alone. It is killed; the
replica goes on without that, and is promoted.
"""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

import redis
from support.concurrent_clients import VERDICTS, Load, ask_nonces, body_of, post_all, under_load
from support.redis_groups import Group, ask, until
from support.redis_server import RedisServer

#: How many a run has; a cluster takes a third of them to the node that is killed.
DOCUMENTS = 36
#: More than the socket buffers of a loopback connection take (some MB).
_BURST_MEBIBYTES = 24
_DEADLINE_SECONDS = 40.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of the documents whose nonces the killed primary had. `away` is how long there was no verdict about
    any of them, in seconds after it was killed; `fresh` how many of as many new documents were accepted in the end."""

    documents: int
    accepted: int
    accepted_twice: int
    fresh: int
    away: float


def name_of(nonce: str) -> str:
    return f"imds-verifier:nonce:default:{nonce}"


def fail_over_under_load(group: Group, urls: list[str], *, documents: int = DOCUMENTS) -> Outcome:
    """The primary of some nonces is killed while documents that answer them are posted over and over; it comes back as
    a replica, and in the end every document is posted once more."""
    victim, nonces = _nonces_of_one_primary(group, urls[0], documents)
    replica = group.replica_of(victim)
    key = name_of(nonces[0])
    bodies = [body_of(nonce) for nonce in nonces]
    half = len(bodies) // 2
    until(lambda: _is_in_step(victim))
    with under_load(urls, bodies[:half], callers=8) as load:
        _wait_until(lambda: _told(load) >= set(range(half)))
        replica.pause()
        try:
            _burst(victim, key)
            load.bodies += bodies[half:]
            _wait_until(lambda: _told(load) >= set(range(len(bodies))))
            killed = time.monotonic()
            group.fail_over(victim, replica)
        finally:
            replica.resume()
        group.bring_back(victim, key)
        back = time.monotonic()
        _wait_until(lambda: _has_verdict_since(load, back))
    accepted = load.acceptances
    accepted.update(_accepted_at_last(urls, bodies))
    fresh = [body_of(nonce) for nonce in ask_nonces(urls[0], len(bodies))]
    return Outcome(
        documents=len(bodies),
        accepted=len(accepted),
        accepted_twice=sum(times > 1 for times in accepted.values()),
        fresh=len(_accepted_at_last(urls, fresh)),
        away=load.first_verdict_after(killed + 0.05, of_documents=True) - killed,
    )


def _told(load: Load) -> set[int]:
    """The documents to which there was an answer."""
    return {told.document for told in list(load.told) if told.document is not None}


def _nonces_of_one_primary(group: Group, url: str, number: int) -> tuple[RedisServer, list[str]]:
    """Of nonces that lie anywhere, those of the first one's primary."""
    issued = ask_nonces(url, number)
    victim = group.primary_of(name_of(issued[0]))
    return victim, [nonce for nonce in issued if group.primary_of(name_of(nonce)) is victim]


def _is_in_step(primary: RedisServer) -> bool:
    info = ask(primary, "INFO", "replication")
    return bool(info["connected_slaves"] == 1 and info["slave0"]["offset"] == info["master_repl_offset"])


def _burst(primary: RedisServer, key: str) -> None:
    """Writes that have nothing to do with nonces, on the node that has `key`."""
    with redis.Redis(host="127.0.0.1", port=primary.port, socket_timeout=10, protocol=2) as client:
        for number in range(_BURST_MEBIBYTES):
            client.set(f"{{{key}}}:burst:{number % 4}", bytes(2**20), px=60_000)


def _has_verdict_since(load: Load, moment: float) -> bool:
    return any(
        told.began > moment and told.document is not None and told.status in VERDICTS for told in list(load.told)
    )


def _accepted_at_last(urls: list[str], bodies: list[bytes]) -> list[int]:
    """Which of them were accepted, each posted until there is a verdict."""
    accepted = []
    deadline = time.monotonic() + _DEADLINE_SECONDS
    waiting = list(range(len(bodies)))
    while waiting:
        told = post_all(urls, [bodies[document] for document in waiting], copies=1, callers=1)
        accepted += [waiting[one.document or 0] for one in told if one.status == 200]
        waiting = [waiting[one.document or 0] for one in told if one.status == 503]
        if time.monotonic() > deadline:
            raise AssertionError("the store did not come back")
    return accepted


def _wait_until(is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + _DEADLINE_SECONDS
    while not is_so():
        if time.monotonic() > deadline:
            raise AssertionError("it did not become so in time")
        threading.Event().wait(0.01)
