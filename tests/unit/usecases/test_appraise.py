"""The use cases: in which order side effects happen, and that nothing else has any."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path

import pytest
from support import documents
from support.applications import FixedTrust
from support.certificates import make_authority, make_self_signed, make_signer, resign
from support.chains import root
from support.clocks import ManualClock
from support.documents import (
    NONCE,
    NOW,
    VM,
    around,
    bundle_of,
    document,
    encode,
    raw,
    shared_bundle,
    shared_pki,
    sign,
    spare_key,
    trusted,
)

from verifier.adapters.sqlite.nonce_store import SqliteNonceStore
from verifier.adapters.trust.files import load_bundle
from verifier.core.model import AuthenticContent, Limits, LiveResult, RawDocument, Redeemed
from verifier.core.nonces import FirstUse, NonceForm, NonceRecord, Redemption
from verifier.core.pipeline import Observer
from verifier.core.policy import ClaimIn, ClaimName, CloudIn, Policies, UnknownPolicyError
from verifier.core.policy_combinators import AllOf
from verifier.core.reasons import ChainRefused, Check, Outcome, Reason, Refused
from verifier.core.trust.bundle import EXPIRY_WARNING, TrustBundle
from verifier.core.trust.clouds import SERVED_BY_DEFAULT, Cloud
from verifier.core.trust.horizon import horizon
from verifier.emulator import pki
from verifier.ports.clock import Clock
from verifier.ports.stores import DocumentKey, NonceKey, NonceStore, StoreUnavailable, Unavailable
from verifier.ports.tokens import PublishedKey
from verifier.ports.trust import TrustSource
from verifier.usecases.appraise import DEFAULT_TENANT, NonceBinding, Verifier
from verifier.usecases.archive import ArchiveVerifier
from verifier.usecases.chain_cache import ChainCache
from verifier.usecases.readiness import Readiness

SECOND = timedelta(seconds=1)
POLICIES = Policies(
    {
        "contoso": ClaimIn(ClaimName.PUBLISHER, frozenset({"contoso"})),
        "fabrikam": ClaimIn(ClaimName.PUBLISHER, frozenset({"fabrikam"})),
        "anything": AllOf(CloudIn(frozenset(Cloud))),
    }
)


class CountingClock(ManualClock):
    """Counts how often it is read, and never tells the same time twice."""

    def __init__(self) -> None:
        super().__init__(NOW)
        self.readings = 0

    def now(self) -> datetime:
        self.readings += 1
        self.advance(SECOND)
        return super().now()


@dataclass
class CountingTrust:
    """Counts how often its bundle is taken."""

    in_force: TrustBundle
    taken: int = 0

    def bundle(self) -> TrustBundle:
        self.taken += 1
        return self.in_force


@dataclass
class WatchedStore:
    """A NonceStore in front of a real one, which keeps what it was asked."""

    store: NonceStore
    calls: list[str] = field(default_factory=list)
    moments: set[datetime] = field(default_factory=set)
    keeps: list[timedelta] = field(default_factory=list)

    def issue(self, key: NonceKey, record: NonceRecord, *, keep: timedelta, now: datetime) -> bool:
        self.calls.append("issue")
        self.keeps.append(keep)
        return self.store.issue(key, record, keep=keep, now=now)

    def redeem(self, key: NonceKey, *, keep: timedelta, now: datetime) -> Redemption:
        self.calls.append("redeem")
        self.keeps.append(keep)
        self.moments.add(now)
        return self.store.redeem(key, keep=keep, now=now)

    def remember(self, key: DocumentKey, *, keep: timedelta, now: datetime) -> bool:
        self.calls.append("remember")
        return self.store.remember(key, keep=keep, now=now)

    def ping(self) -> None:
        self.calls.append("ping")
        self.store.ping()


class AbsentStore:
    """A NonceStore that is away: every call raises the one error that it was made with."""

    def __init__(self) -> None:
        self.error = StoreUnavailable("The nonce store is away.", retry_after=timedelta(seconds=7))

    def issue(self, key: NonceKey, record: NonceRecord, *, keep: timedelta, now: datetime) -> bool:  # noqa: ARG002 - the port's
        raise self.error

    def redeem(self, key: NonceKey, *, keep: timedelta, now: datetime) -> Redemption:  # noqa: ARG002 - the port's
        raise self.error

    def remember(self, key: DocumentKey, *, keep: timedelta, now: datetime) -> bool:  # noqa: ARG002 - the port's
        raise self.error

    def ping(self) -> None:
        raise self.error


class FullStore:
    """A NonceStore that knows every nonce already."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def issue(self, key: NonceKey, record: NonceRecord, *, keep: timedelta, now: datetime) -> bool:  # noqa: ARG002 - the port's
        self.asked.append(key.nonce)
        return False

    def redeem(self, key: NonceKey, *, keep: timedelta, now: datetime) -> Redemption:
        raise NotImplementedError

    def remember(self, key: DocumentKey, *, keep: timedelta, now: datetime) -> bool:
        raise NotImplementedError

    def ping(self) -> None:
        raise NotImplementedError


