"""Record each appraisal, and each other request that ended in a problem, exactly once."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from time import perf_counter

from verifier.api.json_codec import RequestError
from verifier.api.problems import Code, Failure
from verifier.core.model import AuthenticContent, Claims, LiveResult, RawDocument
from verifier.core.pipeline import Observer
from verifier.core.policy import Denial, PolicyDenied, UnknownPolicyError
from verifier.core.reasons import Check, QuotingRefused, Refused
from verifier.core.trust.certificates import Certificate
from verifier.core.trust.clouds import Cloud
from verifier.core.values import dataclass
from verifier.ports.clock import Clock
from verifier.ports.decisions import NO_TENANT, AppraisalRecord, DecisionLog, Stage, Verdict
from verifier.ports.stores import StoreUnavailable, Unavailable
from verifier.ports.telemetry import DocumentAppraised, Recorder, RequestRefused

#: A record keeps at most this many characters of the sentence of a refusal.
MAX_DETAIL = 300


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """Say which request a record is about, and who sent it. The fields are those of AppraisalRecord."""

    request_id: str
    client_request_id: str = ""
    tenant: str = NO_TENANT
    key: str = ""
    route: str = ""


class Appraisal(Observer):
    """Collect the facts and the check durations of one appraisal."""

    def __init__(self, origin: Origin) -> None:
        #: Whether the appraisal left its record.
        self.is_recorded = False
        self._origin = origin
        self._started = self._turned = perf_counter()
        self._check: Check | None = None
        self._steps: dict[Check, float] = {}
        self._signer: Certificate | None = None
        self._cloud: Cloud | None = None
        self._content: AuthenticContent | None = None
        self._stage = Stage.UNVERIFIED
        self._policies: tuple[str, ...] = ()
        self._sha256 = ""

    @property
    def claims(self) -> Claims | None:
        """The claims of an authentic document, and None before the chain check passed."""
        return None if self._content is None else self._content.claims

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

    def find_content(self, content: AuthenticContent) -> None:
        self._content = content
        self._stage = Stage.AUTHENTIC

    def find_policies(self, names: tuple[str, ...]) -> None:
        self._policies = names
        self._stage = Stage.FRESH

    def conclude(self, result: LiveResult) -> None:
        """End the last check, which passed."""
        del result
        self.begin(None)

    def describe(self, verdict: Verdict, code: str, *, at: datetime, refused: Refused | None = None) -> AppraisalRecord:
        """Return the appraisal record with all facts known so far."""
        self.begin(None)
        origin = self._origin
        return AppraisalRecord(
            at=at,
            request_id=origin.request_id,
            client_request_id=origin.client_request_id,
            tenant=origin.tenant,
            key=origin.key,
            route=origin.route,
            verdict=verdict,
            code=code,
            detail=_detail_of(refused),
            failed_check=refused.check if refused else None,
            stage=self._stage,
            claims=self.claims,
            cloud=self._cloud,
            signer_serial=self._signer.serial_hex if self._signer else "",
            issuer=self._signer.issuer if self._signer else "",
            policies=self._policies,
            denial=_denial_of(refused),
            document_sha256=self._sha256,
            seconds=perf_counter() - self._started,
            steps=tuple(self._steps.items()),
        )


def _detail_of(refused: Refused | None) -> str:
    return "" if refused is None or isinstance(refused, QuotingRefused) else refused.detail[:MAX_DETAIL]


def _denial_of(refused: Refused | None) -> Denial | None:
    return refused.denial if isinstance(refused, PolicyDenied) else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Appraisals:
    """Record appraisals and problems.

    `log` takes records and writes them later. If there is a `required_log`, an appraisal that it does not keep ends
    without a verdict. Records of other problems go to `log` in any case: they are no verdicts.
    """

    recorder: Recorder
    clock: Clock
    log: DecisionLog | None = None
    required_log: DecisionLog | None = None

    @contextmanager
    def watch(self, origin: Origin) -> Iterator[Appraisal]:
        """Record the appraisal inside this context once, when it ends.

        The verdict is refused on Refused and for a VM over its rate, unavailable on other exceptions, and verified
        otherwise. A malformed request or an unknown policy starts no appraisal: `record_problem` records it.
        Raises StoreUnavailable if the log is required and unavailable.
        """
        appraisal = Appraisal(origin)
        try:
            yield appraisal
        except Refused as refused:
            self._record(appraisal, Verdict.REFUSED, refused.code, refused)
            raise
        except RequestError as error:
            if appraisal.claims is not None:
                self._record(appraisal, Verdict.REFUSED, error.fault.value)
            raise
        except UnknownPolicyError:
            raise
        except Unavailable:
            self._record(appraisal, Verdict.UNAVAILABLE, Failure.STORE_UNAVAILABLE.value)
            raise
        except Exception:
            self._record(appraisal, Verdict.UNAVAILABLE, Failure.INTERNAL.value)
            raise
        self._record(appraisal, Verdict.VERIFIED, Verdict.VERIFIED.value)

    def record_problem(self, origin: Origin, code: Code) -> None:
        """Record a request that ended in a problem without an appraisal."""
        verdict = Verdict.UNAVAILABLE if isinstance(code, Failure) else Verdict.REFUSED
        record = AppraisalRecord(
            at=self.clock.now(),
            request_id=origin.request_id,
            client_request_id=origin.client_request_id,
            tenant=origin.tenant,
            key=origin.key,
            route=origin.route,
            verdict=verdict,
            code=code.value,
        )
        if self.log is not None:
            self.log.append(record)
        self.recorder.record(RequestRefused(record=record))

    def _record(self, appraisal: Appraisal, verdict: Verdict, code: str, refused: Refused | None = None) -> None:
        record = appraisal.describe(verdict, code, at=self.clock.now(), refused=refused)
        appraisal.is_recorded = True
        error = self._keep(record)
        if error is not None and verdict is not Verdict.UNAVAILABLE:
            record = appraisal.describe(Verdict.UNAVAILABLE, Failure.STORE_UNAVAILABLE.value, at=record.at)
        if self.log is not None and (error is not None or self.required_log is None):
            self.log.append(record)
        self.recorder.record(DocumentAppraised(record=record))
        if error is not None and verdict is not Verdict.UNAVAILABLE:
            raise error

    def _keep(self, record: AppraisalRecord) -> StoreUnavailable | None:
        """Write the record to the required log, if there is one. Return why the log did not keep it, or None."""
        if self.required_log is not None:
            try:
                self.required_log.append(record)
            except StoreUnavailable as error:
                return error
        return None
