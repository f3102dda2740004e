"""Check how each mode handles a document whose issuer is not pinned."""

import itertools
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from inspect import signature
from pathlib import Path
from threading import Barrier, Event

import pytest
from cryptography import x509
from support import documents
from support.certificates import make_self_signed
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

from verifier.core.discovery import DiscoveryMode, confirm_authorities, observe_issuer
from verifier.core.model import RawDocument
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
    IssuerDiscovery,
)

URL = "http://cacerts.digicert.com/issuer.crt"
SECOND = "http://cacerts.digicert.com/second.crt"
THIRD = "http://cacerts.digicert.com/third.crt"
FOURTH = "http://cacerts.digicert.com/fourth.crt"
PINNED, OBSERVE, ADMIT = DiscoveryMode.PINNED, DiscoveryMode.OBSERVE, DiscoveryMode.ADMIT


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """Open laboratories in any mode over one fetcher."""

    directory: Path
    fetcher: ScriptedFetcher

    def open(self, mode: DiscoveryMode, *, beside: Laboratory | None = None) -> Laboratory:
        return make_laboratory(self.directory, mode=mode, fetcher=self.fetcher, beside=beside)


class UnreadTrust:
    """A trust source before its first reading of the operators' denials."""

    def bundle(self) -> TrustBundle:
        raise StoreUnavailable("The registry does not answer.")


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    """Provide a fetcher that returns the issuing CA at URL. Only pauses advance the time."""
    monkeypatch.setattr(time, "monotonic", lambda: 0.0)
    return Bench(directory=tmp_path, fetcher=ScriptedFetcher(answers={URL: (der(issuing_ca()),)}))


def forged_under(issuer: pki.Identity, *urls: str) -> bytes:
    """Return a document whose signer has the issuer's name and key identifier, and an untrusted signature."""
    return documents.document(signer=signer_under(issuer, *urls, issuer_key=key("untrusted")))


def refuses(laboratory: Laboratory, document: bytes) -> bool:
    with pytest.raises(ChainRefused) as refused:
        laboratory.appraise(document)
    return refused.value.reason is Reason.ISSUER_UNPINNED


