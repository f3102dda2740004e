"""What can be said of the Redis registry without a server. The rest is in tests/contract."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
import redis

from verifier.core.decisions import Decisions
from verifier.edge.redis_registry import RedisTrustRegistry
from verifier.ports import AuditEvent, StoreUnavailable, TrustRegistry

HOUR = timedelta(hours=1)
EVENT = AuditEvent(
    at=datetime(2026, 11, 23, 8, 0, tzinfo=UTC), by="ann", what="reject", subject="ab", before="", after="rejected"
)


class Answering(redis.Redis):
    """A client that answers each command with one thing, and keeps what it was asked."""

    def __init__(self, answer: object) -> None:
        super().__init__()
        self.answer = answer
        self.asked: list[tuple[object, ...]] = []

    def execute_command(self, *command: object, **_: object) -> object:
        self.asked.append(command)
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


def test_is_a_trust_registry() -> None:
    port: TrustRegistry = RedisTrustRegistry(Answering(b"7"))
    assert port.revision() == 7


def test_claims_with_one_conditional_set_that_expires() -> None:
    client = Answering(True)  # noqa: FBT003 -- what the client makes of OK
    assert RedisTrustRegistry(client).claim("done:{a}", lasting=timedelta(seconds=1, microseconds=1))
    [(*command,)] = client.asked
    assert command[:2] == ["SET", "imds-verifier:{trust}:claim:done%3A%7Ba%7D"]
    assert sorted(map(str, command[3:])) == ["1001", "NX", "PX"]


@pytest.mark.parametrize(
    ("call", "answer", "detail"),
    [
        (lambda registry: registry.revision(), "7", "octets"),
        (lambda registry: registry.decisions(), ["[]", "7"], "octets"),
        (lambda registry: registry.discovered(), [["[]", "7", "7", None]], "octets"),
        (lambda registry: registry.discovered(), b"OK", "no array"),
        (lambda registry: registry.audit_trail(most=1), "7", "no array"),
    ],
)
def test_a_client_that_answers_otherwise_is_a_mistake_of_the_wiring(
    call: Callable[[TrustRegistry], object], answer: object, detail: str
) -> None:
    with pytest.raises(TypeError, match=detail):
        call(RedisTrustRegistry(Answering(answer)))


@pytest.mark.parametrize(
    ("error", "detail"),
    [
        (redis.exceptions.ConnectionError("Error 111 connecting to h:1"), "cannot be reached"),
        (redis.exceptions.TimeoutError("Timeout reading"), "did not answer in time"),
        (redis.exceptions.NoScriptError("secret"), r"refused the command"),
        (redis.exceptions.ResponseError("ERR secret script: f1, on @user_script:1."), r"the command \(ERR\)"),
        (redis.exceptions.OutOfMemoryError("command not allowed"), "out of memory"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else "",
)
def test_every_fault_is_unavailable_in_words_of_our_own(error: Exception, detail: str) -> None:
    registry = RedisTrustRegistry(Answering(error))
    with pytest.raises(StoreUnavailable, match=detail) as deciding:
        registry.decide(Decisions(), EVENT, expected=0)
    with pytest.raises(StoreUnavailable, match=detail):
        registry.claim("fetch", lasting=HOUR)
    assert "secret" not in deciding.value.detail
    assert deciding.value.__cause__ is None
    assert deciding.value.__suppress_context__
