"""The Redis registry without a server. Tests with servers are in tests/contract."""

from collections.abc import Callable
from datetime import timedelta

import pytest
import redis
from support.redis_links import answering_link
from support.trust_registry_calls import EVENT, HOUR, OBSERVATION

from verifier.adapters.redis.trust_registry import RedisTrustRegistry
from verifier.core.trust.operator_decisions import OperatorDecisions
from verifier.ports.stores import StoreUnavailable
from verifier.ports.trust import TrustRegistry


def test_is_a_trust_registry() -> None:
    port: TrustRegistry = RedisTrustRegistry(answering_link(b"7")[0])
    assert port.revision() == 7


def test_claims_with_one_conditional_set_that_expires() -> None:
    link, nodes = answering_link(b"OK")
    assert RedisTrustRegistry(link).claim("done:{a}", lasting=timedelta(seconds=1, microseconds=1))
    [command] = nodes.commands
    assert command == ("SET", "imds-verifier:{trust}:claim:done%3A%7Ba%7D", b"", "NX", "PX", 1001)


def test_a_decision_waits_for_replicas_and_an_observation_does_not() -> None:
    link, nodes = answering_link(1, replicas=1, wait_replicas=1)
    registry = RedisTrustRegistry(link)
    assert registry.decide(OperatorDecisions(), EVENT, expected=0)
    registry.record(OBSERVATION, [b"der"])
    registry.claim("fetch", lasting=HOUR)
    assert [[name for name, *_ in sent] for sent in nodes.asked] == [["EVAL", "WAIT"], ["EVAL"], ["SET"]]


def test_a_decision_that_replicas_do_not_have_is_unavailable() -> None:
    link, _ = answering_link(1, replicas=0, wait_replicas=1)
    with pytest.raises(StoreUnavailable, match="Too few replicas"):
        RedisTrustRegistry(link).decide(OperatorDecisions(), EVENT, expected=0)


def test_a_revision_grows_by_a_random_step() -> None:
    """After a failover that lost a change, the next one must not have the revision of the one that was lost."""
    link, nodes = answering_link(1)
    registry = RedisTrustRegistry(link)
    for _ in range(20):
        registry.decide(OperatorDecisions(), EVENT, expected=7)
    revisions = {int(command[6]) for command in nodes.commands}
    assert len(revisions) > 15
    assert min(revisions) > 7


@pytest.mark.parametrize(
    ("call", "answer", "detail"),
    [
        (lambda registry: registry.revision(), "7", "bytes"),
        (lambda registry: registry.decisions(), ["[]", "7"], "bytes"),
        (lambda registry: registry.discovered(), [["[]", "7", "7", None]], "bytes"),
        (lambda registry: registry.discovered(), b"OK", "than an array"),
        (lambda registry: registry.audit_log(most=1), "7", "than an array"),
    ],
)
def test_an_answer_of_another_type_is_a_mistake_of_the_wiring(
    call: Callable[[TrustRegistry], object], answer: object, detail: str
) -> None:
    with pytest.raises(TypeError, match=detail):
        call(RedisTrustRegistry(answering_link(answer)[0]))


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
def test_every_fault_is_unavailable_and_does_not_quote_the_server(error: Exception, detail: str) -> None:
    registry = RedisTrustRegistry(answering_link(error)[0])
    with pytest.raises(StoreUnavailable, match=detail) as deciding:
        registry.decide(OperatorDecisions(), EVENT, expected=0)
    with pytest.raises(StoreUnavailable, match=detail):
        registry.claim("fetch", lasting=HOUR)
    assert "secret" not in deciding.value.detail
    assert deciding.value.__cause__ is None
    assert deciding.value.__suppress_context__