class TestModes:
    @pytest.mark.parametrize("mode", [PINNED, OBSERVE, ADMIT])
    def test_each_mode_records_the_issuer(self, bench: Bench, mode: DiscoveryMode) -> None:
        laboratory = bench.open(mode)
        document = signed_under(issuing_ca(), SECOND)
        assert refuses(laboratory, document)
        laboratory.clock.advance(timedelta(minutes=1))
        assert refuses(laboratory, document)
        [seen] = laboratory.registry.discovered()
        assert "Unpinned Issuing CA" in seen.observation.issuer
        assert seen.observation.issuer_urls == (SECOND,)
        assert seen.observation.cloud is Cloud.PUBLIC
        assert seen.documents == 2
        assert seen.last_seen - seen.first_seen == timedelta(minutes=1)
        assert seen.authorities == ()
        [observed] = laboratory.recorder.observed
        assert observed.observation == observe_issuer(laboratory.claims(document), now=documents.NOW)
        assert observed.authorities == 0

    @pytest.mark.parametrize("mode", [PINNED, OBSERVE, ADMIT])
    def test_signer_that_is_refused_for_another_reason_is_not_recorded(self, bench: Bench, mode: DiscoveryMode) -> None:
        laboratory = bench.open(mode)
        with pytest.raises(ChainRefused, match="self-signed") as refused:
            laboratory.appraise(documents.document(signer=make_self_signed(key=documents.spare_key())))
        assert refused.value.reason is Reason.CHAIN_UNTRUSTED
        assert laboratory.registry.discovered() == ()

    def test_pinned_mode_does_not_fetch(self, bench: Bench) -> None:
        laboratory = bench.open(PINNED)
        assert refuses(laboratory, signed_under(issuing_ca(), URL))
        assert not bench.fetcher.asked
        assert not laboratory.registry.claims

    def test_pinned_mode_keeps_an_embedded_issuer_for_approval(self, bench: Bench) -> None:
        laboratory = bench.open(PINNED)
        assert refuses(laboratory, signed_under(issuing_ca(), URL, embedding=(der(issuing_ca()),)))
        assert laboratory.authorities == [(der(issuing_ca()),)]
        assert [event.authorities for event in laboratory.recorder.observed] == [1]
        assert not bench.fetcher.asked

    def test_observe_mode_fetches_the_issuer_and_refuses_the_document(self, bench: Bench) -> None:
        laboratory = bench.open(OBSERVE)
        before = laboratory.trust.bundle()
        document = signed_under(issuing_ca(), URL)
        assert laboratory.consider(document) is before
        assert refuses(laboratory, document)
        assert laboratory.authorities == [(der(issuing_ca()),)]
        assert bench.fetcher.asked == [URL]

    def test_admit_mode_accepts_the_document(self, bench: Bench) -> None:
        laboratory = bench.open(ADMIT)
        result = laboratory.appraise(signed_under(issuing_ca(), URL))
        chain = result.content.chain
        assert [link.origin for link in chain] == [Origin.ADMITTED, Origin.LISTED]
        assert laboratory.authorities == [(der(issuing_ca()),)]
        assert [event.authorities for event in laboratory.recorder.observed] == [1]

    def test_admit_mode_does_not_fetch_again_for_the_next_document(self, bench: Bench) -> None:
        laboratory = bench.open(ADMIT)
        laboratory.consider(signed_under(issuing_ca(), URL))
        laboratory.appraise(signed_under(issuing_ca(), SECOND))
        assert bench.fetcher.asked == [URL]

    def test_admit_mode_uses_the_issuer_that_another_replica_found(self, bench: Bench) -> None:
        one = bench.open(ADMIT)
        other = bench.open(ADMIT, beside=one)
        one.consider(signed_under(issuing_ca(), URL))
        other.appraise(signed_under(issuing_ca(), URL))
        assert bench.fetcher.asked == [URL]

    def test_each_issuer_is_fetched_and_recorded(self, bench: Bench) -> None:
        laboratory, other = bench.open(OBSERVE), authority("Another Issuing CA")
        bench.fetcher.answers[SECOND] = (der(other),)
        laboratory.consider(signed_under(issuing_ca(), URL))
        laboratory.consider(signed_under(other, SECOND))
        assert bench.fetcher.asked == [URL, SECOND]
        assert set(laboratory.authorities) == {(der(issuing_ca()),), (der(other),)}

    @pytest.mark.parametrize("mode", [OBSERVE, ADMIT])
    def test_embedded_issuer_is_not_fetched(self, bench: Bench, mode: DiscoveryMode) -> None:
        laboratory = bench.open(mode)
        laboratory.consider(signed_under(issuing_ca(), URL, embedding=(der(issuing_ca()),)))
        assert laboratory.authorities == [(der(issuing_ca()),)]
        assert not bench.fetcher.asked

    @pytest.mark.parametrize("mode", [PINNED, OBSERVE, ADMIT])
    def test_embedded_issuer_that_does_not_chain_is_not_kept(self, bench: Bench, mode: DiscoveryMode) -> None:
        laboratory = bench.open(mode)
        untrusted = authority("Untrusted CA", issuer=root("Untrusted Root"))
        assert refuses(laboratory, signed_under(untrusted, embedding=(der(untrusted), der(root("Untrusted Root")))))
        assert laboratory.authorities == [()]


