"""The review status of a discovered issuer, for each of its certificates and at each moment."""

from dataclasses import replace
from datetime import timedelta

import pytest
from cryptography.x509.oid import ExtensionOID
from support.chains import authority, root
from support.documents import NOW, around, der, trusted

from verifier.core.discovery import DiscoveredIssuer, IssuerObservation
from verifier.core.issuer_review import ReviewStatus, survey_issuer
from verifier.core.trust.bundle import AuthorityIdentity, Denials, Origin, TrustBundle, TrustedCertificate
from verifier.core.trust.certificates import Certificate
from verifier.core.trust.clouds import Cloud
from verifier.core.trust.operator_decisions import OperatorDecisions
from verifier.emulator import pki

DAY = timedelta(days=1)
EXPIRED = pki.Validity(not_before=NOW - 900 * DAY, not_after=NOW - DAY)
DIRECT, RENEWED, OLD = (
    authority("Seen CA"),
    authority("Seen CA", validity=around(days=900)),
    authority("Seen CA", validity=EXPIRED),
)
ABOVE, OLD_ABOVE = authority("Policy CA"), authority("Policy CA", validity=EXPIRED)


def read(identity: pki.Identity) -> Certificate:
    return Certificate.from_der(der(identity.certificate))


def issuer(*authorities: pki.Identity, cloud: Cloud = Cloud.PUBLIC) -> DiscoveredIssuer:
    """Return what a document of the Seen CA has just shown."""
    observation = IssuerObservation(
        cloud=cloud,
        issuer=read(DIRECT).subject,
        authority_key_identifier=(read(DIRECT).subject_key_identifier or b"").hex(),
        issuer_urls=(),
        signer_sha256="aa" * 32,
        seen_at=NOW,
    )
    ders = tuple(read(one).der for one in authorities)
    return DiscoveredIssuer(observation=observation, first_seen=NOW, last_seen=NOW, documents=1, authorities=ders)


def bundle(*entries: TrustedCertificate) -> TrustBundle:
    return TrustBundle.of((trusted(root().certificate), *entries))


def status_of(
    seen: DiscoveredIssuer, trust: TrustBundle, decisions: OperatorDecisions | None = None
) -> tuple[ReviewStatus, list[ReviewStatus]]:
    surveyed = survey_issuer(seen, trust, decisions or OperatorDecisions(), at=NOW)
    return surveyed.review_status, [one.review_status for one in surveyed.authorities]


REJECTED = OperatorDecisions(rejected=frozenset({AuthorityIdentity.of(read(DIRECT))}))
DENIED = OperatorDecisions(denials=Denials(serial_numbers=frozenset({DIRECT.certificate.serial_number})))


@pytest.mark.parametrize(
    ("entries", "decisions", "expected"),
    [
        ((), OperatorDecisions(), ReviewStatus.APPROVABLE),
        ((), REJECTED, ReviewStatus.REJECTED),
        ((), DENIED, ReviewStatus.APPROVABLE),
        ((trusted(DIRECT.certificate),), DENIED, ReviewStatus.DENIED),
        (
            (),
            replace(DENIED, denied_authorities={DIRECT.certificate.serial_number: REJECTED.rejected}),
            ReviewStatus.DENIED,
        ),
        ((trusted(OLD.certificate, retire_at=NOW),), OperatorDecisions(), ReviewStatus.RETIRED),
        ((trusted(OLD.certificate, retire_at=NOW + DAY),), OperatorDecisions(), ReviewStatus.APPROVABLE),
        ((trusted(RENEWED.certificate),), REJECTED, ReviewStatus.PINNED),
        (
            (trusted(RENEWED.certificate), trusted(OLD.certificate, retire_at=NOW)),
            OperatorDecisions(),
            ReviewStatus.PINNED,
        ),
        ((replace(trusted(RENEWED.certificate), origin=Origin.ADMITTED),), OperatorDecisions(), ReviewStatus.ADMITTED),
        ((replace(trusted(RENEWED.certificate), origin=Origin.ADMITTED),), REJECTED, ReviewStatus.REJECTED),
    ],
)
def test_the_status_is_that_of_the_ca_unless_the_certificate_is_pinned(
    entries: tuple[TrustedCertificate, ...], decisions: OperatorDecisions, expected: ReviewStatus
) -> None:
    assert status_of(issuer(RENEWED), bundle(*entries), decisions) == (expected, [expected])


