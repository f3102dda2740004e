"""Several recorders as one."""

from collections.abc import Sequence

from verifier.core.discovery import IssuerObservation
from verifier.core.nonconforming import NonconformingDocument
from verifier.ports.stores import Unavailable
from verifier.ports.telemetry import AppraisalRecord, Exchange, Recorder, ReloadOutcome
from verifier.ports.trust import TrustAuditEvent


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