class TestRejectedAuthorities:
    @pytest.mark.parametrize("mode", [PINNED, OBSERVE, ADMIT])
    def test_embedded_rejected_authority_is_not_kept(self, bench: Bench, mode: DiscoveryMode) -> None:
        self.check(bench.open(mode), signed_under(issuing_ca(), embedding=(der(issuing_ca()),)))

    @pytest.mark.parametrize("mode", [OBSERVE, ADMIT])
    def test_fetched_rejected_authority_is_not_kept(self, bench: Bench, mode: DiscoveryMode) -> None:
        self.check(bench.open(mode), signed_under(issuing_ca(), URL))

    def check(self, laboratory: Laboratory, document: bytes) -> None:
        rejected = AuthorityIdentity.of(Certificate.from_der(der(issuing_ca())))
        laboratory.registry.settle(OperatorDecisions(rejected=frozenset({rejected})))
        assert refuses(laboratory, document)
        assert laboratory.authorities == [()]

    def test_denied_authority_is_not_kept(self, bench: Bench) -> None:
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

    def test_nonconforming_document_is_kept_and_reported(self, bench: Bench) -> None:
        laboratory = bench.open(PINNED)
        for _ in range(2):
            laboratory.discovery.report_nonconforming(self.report())
        assert laboratory.recorder.nonconforming == [self.report()] * 2
        [record] = laboratory.administration.nonconforming()
        assert (record.document, record.documents) == (self.report(), 2)

    @pytest.mark.parametrize("unavailable", [set(), {"record_nonconforming"}])
    def test_appraisal_reports_the_document_that_it_refuses(self, bench: Bench, unavailable: set[str]) -> None:
        pinned = TrustedCertificate(name="issuing", role="intermediate", certificate=issuing_ca().certificate)
        laboratory = make_laboratory(bench.directory, mode=PINNED, fetcher=bench.fetcher, others=(pinned,))
        laboratory.registry.unavailable = unavailable
        laboratory.appraise(signed_under(issuing_ca()))
        assert laboratory.recorder.nonconforming == []
        with pytest.raises(FormatRefused) as refused:
            laboratory.appraise(signed_under(issuing_ca(), announced_digests=2))
        [report] = laboratory.recorder.nonconforming
        assert report.detail == refused.value.detail
        assert report.pin_sha256 == Certificate.from_der(der(issuing_ca())).sha256
        assert report.seen_at == documents.NOW

    def test_refusal_stands_if_the_trust_is_unavailable(self, bench: Bench) -> None:
        verifier = replace(bench.open(PINNED).verifier, trust=UnreadTrust())
        with pytest.raises(FormatRefused):
            verifier.appraise(RawDocument(raw_der=b"0"))

    def test_document_without_a_pinned_issuer_is_not_reported(self, bench: Bench) -> None:
        laboratory = bench.open(PINNED)
        with pytest.raises(FormatRefused):
            laboratory.appraise(signed_under(issuing_ca(), announced_digests=2))
        assert laboratory.recorder.nonconforming == []

    def test_nonconforming_document_is_reported_if_the_registry_is_unavailable(self, bench: Bench) -> None:
        laboratory = bench.open(ADMIT)
        laboratory.registry.unavailable = {"record_nonconforming"}
        laboratory.discovery.report_nonconforming(self.report())
        assert laboratory.recorder.nonconforming == [self.report()]

    def test_reports_in_one_second_are_bounded(self, bench: Bench) -> None:
        laboratory = bench.open(PINNED)
        for number in range(RECORDS_PER_SECOND + 5):
            laboratory.discovery.report_nonconforming(self.report(f"Detail {number}."))
        assert len(laboratory.recorder.nonconforming) == RECORDS_PER_SECOND
        laboratory.discovery.report_nonconforming(self.report(seen_at=documents.NOW + timedelta(seconds=1)))
        assert len(laboratory.recorder.nonconforming) == RECORDS_PER_SECOND + 1

    def test_flood_of_unknown_issuers_hides_no_report(self, bench: Bench) -> None:
        laboratory = bench.open(PINNED)
        for _ in range(RECORDS_PER_SECOND + 1):
            assert refuses(laboratory, signed_under(issuing_ca()))
        laboratory.discovery.report_nonconforming(self.report())
        assert laboratory.recorder.nonconforming == [self.report()]


class TestUnavailableRegistry:
    @pytest.mark.parametrize("mode", [PINNED, OBSERVE])
    @pytest.mark.parametrize("method", ["decisions", "claim", "is_claimed", "record"])
    def test_other_modes_refuse_the_document_as_usual(self, bench: Bench, mode: DiscoveryMode, method: str) -> None:
        laboratory = bench.open(mode)
        laboratory.registry.unavailable = {method}
        assert refuses(laboratory, signed_under(issuing_ca(), URL))

    @pytest.mark.parametrize("method", ["decisions", "claim", "is_claimed", "record", "revision", "discovered"])
    def test_admit_mode_raises_store_unavailable(self, bench: Bench, method: str) -> None:
        laboratory = bench.open(ADMIT)
        laboratory.registry.unavailable = {method}
        with pytest.raises(StoreUnavailable):
            laboratory.appraise(signed_under(issuing_ca(), URL))

    def test_issuer_that_was_not_recorded_is_fetched_again(self, bench: Bench) -> None:
        laboratory = bench.open(ADMIT)
        laboratory.registry.unavailable = {"record"}
        with pytest.raises(StoreUnavailable):
            laboratory.appraise(signed_under(issuing_ca(), URL))
        laboratory.registry.unavailable = set()
        laboratory.clock.advance(timedelta(seconds=2 * FETCH_SECONDS))
        laboratory.appraise(signed_under(issuing_ca(), URL))


