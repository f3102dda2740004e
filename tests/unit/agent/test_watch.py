"""The watch renews in time, retries failures with growing pauses, and stops on a signal."""

import signal

import pytest

from verifier.agent.exit_codes import ExitCode, NotAttested
from verifier.agent.watch import StoppedError, renewal_pause, retry_pause, stopped_by_signals, watch

UNREACHABLE = NotAttested(ExitCode.VERIFIER_UNREACHABLE, "unreachable", retryable=True)


def run(*outcomes: float | NotAttested | None, chance: float = 0.0) -> tuple[list[float], list[NotAttested]]:
    """Return the pauses and the reported failures of attempts with these outcomes. Stop after the last one."""
    remaining = list(outcomes)
    pauses: list[float] = []
    reported: list[NotAttested] = []

    def attempt() -> float | None:
        outcome = remaining.pop(0)
        if isinstance(outcome, NotAttested):
            raise outcome
        return outcome

    def sleep(seconds: float) -> None:
        pauses.append(seconds)
        if not remaining:
            raise StoppedError

    with pytest.raises(StoppedError):
        watch(attempt=attempt, report=reported.append, sleep=sleep, random=lambda: chance)
    return pauses, reported


@pytest.mark.parametrize(("chance", "pause"), [(0.0, 300), (0.5, 375), (1.0, 450)])
def test_renewal_pause_is_half_to_three_quarters_of_the_lifetime(chance: float, pause: float) -> None:
    assert run(600, 600, chance=chance) == ([pause, pause], [])


@pytest.mark.parametrize(
    ("lifetime", "pause"), [(0.5, 5), (9, 5), (30, 15), (21600, 10800), (10**9, 21600), (None, 150)]
)
def test_renewal_pause_has_a_minimum_and_a_maximum(lifetime: float | None, pause: float) -> None:
    assert renewal_pause(lifetime, chance=0) == pause


@pytest.mark.parametrize("chance", [0.0, 1.0])
def test_token_with_the_shortest_lifetime_is_renewed_before_it_expires(chance: float) -> None:
    assert renewal_pause(30, chance=chance) < 30


def test_failures_are_reported_and_retried_with_growing_pauses() -> None:
    pauses, reported = run(*[UNREACHABLE] * 9)
    assert pauses == [5, 10, 20, 40, 80, 160, 300, 300, 300]
    assert reported == [UNREACHABLE] * 9


def test_success_resets_the_retry_pause() -> None:
    assert run(UNREACHABLE, UNREACHABLE, 600, UNREACHABLE)[0] == [5, 10, 300, 5]


def test_retry_pauses_are_spread_by_chance() -> None:
    assert run(UNREACHABLE, UNREACHABLE, chance=1.0)[0] == [2.5, 5]


@pytest.mark.parametrize(("retry_after", "pause"), [(0, 5), (60, 60), (10**9, 21600)])
def test_retry_pause_is_at_least_retry_after(retry_after: int, pause: float) -> None:
    assert retry_pause(0, chance=0, retry_after=retry_after) == pause


def test_refusal_does_not_end_the_watch() -> None:
    """An operator may approve the issuer in the meantime."""
    refused = NotAttested(ExitCode.REFUSED, "refused")
    assert run(refused, 600) == ([5, 300], [refused])


def test_usage_error_ends_the_watch_only_at_the_start() -> None:
    usage = NotAttested(ExitCode.USAGE, "no such file")
    with pytest.raises(NotAttested):
        run(usage)
    assert run(600, usage, 600)[1] == [usage]


def test_ten_thousand_failures_do_not_overflow() -> None:
    assert retry_pause(10_000, chance=0, retry_after=None) == 300


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signal_stops_the_watch_and_its_handler_is_restored(number: signal.Signals) -> None:
    before = signal.getsignal(number)
    with pytest.raises(StoppedError), stopped_by_signals():
        signal.raise_signal(number)
    assert signal.getsignal(number) is before
