"""A key is made, and its hash is the one that lets it in."""

import hashlib
import re

from support.command_line import call

from verifier.api.authentication import Callers, TenantCaller, Tenants
from verifier.core.tenancy import KeyKind, Tenant


def test_prints_a_key_and_the_hash_that_lets_it_in() -> None:
    ended = call("api-key")
    assert (ended.status, ended.err) == (0, "")
    parts = re.fullmatch(r"key:    ([A-Za-z0-9_-]{43})\nsha256: ([0-9a-f]{64})\n", ended.out)
    assert parts is not None
    key, key_hash = parts.groups()
    assert hashlib.sha256(key.encode()).hexdigest() == key_hash
    tenant = Tenant(name="north")
    callers = Callers(tenants=Tenants(key_hashes={tenant: [key_hash]}))
    assert callers.authenticate_tenant(f"Bearer {key}") == TenantCaller(tenant=tenant, kind=KeyKind.BACKEND)


def test_agent_key_comes_with_the_place_of_its_hash() -> None:
    ended = call("api-key", "--agent")
    assert ended.status == 0
    assert re.fullmatch(r"key:    [A-Za-z0-9_-]{43}\nsha256: [0-9a-f]{64}\n", ended.out)
    assert "tenants.NAME.agent_keys" in ended.err


def test_makes_another_key_each_time() -> None:
    assert len({call("api-key").out for _ in range(5)}) == 5
