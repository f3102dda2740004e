"""Several recorders as one."""

from collections.abc import Callable, Sequence

from verifier.adapters.settings.settings import SettingsError
from verifier.core.discovery import IssuerObservation
from verifier.core.nonconforming import NonconformingDocument
from verifier.ports.clock import Clock
from verifier.ports.stores import Unavailable
from verifier.ports.telemetry import AppraisalRecord, Exchange, Recorder, ReloadOutcome
from verifier.ports.trust import TrustAuditEvent


def load_spans(endpoint: str | None) -> Callable[[Clock, str], tuple[Recorder, ...]]:
    """What opens the recorder of spans, given the clock and the version of this software, to be called in each worker;
    it opens none where there is no endpoint, and then nothing of OpenTelemetry is imported. Raises SettingsError where
    that is not installed."""
    if endpoint is None:
        return lambda _, __: ()
    try:
        from verifier.adapters.telemetry.spans import SpanRecorder  # noqa: PLC0415 - an optional extra, only where it is set
    except ModuleNotFoundError as error:
        raise SettingsError("otlp_endpoint: spans need an optional extra, install imds-verifier[otel]") from error
    return lambda clock, version: (SpanRecorder.exporting(endpoint, clock=clock, version=version),)


class CompositeRecorder:
    """Tells several recorders, in their order. Implements the Recorder port."""

    def __init__(self, recorders: Sequence[Recorder]) -> None:
        self._recorders = tuple(recorders)

    def answered(self, exchange: Exchange) -> None:
        for recorder in self._recorders:
            recorder.answered(exchange)

    def failed(self, request_id: str, error: Exception) -> None:
        for recorder in self._recorders:
            recorder.failed(request_id, error)

    def decided(self, decision: AppraisalRecord) -> None:
        for recorder in self._recorders:
            recorder.decided(decision)

    def trail_failed(self, decision: AppraisalRecord, error: Unavailable) -> None:
        for recorder in self._recorders:
            recorder.trail_failed(decision, error)

    def issuer_sighted(self, sighting: IssuerObservation, *, authorities: int) -> None:
        for recorder in self._recorders:
            recorder.issuer_sighted(sighting, authorities=authorities)

    def nonconforming_genuine(self, document: NonconformingDocument) -> None:
        for recorder in self._recorders:
            recorder.nonconforming_genuine(document)

    def trust_changed(self, event: TrustAuditEvent) -> None:
        for recorder in self._recorders:
            recorder.trust_changed(event)

    def trust_reloaded(self, outcome: ReloadOutcome, *, generation: str, detail: str) -> None:
        for recorder in self._recorders:
            recorder.trust_reloaded(outcome, generation=generation, detail=detail)

    def token_keys_reloaded(self, outcome: ReloadOutcome, *, detail: str) -> None:
        for recorder in self._recorders:
            recorder.token_keys_reloaded(outcome, detail=detail)

    def settings_reloaded(self, outcome: ReloadOutcome, *, detail: str) -> None:
        for recorder in self._recorders:
            recorder.settings_reloaded(outcome, detail=detail)
