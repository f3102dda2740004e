"""What an issuer that nobody pinned means, in each mode."""

import itertools
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from threading import Barrier, Event

import pytest
from cryptography import x509
from support import documents
from support.chains import authority, key, root
from support.discovery import (
    Laboratory,
    ScriptedFetcher,
    der,
    issuing_ca,
    make_laboratory,
    naming,
    signed_under,
    signer_under,
)
from support.documents import around

from verifier.core.discovery import DiscoveryMode, confirm_authorities
from verifier.core.nonconforming import NonconformingDocument
from verifier.core.reasons import ChainRefused, FormatRefused, Reason
from verifier.core.trust.bundle import AuthorityIdentity, Denials, Origin, TrustBundle
from verifier.core.trust.certificates import Certificate
from verifier.core.trust.clouds import Cloud
from verifier.core.trust.operator_decisions import OperatorDecisions
from verifier.emulator import pki
from verifier.emulator.trust_directory import TrustedCertificate
from verifier.ports.stores import StoreUnavailable
from verifier.usecases.issuer_discovery import (
    FAILURE_MEMORY,
    FETCH_INTERVAL,
    FETCH_SECONDS,
    LEAST_FETCH_SECONDS,
    MAX_HOPS,
    MAX_URLS,
    RECORDS_PER_SECOND,
    SUCCESS_MEMORY,
)

URL = "http://cacerts.digicert.com/issuer.crt"
SECOND = "http://cacerts.digicert.com/second.crt"
THIRD = "http://cacerts.digicert.com/third.crt"
FOURTH = "http://cacerts.digicert.com/fourth.crt"
PINNED, OBSERVE, ADMIT = DiscoveryMode.PINNED, DiscoveryMode.OBSERVE, DiscoveryMode.ADMIT


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """A laboratory for each mode, with one fetcher."""

    directory: Path
    fetcher: ScriptedFetcher

    def open(self, mode: DiscoveryMode, *, beside: Laboratory | None = None) -> Laboratory:
        return make_laboratory(self.directory, mode=mode, fetcher=self.fetcher, beside=beside)


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    """Its fetcher answers with the issuing CA at URL. Time stands still but for pauses."""
    monkeypatch.setattr(time, "monotonic", lambda: 0.0)
    return Bench(directory=tmp_path, fetcher=ScriptedFetcher(answers={URL: (der(issuing_ca()),)}))


def forged_under(issuer: pki.Identity, *urls: str) -> bytes:
    """A document whose signer bears the issuer's name and key identifier, and a stranger's signature."""
    return documents.document(signer=signer_under(issuer, *urls, issuer_key=key("a stranger")))


def refuses(laboratory: Laboratory, document: bytes) -> bool:
    with pytest.raises(ChainRefused) as refused:
        laboratory.appraise(document)
    return refused.value.reason is Reason.ISSUER_UNPINNED


