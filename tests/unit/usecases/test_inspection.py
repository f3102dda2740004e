"""Inspections: the answer of an appraisal at each check, unverified parts apart, and no side effect."""

from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from support import documents
from support.applications import FixedTrust
from support.clocks import ManualClock
from support.der_parts import integer, sequence
from support.documents import NONCE, NOW, der, document, raw, sample, shared_bundle, shared_pki
from support.vectors import find_vector, load_vectors, vectors_trust

from verifier.adapters.sqlite.nonce_store import SqliteNonceStore
from verifier.adapters.trust.files import TrustDirectory
from verifier.api.json_codec import read_attestation
from verifier.cli.conformance_cases import Case
from verifier.core.encoding.structure import read_structure
from verifier.core.model import Limits, RawDocument
from verifier.core.nonces import NonceRecord
from verifier.core.policy import ClaimIn, ClaimName, Policies, UnknownPolicyError
from verifier.core.reasons import Check, FormatRefused, Outcome, Reason
from verifier.core.trust.bundle import TrustBundle
from verifier.core.trust.certificates import Certificate
from verifier.core.trust.clouds import Cloud
from verifier.emulator import cms
from verifier.ports.stores import NonceKey, Unavailable
from verifier.ports.trust import TrustSource
from verifier.usecases.appraise import DEFAULT_TENANT, Verifier
from verifier.usecases.chain_cache import ChainCache
from verifier.usecases.inspection import Inspection, Inspector, Question
from verifier.wiring.conformance import policies_of

EAST = raw(sample("public-eastus-2026-07-28"))
ITS_TIME = datetime.fromisoformat("2026-07-28T13:25:00Z")
FABRIKAM = Policies({"fabrikam": ClaimIn(ClaimName.PUBLISHER, frozenset({"fabrikam"}))})
#: Only a nonce proves that these documents are fresh. An inspection redeems none.
WITHOUT_TIMES = (
    "verified/empty-times",
    "verified/classic-vm",
    "policy-denied/times-absent",
    "document-expired/expires-on-past-alone",
    "document-not-yet-valid/created-on-ahead-alone",
)
#: The other vectors whose answer depends neither on nonces, nor on earlier posts, nor on the size of the request.
STATELESS = [
    vector
    for vector in load_vectors()
    if not vector.earlier
    and vector.expected.failing_check is not Check.NONCE
    and vector.expected.code is not Reason.TOO_LARGE
    and not vector.name.startswith("policy-denied/policy-of-the-nonce")
    and vector.name not in WITHOUT_TIMES
]


def make_inspector(*, bundle: TrustBundle | None = None, policies: Policies | None = None) -> Inspector:
    return Inspector(
        trust=FixedTrust(in_force=bundle or shared_bundle()), clock=ManualClock(NOW), policies=policies or Policies()
    )


def inspect(document: bytes, question: Question | None = None, *, policies: Policies | None = None) -> Inspection:
    return make_inspector(policies=policies).inspect(raw(document), question or Question())


def inspect_vector(vector: Case) -> Inspection:
    bundle = TrustBundle.of(vectors_trust().entries, denials=vector.denials)
    evidence: RawDocument | FormatRefused
    try:
        evidence = read_attestation(vector.post.media_type, vector.post.body).document
    except FormatRefused as refused:
        evidence = refused
    return Inspector(
        trust=FixedTrust(in_force=bundle),
        clock=ManualClock(vector.at),
        policies=policies_of(vector),
        served=vector.clouds,
    ).inspect(
        evidence,
        Question(
            nonce=vector.request.get("nonce"),
            policy=vector.request.get("policy"),
            tenant_policy=vector.tenant_policy,
        ),
    )


@pytest.mark.parametrize("vector", STATELESS, ids=lambda vector: vector.name)
def test_a_vector_has_the_answer_of_an_appraisal(vector: Case) -> None:
    found = inspect_vector(vector)
    failed = [check for check in found.checks if check.outcome is Outcome.FAIL]
    assert found.reason is vector.expected.code
    assert [check.name for check in found.checks] == list(Check)
    if found.reason is None:
        assert not failed
    else:
        assert [(check.name, check.detail) for check in failed] == [(vector.expected.failing_check, found.detail)]
    is_authentic = vector.expected.failing_check in {None, Check.NONCE, Check.POLICY}
    assert (found.authentic is not None) == is_authentic
    if vector.expected.failing_check is Check.FORMAT:
        assert (found.authentic, found.unverified) == (None, None)
    else:
        assert (found.authentic is None) != (found.unverified is None)
    assert (found.structure is None) == (found.sha256 == "")


@pytest.mark.parametrize("name", WITHOUT_TIMES)
def test_a_document_without_times_is_refused_as_in_an_archive(name: str) -> None:
    found = inspect_vector(find_vector(name))
    assert (found.reason, found.checks[4].outcome) == (Reason.CLAIMS_INCOMPLETE, Outcome.FAIL)