class LostKey:
    """A TokenIssuer whose key cannot sign."""

    def __init__(self) -> None:
        self.error = Unavailable("The signing key is lost.")

    def issue(self, result: LiveResult, *, tenant: str, jti: str) -> str:
        raise NotImplementedError

    def check(self) -> None:
        raise self.error

    def published(self) -> tuple[PublishedKey, ...]:
        raise NotImplementedError

    def trouble(self) -> str:
        raise NotImplementedError


class WatchingObserver(Observer):
    """Keeps the checks that begin."""

    def __init__(self) -> None:
        self.begun: list[Check] = []

    def begin(self, check: Check) -> None:
        self.begun.append(check)


@pytest.fixture
def sqlite(tmp_path: Path) -> Iterator[SqliteNonceStore]:
    store = SqliteNonceStore(tmp_path / "nonces.sqlite3")
    yield store
    store.close()


@pytest.fixture
def store(sqlite: SqliteNonceStore) -> WatchedStore:
    return WatchedStore(sqlite)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(NOW)


def make_verifier(
    store: NonceStore,
    clock: Clock,
    *,
    trust: TrustSource | None = None,
    nonce_form: NonceForm = NonceForm.DIGITS_10,
    limits: Limits | None = None,
) -> Verifier:
    return Verifier(
        trust=trust or FixedTrust(in_force=shared_bundle()),
        nonces=store,
        clock=clock,
        limits=limits or Limits(),
        policies=POLICIES,
        nonce_form=nonce_form,
    )


@pytest.fixture
def verifier(store: WatchedStore, clock: ManualClock) -> Verifier:
    return make_verifier(store, clock)


def answer(nonce: str, **changes: object) -> RawDocument:
    """A good document that answers `nonce`, but for these fields."""
    return raw(sign(encode({**documents.content(nonce=nonce), **changes})))


def refusal(
    verifier: Verifier,
    of: RawDocument,
    *,
    tenant: str = DEFAULT_TENANT,
    nonce: str | None = None,
    policy: str | None = None,
) -> Refused:
    with pytest.raises(Refused) as caught:
        verifier.appraise(of, tenant=tenant, nonce=nonce, policy=policy)
    return caught.value


class TestIssuing:
    @pytest.mark.parametrize("form", NonceForm)
    def test_a_nonce_is_of_the_form_of_the_settings(
        self, form: NonceForm, store: WatchedStore, clock: ManualClock
    ) -> None:
        issued = make_verifier(store, clock, nonce_form=form).issue_nonce()
        assert len(issued.nonce) == form.length
        assert set(issued.nonce) <= set(form.alphabet)

    def test_a_nonce_lives_as_long_as_the_settings_say(self, store: WatchedStore, clock: ManualClock) -> None:
        limits = Limits(nonce_lifetime=timedelta(seconds=42))
        issued = make_verifier(store, clock, limits=limits).issue_nonce()
        assert (issued.issued_at, issued.expires_at) == (NOW, NOW + timedelta(seconds=42))

    def test_no_two_nonces_are_alike(self, verifier: Verifier) -> None:
        assert len({verifier.issue_nonce().nonce for _ in range(50)}) == 50

    def test_a_nonce_that_is_taken_is_not_given_out_again(self, clock: ManualClock) -> None:
        store = FullStore()
        reserved: list[str] = []
        with pytest.raises(StoreUnavailable):
            make_verifier(store, clock).issue_nonce(reserve=reserved.append)
        assert len(store.asked) == len(set(store.asked)) == 5
        assert reserved == store.asked

    def test_a_nonce_is_reserved_before_the_store_keeps_it(self, verifier: Verifier, store: WatchedStore) -> None:
        reserved: list[tuple[str, list[str]]] = []
        issued = verifier.issue_nonce(reserve=lambda nonce: reserved.append((nonce, list(store.calls))))
        assert reserved == [(issued.nonce, [])]
        assert store.calls == ["issue"]

    def test_a_nonce_that_is_not_reserved_is_not_kept(self, verifier: Verifier, store: WatchedStore) -> None:
        def refuse(nonce: str) -> None:
            raise Unavailable(nonce)

        with pytest.raises(Unavailable):
            verifier.issue_nonce(reserve=refuse)
        assert store.calls == []

    def test_a_nonce_without_a_tenant_is_of_the_tenant_default(self, verifier: Verifier, store: WatchedStore) -> None:
        key = NonceKey(tenant="default", nonce=verifier.issue_nonce().nonce)
        assert isinstance(store.redeem(key, keep=SECOND, now=NOW), FirstUse)

    @pytest.mark.parametrize("written", [VM.vm_id.upper(), f"{{{VM.vm_id}}}"])
    def test_the_vm_of_a_binding_may_be_in_upper_case_and_in_braces(self, verifier: Verifier, written: str) -> None:
        binding = NonceBinding(vm_id=written)
        assert binding == NonceBinding(vm_id=VM.vm_id, policy="", jkt="")
        verifier.appraise(answer(verifier.issue_nonce(binding=binding).nonce))

    def test_the_vm_of_a_binding_is_a_guid(self) -> None:
        with pytest.raises(ValueError, match="expected a GUID"):
            NonceBinding(vm_id="vm-1")
        assert NonceBinding() == NonceBinding(vm_id="", policy="", jkt="")

    def test_a_nonce_is_not_bound_to_a_policy_that_is_not_there(self, verifier: Verifier, store: WatchedStore) -> None:
        with pytest.raises(UnknownPolicyError):
            verifier.issue_nonce(binding=NonceBinding(policy="silver"))
        assert store.calls == []

    def test_a_store_that_is_away_is_told_untouched(self, clock: ManualClock) -> None:
        store = AbsentStore()
        with pytest.raises(StoreUnavailable) as caught:
            make_verifier(store, clock).issue_nonce()
        assert caught.value is store.error