class TestModes:
    @pytest.mark.parametrize("mode", [PINNED, OBSERVE, ADMIT])
    def test_record_what_was_seen(self, bench: Bench, mode: DiscoveryMode) -> None:
        laboratory = bench.open(mode)
        document = signed_under(issuing_ca(), SECOND)
        assert refuses(laboratory, document)
        laboratory.clock.advance(timedelta(minutes=1))
        assert refuses(laboratory, document)
        [seen] = laboratory.registry.discovered()
        assert "Unpinned Issuing CA" in seen.sighting.issuer
        assert seen.sighting.issuer_urls == (SECOND,)
        assert seen.sighting.cloud is Cloud.PUBLIC
        assert seen.documents == 2
        assert seen.last_seen - seen.first_seen == timedelta(minutes=1)
        assert seen.authorities == ()
        assert [event.authorities for event in laboratory.recorder.observed] == [0]

    def test_pinned_fetches_nothing(self, bench: Bench) -> None:
        laboratory = bench.open(PINNED)
        assert refuses(laboratory, signed_under(issuing_ca(), URL))
        assert not bench.fetcher.asked
        assert not laboratory.registry.claims

    def test_pinned_keeps_an_embedded_issuer_for_approval(self, bench: Bench) -> None:
        laboratory = bench.open(PINNED)
        assert refuses(laboratory, signed_under(issuing_ca(), URL, embedding=(der(issuing_ca()),)))
        assert laboratory.authorities == [(der(issuing_ca()),)]
        assert [event.authorities for event in laboratory.recorder.observed] == [1]
        assert not bench.fetcher.asked

    def test_observe_fetches_and_refuses(self, bench: Bench) -> None:
        laboratory = bench.open(OBSERVE)
        before = laboratory.trust.bundle()
        document = signed_under(issuing_ca(), URL)
        assert laboratory.consider(document) is before
        assert refuses(laboratory, document)
        assert laboratory.authorities == [(der(issuing_ca()),)]
        assert bench.fetcher.asked == [URL]

    def test_admit_accepts(self, bench: Bench) -> None:
        laboratory = bench.open(ADMIT)
        result = laboratory.appraise(signed_under(issuing_ca(), URL))
        chain = result.verified.redeemed.content.chain
        assert [link.origin for link in chain] == [Origin.ADMITTED, Origin.LISTED]
        assert laboratory.authorities == [(der(issuing_ca()),)]
        assert [event.authorities for event in laboratory.recorder.observed] == [1]

    def test_admit_asks_nobody_about_the_next_document(self, bench: Bench) -> None:
        laboratory = bench.open(ADMIT)
        laboratory.consider(signed_under(issuing_ca(), URL))
        laboratory.appraise(signed_under(issuing_ca(), SECOND))
        assert bench.fetcher.asked == [URL]

    def test_admit_takes_what_another_replica_found(self, bench: Bench) -> None:
        one = bench.open(ADMIT)
        other = bench.open(ADMIT, beside=one)
        one.consider(signed_under(issuing_ca(), URL))
        other.appraise(signed_under(issuing_ca(), URL))
        assert bench.fetcher.asked == [URL]

    @pytest.mark.parametrize("mode", [OBSERVE, ADMIT])
    def test_fetch_nothing_where_the_issuer_is_embedded(self, bench: Bench, mode: DiscoveryMode) -> None:
        laboratory = bench.open(mode)
        laboratory.consider(signed_under(issuing_ca(), URL, embedding=(der(issuing_ca()),)))
        assert laboratory.authorities == [(der(issuing_ca()),)]
        assert not bench.fetcher.asked

    @pytest.mark.parametrize("mode", [PINNED, OBSERVE, ADMIT])
    def test_keep_no_embedded_issuer_that_does_not_chain(self, bench: Bench, mode: DiscoveryMode) -> None:
        laboratory = bench.open(mode)
        stranger = authority("Stranger CA", issuer=root("Stranger Root"))
        assert refuses(laboratory, signed_under(stranger, embedding=(der(stranger), der(root("Stranger Root")))))
        assert laboratory.authorities == [()]


class TestRejectedAuthorities:
    @pytest.mark.parametrize("mode", [PINNED, OBSERVE, ADMIT])
    def test_are_not_kept_where_they_are_embedded(self, bench: Bench, mode: DiscoveryMode) -> None:
        self.check(bench.open(mode), signed_under(issuing_ca(), embedding=(der(issuing_ca()),)))

    @pytest.mark.parametrize("mode", [OBSERVE, ADMIT])
    def test_are_not_kept_where_they_are_fetched(self, bench: Bench, mode: DiscoveryMode) -> None:
        self.check(bench.open(mode), signed_under(issuing_ca(), URL))

    def check(self, laboratory: Laboratory, document: bytes) -> None:
        rejected = AuthorityIdentity.of(Certificate.from_der(der(issuing_ca())))
        laboratory.registry.settle(OperatorDecisions(rejected=frozenset({rejected})))
        assert refuses(laboratory, document)
        assert laboratory.authorities == [()]

    def test_denied_ones_are_not_kept_either(self, bench: Bench) -> None:
        laboratory = bench.open(ADMIT)
        denied = Certificate.from_der(der(issuing_ca())).spki_sha256
        laboratory.registry.settle(OperatorDecisions(denials=Denials(spki_sha256=frozenset({denied}))))
        laboratory.trust.refresh()
        assert refuses(laboratory, signed_under(issuing_ca(), URL))
        assert laboratory.authorities == [()]


