"""Combine several recorders into one."""

from collections.abc import Sequence

from verifier.ports.telemetry import Event, Recorder


class CompositeRecorder:
    """Pass each event to several recorders, in their order. Implements the Recorder port."""

    def __init__(self, recorders: Sequence[Recorder]) -> None:
        self._recorders = tuple(recorders)

    def record(self, event: Event) -> None:
        for recorder in self._recorders:
            recorder.record(event)
