"""Combine several recorders into one."""

from collections.abc import Callable, Sequence

from verifier.adapters.settings.settings import SettingsError
from verifier.ports.clock import Clock
from verifier.ports.telemetry import Event, Recorder


def load_spans(endpoint: str | None) -> Callable[[Clock, str], tuple[Recorder, ...]]:
    """Return a function that opens the span recorder, given the clock and the version of the service.

    Call that function in each worker. Without an endpoint it returns no recorder, and OpenTelemetry is not imported.
    Raises SettingsError if OpenTelemetry is needed and not installed.
    """
    if endpoint is None:
        return lambda _, __: ()
    try:
        from verifier.adapters.telemetry.spans import SpanRecorder  # noqa: PLC0415 - needs an optional extra
    except ModuleNotFoundError as error:
        raise SettingsError("otlp_endpoint: spans need an optional extra, install imds-verifier[otel]") from error
    return lambda clock, version: (SpanRecorder.exporting(endpoint, clock=clock, version=version),)


class CompositeRecorder:
    """Pass each event to several recorders, in their order. Implements the Recorder port."""

    def __init__(self, recorders: Sequence[Recorder]) -> None:
        self._recorders = tuple(recorders)

    def record(self, event: Event) -> None:
        for recorder in self._recorders:
            recorder.record(event)