class TestBounds:
    def test_bounds_are_the_documented_ones(self) -> None:
        assert [FETCH_SECONDS, LEAST_FETCH_SECONDS, MAX_HOPS, MAX_URLS, RECORDS_PER_SECOND] == [5, 2, 3, 4, 20]
        seconds = [memory.total_seconds() for memory in (FETCH_INTERVAL, FAILURE_MEMORY, SUCCESS_MEMORY)]
        assert seconds == [1, 300, 86_400]

    def test_caller_passes_no_budget(self) -> None:
        parameters = [*signature(IssuerDiscovery).parameters]
        assert parameters == ["mode", "trust", "registry", "fetcher", "recorder", "pause"]


class TestRecordBudget:
    def test_records_in_one_second_are_bounded(self, bench: Bench) -> None:
        laboratory = bench.open(PINNED)
        document = signed_under(issuing_ca())
        for _ in range(RECORDS_PER_SECOND + 5):
            assert refuses(laboratory, document)
        assert [seen.documents for seen in laboratory.registry.discovered()] == [RECORDS_PER_SECOND]
        laboratory.clock.advance(timedelta(seconds=1))
        assert refuses(laboratory, document)
        assert [seen.documents for seen in laboratory.registry.discovered()] == [RECORDS_PER_SECOND + 1]

    def test_exhausted_budget_does_not_stop_the_use_of_known_issuers(self, bench: Bench) -> None:
        laboratory = bench.open(ADMIT)
        other = bench.open(ADMIT, beside=laboratory)
        for _ in range(RECORDS_PER_SECOND):
            assert refuses(laboratory, signed_under(authority("Lost CA")))
        other.consider(signed_under(issuing_ca(), URL))
        laboratory.appraise(signed_under(issuing_ca(), URL))


def line(*names: str, urls: tuple[str, ...]) -> list[pki.Identity]:
    """Make authorities below the root of support.chains. Each one below the first names the URL of its issuer."""
    made: list[pki.Identity] = []
    above = root()
    for number, name in enumerate(names):
        named = (naming(urls[number - 1]),) if number else ()
        above = authority(name, issuer=above, extensions=named)
        made.append(above)
    return made


