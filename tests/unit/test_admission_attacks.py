"""Attacks on the mode `admit`: a CA that an operator rejected or denied, or that the manifest retired, comes back in
another certificate. And the honest case beside them: a CA that was renewed with its name and key.

Real registry, live trust, administration and verifier. Each attack has its control: the same document is accepted
without the decision that it attacks.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from functools import cache
from pathlib import Path
from typing import Literal

import pytest
from support.chains import authority, root
from support.discovery import Laboratory, ScriptedFetcher, der, make_laboratory, naming, signed_under
from support.documents import NOW, around

from verifier.core.discovery import DiscoveryMode
from verifier.core.issuer_review import ReviewStatus, survey_issuer
from verifier.core.reasons import ChainRefused, Reason
from verifier.core.trust.bundle import AuthorityIdentity, Denials, Origin
from verifier.core.trust.certificates import Certificate
from verifier.core.trust.operator_decisions import OperatorDecisions
from verifier.emulator import pki
from verifier.emulator.trust_directory import TrustedCertificate

PINNED, OBSERVE, ADMIT = DiscoveryMode.PINNED, DiscoveryMode.OBSERVE, DiscoveryMode.ADMIT
URL = "http://cacerts.digicert.com/other.crt"
ABOVE_URL = "http://cacerts.digicert.com/above.crt"
SECOND = timedelta(seconds=1)
EXPIRED = pki.Validity(not_before=NOW - timedelta(days=900), not_after=NOW - SECOND)

Way = Literal["embedded", "fetched"]
WAYS: tuple[Way, ...] = ("embedded", "fetched")
FORMS: dict[str, Callable[[], pki.Identity]] = {
    "direct": cache(lambda: authority("Known CA")),
    "cross-signed": cache(lambda: authority("Known CA", issuer=root("Another Root"))),
    "renewed": cache(lambda: authority("Known CA", validity=around(days=900))),
}
OTHERS = {name: make for name, make in FORMS.items() if name != "direct"}


def every(forms: dict[str, Callable[[], pki.Identity]]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize(
        ("form", "way"), [pytest.param(form, way, id=f"{form}-{way}") for form in forms for way in WAYS]
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Attack:
    """A laboratory that has met the direct certificate of the Known CA, or lists it."""

    laboratory: Laboratory
    fetcher: ScriptedFetcher

    @property
    def known(self) -> Certificate:
        return Certificate.from_der(der(FORMS["direct"]()))

    def document(self, form: pki.Identity, way: Way, *, below: str = "") -> bytes:
        """A document under this certificate of the CA, or under a new CA below it, which comes along this way."""
        issuer = authority(below, issuer=form, extensions=(naming(ABOVE_URL),)) if below else form
        if way == "embedded":
            return signed_under(issuer, embedding=(der(issuer), *([der(form)] if below else [])))
        self.fetcher.answers[URL] = (der(issuer),)
        self.fetcher.answers[ABOVE_URL] = (der(form),)
        return signed_under(issuer, URL)

    def reason(self, document: bytes) -> Reason:
        with pytest.raises(ChainRefused) as refused:
            self.laboratory.appraise(document)
        return refused.value.reason

    def origins(self, document: bytes) -> list[Origin]:
        """Of the chain over which the document is accepted."""
        return [link.origin for link in self.laboratory.appraise(document).content.chain]

    def trusts(self, identity: pki.Identity) -> bool:
        sha256 = Certificate.from_der(der(identity)).sha256
        return any(entry.certificate.sha256 == sha256 for entry in self.laboratory.trust.bundle().entries)


@pytest.fixture
def fetcher(monkeypatch: pytest.MonkeyPatch) -> ScriptedFetcher:
    """Time stands still but for pauses."""
    monkeypatch.setattr(time, "monotonic", lambda: 0.0)
    return ScriptedFetcher()


ANOTHER_ROOT = TrustedCertificate(name="another-root", role="root", certificate=root("Another Root").certificate)


@pytest.fixture
def attack(tmp_path: Path, fetcher: ScriptedFetcher) -> Attack:
    """Two anchors. The direct certificate was discovered, and is admitted."""
    laboratory = make_laboratory(tmp_path, mode=ADMIT, fetcher=fetcher, others=(ANOTHER_ROOT,))
    made = Attack(laboratory=laboratory, fetcher=fetcher)
    laboratory.consider(made.document(FORMS["direct"](), "embedded"))
    assert made.trusts(FORMS["direct"]())
    return made


def listing(
    tmp_path: Path,
    fetcher: ScriptedFetcher,
    listed: pki.Identity,
    *,
    retired: timedelta | None = None,
    mode: DiscoveryMode = ADMIT,
) -> Attack:
    """Two anchors, and this certificate of the Known CA in the manifest, retired so long after NOW if at all."""
    entry = TrustedCertificate(name="known", role="intermediate", certificate=listed.certificate)
    laboratory = make_laboratory(
        tmp_path,
        mode=mode,
        fetcher=fetcher,
        others=(ANOTHER_ROOT, entry),
        retire_at=None if retired is None else {"known": NOW + retired},
    )
    return Attack(laboratory=laboratory, fetcher=fetcher)


class TestRejected:
    @every(FORMS)
    def test_ca_is_refused_in_every_form(self, attack: Attack, form: str, way: Way) -> None:
        attack.laboratory.administration.reject(attack.known.sha256, by="alice")
        assert attack.reason(attack.document(FORMS[form](), way)) is Reason.ISSUER_UNPINNED
        assert not any(entry.origin is Origin.ADMITTED for entry in attack.laboratory.trust.bundle().entries)

    @every(FORMS)
    def test_ca_is_refused_above_an_unknown_one(self, attack: Attack, form: str, way: Way) -> None:
        document = attack.document(FORMS[form](), way, below="Below CA")
        attack.laboratory.administration.reject(attack.known.sha256, by="alice")
        assert attack.reason(document) is Reason.ISSUER_UNPINNED
        assert attack.fetcher.asked == ([URL, ABOVE_URL] if way == "fetched" else [])

    @every(OTHERS)
    def test_ca_is_rejected_by_any_of_its_certificates(
        self, tmp_path: Path, fetcher: ScriptedFetcher, form: str, way: Way
    ) -> None:
        """On its first sight, so that the fetch is not left out for what is known already."""
        laboratory = make_laboratory(tmp_path, mode=ADMIT, fetcher=fetcher, others=(ANOTHER_ROOT,))
        attack = Attack(laboratory=laboratory, fetcher=fetcher)
        document = attack.document(OTHERS[form](), way)
        laboratory.registry.settle(OperatorDecisions(rejected=frozenset({AuthorityIdentity.of(attack.known)})))
        assert attack.reason(document) is Reason.ISSUER_UNPINNED
        assert fetcher.asked == ([URL] if way == "fetched" else [])
        assert laboratory.authorities == [()]

    @every(FORMS)
    def test_the_control_is_accepted_below(self, attack: Attack, form: str, way: Way) -> None:
        document = attack.document(FORMS[form](), way, below="Below CA")
        assert attack.origins(document)[0] is Origin.ADMITTED

    @every(FORMS)
    def test_ca_that_is_pinned_again_is_rejected_no_longer(self, attack: Attack, form: str, way: Way) -> None:
        administration = attack.laboratory.administration
        administration.reject(attack.known.sha256, by="alice")
        administration.approve(attack.known.sha256, by="alice")
        assert administration.decisions().rejected == frozenset()
        assert attack.origins(attack.document(FORMS[form](), way)) == [Origin.APPROVED, Origin.LISTED]

    def test_ca_is_pinned_in_another_form_by_hand(self, attack: Attack) -> None:
        administration, crossed = attack.laboratory.administration, FORMS["cross-signed"]()
        administration.reject(attack.known.sha256, by="alice")
        pinned = Certificate.from_der(der(crossed))
        administration.pin(pinned, frozenset(attack.laboratory.trust.bundle().clouds), by="alice")
        assert administration.decisions().rejected == frozenset()
        assert attack.origins(attack.document(crossed, "embedded")) == [Origin.APPROVED, Origin.LISTED]

    @pytest.mark.parametrize("pinned_first", [True, False])
    def test_ca_keeps_the_pins_that_it_has(self, attack: Attack, *, pinned_first: bool) -> None:
        administration = attack.laboratory.administration
        if pinned_first:
            administration.approve(attack.known.sha256, by="alice")
        administration.reject(attack.known.sha256, by="alice")
        document = attack.document(FORMS["direct"](), "embedded")
        if pinned_first:
            assert attack.origins(document) == [Origin.APPROVED, Origin.LISTED]
        else:
            assert attack.reason(document) is Reason.ISSUER_UNPINNED

    def test_ca_that_a_manifest_lists_is_trusted_in_that_certificate_alone(
        self, tmp_path: Path, fetcher: ScriptedFetcher
    ) -> None:
        attack = listing(tmp_path, fetcher, FORMS["direct"]())
        attack.laboratory.administration.reject(attack.known.sha256, by="alice")
        assert attack.origins(attack.document(FORMS["direct"](), "embedded")) == [Origin.LISTED] * 2
        attack.laboratory.consider(attack.document(FORMS["renewed"](), "embedded"))
        assert not attack.trusts(FORMS["renewed"]())


class TestDenied:
    @every(OTHERS)
    def test_ca_is_refused_in_the_forms_that_bear_another_serial_number(
        self, attack: Attack, form: str, way: Way
    ) -> None:
        denial = Denials(serial_numbers=frozenset({attack.known.serial_number}))
        attack.laboratory.administration.deny(denial, by="alice")
        document = attack.document(FORMS[form](), way, below="Below CA")
        assert attack.reason(document) is Reason.ISSUER_UNPINNED
        attack.laboratory.administration.allow(denial, by="alice")
        again = attack.document(FORMS[form](), "embedded", below="Below CA")
        assert attack.origins(again)[0] is Origin.ADMITTED

    @every(OTHERS)
    def test_ca_is_no_longer_admitted_in_the_forms_that_were(self, attack: Attack, form: str, way: Way) -> None:
        document = attack.document(FORMS[form](), way, below="Below CA")
        assert attack.origins(document)[0] is Origin.ADMITTED
        denial = Denials(serial_numbers=frozenset({attack.known.serial_number}))
        attack.laboratory.administration.deny(denial, by="alice")
        assert not attack.trusts(FORMS[form]())
        with pytest.raises(ChainRefused):
            attack.laboratory.appraise(document)

    def test_ca_keeps_a_pin_of_another_form(self, attack: Attack) -> None:
        crossed = FORMS["cross-signed"]()
        pinned = Certificate.from_der(der(crossed))
        administration = attack.laboratory.administration
        administration.pin(pinned, frozenset(attack.laboratory.trust.bundle().clouds), by="alice")
        administration.deny(Denials(serial_numbers=frozenset({attack.known.serial_number})), by="alice")
        assert attack.origins(attack.document(crossed, "embedded")) == [Origin.APPROVED, Origin.LISTED]


class TestRetired:
    @pytest.mark.parametrize("listed", ["in its time", "expired"])
    @every(OTHERS)
    def test_ca_is_refused_in_every_form(
        self, tmp_path: Path, fetcher: ScriptedFetcher, form: str, way: Way, listed: str
    ) -> None:
        known = authority("Known CA", validity=EXPIRED) if listed == "expired" else FORMS["direct"]()
        attack = listing(tmp_path, fetcher, known, retired=timedelta(0))
        assert attack.reason(attack.document(OTHERS[form](), way)) is Reason.CHAIN_UNTRUSTED
        assert not fetcher.asked
        assert not attack.laboratory.registry.discovered()

    @every(OTHERS)
    def test_ca_is_refused_above_an_unknown_one(
        self, tmp_path: Path, fetcher: ScriptedFetcher, form: str, way: Way
    ) -> None:
        attack = listing(tmp_path, fetcher, FORMS["direct"](), retired=timedelta(0))
        assert attack.reason(attack.document(OTHERS[form](), way, below="Below CA")) is Reason.ISSUER_UNPINNED
        assert attack.laboratory.authorities == [()]

    @every(OTHERS)
    def test_ca_that_was_admitted_in_another_form_retires_by_the_clock(
        self, tmp_path: Path, fetcher: ScriptedFetcher, form: str, way: Way
    ) -> None:
        attack = listing(tmp_path, fetcher, authority("Known CA", validity=EXPIRED), retired=timedelta(minutes=1))
        document = attack.document(OTHERS[form](), way, below="Below CA")
        assert attack.origins(document)[0] is Origin.ADMITTED
        assert attack.trusts(OTHERS[form]())
        attack.laboratory.clock.advance(timedelta(minutes=1))
        assert attack.reason(document) is Reason.CHAIN_UNTRUSTED

    def test_ca_is_accepted_in_another_form_that_an_operator_pins(
        self, tmp_path: Path, fetcher: ScriptedFetcher
    ) -> None:
        attack = listing(tmp_path, fetcher, FORMS["direct"](), retired=timedelta(0))
        renewed = FORMS["renewed"]()
        clouds = frozenset(attack.laboratory.trust.bundle().clouds)
        attack.laboratory.administration.pin(Certificate.from_der(der(renewed)), clouds, by="alice")
        assert attack.origins(attack.document(renewed, "embedded")) == [Origin.APPROVED, Origin.LISTED]


class TestRenewed:
    """The pinned certificate has expired; another one bears the name and the key."""

    @every(OTHERS)
    def test_ca_is_admitted(self, tmp_path: Path, fetcher: ScriptedFetcher, form: str, way: Way) -> None:
        attack = listing(tmp_path, fetcher, authority("Known CA", validity=EXPIRED))
        assert attack.origins(attack.document(OTHERS[form](), way)) == [Origin.ADMITTED, Origin.LISTED]

    @pytest.mark.parametrize("mode", [PINNED, OBSERVE])
    @every(OTHERS)
    def test_ca_is_kept_for_approval(
        self, tmp_path: Path, fetcher: ScriptedFetcher, form: str, way: Way, mode: DiscoveryMode
    ) -> None:
        attack = listing(tmp_path, fetcher, authority("Known CA", validity=EXPIRED), mode=mode)
        renewed = OTHERS[form]()
        document = attack.document(renewed, way)
        assert attack.reason(document) is Reason.ISSUER_UNPINNED
        is_found = way == "embedded" or mode is OBSERVE
        assert attack.laboratory.authorities == [(der(renewed),) if is_found else ()]
        assert self.review_status(attack) is (ReviewStatus.APPROVABLE if is_found else ReviewStatus.UNRESOLVED)
        if is_found:
            attack.laboratory.administration.approve(Certificate.from_der(der(renewed)).sha256, by="alice")
            assert attack.origins(document) == [Origin.APPROVED, Origin.LISTED]
            assert self.review_status(attack) is ReviewStatus.PINNED

    def review_status(self, attack: Attack) -> ReviewStatus:
        laboratory = attack.laboratory
        [issuer] = laboratory.registry.discovered()
        decisions, _ = laboratory.registry.decisions()
        return survey_issuer(issuer, laboratory.trust.bundle(), decisions, at=laboratory.clock.now()).review_status

    @every(OTHERS)
    def test_ca_is_refused_once_rejected(self, tmp_path: Path, fetcher: ScriptedFetcher, form: str, way: Way) -> None:
        expired = authority("Known CA", validity=EXPIRED)
        attack = listing(tmp_path, fetcher, expired)
        attack.laboratory.administration.reject(Certificate.from_der(der(expired)).sha256, by="alice")
        assert attack.reason(attack.document(OTHERS[form](), way)) is Reason.ISSUER_UNPINNED

    @every(OTHERS)
    def test_ca_is_refused_where_the_expired_certificate_is_denied(
        self, tmp_path: Path, fetcher: ScriptedFetcher, form: str, way: Way
    ) -> None:
        expired = authority("Known CA", validity=EXPIRED)
        attack = listing(tmp_path, fetcher, expired)
        serial = Certificate.from_der(der(expired)).serial_number
        attack.laboratory.administration.deny(Denials(serial_numbers=frozenset({serial})), by="alice")
        assert attack.reason(attack.document(OTHERS[form](), way)) is Reason.CHAIN_UNTRUSTED
        assert not fetcher.asked
