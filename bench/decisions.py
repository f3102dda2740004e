"""Measure how much CPU the decisions add to POST /v1/attestations, for each kind of decision store.

Run from the repository: `PYTHONPATH=tests .venv/bin/python bench/decisions.py --rounds 12`. Services of one worker with
each kind of store run at the same time, and each round posts the same number of documents to all of them. The time is
that of all threads of the worker, with the writes of the decisions, and without that of a Redis.
"""

import argparse
import itertools
import json
import logging
import statistics
import sys
import tempfile
from collections.abc import Mapping
from contextlib import ExitStack
from http import HTTPStatus
from http.client import HTTPConnection
from pathlib import Path
from urllib.parse import urlsplit

from servers import cpu_seconds, wait_for_decisions
from support.documents import imds_answer
from support.live_documents import current_document, write_current_trust
from support.processes import children_of
from support.redis_server import running_redis_server
from support.services import RunningServer, running_service

_JSON = {"Content-Type": "application/json"}
#: How many documents a service gets before the next one gets some.
_IN_TURN = 50


def post(connection: HTTPConnection, path: str, body: bytes) -> tuple[int, bytes]:
    connection.request("POST", path, body, _JSON if body else {})
    response = connection.getresponse()
    return response.status, response.read()


def measure(services: Mapping[str, RunningServer], documents: int) -> dict[str, float]:
    """Return the CPU time of one verified document of each service, in seconds.

    The services get a few documents in turns, so that another load of the machine disturbs all of them alike.
    """
    connections, bodies = {}, {}
    for kind, service in services.items():
        parts = urlsplit(service.url)
        connections[kind] = HTTPConnection(parts.hostname or "", parts.port)
        nonces = [json.loads(post(connections[kind], "/v1/nonces", b"")[1])["nonce"] for _ in range(documents)]
        bodies[kind] = [json.dumps(imds_answer(current_document(nonce))).encode() for nonce in nonces]
    workers = {kind: children_of(service.process.pid)[0] for kind, service in services.items()}
    before = {kind: cpu_seconds(worker) for kind, worker in workers.items()}
    orders = itertools.cycle(itertools.permutations(services))
    for start in range(0, documents, _IN_TURN):
        for kind in next(orders):
            for body in bodies[kind][start : start + _IN_TURN]:
                status, _ = post(connections[kind], "/v1/attestations", body)
                if status != HTTPStatus.OK:
                    raise RuntimeError(f"an answer has the status {status}")
    wait_for_decisions()
    return {kind: (cpu_seconds(worker) - before[kind]) / documents for kind, worker in workers.items()}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=12)
    parser.add_argument("--documents", type=int, default=600, help="of each service in each round")
    arguments = parser.parse_args()
    logging.disable()
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        directory = Path(name)
        trust_dir = write_current_trust(directory / "trust")
        redis = stack.enter_context(running_redis_server())
        stores = {"none": "none", "sqlite": f"sqlite://{directory}/decisions.sqlite3", "redis": redis.url}
        services = {
            kind: stack.enter_context(
                running_service(
                    nonce_store=f"sqlite://{directory}/{kind}.sqlite3",
                    trust_dir=trust_dir,
                    workers=1,
                    VERIFIER_DECISION_STORE=store,
                )
            )
            for kind, store in stores.items()
        }
        rounds: list[dict[str, float]] = []
        for number in range(arguments.rounds + 1):
            taken = measure(services, arguments.documents)
            if number:  # the first round fills the caches
                rounds.append(taken)
                sys.stderr.write(f"{number}: { ({kind: f'{taken[kind] * 1e6:.0f} us' for kind in stores}) }\n")
    print(f"{'store':8} {'us CPU each':>12} {'ratio: median':>14} {'least':>6} {'most':>6}")
    for kind in stores:
        ratios = [taken[kind] / taken["none"] for taken in rounds]
        each = statistics.median(taken[kind] for taken in rounds) * 1e6
        print(f"{kind:8} {each:12.0f} {statistics.median(ratios):14.3f} {min(ratios):6.3f} {max(ratios):6.3f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
