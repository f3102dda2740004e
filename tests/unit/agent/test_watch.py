"""The watch: it renews in time, survives failures, and does neither too often nor too seldom."""

import signal

import pytest

from verifier.agent.ends import End, NotAttested
from verifier.agent.watch import StoppedError, renewal_pause, retry_pause, stopped_by_signals, watch

AWAY = NotAttested(End.VERIFIER_UNREACHABLE, "away", retryable=True)


def run(*outcomes: float | NotAttested | None, chance: float = 0.0) -> tuple[list[float], list[NotAttested]]:
    """What was waited for and what was told, with these ends of the attempts; after the last one it is stopped."""
    left = list(outcomes)
    pauses: list[float] = []
    told: list[NotAttested] = []

    def attempt() -> float | None:
        outcome = left.pop(0)
        if isinstance(outcome, NotAttested):
            raise outcome
        return outcome

    def sleep(seconds: float) -> None:
        pauses.append(seconds)
        if not left:
            raise StoppedError

    with pytest.raises(StoppedError):
        watch(attempt=attempt, tell=told.append, sleep=sleep, random=lambda: chance)
    return pauses, told


@pytest.mark.parametrize(("chance", "pause"), [(0.0, 300), (0.5, 375), (1.0, 450)])
def test_renews_at_half_to_three_quarters_of_the_time(chance: float, pause: float) -> None:
    assert run(600, 600, chance=chance) == ([pause, pause], [])


@pytest.mark.parametrize(
    ("lifetime", "pause"), [(0.5, 5), (9, 5), (30, 15), (21600, 10800), (10**9, 21600), (None, 150)]
)
def test_renews_neither_too_often_nor_too_seldom(lifetime: float | None, pause: float) -> None:
    assert renewal_pause(lifetime, chance=0) == pause


@pytest.mark.parametrize("chance", [0.0, 1.0])
def test_a_token_of_the_shortest_life_is_renewed_before_it_ends(chance: float) -> None:
    assert renewal_pause(30, chance=chance) < 30


def test_survives_failures_with_growing_patience() -> None:
    pauses, told = run(*[AWAY] * 9)
    assert pauses == [5, 10, 20, 40, 80, 160, 300, 300, 300]
    assert told == [AWAY] * 9


def test_patience_is_new_after_a_success() -> None:
    assert run(AWAY, AWAY, 600, AWAY)[0] == [5, 10, 300, 5]


def test_failures_are_spread_by_chance() -> None:
    assert run(AWAY, AWAY, chance=1.0)[0] == [2.5, 5]


@pytest.mark.parametrize(("asked", "pause"), [(0, 5), (60, 60), (10**9, 21600)])
def test_comes_back_no_earlier_than_it_is_asked_to(asked: int, pause: float) -> None:
    assert retry_pause(0, chance=0, asked=asked) == pause


def test_a_refusal_does_not_end_it() -> None:
    """An operator may approve the issuer meanwhile."""
    refused = NotAttested(End.REFUSED, "refused")
    assert run(refused, 600) == ([5, 300], [refused])


def test_bad_usage_ends_it_at_the_start_and_not_later() -> None:
    usage = NotAttested(End.USAGE, "no such file")
    with pytest.raises(NotAttested):
        run(usage)
    assert run(600, usage, 600)[1] == [usage]


def test_ten_thousand_failures_are_no_overflow() -> None:
    assert retry_pause(10_000, chance=0, asked=None) == 300


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signals_stop_it_and_their_handlers_are_back_afterwards(number: signal.Signals) -> None:
    before = signal.getsignal(number)
    with pytest.raises(StoppedError), stopped_by_signals():
        signal.raise_signal(number)
    assert signal.getsignal(number) is before