class TestWalk:
    def test_walk_reaches_an_anchor(self, bench: Bench) -> None:
        top, issuer = line("Top CA", "Low CA", urls=(SECOND,))
        bench.fetcher.answers.update({URL: (der(issuer),), SECOND: (der(top),)})
        laboratory = bench.open(ADMIT)
        laboratory.appraise(signed_under(issuer, URL))
        assert laboratory.authorities == [(der(issuer), der(top))]
        assert bench.fetcher.asked == [URL, SECOND]

    def test_walk_stops_at_the_maximum_number_of_hops(self, bench: Bench) -> None:
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

    @pytest.mark.parametrize("others", [(), ("Another Root",)])
    def test_walk_ends_at_the_first_anchor(self, bench: Bench, others: tuple[str, ...]) -> None:
        """Fetch no issuer of an authority that an anchor issued, even if it does not chain."""
        anchors = [
            TrustedCertificate(name=f"other-{number}", role="root", certificate=root(name).certificate)
            for number, name in enumerate(others)
        ]
        expired = authority(
            "Expired CA",
            validity=pki.Validity(not_before=around().not_before, not_after=documents.NOW - timedelta(hours=1)),
            extensions=(naming(SECOND),),
        )
        bench.fetcher.answers.update({URL: (der(expired),), SECOND: (der(root()),)})
        laboratory = make_laboratory(bench.directory, mode=ADMIT, fetcher=bench.fetcher, others=anchors)
        assert refuses(laboratory, signed_under(expired, URL))
        assert bench.fetcher.asked == [URL]

    def test_failed_url_is_skipped(self, bench: Bench) -> None:
        bench.fetcher.answers[SECOND] = (b"no certificate",)
        laboratory = bench.open(ADMIT)
        laboratory.appraise(signed_under(issuing_ca(), THIRD, SECOND, URL))
        assert bench.fetcher.asked == [THIRD, SECOND, URL]

    def test_walk_does_not_end_at_a_pin_of_another_cloud(self, bench: Bench) -> None:
        top, issuer = line("Top CA", "Low CA", urls=(SECOND,))
        bench.fetcher.answers.update({URL: (der(issuer),), SECOND: (der(top),)})
        bundle = TrustBundle.of(
            (
                documents.trusted(root().certificate, clouds=frozenset({Cloud.PUBLIC, Cloud.CHINA})),
                documents.trusted(top.certificate, clouds=frozenset({Cloud.CHINA})),
            )
        )
        laboratory = bench.open(OBSERVE)
        claims = laboratory.claims(signed_under(issuer, URL))
        assert laboratory.discovery.consider(claims, now=documents.NOW, bundle=bundle) is bundle
        assert laboratory.authorities == [(der(issuer), der(top))]

    def test_url_of_another_certificate_is_skipped(self, bench: Bench) -> None:
        bench.fetcher.answers[SECOND] = (der(authority("Another CA")),)
        laboratory = bench.open(ADMIT)
        laboratory.appraise(signed_under(issuing_ca(), SECOND, URL))
        assert bench.fetcher.asked == [SECOND, URL]

    def test_url_outside_the_allow_list_is_skipped(self, bench: Bench) -> None:
        elsewhere = "http://issuers.example/made-up.crt"
        bench.fetcher.off_the_list.add(elsewhere)
        bench.open(ADMIT).appraise(signed_under(issuing_ca(), elsewhere, URL))
        assert bench.fetcher.asked == [URL]

    def test_number_of_urls_is_bounded(self, bench: Bench) -> None:
        bad = tuple(f"http://cacerts.digicert.com/{number}" for number in range(MAX_URLS))
        laboratory = bench.open(ADMIT)
        assert refuses(laboratory, signed_under(issuing_ca(), *bad, URL))
        assert bench.fetcher.asked == list(bad)

    def test_url_outside_the_allow_list_takes_no_turn(self, bench: Bench) -> None:
        elsewhere = "http://issuers.example/made-up.crt"
        bench.fetcher.off_the_list.add(elsewhere)
        laboratory = bench.open(ADMIT)
        assert refuses(laboratory, signed_under(issuing_ca(), elsewhere))
        assert not bench.fetcher.asked
        assert not laboratory.registry.claims

    def test_only_one_thread_of_a_process_walks(self, bench: Bench) -> None:
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

    def test_signer_without_a_url_is_not_fetched(self, bench: Bench) -> None:
        laboratory = bench.open(ADMIT)
        assert refuses(laboratory, signed_under(issuing_ca()))
        assert not bench.fetcher.asked

    def test_fetch_gets_only_the_remaining_time(self, bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
        laboratory = bench.open(ADMIT)

        def read_clock() -> float:
            return laboratory.clock.moment.timestamp()

        monkeypatch.setattr(time, "monotonic", read_clock)
        laboratory.appraise(signed_under(issuing_ca(), SECOND, URL))
        assert laboratory.registry.turns == [documents.NOW, documents.NOW + FETCH_INTERVAL]
        assert bench.fetcher.seconds == [5, 4]

    def test_every_certificate_of_an_authority_is_tried(self, bench: Bench) -> None:
        """Use one name and key with two certificates, of an untrusted issuer and of the anchor (cross-signed)."""
        foreign = authority("Crossed CA", issuer=root("Untrusted Root"))
        own = authority("Crossed CA")
        bench.fetcher.answers[URL] = (der(foreign), der(own))
        laboratory = bench.open(ADMIT)
        laboratory.appraise(signed_under(own, URL))
        assert laboratory.authorities == [(der(own),)]

    def test_walk_continues_from_every_certificate_of_an_authority(self, bench: Bench) -> None:
        top = authority("Top CA")
        foreign = authority("Crossed CA", issuer=root("Untrusted Root"), extensions=(naming(SECOND),))
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
            lambda: authority("Unpinned Issuing CA", issuer=root("Untrusted Root")),
            lambda: authority("Unpinned Issuing CA", without=(x509.BasicConstraints.oid,)),
            lambda: authority(
                "Unpinned Issuing CA",
                validity=pki.Validity(not_before=around().not_before, not_after=documents.NOW - timedelta(hours=1)),
            ),
        ],
        ids=["another key", "another name", "the anchor", "self-signed", "another anchor", "no authority", "expired"],
    )
    def test_fetched_certificate_that_is_not_the_issuer_is_not_kept(
        self, bench: Bench, make: Callable[[], pki.Identity]
    ) -> None:
        bench.fetcher.answers[URL] = (der(make()),)
        laboratory = bench.open(ADMIT)
        assert refuses(laboratory, signed_under(issuing_ca(), URL))
        assert laboratory.authorities == [()]


