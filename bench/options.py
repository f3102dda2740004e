"""How much a run of the bench measures."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """`rounds` are repetitions, of which the median counts."""

    rounds: int = 5
    #: The requests of each load in one round of `http`.
    requests: int = 1_500
    #: The requests of `memory` before its first look, and between its two looks.
    warm_up: int = 10_000
    after: int = 10_000
    #: Whether `growth` has its largest cases.
    long: bool = False