class TestChains:
    def test_are_remembered_where_the_verifier_is_told_to(self, store: WatchedStore, clock: ManualClock) -> None:
        chains = ChainCache()
        verifier = Verifier(trust=FixedTrust(in_force=shared_bundle()), nonces=store, clock=clock, chains=chains)
        for _ in range(3):
            verifier.appraise(answer(verifier.issue_nonce().nonce))
        assert (chains.misses, chains.hits) == (1, 2)


class TestReadinessWarning:
    def test_warns_before_the_pins_end_and_takes_requests_on(self, store: WatchedStore, clock: ManualClock) -> None:
        trust = FixedTrust(in_force=shared_bundle())
        readiness = Readiness(trust=trust, nonces=store, clock=clock)
        assert [condition.detail for condition in readiness.look()][:2] == ["", ""]
        end = horizon(shared_bundle().clouds[Cloud.PUBLIC], now=clock.now())
        assert end is not None
        clock.moment = end - EXPIRY_WARNING
        condition = readiness.look()[1]
        assert condition.ready
        assert condition.detail == "the pins of AzurePublicCloud end soon, or have ended"


class TestAppraisal:
    def test_accepts_the_answer_to_its_challenge(self, verifier: Verifier) -> None:
        issued = verifier.issue_nonce(binding=NonceBinding(vm_id=VM.vm_id, policy="contoso", jkt="k" * 43))
        result = verifier.appraise(answer(issued.nonce), nonce=issued.nonce, policy="contoso")

        assert result.claims.vm_id == VM.vm_id
        assert result.policies == ("default", "contoso")
        assert result.evaluated_at == NOW
        assert [check.name for check in result.checks] == list(Check)
        assert {check.outcome for check in result.checks} == {Outcome.PASS}
        assert isinstance(result.verified.fresh, Redeemed)
        assert result.verified.fresh.record.jkt == "k" * 43

    def test_accepts_it_once(self, verifier: Verifier) -> None:
        issued = verifier.issue_nonce()
        verifier.appraise(answer(issued.nonce))
        assert refusal(verifier, answer(issued.nonce)).reason is Reason.NONCE_REPLAYED
        assert refusal(verifier, answer(issued.nonce, sku="another")).reason is Reason.NONCE_REPLAYED

    @pytest.mark.parametrize(
        ("limits", "unused", "used"),
        [
            (Limits(), 420, 22_020),
            (Limits(clock_skew=timedelta(0)), 300, 21_900),
            (Limits(clock_skew=SECOND, maximum_age=100 * SECOND, nonce_lifetime=10 * SECOND), 12, 112),
        ],
    )
    def test_the_store_keeps_a_nonce_briefly_until_it_is_used_and_long_from_then_on(
        self, store: WatchedStore, clock: ManualClock, limits: Limits, unused: int, used: int
    ) -> None:
        verifier = make_verifier(store, clock, limits=limits)
        verifier.appraise(answer(verifier.issue_nonce().nonce))
        assert store.keeps == [unused * SECOND, used * SECOND]

    def test_reads_the_clock_once_and_takes_the_trust_once(self, store: WatchedStore) -> None:
        clock, trust = CountingClock(), CountingTrust(shared_bundle())
        verifier = make_verifier(store, clock, trust=trust)
        issued = verifier.issue_nonce()
        assert clock.readings == 1

        result = verifier.appraise(answer(issued.nonce), policy="anything")

        assert clock.readings == 2
        assert trust.taken == 1
        assert store.moments == {result.evaluated_at} == {NOW + 2 * SECOND}

    def test_one_reading_also_where_it_is_refused(self, store: WatchedStore) -> None:
        clock = CountingClock()
        refusal(make_verifier(store, clock), answer(NONCE))
        assert clock.readings == 1

    def test_a_trust_bundle_that_changes_holds_from_the_next_appraisal_on(self, store: WatchedStore) -> None:
        trust = CountingTrust(shared_bundle())
        verifier = make_verifier(store, ManualClock(NOW), trust=trust)
        verifier.appraise(answer(verifier.issue_nonce().nonce))
        trust.in_force = bundle_of(shared_pki().root.certificate)
        assert refusal(verifier, answer(verifier.issue_nonce().nonce)).reason is Reason.ISSUER_UNPINNED

    def test_policies_that_change_hold_from_the_next_request_on(self, store: WatchedStore, clock: ManualClock) -> None:
        in_force = [Policies(), POLICIES]
        verifier = Verifier(
            trust=CountingTrust(shared_bundle()), nonces=store, clock=clock, policies=lambda: in_force[-1]
        )
        issued = verifier.issue_nonce()
        bound = verifier.issue_nonce(binding=NonceBinding(policy="fabrikam"))
        in_force.append(Policies({"fabrikam": POLICIES.rules["contoso"]}))
        assert verifier.appraise(answer(bound.nonce)).verified.policies == ("default", "fabrikam")
        with pytest.raises(UnknownPolicyError):
            verifier.appraise(answer(issued.nonce), policy="contoso")

    def test_policies_are_taken_once_for_each_document(self, store: WatchedStore, clock: ManualClock) -> None:
        in_force = iter([POLICIES, Policies()])
        verifier = Verifier(
            trust=CountingTrust(shared_bundle()), nonces=store, clock=clock, policies=lambda: next(in_force)
        )
        issued = verifier.issue_nonce()
        result = verifier.appraise(answer(issued.nonce), policy="contoso")
        assert result.policies == ("default", "contoso")

    def test_a_nonce_whose_policy_is_no_more_is_refused_and_used(self, store: WatchedStore, clock: ManualClock) -> None:
        in_force = [POLICIES]
        verifier = Verifier(
            trust=CountingTrust(shared_bundle()), nonces=store, clock=clock, policies=lambda: in_force[-1]
        )
        issued = verifier.issue_nonce(binding=NonceBinding(policy="contoso"))
        in_force.append(Policies())
        refused = refusal(verifier, answer(issued.nonce))
        assert (refused.reason, refused.check, refused.retryable) == (Reason.POLICY_DENIED, Check.POLICY, False)
        assert "'contoso'" in refused.detail
        in_force.append(POLICIES)
        assert refusal(verifier, answer(issued.nonce)).reason is Reason.NONCE_REPLAYED

    @pytest.mark.parametrize("unknown", ["silver", ""])
    def test_a_policy_that_is_not_there_is_told_before_anything_is_done(
        self, verifier: Verifier, store: WatchedStore, unknown: str
    ) -> None:
        issued = verifier.issue_nonce()
        with pytest.raises(UnknownPolicyError):
            verifier.appraise(answer(issued.nonce), policy=unknown)
        assert store.calls == ["issue"]
        verifier.appraise(answer(issued.nonce))

    def test_admission_sees_the_authentic_content_after_the_nonce_is_used(
        self, verifier: Verifier, store: WatchedStore
    ) -> None:
        issued = verifier.issue_nonce()
        admitted: list[tuple[AuthenticContent, list[str]]] = []
        result = verifier.appraise(
            answer(issued.nonce), admit=lambda content: admitted.append((content, list(store.calls)))
        )
        assert admitted == [(result.content, ["issue", "redeem"])]

        with pytest.raises(Refused) as caught:
            verifier.appraise(answer(issued.nonce), admit=lambda content: admitted.append((content, [])))
        assert caught.value.reason is Reason.NONCE_REPLAYED
        assert len(admitted) == 1

    def test_admission_may_end_the_appraisal(self, verifier: Verifier) -> None:
        fault = Unavailable("The tenant has used its budget.")

        def refuse(content: AuthenticContent) -> None:
            assert content.claims.vm_id == VM.vm_id
            raise fault

        issued = verifier.issue_nonce()
        with pytest.raises(Unavailable) as caught:
            verifier.appraise(answer(issued.nonce), admit=refuse)
        assert caught.value is fault
        assert refusal(verifier, answer(issued.nonce)).reason is Reason.NONCE_REPLAYED

    def test_a_key_that_cannot_sign_the_result_leaves_the_nonce_unused(
        self, verifier: Verifier, store: WatchedStore
    ) -> None:
        tokens = LostKey()
        issued = verifier.issue_nonce()
        with pytest.raises(Unavailable) as caught:
            replace(verifier, tokens=tokens).appraise(answer(issued.nonce))
        assert caught.value is tokens.error
        assert store.calls == ["issue"]
        verifier.appraise(answer(issued.nonce))

    def test_an_observer_sees_each_check_begin(self, verifier: Verifier) -> None:
        observer = WatchingObserver()
        verifier.appraise(answer(verifier.issue_nonce().nonce), observer=observer)
        assert observer.begun == list(Check)

    def test_a_store_that_is_away_is_told_untouched(self, clock: ManualClock) -> None:
        store = AbsentStore()
        with pytest.raises(StoreUnavailable) as caught:
            make_verifier(store, clock).appraise(answer(NONCE))
        assert caught.value is store.error
        assert caught.value.retry_after == timedelta(seconds=7)

    def test_a_store_that_is_away_hides_no_refusal(self, clock: ManualClock) -> None:
        early = make_verifier(AbsentStore(), clock)
        assert refusal(early, answer(NONCE, vmId="")).reason is Reason.CLAIMS_INCOMPLETE

    def test_trust_that_is_away_is_told_untouched(self, store: WatchedStore, clock: ManualClock) -> None:
        error = Unavailable("There is no trust.")

        class AbsentTrust:
            def bundle(self) -> TrustBundle:
                raise error

        with pytest.raises(Unavailable) as caught:
            make_verifier(store, clock, trust=AbsentTrust()).appraise(answer(NONCE))
        assert caught.value is error
        assert store.calls == []


