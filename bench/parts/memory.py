"""`memory`: what a worker holds after a warm-up, and by how much it grows over many more requests."""

from http import HTTPStatus

from figures import Figure
from load import document_requests, request, send
from options import Options
from servers import SERVICE, WORKERS, Server, make_site, pss_megabytes
from support.processes import await_that

#: Nonces that are outstanding at once. Their documents are prepared and posted before they expire.
_BATCH = 1_000


def measure(options: Options) -> list[Figure]:
    """Measure the PSS of the workers after `options.warm_up` requests, and after `options.after` more."""
    with make_site() as site, site.running(SERVICE) as service:
        await_that(lambda: len(service.workers) == WORKERS)
        workers = service.workers
        await_that(lambda: service.status_of("/readyz") == HTTPStatus.OK)
        _send_requests(service, options.warm_up)
        warm = [pss_megabytes(worker) for worker in workers]
        _send_requests(service, options.after)
        later = [pss_megabytes(worker) for worker in workers]
        if service.workers != workers:
            raise RuntimeError("a worker was replaced")
    growth = tuple((after / before - 1) * 100 for before, after in zip(warm, later, strict=True))
    return [
        Figure(
            part="memory",
            row=f"PSS of a worker of {WORKERS}, after {options.warm_up:,} requests",
            unit="MB",
            samples=tuple(warm),
            bar=45,
            aim=37,
        ),
        Figure(
            part="memory",
            row=f"growth of that over {options.after:,} more requests",
            unit="%",
            samples=growth,
            bar=1,
        ),
    ]


def _send_requests(service: Server, number: int) -> None:
    """Send so many requests: half of them issue a nonce, and half of them post a document that answers it."""
    for start in range(0, number // 2, _BATCH):
        nonces = [request("/v1/nonces")] * min(_BATCH, number // 2 - start)
        issued = send(service, nonces, status=HTTPStatus.CREATED)
        send(service, document_requests(issued), status=HTTPStatus.OK)