class TestNonconformingDocuments:
    def report(self, detail: str = "Two of an element.", *, seen_at: datetime = documents.NOW) -> NonconformingDocument:
        return NonconformingDocument(
            issuer="CN=Pinned CA",
            pin_sha256="aa" * 32,
            clouds=frozenset({Cloud.PUBLIC}),
            signer_sha256="bb" * 32,
            document_sha256="cc" * 32,
            detail=detail,
            seen_at=seen_at,
        )

    def test_are_recorded_and_told(self, bench: Bench) -> None:
        laboratory = bench.open(PINNED)
        for _ in range(2):
            laboratory.discovery.report_nonconforming(self.report())
        assert laboratory.recorder.nonconforming == [self.report()] * 2
        [record] = laboratory.administration.nonconforming()
        assert (record.document, record.documents) == (self.report(), 2)

    @pytest.mark.parametrize("unavailable", [set(), {"record_nonconforming"}])
    def test_are_reported_by_the_appraisal_that_refuses_them(self, bench: Bench, unavailable: set[str]) -> None:
        pinned = TrustedCertificate(name="issuing", role="intermediate", certificate=issuing_ca().certificate)
        laboratory = make_laboratory(bench.directory, mode=PINNED, fetcher=bench.fetcher, others=(pinned,))
        laboratory.registry.away = unavailable
        laboratory.appraise(signed_under(issuing_ca()))
        assert laboratory.recorder.nonconforming == []
        with pytest.raises(FormatRefused) as refused:
            laboratory.appraise(signed_under(issuing_ca(), announced_digests=2))
        [report] = laboratory.recorder.nonconforming
        assert report.detail == refused.value.detail
        assert report.pin_sha256 == Certificate.from_der(der(issuing_ca())).sha256

    def test_are_not_reported_if_no_pin_issued_the_signer(self, bench: Bench) -> None:
        laboratory = bench.open(PINNED)
        with pytest.raises(FormatRefused):
            laboratory.appraise(signed_under(issuing_ca(), announced_digests=2))
        assert laboratory.recorder.nonconforming == []

    def test_are_told_where_the_registry_is_away(self, bench: Bench) -> None:
        laboratory = bench.open(ADMIT)
        laboratory.registry.away = {"record_nonconforming"}
        laboratory.discovery.report_nonconforming(self.report())
        assert laboratory.recorder.nonconforming == [self.report()]

    def test_are_so_many_a_second(self, bench: Bench) -> None:
        laboratory = bench.open(PINNED)
        for number in range(RECORDS_PER_SECOND + 5):
            laboratory.discovery.report_nonconforming(self.report(f"Detail {number}."))
        assert len(laboratory.recorder.nonconforming) == RECORDS_PER_SECOND
        laboratory.discovery.report_nonconforming(self.report(seen_at=documents.NOW + timedelta(seconds=1)))
        assert len(laboratory.recorder.nonconforming) == RECORDS_PER_SECOND + 1

    def test_are_told_under_a_flood_of_unknown_issuers(self, bench: Bench) -> None:
        laboratory = bench.open(PINNED)
        for _ in range(RECORDS_PER_SECOND + 1):
            assert refuses(laboratory, signed_under(issuing_ca()))
        laboratory.discovery.report_nonconforming(self.report())
        assert laboratory.recorder.nonconforming == [self.report()]


class TestAnAwayRegistry:
    @pytest.mark.parametrize("mode", [PINNED, OBSERVE])
    @pytest.mark.parametrize("method", ["decisions", "claim", "is_claimed", "record"])
    def test_changes_nothing_where_it_does_not_decide(self, bench: Bench, mode: DiscoveryMode, method: str) -> None:
        laboratory = bench.open(mode)
        laboratory.registry.away = {method}
        assert refuses(laboratory, signed_under(issuing_ca(), URL))

    @pytest.mark.parametrize("method", ["decisions", "claim", "is_claimed", "record", "revision", "discovered"])
    def test_is_no_refusal_where_it_decides(self, bench: Bench, method: str) -> None:
        laboratory = bench.open(ADMIT)
        laboratory.registry.away = {method}
        with pytest.raises(StoreUnavailable):
            laboratory.appraise(signed_under(issuing_ca(), URL))

    def test_loses_nothing_that_was_found_and_not_recorded(self, bench: Bench) -> None:
        laboratory = bench.open(ADMIT)
        laboratory.registry.away = {"record"}
        with pytest.raises(StoreUnavailable):
            laboratory.appraise(signed_under(issuing_ca(), URL))
        laboratory.registry.away = set()
        laboratory.clock.advance(timedelta(seconds=2 * FETCH_SECONDS))
        laboratory.appraise(signed_under(issuing_ca(), URL))


