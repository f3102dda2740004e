"""A failover loses what was not replicated. With VERIFIER_NONCE_WAIT_REPLICAS that was never an acceptance.

Twenty runs of each, and what happens without it: bench/failover.py, and docs/redis.md.
"""

from pathlib import Path

from support.failovers import fail_over_under_load
from support.redis_groups import Group, running_cluster, running_sentinel_group
from support.services import RunningServer, running_service

RUNS = 2
WAITING = {"VERIFIER_NONCE_WAIT_REPLICAS": "1", "VERIFIER_NONCE_WAIT_SECONDS": "0.05"}
#: Few, so that the replica is not stopped for so long that nobody would promote it.
DOCUMENTS = 20


def assert_nothing_twice(group: Group, service: RunningServer) -> None:
    """Also where the replica had none of what was redeemed last: it was lost with the primary, and never counted."""
    for _ in range(RUNS):
        outcome = fail_over_under_load(group, [service.url], documents=DOCUMENTS)
        assert outcome.accepted_twice == 0
        assert outcome.accepted >= outcome.documents // 2
        assert outcome.fresh == outcome.documents


def test_accepts_nothing_twice_over_failovers_of_a_cluster_where_redemptions_wait(trust_dir: Path) -> None:
    with (
        running_cluster() as group,
        running_service(nonce_store=group.url, trust_dir=trust_dir, workers=1, **WAITING) as service,
    ):
        assert_nothing_twice(group, service)


def test_accepts_nothing_twice_over_failovers_by_sentinel_where_redemptions_wait(trust_dir: Path) -> None:
    with (
        running_sentinel_group() as group,
        running_service(nonce_store=group.url, trust_dir=trust_dir, workers=1) as careless,
        running_service(nonce_store=group.url, trust_dir=trust_dir, workers=1, **WAITING) as service,
    ):
        assert_nothing_twice(group, service)
        # What that stands on: the same conditions do lose what is not waited for.
        assert fail_over_under_load(group, [careless.url], documents=DOCUMENTS).accepted_twice > 0
