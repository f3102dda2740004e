"""Name the keys of a tenant's decisions, and read the answers of their scripts."""

from typing import Final

from verifier.ports.decisions import Stage

PREFIX: Final = "imds-verifier:decisions:"
#: The stages in the order of the scripts.
STAGES: Final = (Stage.UNVERIFIED, Stage.AUTHENTIC, Stage.FRESH)


def key_of(tenant: str, name: str) -> str:
    """Return a key of an encoded tenant. The hash tag is never empty: Redis ignores an empty one."""
    return f"{PREFIX}{{tenant:{tenant}}}:{name}"


def keys_of(tenant: str) -> list[str]:
    """Return the first keys of the scripts, in their order."""
    names = (*STAGES, "requests", "vms", "subscriptions", "state", "first-day")
    return [key_of(tenant, name) for name in names]


def text_of(answer: object) -> str:
    if isinstance(answer, bytes):
        return answer.decode("ascii")
    raise TypeError("Redis answered with something else than bytes")


def number_of(answer: object) -> int:
    if isinstance(answer, int):
        return answer
    raise TypeError("Redis answered with something else than a number")


def list_of(answer: object) -> list[object]:
    if isinstance(answer, list):
        return answer
    raise TypeError("Redis answered with something else than an array")
