"""What is decided about a discovered issuer, in each of its certificates, at each moment."""

from dataclasses import replace
from datetime import timedelta

import pytest
from support.chains import authority, root
from support.documents import NOW, around, der, trusted

from verifier.core.certificates import Certificate
from verifier.core.clouds import Cloud
from verifier.core.decisions import Decisions
from verifier.core.discovery import DiscoveredIssuer, Sighting
from verifier.core.standing import Standing, survey_issuer
from verifier.core.trust import AuthorityIdentity, Denials, Origin, TrustBundle, TrustedCertificate
from verifier.emulator import pki

DAY = timedelta(days=1)
EXPIRED = pki.Validity(not_before=NOW - 900 * DAY, not_after=NOW - DAY)
DIRECT, RENEWED, OLD = (
    authority("Seen CA"),
    authority("Seen CA", validity=around(days=900)),
    authority("Seen CA", validity=EXPIRED),
)


def read(identity: pki.Identity) -> Certificate:
    return Certificate.from_der(der(identity.certificate))


def issuer(*authorities: pki.Identity, cloud: Cloud = Cloud.PUBLIC) -> DiscoveredIssuer:
    """As a document under the Seen CA showed it just now."""
    sighting = Sighting(
        cloud=cloud,
        issuer=read(DIRECT).subject,
        authority_key_identifier=(read(DIRECT).subject_key_identifier or b"").hex(),
        issuer_urls=(),
        signer_sha256="aa" * 32,
        seen_at=NOW,
    )
    ders = tuple(read(one).der for one in authorities)
    return DiscoveredIssuer(sighting=sighting, first_seen=NOW, last_seen=NOW, documents=1, authorities=ders)


def bundle(*entries: TrustedCertificate) -> TrustBundle:
    return TrustBundle.of((trusted(root().certificate), *entries))


def standing(
    seen: DiscoveredIssuer, trust: TrustBundle, decisions: Decisions | None = None
) -> tuple[Standing, list[Standing]]:
    surveyed = survey_issuer(seen, trust, decisions or Decisions(), at=NOW)
    return surveyed.standing, [one.standing for one in surveyed.authorities]


REJECTED = Decisions(rejected=frozenset({AuthorityIdentity.of(read(DIRECT))}))
DENIED = Decisions(denials=Denials(serial_numbers=frozenset({DIRECT.certificate.serial_number})))


@pytest.mark.parametrize(
    ("entries", "decisions", "expected"),
    [
        ((), Decisions(), Standing.APPROVABLE),
        ((), REJECTED, Standing.REJECTED),
        ((), DENIED, Standing.APPROVABLE),
        ((trusted(DIRECT.certificate),), DENIED, Standing.DENIED),
        (
            (),
            replace(DENIED, denied_authorities={DIRECT.certificate.serial_number: REJECTED.rejected}),
            Standing.DENIED,
        ),
        ((trusted(OLD.certificate, retire_at=NOW),), Decisions(), Standing.RETIRED),
        ((trusted(OLD.certificate, retire_at=NOW + DAY),), Decisions(), Standing.APPROVABLE),
        ((trusted(RENEWED.certificate),), REJECTED, Standing.PINNED),
        ((trusted(RENEWED.certificate), trusted(OLD.certificate, retire_at=NOW)), Decisions(), Standing.PINNED),
        ((replace(trusted(RENEWED.certificate), origin=Origin.ADMITTED),), Decisions(), Standing.ADMITTED),
        ((replace(trusted(RENEWED.certificate), origin=Origin.ADMITTED),), REJECTED, Standing.REJECTED),
    ],
)
def test_is_that_of_the_ca_unless_the_certificate_itself_is_pinned(
    entries: tuple[TrustedCertificate, ...], decisions: Decisions, expected: Standing
) -> None:
    assert standing(issuer(RENEWED), bundle(*entries), decisions) == (expected, [expected])


def test_a_certificate_that_is_denied_itself_is_denied_though_pinned() -> None:
    assert standing(issuer(DIRECT), bundle(trusted(DIRECT.certificate)), DENIED)[0] is Standing.DENIED


@pytest.mark.parametrize("origin", [Origin.LISTED, Origin.APPROVED, Origin.ADMITTED])
def test_an_issuer_whose_known_certificate_had_expired_when_it_was_seen_waits_for_a_decision(origin: Origin) -> None:
    pinned = replace(trusted(OLD.certificate), origin=origin)
    known = Standing.ADMITTED if origin is Origin.ADMITTED else Standing.PINNED
    assert standing(issuer(OLD), bundle(pinned)) == (Standing.UNRESOLVED, [known])
    before = replace(issuer(OLD), last_seen=NOW - 2 * DAY)
    assert standing(before, bundle(pinned)) == (known, [known])


def test_an_issuer_without_a_certificate_is_pinned_by_name_until_that_pin_expires() -> None:
    assert standing(issuer(), bundle()) == (Standing.UNRESOLVED, [])
    assert standing(issuer(), bundle(trusted(RENEWED.certificate))) == (Standing.PINNED, [])
    assert standing(issuer(), bundle(trusted(OLD.certificate))) == (Standing.UNRESOLVED, [])
    assert standing(issuer(cloud=Cloud.CHINA), bundle(trusted(RENEWED.certificate))) == (Standing.UNRESOLVED, [])