class TestMemory:
    def test_failure_is_remembered_for_five_minutes(self, bench: Bench) -> None:
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

    def test_failed_url_is_remembered_for_all_signers(self, bench: Bench) -> None:
        laboratory = bench.open(ADMIT)
        assert refuses(laboratory, signed_under(issuing_ca(), SECOND))
        assert refuses(laboratory, signed_under(authority("Lost CA"), SECOND))
        laboratory.clock.advance(timedelta(seconds=2 * FETCH_SECONDS))
        laboratory.appraise(signed_under(issuing_ca(), SECOND, URL))
        assert bench.fetcher.asked == [SECOND, URL]

    def test_signer_whose_issuer_was_not_found_is_remembered_for_five_minutes(self, bench: Bench) -> None:
        """The URL works, so that only the signer is remembered."""
        bench.fetcher.answers[SECOND] = (der(authority("Another CA")),)
        laboratory = bench.open(ADMIT)
        document = signed_under(issuing_ca(), SECOND)
        assert refuses(laboratory, document)
        laboratory.clock.advance(FAILURE_MEMORY - timedelta(seconds=1))
        assert refuses(laboratory, document)
        assert bench.fetcher.asked == [SECOND]
        bench.fetcher.answers[SECOND] = (der(issuing_ca()),)
        laboratory.clock.advance(timedelta(seconds=1))
        laboratory.appraise(document)
        assert bench.fetcher.asked == [SECOND] * 2

    @pytest.mark.parametrize("known", ["missed", "in-flight"])
    def test_claim_of_another_replica_stops_the_fetch(self, bench: Bench, known: str) -> None:
        laboratory = bench.open(ADMIT)
        document = signed_under(issuing_ca(), URL)
        claims = laboratory.claims(document)
        subject = {"missed": claims.signer.sha256, "in-flight": observe_issuer(claims, now=documents.NOW).id}[known]
        assert laboratory.registry.inner.claim(f"{known}:{subject}", lasting=FAILURE_MEMORY)
        assert refuses(laboratory, document)
        assert not bench.fetcher.asked
        assert [event.authorities for event in laboratory.recorder.observed] == [0]

    def test_one_replica_fetches_for_an_issuer_for_ten_seconds(self, bench: Bench) -> None:
        laboratory = bench.open(ADMIT)
        document = signed_under(issuing_ca(), URL)
        laboratory.appraise(document)
        name = f"in-flight:{observe_issuer(laboratory.claims(document), now=documents.NOW).id}"
        assert [claim.lasting for claim in laboratory.registry.claims if claim.name == name] == [timedelta(seconds=10)]

    def test_alternating_certificates_of_one_authority_are_recorded_once_in_five_minutes(self, bench: Bench) -> None:
        top = authority("Top CA")
        both = [authority("Crossed CA", issuer=top) for _ in range(2)]
        sent = [signed_under(one, embedding=(der(one), der(top))) for one in both]
        laboratory = bench.open(OBSERVE)
        recorded = []
        for index in (0, 1, 0, 1, 0):
            laboratory.consider(sent[index])
            recorded += [[both[number] for number in (0, 1) if (der(both[number]), der(top)) in laboratory.authorities]]
            laboratory.clock.advance(timedelta(seconds=10))
        assert recorded == [[both[0]], [both[1]], [both[1]], [both[1]], [both[1]]]
        laboratory.clock.advance(FAILURE_MEMORY)
        laboratory.consider(sent[0])
        assert laboratory.authorities == [(der(both[0]), der(top))]

    def test_success_is_remembered_for_a_day(self, bench: Bench) -> None:
        laboratory = bench.open(OBSERVE)
        for moment in (timedelta(), timedelta(minutes=10), timedelta(minutes=20)):
            laboratory.clock.moment = documents.NOW + moment
            assert refuses(laboratory, signed_under(issuing_ca(), URL))
        assert bench.fetcher.asked == [URL]
        assert SUCCESS_MEMORY in {claim.lasting for claim in laboratory.registry.claims if claim.granted}
        assert laboratory.authorities == [(der(issuing_ca()),)]

    def test_forged_documents_only_delay_the_discovery(self, bench: Bench) -> None:
        """A sender copies the issuer's name, key identifier and URL, and delays the discovery by one fetch at most."""
        laboratory = bench.open(ADMIT)
        assert refuses(laboratory, forged_under(issuing_ca(), URL))
        laboratory.clock.advance(timedelta(seconds=2 * FETCH_SECONDS))
        assert refuses(laboratory, forged_under(issuing_ca(), SECOND))
        laboratory.clock.advance(timedelta(seconds=2 * FETCH_SECONDS))
        laboratory.appraise(signed_under(issuing_ca(), URL))


