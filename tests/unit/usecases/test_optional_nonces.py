"""The use case where nonces are optional: a document that answers none passes once, and nothing else is let in."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import timedelta
from functools import cache
from pathlib import Path

import pytest
from asn1crypto import cms as asn1_cms
from asn1crypto import core
from cryptography.hazmat.primitives.asymmetric import ec, utils
from support import cms, documents
from support.applications import FixedTrust
from support.certificates import make_signer
from support.clocks import ManualClock
from support.documents import NOW, document, raw, shared_bundle, shared_pki
from support.vectors import document_of, find_vector, vectors_trust

from verifier.adapters.sqlite.nonce_store import SqliteNonceStore
from verifier.core.model import Limits, RawDocument
from verifier.core.nonces import NonceMode
from verifier.core.policy import ClaimIn, ClaimName, Policies
from verifier.core.reasons import Check, CheckResult, Outcome, Reason, Refused
from verifier.core.trust.bundle import TrustBundle
from verifier.emulator import pki
from verifier.ports.stores import StoreUnavailable
from verifier.usecases.appraise import DEFAULT_TENANT, Verifier

SECOND = timedelta(seconds=1)
POLICIES = Policies({"fabrikam": ClaimIn(ClaimName.PUBLISHER, frozenset({"fabrikam"}))})


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "nonces.sqlite3"


@pytest.fixture
def store(path: Path) -> Iterator[SqliteNonceStore]:
    store = SqliteNonceStore(path)
    yield store
    store.close()


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(NOW)


def make_verifier(
    store: SqliteNonceStore,
    clock: ManualClock,
    *,
    trust: TrustBundle | None = None,
    mode: NonceMode = NonceMode.OPTIONAL,
    limits: Limits | None = None,
) -> Verifier:
    return Verifier(
        trust=FixedTrust(in_force=trust or shared_bundle()),
        nonces=store,
        clock=clock,
        policies=POLICIES,
        nonce_mode=mode,
        limits=limits or Limits(),
    )


@pytest.fixture
def verifier(store: SqliteNonceStore, clock: ManualClock) -> Verifier:
    return make_verifier(store, clock)


@cache
def unasked() -> RawDocument:
    """A document with the nonce that IMDS puts by itself."""
    return raw(document(nonce=None))


def changed(nonce: str | None = None, **fields: object) -> RawDocument:
    """A good document but for these fields."""
    return raw(documents.sign(documents.encode({**documents.content(nonce=nonce), **fields})))


def without_nonce() -> RawDocument:
    content = documents.content()
    del content["nonce"]
    return raw(documents.sign(documents.encode(content)))


def refusal(
    verifier: Verifier,
    of: RawDocument,
    *,
    tenant: str = DEFAULT_TENANT,
    nonce: str | None = None,
    policy: str = "default",
) -> Refused:
    with pytest.raises(Refused) as caught:
        verifier.appraise(of, tenant=tenant, nonce=nonce, policy=policy)
    return caught.value


def note_of(checks: Sequence[CheckResult]) -> tuple[Outcome, str]:
    """How the nonce's check went."""
    [found] = [check for check in checks if check.name is Check.NONCE]
    return found.outcome, found.detail


def test_a_document_that_nobody_asked_for_passes_once_and_says_how(verifier: Verifier) -> None:
    outcome, detail = note_of(verifier.appraise(unasked()).checks)
    assert outcome is Outcome.PASS
    assert "answers no nonce" in detail
    replay = refusal(verifier, unasked())
    assert (replay.reason, replay.check, replay.retryable) == (Reason.NONCE_REPLAYED, Check.NONCE, True)


def test_a_document_without_any_nonce_passes_once(verifier: Verifier) -> None:
    for bare, carried in ((changed(nonce=""), ""), (without_nonce(), None)):
        assert verifier.appraise(bare).claims.nonce == carried
        assert refusal(verifier, bare).reason is Reason.NONCE_REPLAYED


def test_the_vector_of_a_document_with_the_nonce_of_imds_passes(store: SqliteNonceStore) -> None:
    """The one that is `nonce-unknown` where nonces are required."""
    vector = find_vector("nonce-unknown/default-nonce")
    verifier = make_verifier(store, ManualClock(vector.at), trust=vectors_trust())
    verifier.appraise(document_of(vector))
    assert refusal(verifier, document_of(vector)).reason is Reason.NONCE_REPLAYED


def test_it_is_unknown_where_nonces_are_required(store: SqliteNonceStore, clock: ManualClock) -> None:
    strict = make_verifier(store, clock, mode=NonceMode.REQUIRED)
    assert refusal(strict, unasked()).reason is Reason.NONCE_UNKNOWN
    assert refusal(strict, changed(nonce="")).reason is Reason.CLAIMS_INCOMPLETE
    # And nothing was remembered.
    make_verifier(store, clock).appraise(unasked())