def bad_signature(nonce: str) -> RawDocument:
    return raw(document(nonce=nonce).replace(b'"vmId":"5', b'"vmId":"6'))


def too_old(nonce: str) -> RawDocument:
    return raw(document(nonce=nonce, created_on=NOW - timedelta(days=1)))


EARLY_FAULTS: dict[Check, Callable[[str], RawDocument]] = {
    Check.FORMAT: lambda nonce: raw(document(nonce=nonce) + b"\0"),
    Check.SIGNATURE: bad_signature,
    Check.SIGNER_NAME: lambda nonce: raw(
        document(nonce=nonce, signer=make_signer(common_names=("evilmetadata.azure.com",)))
    ),
    Check.CLAIMS: lambda nonce: answer(nonce, vmId=""),
    Check.VALIDITY_WINDOW: too_old,
    Check.CHAIN: lambda nonce: raw(document(nonce=nonce, signer=make_self_signed(key=spare_key()))),
}


class TestSideEffects:
    @pytest.mark.parametrize("check", EARLY_FAULTS, ids=str)
    def test_a_document_that_fails_before_its_nonce_burns_no_nonce(
        self, check: Check, verifier: Verifier, store: WatchedStore
    ) -> None:
        issued = verifier.issue_nonce()
        assert refusal(verifier, EARLY_FAULTS[check](issued.nonce)).check is check
        assert store.calls == ["issue"]

        assert verifier.appraise(answer(issued.nonce)).claims.nonce == issued.nonce

    def test_every_check_before_the_nonce_is_among_those(self) -> None:
        assert list(EARLY_FAULTS) == [check for check in Check if check not in {Check.NONCE, Check.POLICY}]

    def test_a_document_that_is_algorithmically_refused_burns_no_nonce(self, verifier: Verifier) -> None:
        issued = verifier.issue_nonce()
        weak = resign(shared_pki().signer, digest="md5")
        assert refusal(verifier, raw(document(nonce=issued.nonce, signer=weak))).reason is Reason.ALGORITHM_REFUSED
        verifier.appraise(answer(issued.nonce))

    def test_naming_another_nonce_burns_neither(self, verifier: Verifier, store: WatchedStore) -> None:
        one, other = verifier.issue_nonce(), verifier.issue_nonce()
        assert refusal(verifier, answer(one.nonce), nonce=other.nonce).reason is Reason.NONCE_MISMATCH
        assert "redeem" not in store.calls
        verifier.appraise(answer(one.nonce), nonce=one.nonce)
        verifier.appraise(answer(other.nonce), nonce=other.nonce)

    def test_a_document_without_a_nonce_asks_the_store_nothing(self, verifier: Verifier, store: WatchedStore) -> None:
        silent = raw(sign(encode({**documents.content(), "nonce": None})))
        assert refusal(verifier, silent).reason is Reason.CLAIMS_INCOMPLETE
        assert store.calls == []

    @pytest.mark.parametrize(
        ("binding", "asked", "reason"),
        [
            (NonceBinding(vm_id="00000000-0000-4000-8000-000000000000"), {}, Reason.NONCE_MISMATCH),
            (NonceBinding(policy="fabrikam"), {}, Reason.POLICY_DENIED),
            (NonceBinding(policy="fabrikam"), {"policy": "contoso"}, Reason.POLICY_DENIED),
            (NonceBinding(policy="contoso"), {"policy": "fabrikam"}, Reason.POLICY_DENIED),
            (NonceBinding(), {"policy": "fabrikam"}, Reason.POLICY_DENIED),
        ],
    )
    def test_a_document_that_its_bindings_or_the_policy_refuse_has_used_its_nonce(
        self, binding: NonceBinding, asked: dict[str, str], reason: Reason, verifier: Verifier
    ) -> None:
        issued = verifier.issue_nonce(binding=binding)
        assert refusal(verifier, answer(issued.nonce), **asked).reason is reason
        assert refusal(verifier, answer(issued.nonce), **asked).reason is Reason.NONCE_REPLAYED

    def test_a_nonce_that_has_expired_is_used_by_the_document_that_came_too_late(
        self, verifier: Verifier, clock: ManualClock
    ) -> None:
        issued = verifier.issue_nonce()
        clock.advance(timedelta(seconds=301))
        assert refusal(verifier, answer(issued.nonce)).reason is Reason.NONCE_UNKNOWN
        assert refusal(verifier, answer(issued.nonce)).reason is Reason.NONCE_REPLAYED

    def test_the_policies_of_tenant_nonce_and_request_all_apply(self, verifier: Verifier) -> None:
        issued = verifier.issue_nonce(binding=NonceBinding(policy="contoso"))
        result = verifier.appraise(answer(issued.nonce), tenant_policy="anything", policy="default")
        assert result.policies == ("anything", "contoso", "default")

    @pytest.mark.parametrize("missing", ["silver", ""])
    def test_a_tenants_policy_that_is_missing_gives_no_verdict_and_uses_no_nonce(
        self, verifier: Verifier, store: WatchedStore, missing: str
    ) -> None:
        """Whatever the caller names beside it, and whether it would be satisfied."""
        issued = verifier.issue_nonce(binding=NonceBinding(policy="anything"))
        for asked in (None, "anything", "default"):
            with pytest.raises(Unavailable) as caught:
                verifier.appraise(answer(issued.nonce), tenant_policy=missing, policy=asked)
            assert repr(missing) in caught.value.detail
        assert store.calls == ["issue"]
        assert verifier.appraise(answer(issued.nonce)).verified.policies == ("default", "anything")

    def test_a_replay_is_told_as_one_as_long_as_a_document_can_be_valid(
        self, verifier: Verifier, clock: ManualClock
    ) -> None:
        """The latest document that answers a nonce is made as it expires (and the skew later), and lives 6 h."""
        issued = verifier.issue_nonce()
        clock.advance(timedelta(seconds=300))
        latest = clock.now() + timedelta(seconds=60)
        last = raw(document(nonce=issued.nonce, created_on=latest))
        verifier.appraise(last)
        clock.moment = latest + timedelta(hours=6)
        assert refusal(verifier, last).reason is Reason.NONCE_REPLAYED
        clock.moment += SECOND
        assert refusal(verifier, last).reason is Reason.DOCUMENT_EXPIRED


