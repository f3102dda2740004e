"""A failover loses writes that were not replicated. VERIFIER_NONCE_WAIT_REPLICAS keeps acceptances out of that loss.

bench/failover.py makes more runs, with and without the setting. docs/operate/redis.md has the numbers.
"""

from pathlib import Path

from support.failovers import fail_over_under_load
from support.redis_groups import Group, running_cluster, running_sentinel_group
from support.services import RunningServer, running_service

RUNS = 2
WAITING = {"VERIFIER_NONCE_WAIT_REPLICAS": "1", "VERIFIER_NONCE_WAIT_SECONDS": "0.05"}
#: Few documents, so that the replica is stopped briefly and can still be promoted.
DOCUMENTS = 20


def assert_nothing_twice(group: Group, service: RunningServer) -> None:
    """Fail over several times. The last redemptions are lost with the primary, and none of them counted."""
    for _ in range(RUNS):
        outcome = fail_over_under_load(group, [service.url], documents=DOCUMENTS)
        assert outcome.accepted_twice == 0
        assert outcome.accepted >= outcome.documents // 2
        assert outcome.fresh == outcome.documents


def test_no_document_is_accepted_twice_over_failovers_of_a_cluster(trust_dir: Path) -> None:
    with (
        running_cluster() as group,
        running_service(nonce_store=group.url, trust_dir=trust_dir, workers=1, **WAITING) as service,
    ):
        assert_nothing_twice(group, service)


def test_no_document_is_accepted_twice_over_failovers_by_sentinel(trust_dir: Path) -> None:
    with (
        running_sentinel_group() as group,
        running_service(nonce_store=group.url, trust_dir=trust_dir, workers=1) as careless,
        running_service(nonce_store=group.url, trust_dir=trust_dir, workers=1, **WAITING) as service,
    ):
        assert_nothing_twice(group, service)
        # The counter-check: without the wait, the same conditions lose redemptions.
        assert fail_over_under_load(group, [careless.url], documents=DOCUMENTS).accepted_twice > 0