def test_a_nonce_of_ours_is_redeemed_as_ever(verifier: Verifier) -> None:
    issued = verifier.issue_nonce()
    answering = raw(document(nonce=issued.nonce))
    assert note_of(verifier.appraise(answering).checks) == (Outcome.PASS, "")
    assert refusal(verifier, answering).reason is Reason.NONCE_REPLAYED


@pytest.mark.parametrize("nonce", ["0123456789", "AbCdEfGhIjKlMnOpQrStUvWxYz012345", "20261123 140000", "x"])
def test_any_other_nonce_has_to_be_one_of_ours(verifier: Verifier, nonce: str) -> None:
    refused = refusal(verifier, raw(document(nonce=nonce)))
    assert (refused.reason, refused.retryable) == (Reason.NONCE_UNKNOWN, True)


def test_a_request_that_names_a_nonce_needs_a_document_that_answers_it(verifier: Verifier) -> None:
    issued = verifier.issue_nonce()
    assert refusal(verifier, unasked(), nonce=issued.nonce).reason is Reason.NONCE_MISMATCH
    assert refusal(verifier, changed(nonce=""), nonce=issued.nonce).reason is Reason.CLAIMS_INCOMPLETE
    # Not even where it names what IMDS puts by itself: nobody issued that.
    assert refusal(verifier, unasked(), nonce="20261123-140000").reason is Reason.NONCE_UNKNOWN
    # Neither refusal used anything up.
    verifier.appraise(unasked())
    verifier.appraise(raw(document(nonce=issued.nonce)), nonce=issued.nonce)


@pytest.mark.parametrize("nonce", [None, ""])
def test_a_document_without_times_has_to_answer_a_nonce(verifier: Verifier, nonce: str | None) -> None:
    refused = refusal(verifier, changed(nonce=nonce, timeStamp=None))
    assert (refused.reason, refused.check, refused.retryable) == (Reason.CLAIMS_INCOMPLETE, Check.NONCE, False)
    issued = verifier.issue_nonce()
    verifier.appraise(changed(nonce=issued.nonce, timeStamp=None))


def test_each_tenant_sees_a_document_for_itself(verifier: Verifier) -> None:
    for tenant in ("north", "south"):
        verifier.appraise(unasked(), tenant=tenant)
        assert refusal(verifier, unasked(), tenant=tenant).reason is Reason.NONCE_REPLAYED


def test_a_policy_that_refuses_uses_the_document_up_and_says_how_it_came_so_far(verifier: Verifier) -> None:
    refused = refusal(verifier, unasked(), policy="fabrikam")
    assert refused.reason is Reason.POLICY_DENIED
    assert note_of(refused.checks)[0] is Outcome.PASS
    assert "answers no nonce" in note_of(refused.checks)[1]
    assert refusal(verifier, unasked()).reason is Reason.NONCE_REPLAYED


def test_a_forgery_of_the_same_content_uses_nothing_up(verifier: Verifier) -> None:
    content = documents.encode(documents.content(nonce=None))
    stranger = pki.make_pki(now=NOW).signer
    assert refusal(verifier, raw(documents.sign(content, signer=stranger))).check is Check.CHAIN
    verifier.appraise(raw(documents.sign(content)))


def test_without_the_store_there_is_no_verdict(verifier: Verifier, path: Path) -> None:
    aside = path.rename(path.with_name("aside"))
    with pytest.raises(StoreUnavailable):
        verifier.appraise(unasked())
    aside.rename(path)
    verifier.appraise(unasked())


def test_stays_a_replay_for_as_long_as_the_document_is_good(clock: ManualClock, verifier: Verifier) -> None:
    verifier.appraise(unasked())
    reasons = []
    for _ in range(7):
        clock.advance(timedelta(hours=1))
        # Others come, so that what is forgotten is removed.
        verifier.appraise(changed(sku=str(clock.now()), timeStamp=times_at(clock)))
        reasons.append(refusal(verifier, unasked()).reason)
    assert reasons == [Reason.NONCE_REPLAYED] * 6 + [Reason.DOCUMENT_EXPIRED]


def test_a_replica_to_which_more_is_good_knows_a_replay_as_well(store: SqliteNonceStore, clock: ManualClock) -> None:
    strict = make_verifier(store, clock, limits=Limits(clock_skew=timedelta(0), maximum_age=60 * SECOND))
    strict.appraise(unasked())
    clock.advance(timedelta(hours=6, seconds=600))
    strict.appraise(changed(sku="another, with which what is forgotten is removed", timeStamp=times_at(clock)))
    lenient = make_verifier(store, clock, limits=Limits(clock_skew=600 * SECOND, maximum_age=timedelta(days=7)))
    assert refusal(lenient, unasked()).reason is Reason.NONCE_REPLAYED