class TestTenants:
    def test_a_nonce_is_good_for_the_tenant_that_it_was_issued_to(self, verifier: Verifier) -> None:
        issued = verifier.issue_nonce(tenant="one")
        for other in ("two", "One", "", DEFAULT_TENANT):
            with pytest.raises(Refused) as caught:
                verifier.appraise(answer(issued.nonce), tenant=other)
            assert caught.value.reason is Reason.NONCE_UNKNOWN
        verifier.appraise(answer(issued.nonce), tenant="one")

    def test_one_tenants_use_is_not_anothers_replay(self, verifier: Verifier, store: WatchedStore) -> None:
        record = NonceRecord(issued_at=NOW, expires_at=NOW + timedelta(seconds=300))
        for tenant in ("one", "two"):
            key = NonceKey(tenant=tenant, nonce=NONCE)
            assert store.issue(key, record, keep=timedelta(hours=7), now=NOW)
        for tenant in ("one", "two"):
            assert verifier.appraise(answer(NONCE), tenant=tenant).claims.nonce == NONCE
            with pytest.raises(Refused) as caught:
                verifier.appraise(answer(NONCE), tenant=tenant)
            assert caught.value.reason is Reason.NONCE_REPLAYED


class TestArchive:
    @pytest.fixture
    def archive(self) -> ArchiveVerifier:
        return ArchiveVerifier(trust=FixedTrust(in_force=shared_bundle()), policies=POLICIES)

    def test_the_nonce_is_skipped_and_says_why(self, archive: ArchiveVerifier) -> None:
        result = archive.appraise(answer(NONCE), at=NOW)
        outcomes = {check.name: check.outcome for check in result.checks}
        assert outcomes.pop(Check.NONCE) is Outcome.SKIPPED
        assert set(outcomes.values()) == {Outcome.PASS}
        assert [bool(check.detail) for check in result.checks if check.name is Check.NONCE] == [True]
        assert not result.verified.fresh.has_expected_nonce
        assert result.evaluated_at == NOW

    def test_a_document_may_be_appraised_as_often_as_one_likes(self, archive: ArchiveVerifier) -> None:
        assert archive.appraise(answer(NONCE), at=NOW) == archive.appraise(answer(NONCE), at=NOW)

    def test_the_nonce_is_compared_where_one_is_given_and_says_what_that_is_worth(
        self, archive: ArchiveVerifier
    ) -> None:
        without = archive.appraise(answer(NONCE), at=NOW)
        result = archive.appraise(answer(NONCE), at=NOW, nonce=NONCE)
        [compared] = [check for check in result.checks if check.name is Check.NONCE]
        assert compared.outcome is Outcome.SKIPPED
        assert compared not in without.checks
        with pytest.raises(Refused) as caught:
            archive.appraise(answer(NONCE), at=NOW, nonce="9876543210")
        assert caught.value.reason is Reason.NONCE_MISMATCH

    @pytest.mark.parametrize("missing", [{"timeStamp": None}, {"timeStamp": {"createdOn": "11/23/26 08:00:00 -0000"}}])
    def test_a_document_has_to_say_when_it_was_made(self, missing: dict[str, object], archive: ArchiveVerifier) -> None:
        with pytest.raises(Refused) as caught:
            archive.appraise(answer(NONCE, **missing), at=NOW)
        assert caught.value.reason is Reason.CLAIMS_INCOMPLETE
        assert caught.value.check is Check.VALIDITY_WINDOW

    def test_a_refusal_says_of_the_nonce_that_it_was_not_looked_at(self, archive: ArchiveVerifier) -> None:
        with pytest.raises(Refused) as caught:
            archive.appraise(answer(NONCE), at=NOW, policy="fabrikam")
        told = {check.name: check for check in caught.value.checks}
        assert told[Check.POLICY].outcome is Outcome.FAIL
        assert told[Check.CHAIN].outcome is Outcome.PASS
        assert told[Check.NONCE].outcome is Outcome.SKIPPED
        assert told[Check.NONCE].detail

    def test_it_holds_as_of_the_moment_and_no_other(self, archive: ArchiveVerifier) -> None:
        archive.appraise(answer(NONCE), at=NOW + timedelta(hours=6))
        for at, reason in (
            (NOW + timedelta(hours=6) + SECOND, Reason.DOCUMENT_EXPIRED),
            (NOW - timedelta(seconds=61), Reason.DOCUMENT_NOT_YET_VALID),
        ):
            with pytest.raises(Refused) as caught:
                archive.appraise(answer(NONCE), at=at)
            assert caught.value.reason is reason

    @pytest.mark.parametrize("unknown", ["silver", ""])
    def test_a_policy_that_is_not_there_is_an_error(self, archive: ArchiveVerifier, unknown: str) -> None:
        with pytest.raises(UnknownPolicyError):
            archive.appraise(answer(NONCE), at=NOW, policy=unknown)

    def test_the_policy_that_is_named_takes_the_place_of_the_default(self, archive: ArchiveVerifier) -> None:
        assert archive.appraise(answer(NONCE), at=NOW).verified.policies == ("default",)
        assert archive.appraise(answer(NONCE), at=NOW, policy="contoso").verified.policies == ("contoso",)