class TestTheRecordBudget:
    def test_is_so_many_a_second(self, bench: Bench) -> None:
        laboratory = bench.open(PINNED)
        document = signed_under(issuing_ca())
        for _ in range(RECORDS_PER_SECOND + 5):
            assert refuses(laboratory, document)
        assert [seen.documents for seen in laboratory.registry.discovered()] == [RECORDS_PER_SECOND]
        laboratory.clock.advance(timedelta(seconds=1))
        assert refuses(laboratory, document)
        assert [seen.documents for seen in laboratory.registry.discovered()] == [RECORDS_PER_SECOND + 1]

    def test_is_no_obstacle_to_what_others_found(self, bench: Bench) -> None:
        laboratory = bench.open(ADMIT)
        other = bench.open(ADMIT, beside=laboratory)
        for _ in range(RECORDS_PER_SECOND):
            assert refuses(laboratory, signed_under(authority("Lost CA")))
        other.consider(signed_under(issuing_ca(), URL))
        laboratory.appraise(signed_under(issuing_ca(), URL))


def line(*names: str, urls: tuple[str, ...]) -> list[pki.Identity]:
    """Authorities from the root of support.chains down, each but the first naming where its issuer is."""
    made: list[pki.Identity] = []
    above = root()
    for number, name in enumerate(names):
        named = (naming(urls[number - 1]),) if number else ()
        above = authority(name, issuer=above, extensions=named)
        made.append(above)
    return made