def test_a_denied_certificate_is_denied_even_if_it_is_pinned() -> None:
    assert status_of(issuer(DIRECT), bundle(trusted(DIRECT.certificate)), DENIED)[0] is ReviewStatus.DENIED


@pytest.mark.parametrize("origin", [Origin.LISTED, Origin.APPROVED, Origin.ADMITTED])
def test_an_issuer_is_unresolved_if_its_known_certificate_had_expired_when_it_was_last_seen(origin: Origin) -> None:
    pinned = replace(trusted(OLD.certificate), origin=origin)
    known = ReviewStatus.ADMITTED if origin is Origin.ADMITTED else ReviewStatus.PINNED
    assert status_of(issuer(OLD), bundle(pinned)) == (ReviewStatus.UNRESOLVED, [known])
    before = replace(issuer(OLD), last_seen=NOW - 2 * DAY)
    assert status_of(before, bundle(pinned)) == (known, [known])


def test_a_certificate_signs_until_its_last_moment() -> None:
    pinned, last = bundle(trusted(OLD.certificate)), read(OLD).not_after
    assert status_of(replace(issuer(OLD), last_seen=last), pinned)[0] is ReviewStatus.PINNED
    after = replace(issuer(OLD), last_seen=last + timedelta.resolution)
    assert status_of(after, pinned)[0] is ReviewStatus.UNRESOLVED


def test_a_refused_issuer_stays_refused_after_its_known_certificate_expires() -> None:
    assert status_of(issuer(OLD), bundle(), REJECTED) == (ReviewStatus.REJECTED, [ReviewStatus.REJECTED])


@pytest.mark.parametrize(
    ("authorities", "expected"),
    [
        ((DIRECT, ABOVE), [ReviewStatus.PINNED, ReviewStatus.APPROVABLE]),
        ((DIRECT, OLD_ABOVE), [ReviewStatus.PINNED, ReviewStatus.APPROVABLE]),
        ((ABOVE, DIRECT), [ReviewStatus.APPROVABLE, ReviewStatus.PINNED]),
    ],
)
def test_the_issuer_has_the_status_of_its_own_certificate_and_not_of_one_above(
    authorities: tuple[pki.Identity, ...], expected: list[ReviewStatus]
) -> None:
    seen = issuer(*authorities)
    assert status_of(seen, bundle(trusted(DIRECT.certificate))) == (expected[0], expected)


def test_the_survey_has_the_issuer_and_its_certificates() -> None:
    seen = issuer(DIRECT, ABOVE)
    surveyed = survey_issuer(seen, bundle(), OperatorDecisions(), at=NOW)
    assert surveyed.issuer is seen
    assert [one.certificate for one in surveyed.authorities] == [read(DIRECT), read(ABOVE)]


@pytest.mark.parametrize(("identifier", "status"), [("", ReviewStatus.PINNED), (b"XX".hex(), ReviewStatus.UNRESOLVED)])
def test_a_pin_without_a_key_identifier_has_the_name_of_an_issuer_without_one(
    identifier: str, status: ReviewStatus
) -> None:
    bare = authority("Seen CA", without=(ExtensionOID.SUBJECT_KEY_IDENTIFIER,))
    seen = issuer()
    named = replace(seen, observation=replace(seen.observation, authority_key_identifier=identifier))
    assert status_of(named, bundle(trusted(bare.certificate)))[0] is status


def test_an_issuer_without_a_certificate_is_pinned_by_name_until_that_pin_expires() -> None:
    assert status_of(issuer(), bundle()) == (ReviewStatus.UNRESOLVED, [])
    assert status_of(issuer(), bundle(trusted(RENEWED.certificate))) == (ReviewStatus.PINNED, [])
    assert status_of(issuer(), bundle(trusted(OLD.certificate))) == (ReviewStatus.UNRESOLVED, [])
    assert status_of(issuer(cloud=Cloud.CHINA), bundle(trusted(RENEWED.certificate))) == (ReviewStatus.UNRESOLVED, [])


def test_an_issuer_is_open_until_it_is_decided() -> None:
    assert {status.value for status in ReviewStatus if status.is_open} == {"unresolved", "approvable", "admitted"}


def test_answers_name_the_statuses() -> None:
    assert {status.value for status in ReviewStatus} == {
        "unresolved", "approvable", "admitted", "pinned", "rejected", "denied", "retired",
    }  # fmt: skip
