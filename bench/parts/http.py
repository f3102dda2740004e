"""`http`: what a request costs, next to one of an empty application on the same server with the same settings."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from http import HTTPStatus

from figures import Figure
from load import Load, document_requests, request, send
from options import Options
from servers import Server, Site, cpu_seconds, make_site, wait_for_decisions

_KINDS = {"verify": "POST /v1/attestations", "nonces": "POST /v1/nonces"}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Measured:
    """One load, and the CPU seconds of one request in the workers, the Redis and the client."""

    load: Load
    workers: float
    redis: float
    client: float


def measure(options: Options) -> list[Figure]:
    """Alternate loads on the service and on the empty application. The first round fills the caches."""
    with make_site() as site, site.both() as (service, empty):
        rounds = [_round(site, service, empty, options.requests, number) for number in range(options.rounds + 1)][1:]
    return _figures(rounds)


def _round(site: Site, service: Server, empty: Server, requests: int, number: int) -> dict[str, _Measured]:
    """Issue nonces, prepare the documents that answer them, and measure both servers in alternating order."""
    nonces = _measure(site, service, [request("/v1/nonces")] * requests, status=HTTPStatus.CREATED)
    documents = document_requests(nonces.load)
    steps: list[tuple[str, Callable[[], _Measured]]] = [
        ("verify", lambda: _measure(site, service, documents, status=HTTPStatus.OK)),
        ("empty", lambda: _measure(site, empty, [request("/", b'{"a": 1}')] * requests, status=HTTPStatus.OK)),
    ]
    if number % 2:
        steps.reverse()
    return {"nonces": nonces} | {name: step() for name, step in steps}


def _measure(site: Site, server: Server, requests: Sequence[bytes], *, status: HTTPStatus) -> _Measured:
    def cpu() -> float:
        return sum(cpu_seconds(worker) for worker in server.workers)

    before, redis = cpu(), cpu_seconds(site.redis_process_id)
    load = send(server, requests, status=status)
    wait_for_decisions()
    return _Measured(
        load=load,
        workers=(cpu() - before) / len(requests),
        redis=(cpu_seconds(site.redis_process_id) - redis) / len(requests),
        client=load.client_cpu_seconds / len(requests),
    )


def _figures(rounds: Sequence[dict[str, _Measured]]) -> list[Figure]:
    def compare(name: str, value: Callable[[_Measured], float]) -> tuple[float, ...]:
        return tuple(value(each[name]) / value(each["empty"]) for each in rounds)

    def show(name: str, value: Callable[[_Measured], float]) -> tuple[float, ...]:
        return tuple(value(each[name]) for each in rounds)

    def rate(measured: _Measured) -> float:
        return measured.load.rate

    def workers(measured: _Measured) -> float:
        return measured.workers * 1e6

    def figure(row: str, unit: str, samples: tuple[float, ...]) -> Figure:
        return Figure(part="http", row=row, unit=unit, samples=samples)

    def latency(percent: int) -> tuple[float, ...]:
        return compare("verify", lambda measured: measured.load.percentile(percent))

    marks: dict[int, tuple[float | None, float | None]] = {50: (None, None), 99: (2.5, 1.5)}
    figures = [
        Figure(
            part="http",
            row="verify throughput / empty POST",
            unit="x",
            samples=compare("verify", rate),
            bar=0.45,
            aim=0.6,
            at_least=True,
        ),
        *(
            Figure(
                part="http",
                row=f"verify p{percent} / p{percent} of empty POST",
                unit="x",
                samples=latency(percent),
                bar=bar,
                aim=aim,
            )
            for percent, (bar, aim) in marks.items()
        ),
        figure("verify CPU of workers / empty POST", "x", compare("verify", workers)),
        figure("nonces throughput / empty POST", "x", compare("nonces", rate)),
        figure("nonces CPU of workers / empty POST", "x", compare("nonces", workers)),
    ]
    for name in ("verify", "nonces", "empty"):
        figures += [
            figure(f"{name}, throughput", "1/s", show(name, rate)),
            figure(f"{name}, p99", "ms", show(name, lambda measured: measured.load.percentile(99) * 1e3)),
            figure(f"{name}, CPU of workers", "us", show(name, workers)),
            figure(f"{name}, CPU of client", "us", show(name, lambda measured: measured.client * 1e6)),
        ]
        if name != "empty":
            figures.append(figure(f"{name}, CPU of Redis", "us", show(name, lambda measured: measured.redis * 1e6)))
    return figures