class TestClosedAndUnservedClouds:
    """Germany, with the planned end of the shipped manifest, over authorities whose keys are here."""

    CLOSED = load_bundle().clouds[Cloud.GERMANY].anchors[0].retire_at
    THEN = datetime(2021, 10, 29, 12, tzinfo=UTC)

    def bundle(self) -> TrustBundle:
        germany = frozenset({Cloud.GERMANY})
        entries = (trusted(one.certificate, clouds=germany, retire_at=self.CLOSED) for one in self.authorities())
        return TrustBundle.of((*shared_bundle().entries, *entries))

    @cache  # noqa: B019 - the class lives as long as its keys
    def authorities(self) -> tuple[pki.Identity, pki.Identity]:
        years = pki.Validity(not_before=self.THEN - timedelta(days=3650), not_after=NOW + timedelta(days=3650))
        made = pki.make_root(subject=pki.make_name("German Root"), key=spare_key(1), validity=years)
        return made, make_authority(issuer=made, name="German CA", key=spare_key(2), validity=years)

    def document(self, at: datetime) -> RawDocument:
        domain = Cloud.GERMANY.domain
        signer = make_signer(issuer=self.authorities()[1], common_names=(domain,), names=(domain,), validity=around(at))
        return raw(document(created_on=at, signer=signer))

    @pytest.mark.parametrize(
        ("served", "told"),
        [
            (SERVED_BY_DEFAULT, "AzureGermanCloud is not served here. The setting VERIFIER_CLOUDS names"),
            (frozenset(Cloud), "pinned, but not usable now: retired."),
        ],
    )
    def test_a_document_is_refused_live(self, store: WatchedStore, served: frozenset[Cloud], told: str) -> None:
        trust = FixedTrust(in_force=self.bundle())
        verifier = Verifier(trust=trust, nonces=store, clock=ManualClock(NOW), served=served)
        with pytest.raises(ChainRefused, match=told) as refused:
            verifier.appraise(self.document(NOW))
        assert refused.value.reason is Reason.CHAIN_UNTRUSTED
        assert store.calls == []

    def test_a_document_is_accepted_as_of_the_day_on_which_the_cloud_closed_or_earlier(self) -> None:
        archive = ArchiveVerifier(trust=FixedTrust(in_force=self.bundle()))
        for at in (self.THEN, self.THEN - timedelta(days=365)):
            assert archive.appraise(self.document(at), at=at).content.cloud is Cloud.GERMANY

    @pytest.mark.parametrize("at", [datetime(2021, 10, 30, tzinfo=UTC), datetime(2023, 1, 1, tzinfo=UTC)])
    def test_a_document_is_refused_as_of_a_later_day(self, at: datetime) -> None:
        archive = ArchiveVerifier(trust=FixedTrust(in_force=self.bundle()))
        with pytest.raises(ChainRefused, match="retired") as refused:
            archive.appraise(self.document(at), at=at)
        assert refused.value.reason is Reason.CHAIN_UNTRUSTED

    def test_a_cached_chain_is_no_chain_of_another_day(self) -> None:
        archive = ArchiveVerifier(trust=FixedTrust(in_force=self.bundle()))
        domain, year = Cloud.GERMANY.domain, timedelta(days=365)
        validity = pki.Validity(not_before=self.THEN - year, not_after=self.THEN + year)
        signer = make_signer(
            issuer=self.authorities()[1], common_names=(domain,), names=(domain,), validity=validity, key=spare_key()
        )
        for days in (-1, 1, -2, 2, -300, 300):
            at = self.THEN + timedelta(days=days)
            made = raw(document(created_on=at, signer=signer))
            if days < 0:
                assert archive.appraise(made, at=at).evaluated_at == at
            else:
                with pytest.raises(ChainRefused, match="retired"):
                    archive.appraise(made, at=at)

    def test_no_other_cloud_need_be_served(self, store: WatchedStore) -> None:
        trust = FixedTrust(in_force=shared_bundle())
        verifier = Verifier(trust=trust, nonces=store, clock=ManualClock(NOW), served=frozenset({Cloud.CHINA}))
        with pytest.raises(ChainRefused, match="AzurePublicCloud is not served here"):
            verifier.appraise(raw(document()))
        assert store.calls == []


