"""Real, unmodified clients get from the emulator what they need, and end with each fault as they document.

Each calls 169.254.169.254 in a network namespace of its own. `make clients` installs them and runs this.
"""

from collections.abc import Mapping
from concurrent.futures import Future

import pytest
from support.client_cases import CLIENTS
from support.client_endings import Client, Run
from support.client_environment import missing
from support.network_namespaces import NamespaceRefused

from verifier.emulator import FaultKind

Runs = Mapping[Client, Future[Run]]
each_client = pytest.mark.parametrize("client", CLIENTS, ids=str)


def seen_of(client: Client, runs: Runs) -> Run:
    reason = missing(client.registry)
    if reason is not None:
        pytest.skip(reason)
    try:
        return runs[client].result()
    except NamespaceRefused as refused:
        pytest.skip(str(refused))


@each_client
def test_client_gets_what_it_needs(client: Client, runs: Runs) -> None:
    seen = seen_of(client, runs)[None]
    assert client.gets.is_of(seen.answer), seen.answer
    assert seen.asked == client.asks


@each_client
@pytest.mark.parametrize("kind", [kind for kind in FaultKind if kind is not FaultKind.CACHED_NONCE], ids=str)
def test_fault_ends_as_the_client_documents(client: Client, kind: FaultKind, runs: Runs) -> None:
    ending, seen = client.faults[kind], seen_of(client, runs)[kind]
    assert ending.is_of(seen.answer), seen.answer
    assert len(seen.asked) == ending.asked
    # The resource of a token differs from call to call.
    assert {_kind(asked) for asked in seen.asked} <= {_kind(asked) for asked in client.asks}


def _kind(asked: str) -> str:
    return asked.partition("&resource=")[0]