def test_every_check_but_that_of_the_nonce_fails_in_some_vector() -> None:
    assert {vector.expected.failing_check for vector in STATELESS} == {None, *Check} - {Check.NONCE}


def test_a_verified_document_says_what_was_not_checked() -> None:
    found = inspect(document())
    assert (found.reason, found.detail, found.evaluated_at) == (None, "", NOW)
    outcomes = {check.name: (check.outcome, check.detail) for check in found.checks}
    assert outcomes.pop(Check.NONCE) == (Outcome.SKIPPED, "an inspection redeems no nonce")
    assert set(outcomes.values()) == {(Outcome.PASS, "")}
    assert found.authentic is not None
    assert found.authentic.claims.nonce == NONCE
    assert found.structure == read_structure(document())


def test_the_nonce_is_compared_if_one_is_given() -> None:
    same = inspect(document(), Question(nonce=NONCE))
    assert same.reason is None
    assert {check.name: check.detail for check in same.checks}[Check.NONCE].startswith("compared with the given nonce")
    other = inspect(document(), Question(nonce="9876543210"))
    assert (other.reason, other.checks[6].outcome) == (Reason.NONCE_MISMATCH, Outcome.FAIL)
    assert other.checks[6].detail == other.detail
    assert other.authentic is not None
    assert other.unverified is None


def test_an_inspected_nonce_can_still_be_redeemed_once(tmp_path: Path) -> None:
    store = SqliteNonceStore(tmp_path / "nonces.sqlite3")
    record = NonceRecord(issued_at=NOW, expires_at=NOW + timedelta(minutes=5))
    assert store.issue(NonceKey(tenant=DEFAULT_TENANT, nonce=NONCE), record, keep=timedelta(hours=7), now=NOW)
    trust, clock, chains = FixedTrust(in_force=shared_bundle()), ManualClock(NOW), ChainCache()
    inspector = Inspector(trust=trust, clock=clock, chains=chains)
    for _ in range(3):
        assert inspector.inspect(raw(document()), Question(nonce=NONCE)).reason is None
    result = Verifier(trust=trust, nonces=store, clock=clock, chains=chains).appraise(raw(document()))
    assert result.claims.nonce == NONCE
    assert inspector.inspect(raw(document()), Question()).reason is None
    store.close()


def test_a_moment_in_its_life_makes_an_old_document_valid() -> None:
    inspector = Inspector(trust=TrustDirectory(), clock=ManualClock(NOW))
    assert inspector.inspect(EAST, Question()).reason is Reason.DOCUMENT_EXPIRED
    found = inspector.inspect(EAST, Question(at=ITS_TIME))
    assert (found.reason, found.evaluated_at) == (None, ITS_TIME)
    assert found.authentic is not None
    entries = {entry.certificate.sha256: entry.certificate for entry in TrustDirectory().bundle().entries}
    assert [link.not_before for link in found.authentic.chain] == [
        entries[link.sha256].not_before for link in found.authentic.chain
    ]


def test_an_old_document_has_its_claims_unverified() -> None:
    found = Inspector(trust=TrustDirectory(), clock=ManualClock(NOW)).inspect(EAST, Question())
    assert (found.authentic, found.detail) == (None, found.checks[4].detail)
    assert found.unverified is not None
    assert found.unverified.cloud is Cloud.PUBLIC
    assert found.unverified.claims is not None
    assert found.unverified.claims.vm_id == "b1310a36-d400-46f6-82cb-6217df846586"
    assert found.unverified.claims.vm_id in found.unverified.text


def test_a_tampered_document_shows_what_it_says() -> None:
    found = inspect_vector(find_vector("signature-invalid/public-eastus-2026-07-28-other-vm-id"))
    assert found.unverified is not None
    assert found.unverified.claims is not None
    assert found.unverified.claims.vm_id.startswith("c1310a36")


@pytest.mark.parametrize(
    ("content", "text"),
    [(b"[]", "[]"), (b"\xff\x00", "\\xff\x00"), ('"\u202egnp.exe"'.encode(), '"\u202egnp.exe"')],
)
def test_content_without_claims_is_shown_as_text(content: bytes, text: str) -> None:
    found = inspect(documents.sign(content))
    assert found.unverified is not None
    assert (found.unverified.claims, found.unverified.text) == (None, text)


def test_names_of_no_cloud_claim_none() -> None:
    found = inspect_vector(find_vector("signer-name-mismatch/cn-suffixed"))
    assert found.unverified is not None
    assert found.unverified.cloud is None