class TestReadiness:
    def test_is_ready_where_the_store_answers_and_there_is_an_anchor(
        self, store: WatchedStore, clock: ManualClock
    ) -> None:
        readiness = Readiness(trust=FixedTrust(in_force=shared_bundle()), nonces=store, clock=clock)
        assert [condition.ready for condition in readiness.look()] == [True, True, True]
        assert store.calls == ["ping"]

    def test_names_the_store_that_is_away(self, clock: ManualClock) -> None:
        readiness = Readiness(trust=FixedTrust(in_force=shared_bundle()), nonces=AbsentStore(), clock=clock)
        told = {condition.name: condition for condition in readiness.look()}
        assert not told["nonce-store"].ready
        assert told["nonce-store"].detail == "The nonce store is away."
        assert told["trust"].ready

    def test_names_the_cloud_that_has_no_usable_anchor(self, store: WatchedStore, clock: ManualClock) -> None:
        retired = trusted(
            shared_pki().root.certificate, clouds=frozenset({Cloud.PUBLIC, Cloud.CHINA}), retire_at=NOW + SECOND
        )
        bundle = TrustBundle.of((retired,))
        readiness = Readiness(trust=FixedTrust(in_force=bundle), nonces=store, clock=clock)
        assert all(condition.ready for condition in readiness.look())
        clock.advance(SECOND)
        told = {condition.name: condition for condition in readiness.look()}
        assert not told["trust"].ready
        assert Cloud.PUBLIC in told["trust"].detail
        assert Cloud.CHINA in told["trust"].detail

    def test_looks_at_clouds_that_are_served_and_not_closed(self, store: WatchedStore, clock: ManualClock) -> None:
        staged = NOW + timedelta(days=1)
        public = trusted(shared_pki().root.certificate)
        gone = replace(trusted(root("Gone").certificate), clouds=frozenset({Cloud.US_GOVERNMENT}), retire_at=NOW)
        bare = replace(trusted(root("Bare").certificate), clouds=frozenset({Cloud.CHINA}), activate_at=staged)
        trust = FixedTrust(in_force=TrustBundle.of((public, gone, bare)))
        for served, detail in (
            ({Cloud.PUBLIC, Cloud.US_GOVERNMENT}, None),
            ({Cloud.PUBLIC, Cloud.CHINA}, "no usable anchor for AzureChinaCloud"),
            ({Cloud.US_GOVERNMENT}, "no usable anchor for any served cloud: AzureUSGovernmentCloud"),
            ({Cloud.GERMANY}, "no usable anchor for any served cloud: AzureGermanCloud"),
        ):
            readiness = Readiness(trust=trust, nonces=store, clock=clock, served=frozenset(served))
            [told] = [condition for condition in readiness.look() if condition.name == "trust"]
            assert (told.ready, told.detail or None) == (detail is None, detail)

    def test_warns_of_the_horizon_of_served_clouds_alone(self, store: WatchedStore, clock: ManualClock) -> None:
        public = trusted(shared_pki().root.certificate)
        ending = replace(
            trusted(root("China").certificate), clouds=frozenset({Cloud.CHINA}), retire_at=NOW + EXPIRY_WARNING
        )
        trust = FixedTrust(in_force=TrustBundle.of((public, ending)))
        for served, warned in (({Cloud.PUBLIC, Cloud.CHINA}, True), ({Cloud.PUBLIC}, False)):
            readiness = Readiness(trust=trust, nonces=store, clock=clock, served=frozenset(served))
            [told] = [condition for condition in readiness.look() if condition.name == "trust"]
            assert (told.ready, "AzureChinaCloud end soon" in told.detail) == (True, warned)

    def test_one_clouds_anchor_is_not_anothers(self, store: WatchedStore, clock: ManualClock) -> None:
        public = trusted(shared_pki().root.certificate)
        china = replace(trusted(root("China").certificate), clouds=frozenset({Cloud.CHINA}), activate_at=NOW + SECOND)
        readiness = Readiness(trust=FixedTrust(in_force=TrustBundle.of((public, china))), nonces=store, clock=clock)
        [trust] = [condition for condition in readiness.look() if condition.name == "trust"]
        assert not trust.ready
        assert Cloud.PUBLIC not in trust.detail
