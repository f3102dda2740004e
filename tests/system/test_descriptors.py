"""Test how the service starts with a low limit of descriptors."""

from contextlib import ExitStack
from pathlib import Path

import pytest
from support import raw_http
from support.processes import await_that
from support.services import running_service


def under_limit(descriptors: int) -> tuple[str, ...]:
    return ("sh", "-c", f'ulimit -n {descriptors} && exec "$0" "$@"')


def test_service_lowers_its_connections_to_the_limit_of_descriptors(tmp_path: Path, trust_dir: Path) -> None:
    """400 descriptors leave 80 for callers: 256 are for the worker, and 32 for each of two stores."""
    store = f"sqlite://{tmp_path}/nonces.sqlite3"
    with (
        running_service(
            nonce_store=store,
            trust_dir=trust_dir,
            workers=1,
            under=under_limit(400),
            VERIFIER_REDIS_CONNECTIONS="32",
        ) as service,
        ExitStack() as stack,
    ):
        said = "the limit of descriptors allows a worker 64 connections"
        await_that(lambda: any(said in line for line in service.log))
        for _ in range(300):
            stack.enter_context(raw_http.Connection(service.url)).send(b"POST /v1/nonces HTTP/1.1\r\n")
        assert service.issue_nonce()
        assert not any("Too many open files" in line for line in service.log)


def test_service_does_not_start_if_the_limit_leaves_too_few_descriptors_for_callers(
    tmp_path: Path, trust_dir: Path
) -> None:
    store = f"sqlite://{tmp_path}/nonces.sqlite3"
    with (
        pytest.raises(AssertionError, match=r"\(ulimit -n\) is 300, and a worker needs 320\. Raise the limit"),
        running_service(nonce_store=store, trust_dir=trust_dir, under=under_limit(300)),
    ):
        pass