class TestTheWalk:
    def test_goes_up_to_an_anchor(self, bench: Bench) -> None:
        top, issuer = line("Top CA", "Low CA", urls=(SECOND,))
        bench.fetcher.answers.update({URL: (der(issuer),), SECOND: (der(top),)})
        laboratory = bench.open(ADMIT)
        laboratory.appraise(signed_under(issuer, URL))
        assert laboratory.authorities == [(der(issuer), der(top))]
        assert bench.fetcher.asked == [URL, SECOND]

    def test_goes_up_so_far_and_no_farther(self, bench: Bench) -> None:
        urls = (FOURTH, THIRD, SECOND)
        made = line("CA 1", "CA 2", "CA 3", "CA 4", urls=urls)
        bench.fetcher.answers.update(
            {URL: (der(made[3]),), SECOND: (der(made[2]),), THIRD: (der(made[1]),), FOURTH: (der(made[0]),)}
        )
        laboratory = bench.open(ADMIT)
        assert refuses(laboratory, signed_under(made[3], URL))
        assert bench.fetcher.asked == [URL, SECOND, THIRD]
        assert len(bench.fetcher.asked) == MAX_HOPS
        laboratory.clock.advance(timedelta(seconds=2 * FETCH_SECONDS))
        laboratory.appraise(signed_under(made[2], SECOND))

    def test_ends_at_the_first_anchor(self, bench: Bench) -> None:
        """What an anchor issued needs nothing above it, whether or not it chains."""
        expired = authority(
            "Expired CA",
            validity=pki.Validity(not_before=around().not_before, not_after=documents.NOW - timedelta(hours=1)),
            extensions=(naming(SECOND),),
        )
        bench.fetcher.answers.update({URL: (der(expired),), SECOND: (der(root()),)})
        laboratory = bench.open(ADMIT)
        assert refuses(laboratory, signed_under(expired, URL))
        assert bench.fetcher.asked == [URL]

    def test_skips_a_bad_url(self, bench: Bench) -> None:
        bench.fetcher.answers[SECOND] = (b"no certificate",)
        laboratory = bench.open(ADMIT)
        laboratory.appraise(signed_under(issuing_ca(), THIRD, SECOND, URL))
        assert bench.fetcher.asked == [THIRD, SECOND, URL]

    def test_tries_so_many_urls(self, bench: Bench) -> None:
        bad = tuple(f"http://cacerts.digicert.com/{number}" for number in range(MAX_URLS))
        laboratory = bench.open(ADMIT)
        assert refuses(laboratory, signed_under(issuing_ca(), *bad, URL))
        assert bench.fetcher.asked == list(bad)

    def test_spends_no_turn_on_a_url_that_is_not_even_tried(self, bench: Bench) -> None:
        elsewhere = "http://issuers.example/made-up.crt"
        bench.fetcher.off_the_list.add(elsewhere)
        laboratory = bench.open(ADMIT)
        assert refuses(laboratory, signed_under(issuing_ca(), elsewhere))
        assert not bench.fetcher.asked
        assert not laboratory.registry.turns

    def test_is_one_a_process_and_the_other_threads_do_not_wait(self, bench: Bench) -> None:
        laboratory = bench.open(OBSERVE)
        asked, answered = Event(), Event()

        def answer_late(url: str) -> None:
            asked.set()
            assert answered.wait(20), url

        bench.fetcher.before.append(answer_late)
        with ThreadPoolExecutor(1) as pool:
            walking = pool.submit(laboratory.consider, signed_under(issuing_ca(), URL))
            assert asked.wait(20)
            for number in range(8):
                made_up = signed_under(authority(f"Made-up CA {number}"), f"http://cacerts.digicert.com/{number}")
                laboratory.consider(made_up)
            assert bench.fetcher.asked == [URL]
            answered.set()
            walking.result(20)

    def test_asks_nobody_without_a_url(self, bench: Bench) -> None:
        laboratory = bench.open(ADMIT)
        assert refuses(laboratory, signed_under(issuing_ca()))
        assert not bench.fetcher.asked

    def test_gives_no_fetch_more_time_than_there_is(self, bench: Bench) -> None:
        bench.open(ADMIT).appraise(signed_under(issuing_ca(), SECOND, URL))
        assert all(LEAST_FETCH_SECONDS < seconds <= FETCH_SECONDS for seconds in bench.fetcher.seconds)

    def test_tries_every_form_of_an_authority(self, bench: Bench) -> None:
        """One name and key, issued by a stranger and by the anchor (cross-signed)."""
        foreign = authority("Crossed CA", issuer=root("Stranger Root"))
        own = authority("Crossed CA")
        bench.fetcher.answers[URL] = (der(foreign), der(own))
        laboratory = bench.open(ADMIT)
        laboratory.appraise(signed_under(own, URL))
        assert laboratory.authorities == [(der(own),)]

    def test_goes_up_from_every_form_of_an_authority(self, bench: Bench) -> None:
        top = authority("Top CA")
        foreign = authority("Crossed CA", issuer=root("Stranger Root"), extensions=(naming(SECOND),))
        own = authority("Crossed CA", issuer=top, extensions=(naming(THIRD),))
        bench.fetcher.answers.update({URL: (der(foreign), der(own)), THIRD: (der(top),)})
        laboratory = bench.open(ADMIT)
        laboratory.appraise(signed_under(own, URL))
        assert laboratory.authorities == [(der(own), der(top))]

    @pytest.mark.parametrize(
        "make",
        [
            lambda: authority("Unpinned Issuing CA", own_key=key("another")),
            lambda: authority("Another CA", own_key=key("Unpinned Issuing CA")),
            root,
            lambda: pki.make_root(
                subject=pki.make_name("Unpinned Issuing CA"), key=key("Unpinned Issuing CA"), validity=around()
            ),
            lambda: authority("Unpinned Issuing CA", issuer=root("Stranger Root")),
            lambda: authority("Unpinned Issuing CA", without=(x509.BasicConstraints.oid,)),
            lambda: authority(
                "Unpinned Issuing CA",
                validity=pki.Validity(not_before=around().not_before, not_after=documents.NOW - timedelta(hours=1)),
            ),
        ],
        ids=["another key", "another name", "the anchor", "self-signed", "another anchor", "no authority", "expired"],
    )
    def test_keeps_nothing_that_is_not_the_issuer_or_does_not_chain(
        self, bench: Bench, make: Callable[[], pki.Identity]
    ) -> None:
        bench.fetcher.answers[URL] = (der(make()),)
        laboratory = bench.open(ADMIT)
        assert refuses(laboratory, signed_under(issuing_ca(), URL))
        assert laboratory.authorities == [()]


