"""How the conformance list is written: the paths of IMDS, and lines of one section with one source."""

from support.imds_conformance import PUBLIC, Behaviour, Expectation, Request
from support.imds_sources import PAGE_2021, Source

from verifier.emulator.controls import Conditions
from verifier.emulator.faults import Fault, FaultKind

DOCUMENT = "/metadata/attested/document"
INSTANCE = "/metadata/instance"
TOKEN = "/metadata/identity/oauth2/token"  # noqa: S105 - a path
ENDPOINTS = {
    DOCUMENT: "2018-10-01",
    "/metadata/identity/info": "2018-02-01",
    TOKEN: "2018-02-01",
    INSTANCE: "2017-03-01",
    "/metadata/loadbalancer": "2020-10-01",
    "/metadata/scheduledevents": "2017-08-01",
}

IDENTITY = [path for path in ENDPOINTS if path.startswith("/metadata/identity/")]


def get(path: str, query: str = "", version: str = "2020-09-01", **headers: str) -> Request:
    named = headers or {"Metadata": "true"}
    return Request(target=f"{path}?api-version={version}{query}", headers=named)


def faulty(kind: FaultKind, **fault: int) -> Conditions:
    return Conditions(faults=(Fault(kind=kind, **fault),))


def lines(
    section: str,
    *entries: tuple[str, Request, tuple[Expectation, ...]],
    before: tuple[Request, ...] = (),
    conditions: Conditions | None = None,
    machine: str = PUBLIC,
    source: Source = PAGE_2021,
) -> list[Behaviour]:
    return [
        Behaviour(
            section=section,
            says=behaviour,
            request=request,
            expected=expected,
            before=before,
            conditions=conditions,
            machine=machine,
            source=source,
        )
        for behaviour, request, expected in entries
    ]
