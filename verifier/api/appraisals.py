"""Record each appraisal exactly once for the operator and the auditor."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from time import perf_counter

from verifier.api.json_codec import RequestError
from verifier.api.problems import Failure
from verifier.core.model import LiveResult, RawDocument
from verifier.core.pipeline import Observer
from verifier.core.policy import UnknownPolicyError
from verifier.core.reasons import Check, Refused
from verifier.core.trust.certificates import Certificate
from verifier.core.trust.clouds import Cloud
from verifier.ports.clock import Clock
from verifier.ports.decisions import AppraisalRecord, DecisionLog, Verdict
from verifier.ports.stores import StoreUnavailable, Unavailable
from verifier.ports.telemetry import AppraisalNotLogged, DocumentAppraised, Recorder


class Appraisal(Observer):
    """Collect the facts and the check durations of one appraisal."""

    def __init__(self, *, request_id: str, client_request_id: str, tenant: str) -> None:
        self._request_id = request_id
        self._client_request_id = client_request_id
        self._tenant = tenant
        self._started = self._turned = perf_counter()
        self._check: Check | None = None
        self._steps: dict[Check, float] = {}
        self._signer: Certificate | None = None
        self._cloud: Cloud | None = None
        self._policies: tuple[str, ...] = ()
        self._sha256 = ""
        self._result: LiveResult | None = None

    def receive(self, document: RawDocument) -> None:
        self._sha256 = hashlib.sha256(document.raw_der).hexdigest()

    def begin(self, check: Check | None) -> None:
        """Begin the check, or none after the last one, and keep how long the previous check took."""
        now = perf_counter()
        if self._check is not None:
            self._steps[self._check] = now - self._turned
        self._check, self._turned = check, now

    def find_signer(self, signer: Certificate) -> None:
        self._signer = signer

    def find_cloud(self, cloud: Cloud) -> None:
        self._cloud = cloud

    def find_policies(self, names: tuple[str, ...]) -> None:
        self._policies = names

    def conclude(self, result: LiveResult) -> None:
        """Keep the result after the last check passed."""
        self.begin(None)
        self._result = result

    def describe(
        self, verdict: Verdict, code: str, *, at: datetime, failed_check: Check | None = None
    ) -> AppraisalRecord:
        """Return the appraisal record with all facts known so far."""
        self.begin(None)
        verified = self._result.claims if self._result and verdict is Verdict.VERIFIED else None
        return AppraisalRecord(
            at=at,
            request_id=self._request_id,
            client_request_id=self._client_request_id,
            tenant=self._tenant,
            verdict=verdict,
            code=code,
            failed_check=failed_check,
            claims=verified,
            cloud=self._cloud,
            signer_serial=self._signer.serial_hex if self._signer else "",
            issuer=self._signer.issuer if self._signer else "",
            policies=self._policies,
            document_sha256=self._sha256,
            seconds=perf_counter() - self._started,
            steps=tuple(self._steps.items()),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Appraisals:
    """Record appraisals. If `log_required`, an appraisal that `log` does not keep ends without a verdict."""

    recorder: Recorder
    clock: Clock
    log: DecisionLog | None = None
    log_required: bool = False

    @contextmanager
    def watch(self, *, request_id: str, client_request_id: str, tenant: str) -> Iterator[Appraisal]:
        """Record the appraisal inside this context once, when it ends.

        The verdict is refused on Refused, unavailable on any other exception, and verified otherwise. A malformed
        request or an unknown policy starts no appraisal and is not recorded.
        Raises StoreUnavailable if the log is required and unavailable.
        """
        appraisal = Appraisal(request_id=request_id, client_request_id=client_request_id, tenant=tenant)
        try:
            yield appraisal
        except Refused as refused:
            self._record(appraisal, Verdict.REFUSED, refused.code, refused.check)
            raise
        except (RequestError, UnknownPolicyError):
            raise
        except Unavailable:
            self._record(appraisal, Verdict.UNAVAILABLE, Failure.STORE_UNAVAILABLE.value)
            raise
        except Exception:
            self._record(appraisal, Verdict.UNAVAILABLE, Failure.INTERNAL.value)
            raise
        self._record(appraisal, Verdict.VERIFIED, Verdict.VERIFIED.value)

    def _record(self, appraisal: Appraisal, verdict: Verdict, code: str, failed_check: Check | None = None) -> None:
        record = appraisal.describe(verdict, code, at=self.clock.now(), failed_check=failed_check)
        if self.log is not None:
            try:
                self.log.append(record)
            except StoreUnavailable as error:
                self.recorder.record(AppraisalNotLogged(record=record, error=error))
                if self.log_required and verdict is not Verdict.UNAVAILABLE:
                    code = Failure.STORE_UNAVAILABLE.value
                    unavailable = appraisal.describe(Verdict.UNAVAILABLE, code, at=record.at)
                    self.recorder.record(DocumentAppraised(record=unavailable))
                    raise
        self.recorder.record(DocumentAppraised(record=record))