class TestWhatIsRemembered:
    def test_a_failure_for_a_while(self, bench: Bench) -> None:
        laboratory = bench.open(ADMIT)
        document = signed_under(issuing_ca(), SECOND)
        for _ in range(3):
            assert refuses(laboratory, document)
            laboratory.clock.advance(FAILURE_MEMORY / 4)
        assert bench.fetcher.asked == [SECOND]
        laboratory.clock.advance(FAILURE_MEMORY / 4)
        bench.fetcher.answers[SECOND] = (der(issuing_ca()),)
        laboratory.appraise(document)
        assert bench.fetcher.asked == [SECOND] * 2

    def test_a_url_that_failed_for_all_signers(self, bench: Bench) -> None:
        laboratory = bench.open(ADMIT)
        assert refuses(laboratory, signed_under(issuing_ca(), SECOND))
        assert refuses(laboratory, signed_under(authority("Lost CA"), SECOND))
        laboratory.clock.advance(timedelta(seconds=2 * FETCH_SECONDS))
        laboratory.appraise(signed_under(issuing_ca(), SECOND, URL))
        assert bench.fetcher.asked == [SECOND, URL]

    def test_a_success_for_a_day(self, bench: Bench) -> None:
        laboratory = bench.open(OBSERVE)
        for moment in (timedelta(), timedelta(minutes=10), timedelta(minutes=20)):
            laboratory.clock.moment = documents.NOW + moment
            assert refuses(laboratory, signed_under(issuing_ca(), URL))
        assert bench.fetcher.asked == [URL]
        assert SUCCESS_MEMORY in {claim.lasting for claim in laboratory.registry.claims if claim.granted}
        assert laboratory.authorities == [(der(issuing_ca()),)]

    def test_no_failure_of_a_strangers_making(self, bench: Bench) -> None:
        """Who copies an issuer's name and key identifier, and the URL of its certificate, delays its discovery by the
        time of one fetch, and does not prevent it."""
        laboratory = bench.open(ADMIT)
        assert refuses(laboratory, forged_under(issuing_ca(), URL))
        laboratory.clock.advance(timedelta(seconds=2 * FETCH_SECONDS))
        assert refuses(laboratory, forged_under(issuing_ca(), SECOND))
        laboratory.clock.advance(timedelta(seconds=2 * FETCH_SECONDS))
        laboratory.appraise(signed_under(issuing_ca(), URL))


class TestFetches:
    def test_are_one_for_two_documents_at_once(self, bench: Bench) -> None:
        one = bench.open(OBSERVE)
        other = bench.open(OBSERVE, beside=one)
        together = Barrier(2)

        def consider(laboratory: Laboratory) -> TrustBundle:
            document = signed_under(issuing_ca(), URL)
            together.wait(20)
            return laboratory.consider(document)

        with ThreadPoolExecutor(2) as pool:
            list(pool.map(consider, [one, other]))
        assert bench.fetcher.asked == [URL]
        assert [(seen.documents, len(seen.authorities)) for seen in one.registry.discovered()] == [(2, 1)]

    def test_are_one_a_second_on_all_replicas(self, bench: Bench) -> None:
        one = bench.open(ADMIT)
        other = bench.open(ADMIT, beside=one)
        for laboratory, number in ((one, 0), (other, 1), (one, 2), (other, 3)):
            url = f"http://cacerts.digicert.com/{number}"
            assert refuses(laboratory, signed_under(authority(f"Lost CA {number}"), url))
        turns = sorted(one.registry.turns + other.registry.turns)
        assert len(turns) == len(bench.fetcher.asked) == 4
        assert all(later - earlier >= FETCH_INTERVAL for earlier, later in itertools.pairwise(turns))

    def test_are_not_begun_too_late_to_say_anything(self, bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
        laboratory = bench.open(ADMIT)

        def read_clock() -> float:
            return laboratory.clock.moment.timestamp()

        monkeypatch.setattr(time, "monotonic", read_clock)
        begun = laboratory.clock.moment
        laboratory.registry.inner.claim("fetch", lasting=timedelta(seconds=FETCH_SECONDS))
        document = signed_under(issuing_ca(), URL)
        assert refuses(laboratory, document)
        assert not bench.fetcher.asked
        assert laboratory.clock.moment - begun < timedelta(seconds=FETCH_SECONDS)
        # Nothing was learned, and so nothing is remembered.
        laboratory.clock.advance(timedelta(seconds=2 * FETCH_SECONDS))
        laboratory.appraise(document)


def test_an_authority_that_is_pinned_for_another_cloud_alone_is_confirmed_for_this_one(bench: Bench) -> None:
    laboratory = bench.open(PINNED)
    bundle = TrustBundle.of(
        (
            documents.trusted(root().certificate, clouds=frozenset({Cloud.PUBLIC, Cloud.CHINA})),
            documents.trusted(issuing_ca().certificate, clouds=frozenset({Cloud.CHINA})),
        )
    )
    claims = laboratory.claims(signed_under(issuing_ca()))
    candidate = Certificate.from_der(der(issuing_ca()))
    assert confirm_authorities(
        claims, [candidate], now=documents.NOW, bundle=bundle, decisions=OperatorDecisions()
    ) == (candidate,)
