"""Print what one nonce and one attestation cost on Redis and in the workers: the constants of docs/operate/capacity.md.

Run from the repository: `PYTHONPATH=.:tests .venv/bin/python bench/costs.py [--requests 4000]`.
"""

import argparse
import sys
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from http import HTTPStatus

import redis
from load import Load, document_requests, request, send
from servers import SERVICE, WORKERS, Server, Site, cpu_seconds, make_site, wait_for_decisions
from support.processes import await_that

_MICROSECONDS = 1e6


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """What one request of a kind costs on average. Times are in microseconds of CPU."""

    name: str
    workers: float
    redis: float
    commands: float
    received: float
    sent: float


def main() -> int:
    parser = argparse.ArgumentParser(prog="costs", description=__doc__.partition("\n")[0])
    parser.add_argument("--requests", type=int, default=4_000)
    number = parser.parse_args().requests
    with make_site() as site, site.running(SERVICE) as service:
        await_that(lambda: len(service.workers) == WORKERS and service.status_of("/readyz") == HTTPStatus.OK)
        with redis.Redis.from_url(site.settings["VERIFIER_NONCE_STORE"]) as store:
            warm = send(service, [request("/v1/nonces")] * number, status=HTTPStatus.CREATED)
            send(service, document_requests(warm), status=HTTPStatus.OK)
            wait_for_decisions()
            issued, nonces = _measure("nonce", site, service, store, [request("/v1/nonces")] * number)
            unused = _bytes_by_prefix(store)
            posted, _ = _measure("attestation", site, service, store, document_requests(nonces))
            used = _bytes_by_prefix(store)
    for step in (issued, posted):
        sys.stdout.write(
            f"{step.name}: workers {step.workers:.0f} us, Redis {step.redis:.0f} us, {step.commands:.2f} commands, "
            f"{step.received:.0f} bytes to Redis, {step.sent:.0f} bytes from it\n"
        )
    used_each = used["nonce"][1] / used["nonce"][0]
    unused_each = (unused["nonce"][1] - number * used_each) / number
    sys.stdout.write(f"nonce: {used_each:.0f} bytes if used, {unused_each:.0f} unused\n")
    sys.stdout.write(f"decision: {used['decisions'][1] / (2 * number):.0f} bytes\n")
    sys.stdout.write(f"rate: {used['rate'][1] / used['rate'][0]:.0f} bytes\n")
    return 0


def _measure(
    name: str, site: Site, service: Server, store: redis.Redis, requests: Sequence[bytes]
) -> tuple[Step, Load]:
    def look() -> list[float]:
        found = store.info()
        workers = sum(map(cpu_seconds, service.workers)) * _MICROSECONDS
        server = cpu_seconds(site.redis_process_id) * _MICROSECONDS
        traffic = (found["total_commands_processed"], found["total_net_input_bytes"], found["total_net_output_bytes"])
        return [workers, server, *map(float, traffic)]

    before = look()
    load = send(service, requests, status=HTTPStatus.CREATED if name == "nonce" else HTTPStatus.OK)
    wait_for_decisions()
    each = [(after - start) / len(requests) for after, start in zip(look(), before, strict=True)]
    workers, server, commands, received, sent = each
    return Step(name=name, workers=workers, redis=server, commands=commands, received=received, sent=sent), load


def _bytes_by_prefix(store: redis.Redis) -> dict[str, tuple[int, int]]:
    """Return the number and the bytes of the keys of each kind, with what Redis adds to each key."""
    found: dict[str, list[int]] = defaultdict(list)
    for key in store.scan_iter(count=1000):
        found[key.decode().split(":")[1]].append(int(store.memory_usage(key, samples=0) or 0))
    return {kind: (len(sizes), sum(sizes)) for kind, sizes in found.items()}


if __name__ == "__main__":
    sys.exit(main())
