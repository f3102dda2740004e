"""The pipeline: each step in its turn, the first fault ends it, and the same arguments give the same answer."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial

import pytest
from support import documents
from support.appraisals import authenticate_archived, read_in_time
from support.certificates import make_self_signed, make_signer
from support.chains import root
from support.documents import NOW, bundle_of, document, raw, sample, shared_bundle, shared_pki, sign, spare_key

from verifier.adapters.trust.files import load_bundle
from verifier.core.chain import build_chain
from verifier.core.model import Archived, ArchivedResult, AuthenticContent, FirstSight, Limits, Redeemed, Verified
from verifier.core.nonces import NonceRecord
from verifier.core.pipeline import Observer, appraise, appraise_archived, remarks_on
from verifier.core.policy import CloudIn, Policies, RuleOutcome, RuleResult
from verifier.core.reasons import NO_REMARKS, Check, Outcome, Reason, Refused, Remarks, progress
from verifier.core.trust.certificates import Certificate
from verifier.core.trust.clouds import Cloud
from verifier.core.unchallenged import NOTE

LIMITS = Limits()


def authenticate(data: bytes, *, at: datetime = NOW) -> str:
    content = authenticate_archived(raw(data), at=at, bundle=shared_bundle(), limits=LIMITS)
    return content.claims.vm_id


def refused(data: bytes, *, at: datetime = NOW) -> Refused:
    with pytest.raises(Refused) as caught:
        authenticate(data, at=at)
    return caught.value


def test_an_authentic_document_returns_its_signed_content() -> None:
    content = authenticate_archived(raw(document()), at=NOW, bundle=shared_bundle(), limits=LIMITS)
    assert content.cloud is Cloud.PUBLIC
    assert content.document == documents.content()
    assert content.signer.der == documents.der(shared_pki().signer.certificate)
    assert len(content.chain) == 2
    assert content.trust_generation == shared_bundle().generation


def test_the_result_depends_only_on_the_arguments() -> None:
    data = document()
    one, other = (authenticate_archived(raw(data), at=NOW, bundle=shared_bundle(), limits=LIMITS) for _ in range(2))
    assert one == other


def faulty(*, names: bool = False, claims: bool = False, window: bool = False, chain: bool = False) -> bytes:
    """A document with these faults, each of which one step is to find."""
    common_name = "evilmetadata.azure.com" if names else "metadata.azure.com"
    if chain:
        signer = make_self_signed(key=spare_key(), common_name=common_name)
    else:
        signer = make_signer(common_names=(common_name,))
    fields = documents.content(created_on=NOW - timedelta(days=1) if window else NOW)
    return sign(documents.encode({**fields, "vmId": 5 if claims else fields["vmId"]}), signer=signer)


FAULTS = [
    (Check.SIGNER_NAME, "names"),
    (Check.CLAIMS, "claims"),
    (Check.VALIDITY_WINDOW, "window"),
    (Check.CHAIN, "chain"),
]


@pytest.mark.parametrize("first", range(len(FAULTS)))
def test_the_first_failing_step_gives_the_reason(first: int) -> None:
    check, _ = FAULTS[first]
    assert refused(faulty(**{fault: True for _, fault in FAULTS[first:]})).check is check


@pytest.mark.parametrize(("check", "fault"), FAULTS)
def test_each_step_refuses_its_fault(check: Check, fault: str) -> None:
    assert refused(faulty(**{fault: True})).check is check


def test_no_step_after_the_signature_reads_a_document_with_a_bad_signature() -> None:
    data = faulty(names=True, claims=True).replace(b'"vmId":5', b'"vmId":6')
    assert refused(data).reason is Reason.SIGNATURE_INVALID


def test_without_times_a_document_is_read_and_not_archived() -> None:
    fields = {name: value for name, value in documents.content().items() if name != "timeStamp"}
    data = sign(documents.encode(fields))
    assert read_in_time(raw(data), now=NOW, limits=LIMITS).decoded.claims.created_on is None
    refusal = refused(data)
    assert (refusal.reason, refusal.check) == (Reason.CLAIMS_INCOMPLETE, Check.VALIDITY_WINDOW)


def test_the_argument_sets_the_time() -> None:
    data = document(created_on=NOW)
    assert authenticate(data, at=NOW + timedelta(hours=6))
    assert refused(data, at=NOW + timedelta(hours=6, seconds=61)).reason is Reason.DOCUMENT_EXPIRED
    assert refused(data, at=NOW - timedelta(seconds=61)).reason is Reason.DOCUMENT_NOT_YET_VALID


def test_the_bundle_sets_the_trusted_authorities() -> None:
    stranger = bundle_of(root("Stranger").certificate)
    with pytest.raises(Refused) as caught:
        authenticate_archived(raw(document()), at=NOW, bundle=stranger, limits=LIMITS)
    assert caught.value.reason is Reason.ISSUER_UNPINNED


@pytest.mark.parametrize(
    ("name", "at", "region"),
    [
        ("public-southcentralus-2022-04-19", datetime(2022, 4, 19, 2, 0, tzinfo=UTC), "southcentralus"),
        ("public-eastus-2026-07-28", datetime(2026, 7, 28, 13, 24, tzinfo=UTC), "eastus"),
    ],
)
def test_real_documents_are_authentic_only_at_their_own_time(name: str, at: datetime, region: str) -> None:
    content = authenticate_archived(raw(sample(name)), at=at, bundle=load_bundle(), limits=LIMITS)
    assert content.cloud is Cloud.PUBLIC
    assert f"{region}.metadata.azure.com" in content.signer_names
    for wrong in (at - timedelta(days=1), at + timedelta(days=1)):
        with pytest.raises(Refused):
            authenticate_archived(raw(sample(name)), at=wrong, bundle=load_bundle(), limits=LIMITS)


@pytest.mark.parametrize("name", ["public-southcentralus-2022-04-19", "public-eastus-2026-07-28"])
def test_real_documents_with_changed_signed_content_are_refused(name: str) -> None:
    data = sample(name)
    claims = read_in_time(raw(data), now=at_creation(data), limits=LIMITS)
    vm_id = claims.decoded.claims.vm_id.encode()
    with pytest.raises(Refused) as caught:
        read_in_time(raw(data.replace(vm_id, vm_id[::-1])), now=at_creation(data), limits=LIMITS)
    assert caught.value.reason is Reason.SIGNATURE_INVALID


def at_creation(data: bytes) -> datetime:
    text = data.partition(b'"createdOn":"')[2][:17].decode()
    return datetime.strptime(text, "%m/%d/%y %H:%M:%S").replace(tzinfo=UTC)


def test_progress_lists_every_check_once_and_in_order() -> None:
    for failed in (None, *Check):
        results = progress(failed=failed)
        assert [result.name for result in results] == list(Check)
        before = [
            result.outcome
            for result in results
            if failed is None or list(Check).index(result.name) < list(Check).index(failed)
        ]
        assert set(before) <= {Outcome.PASS}
        assert [result.name for result in results if result.outcome is Outcome.FAIL] == ([failed] if failed else [])


def test_a_result_is_immutable() -> None:
    content = authenticate_archived(raw(document()), at=NOW, bundle=shared_bundle(), limits=LIMITS)
    with pytest.raises(AttributeError):
        content.chain = ()  # type: ignore[misc] # which is what is tested
    assert replace(content, chain=()) != content


def archived(*, nonce: str | None, policies: Policies | None = None) -> ArchivedResult:
    return appraise_archived(
        raw(document()),
        at=NOW,
        limits=LIMITS,
        build_chain=partial(build_chain, now=NOW, bundle=shared_bundle()),
        nonce=nonce,
        policies=policies or Policies(),
        policy=Policies.DEFAULT,
    )


@pytest.mark.parametrize("nonce", [None, documents.NONCE])
def test_an_archived_document_says_that_its_nonce_was_not_redeemed(nonce: str | None) -> None:
    result = archived(nonce=nonce)
    [check] = [check for check in result.checks if check.outcome is not Outcome.PASS]
    assert (check.name, check.outcome) == (Check.NONCE, Outcome.SKIPPED)
    assert check.detail
    assert result.evaluated_at == NOW
    assert result.verified.fresh.has_expected_nonce is (nonce is not None)
    with pytest.raises(Refused) as caught:
        archived(nonce=nonce, policies=Policies({Policies.DEFAULT: CloudIn(frozenset({Cloud.CHINA}))}))
    assert caught.value.reason is Reason.POLICY_DENIED
    assert caught.value.checks[6] == check
    assert not caught.value.retryable


def test_an_archived_document_with_another_nonce_is_refused_for_good() -> None:
    with pytest.raises(Refused) as caught:
        archived(nonce="9876543210")
    assert caught.value.reason is Reason.NONCE_MISMATCH
    assert not caught.value.retryable


class Recording(Observer):
    """Keep everything that an observer receives, in its order."""

    def __init__(self) -> None:
        self.seen: list[object] = []

    def begin(self, check: Check) -> None:
        self.seen.append(check)

    def find_signer(self, signer: Certificate) -> None:
        self.seen.append(signer)

    def find_cloud(self, cloud: Cloud) -> None:
        self.seen.append(cloud)

    def find_content(self, content: AuthenticContent) -> None:
        self.seen.append(content)

    def find_policies(self, names: tuple[str, ...]) -> None:
        self.seen.append(names)


class AgedZero:
    """A rule that is satisfied at one moment."""

    def evaluate(self, content: AuthenticContent, *, now: datetime) -> RuleResult:  # noqa: ARG002 - the same for all rules
        return RuleResult(outcome=RuleOutcome.SATISFIED if now == NOW else RuleOutcome.DENIED, rule="moment")


ALLOWING = Policies({"theirs": AgedZero(), "asked": AgedZero()})
DENYING = Policies({"theirs": AgedZero(), "asked": CloudIn(frozenset({Cloud.CHINA}))})


def appraised(observer: Observer | None, policies: Policies = ALLOWING) -> Verified[FirstSight]:
    return appraise(
        raw(document()),
        now=NOW,
        limits=LIMITS,
        needs_times=False,
        build_chain=partial(build_chain, now=NOW, bundle=shared_bundle()),
        establish_freshness=lambda content: FirstSight(content=content),
        policies=policies,
        tenant_policy="theirs",
        request_policy="asked",
        observer=observer,
    )


def test_an_observer_sees_each_check_and_what_it_found() -> None:
    recording = Recording()
    verified = appraised(recording)
    content = verified.fresh.content
    assert recording.seen == [
        Check.FORMAT,
        content.signer,
        Check.SIGNATURE,
        Check.SIGNER_NAME,
        Cloud.PUBLIC,
        Check.CLAIMS,
        Check.VALIDITY_WINDOW,
        Check.CHAIN,
        content,
        Check.NONCE,
        ("theirs", "asked"),
        Check.POLICY,
    ]
    assert verified.policies == ("theirs", "asked")
    assert appraised(None) == verified


def test_the_policy_of_the_nonce_applies_too() -> None:
    verified = appraise(
        raw(document()),
        now=NOW,
        limits=LIMITS,
        needs_times=False,
        build_chain=partial(build_chain, now=NOW, bundle=shared_bundle()),
        establish_freshness=lambda content: Redeemed(
            content=content, record=NonceRecord(issued_at=NOW, expires_at=NOW, policy="asked")
        ),
        policies=ALLOWING,
        tenant_policy="theirs",
        request_policy=None,
    )
    assert verified.policies == ("theirs", "asked")


def test_a_denial_keeps_the_remarks_of_the_nonce_check() -> None:
    with pytest.raises(Refused) as caught:
        appraised(None, DENYING)
    assert caught.value.reason is Reason.POLICY_DENIED
    assert caught.value.checks == progress(failed=Check.POLICY, remarks=Remarks(noted=NOTE))


def test_only_an_unusual_nonce_check_has_a_remark() -> None:
    content = appraised(None).fresh.content
    record = NonceRecord(issued_at=NOW, expires_at=NOW)
    assert remarks_on(Redeemed(content=content, record=record)) is NO_REMARKS
    assert remarks_on(FirstSight(content=content)) == Remarks(noted=NOTE)
    for is_compared, words in ((True, "compared with the given nonce"), (False, "without a challenge")):
        remarks = remarks_on(Archived(content=content, has_expected_nonce=is_compared))
        assert words in remarks.omitted[Check.NONCE]
        assert not remarks.noted