class TestFetches:
    def test_two_concurrent_documents_cause_one_fetch(self, bench: Bench) -> None:
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

    def test_all_replicas_together_fetch_once_a_second(self, bench: Bench) -> None:
        one = bench.open(ADMIT)
        other = bench.open(ADMIT, beside=one)
        for laboratory, number in ((one, 0), (other, 1), (one, 2), (other, 3)):
            url = f"http://cacerts.digicert.com/{number}"
            assert refuses(laboratory, signed_under(authority(f"Lost CA {number}"), url))
        turns = sorted(one.registry.turns + other.registry.turns)
        assert len(turns) == len(bench.fetcher.asked) == 4
        assert all(later - earlier >= FETCH_INTERVAL for earlier, later in itertools.pairwise(turns))

    def test_replica_asks_for_its_turn_20_times_in_a_second(self, bench: Bench) -> None:
        laboratory = bench.open(ADMIT)
        laboratory.registry.inner.claim("fetch", lasting=FETCH_INTERVAL)
        laboratory.appraise(signed_under(issuing_ca(), URL))
        assert laboratory.registry.turns == [documents.NOW + FETCH_INTERVAL]
        assert len([claim for claim in laboratory.registry.claims if claim.name == "fetch"]) == 21

    @pytest.mark.parametrize("seconds", [FETCH_SECONDS - LEAST_FETCH_SECONDS, FETCH_SECONDS])
    def test_fetch_does_not_start_with_little_time_left(
        self, bench: Bench, monkeypatch: pytest.MonkeyPatch, seconds: float
    ) -> None:
        laboratory = bench.open(ADMIT)

        def read_clock() -> float:
            return laboratory.clock.moment.timestamp()

        monkeypatch.setattr(time, "monotonic", read_clock)
        begun = laboratory.clock.moment
        laboratory.registry.inner.claim("fetch", lasting=timedelta(seconds=seconds))
        document = signed_under(issuing_ca(), URL)
        assert refuses(laboratory, document)
        assert not bench.fetcher.asked
        assert laboratory.clock.moment - begun < timedelta(seconds=FETCH_SECONDS)
        # The attempt had no result, so that no claim remembers it.
        laboratory.clock.advance(timedelta(seconds=2 * FETCH_SECONDS))
        laboratory.appraise(document)


def test_authority_pinned_only_for_another_cloud_is_confirmed_for_this_one(bench: Bench) -> None:
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