def times_at(clock: ManualClock) -> dict[str, str]:
    now = clock.now()
    return {
        "createdOn": f"{now:%m/%d/%y %H:%M:%S} -0000",
        "expiresOn": f"{now + timedelta(hours=6):%m/%d/%y %H:%M:%S} -0000",
    }


def variants_of(document_der: bytes) -> Iterator[tuple[str, bytes]]:
    """The same signed content, in other bytes: what anybody can make of a document without any key."""
    yield "as it came", document_der
    for number, certificate in enumerate((shared_pki().root.certificate, shared_pki().issuing_ca.certificate)):
        more = asn1_cms.ContentInfo.load(document_der)
        extra = asn1_cms.CertificateChoices.load(documents.der(certificate))
        chosen = [choice.dump() for choice in more["content"]["certificates"]]
        more["content"]["certificates"] = [
            asn1_cms.CertificateChoices.load(data) for data in sorted([*chosen, extra.dump()])
        ]
        yield f"another certificate, {number}", more.dump(force=True)


def test_nobody_makes_a_second_document_of_one_without_a_key(store: SqliteNonceStore, clock: ManualClock) -> None:
    """RSA: further certificates, and the other name of the signature algorithm."""
    content = documents.encode(documents.content(nonce=None))
    named = [
        *variants_of(documents.sign(content)),
        ("another name of the algorithm", documents.sign(content, scheme=cms.rsa_with_digest(cms.SHA256))),
        ("the proper name of the digest", documents.sign(content, scheme=cms.rsa_encryption(cms.SHA256))),
    ]
    assert_one_passes(named, store, clock, shared_bundle())


def test_unsigned_attributes_make_no_second_document(store: SqliteNonceStore, clock: ManualClock) -> None:
    more = asn1_cms.ContentInfo.load(documents.sign(documents.encode(documents.content(nonce=None))))
    (signer_info,) = more["content"]["signer_infos"]
    signer_info["unsigned_attrs"] = [{"type": "1.2.3.4", "values": [core.OctetString(b"anything")]}]
    refused = refusal(make_verifier(store, clock), raw(more.dump(force=True)))
    assert refused.reason is Reason.MALFORMED_EVIDENCE
    assert "unsigned attributes" in refused.detail


def test_a_mirrored_signature_makes_no_second_document(store: SqliteNonceStore, clock: ManualClock) -> None:
    """ECDSA: (r, n - s) is as good as (r, s), and anybody can compute it. The key's holder can sign again, too."""
    key = pki.make_ec_key(ec.SECP256R1())
    signer = make_signer(key=key)
    certificate = signer.certificate
    content = documents.encode(documents.content(nonce=None))
    scheme = cms.ecdsa(cms.SHA256)
    info = cms.sign_content(content, certificate=certificate, key=key, scheme=scheme)
    order = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
    r, s = utils.decode_dss_signature(info.signature)
    mirrored = replace(info, signature=utils.encode_dss_signature(r, order - s))
    plain, other = (
        cms.SignedData(
            digest_algorithms=(info.digest_algorithm,),
            content=content,
            certificates=(documents.der(certificate),),
            signer_infos=(each,),
        ).encode()
        for each in (info, mirrored)
    )
    assert plain != other
    named = [
        ("as it came", plain),
        ("mirrored", other),
        ("again", documents.sign(content, signer=signer, scheme=scheme)),
    ]
    assert_one_passes(named, store, clock, shared_bundle())


def test_another_certificate_of_the_same_key_makes_no_second_document(
    store: SqliteNonceStore, clock: ManualClock
) -> None:
    """The sid is not signed: a signer that was renewed with its key leaves two certificates to choose from."""
    content = documents.encode(documents.content(nonce=None))
    named = [
        ("as it came", documents.sign(content)),
        ("renewed", documents.sign(content, signer=make_signer(key=shared_pki().signer.key))),
    ]
    assert_one_passes(named, store, clock, shared_bundle())


def assert_one_passes(
    named: list[tuple[str, bytes]], store: SqliteNonceStore, clock: ManualClock, trust: TrustBundle
) -> None:
    """Each of them passes where it comes alone; of all, the first."""
    data = [der for _, der in named]
    assert len(set(data)) == len(data)
    for number, der in enumerate(data):
        make_verifier(store, clock, trust=trust).appraise(raw(der), tenant=f"alone-{number}")
    verifier = make_verifier(store, clock, trust=trust)
    verifier.appraise(raw(data[0]), tenant="all")
    for name, der in named:
        assert refusal(verifier, raw(der), tenant="all").reason is Reason.NONCE_REPLAYED, name