def test_other_embedded_certificates_are_shown_and_unreadable_ones_are_left_out() -> None:
    signer, issuer = (der(one.certificate) for one in (shared_pki().signer, shared_pki().issuing_ca))
    unreadable = sequence(sequence(integer(1), sequence(), sequence()))
    found = inspect(with_certificates(unreadable, signer, unreadable, issuer))
    assert found.reason is Reason.DOCUMENT_EXPIRED
    assert found.unverified is not None
    assert found.unverified.signer == Certificate.from_der(signer)
    assert found.unverified.certificates == (Certificate.from_der(issuer),)


def with_certificates(*certificates: bytes) -> bytes:
    """Return an old document that embeds these certificates."""
    data = documents.encode(documents.content(created_on=NOW - timedelta(days=2)))
    signer = shared_pki().signer
    info = cms.sign_content(data, certificate=signer.certificate, key=signer.key)
    return cms.SignedData(
        digest_algorithms=(info.digest_algorithm,), content=data, certificates=certificates, signer_infos=(info,)
    ).encode()


def test_no_log_shows_the_nonce_of_an_inspection_or_what_an_unverified_document_says() -> None:
    question = Question(nonce=NONCE)
    verified = inspect(document(), question)
    assert verified.authentic is not None
    expired = inspect(document(created_on=NOW - timedelta(days=2)), question)
    assert expired.unverified is not None
    for logged in (question, verified, expired):
        assert NONCE not in repr(logged)
    assert documents.VM.vm_id not in repr(expired)


def test_a_cloud_that_is_not_served_fails_the_chain_check() -> None:
    inspector = replace(make_inspector(), served=frozenset({Cloud.CHINA}))
    found = inspector.inspect(raw(document()), Question())
    assert (found.reason, found.checks[5].outcome) == (Reason.CHAIN_UNTRUSTED, Outcome.FAIL)


def test_policies_add_up_and_a_denial_names_the_rule() -> None:
    found = inspect(document(), Question(policy="fabrikam"), policies=FABRIKAM)
    assert (found.reason, found.policies) == (Reason.POLICY_DENIED, ("default", "fabrikam"))
    assert found.denial is not None
    assert (found.denial.policy, found.denial.allowed) == ("fabrikam", ("fabrikam",))
    assert found.authentic is not None
    assert inspect(document(), Question(tenant_policy="fabrikam"), policies=FABRIKAM).policies == ("fabrikam",)


def test_the_policies_are_listed_before_they_are_reached() -> None:
    found = inspect(b"\x30\x00", Question(policy="fabrikam"), policies=FABRIKAM)
    assert (found.reason, found.policies) == (Reason.MALFORMED_EVIDENCE, ("default", "fabrikam"))


def test_unknown_policies_are_no_findings() -> None:
    with pytest.raises(UnknownPolicyError):
        inspect(document(), Question(policy="silver"))
    with pytest.raises(Unavailable):
        inspect(document(), Question(tenant_policy="silver"))


def test_given_policies_replace_those_of_the_inspector() -> None:
    found = make_inspector().inspect(raw(document()), Question(policy="fabrikam"), policies=FABRIKAM)
    assert found.reason is Reason.POLICY_DENIED


def test_evidence_that_is_no_document_fails_the_format_check() -> None:
    refused = FormatRefused(Reason.MALFORMED_EVIDENCE, "The evidence is empty.")
    found = make_inspector().inspect(refused, Question())
    assert (found.reason, found.detail, found.checks[0].detail) == (refused.reason, refused.detail, refused.detail)
    assert (found.sha256, found.structure, found.authentic, found.unverified) == ("", None, None, None)


def test_other_moments_do_not_evict_the_chains_of_the_present() -> None:
    chains = ChainCache()
    inspector = replace(make_inspector(), chains=chains)
    for at in (NOW + timedelta(hours=20), NOW - timedelta(hours=20), NOW):
        assert inspector.inspect(raw(document(created_on=at)), Question(at=at)).reason is None
    assert (chains.misses, len(chains)) == (0, 0)
    assert inspector.past_chains.hits == 1
    for _ in range(2):
        inspector.inspect(raw(document()), Question())
    assert (chains.misses, chains.hits) == (1, 1)


def test_the_trust_is_read_once() -> None:
    class CountedTrust:
        reads = 0

        def bundle(self) -> TrustBundle:
            self.reads += 1
            return shared_bundle()

    trust = CountedTrust()
    source: TrustSource = trust
    Inspector(trust=source, clock=ManualClock(NOW), limits=Limits()).inspect(raw(document()), Question())
    assert trust.reads == 1


def test_an_inspection_cannot_be_authentic_and_unverified() -> None:
    verified, expired = inspect(document()), inspect(document(created_on=NOW - timedelta(days=2)))
    with pytest.raises(ValueError, match="both"):
        replace(verified, unverified=expired.unverified)
