"""Runs the clients side by side, once for all tests, and prints the matrix at the end."""

from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor

import pytest
from support.client_cases import CLIENTS
from support.client_endings import Client, Run
from support.client_environment import missing
from support.client_matrix import run_client
from support.client_tables import table_of_clients

#: More would miss the fixed deadlines of some clients, of 50 ms and more, because each starts an interpreter.
_SIDE_BY_SIDE = 4
_RUNS = pytest.StashKey[dict[Client, Future[Run]]]()


@pytest.fixture(scope="session")
def runs(request: pytest.FixtureRequest) -> Iterator[Mapping[Client, Future[Run]]]:
    """Return the run of each installed client. Waits for none of them."""
    with ThreadPoolExecutor(_SIDE_BY_SIDE) as pool:
        started = {client: pool.submit(run_client, client) for client in CLIENTS if missing(client.registry) is None}
        request.config.stash[_RUNS] = started
        yield started


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    runs = config.stash.get(_RUNS, {})
    done = {client: run.result() for client, run in runs.items() if run.done() and run.exception() is None}
    if done:
        terminalreporter.section("clients of IMDS")
        terminalreporter.write(table_of_clients(done))
