"""The next bundle of a feed: its number, its times, and what followers would refuse."""

from dataclasses import replace
from datetime import timedelta

import pytest
from support.chains import authority, root
from support.documents import NOW, around, trusted

from verifier.core.encoding.moments import moment_json
from verifier.core.trust.bundle import Origin, TrustedCertificate, TrustError
from verifier.core.trust.published import PublishedBundle
from verifier.emulator import pki
from verifier.usecases import feed_publication
from verifier.usecases.feed_publication import next_bundle

MONTH = timedelta(days=30)
ANCHOR = trusted(root().certificate)
PIN = trusted(authority("Feed CA").certificate)


def expired() -> TrustedCertificate:
    validity = pki.Validity(not_before=NOW - 2 * MONTH, not_after=NOW - MONTH)
    return trusted(authority("Expired CA", validity=validity).certificate)


def make(
    *entries: TrustedCertificate, previous: PublishedBundle | None = None, version: int | None = None
) -> PublishedBundle:
    return next_bundle(entries, previous=previous, version=version, now=NOW, lasting=MONTH)


def test_the_first_bundle_has_version_1_and_lasts_as_long_as_asked() -> None:
    assert make(ANCHOR, PIN) == PublishedBundle(
        version=1,
        published_at=NOW,
        expires_at=NOW + MONTH,
        entries=(replace(ANCHOR, origin=Origin.PUBLISHED), replace(PIN, origin=Origin.PUBLISHED)),
    )


def test_the_next_bundle_has_the_next_version_or_the_one_that_is_asked_for() -> None:
    first = make(ANCHOR, version=7)
    assert first.version == 7
    assert make(ANCHOR, PIN, previous=first).version == 8
    assert make(ANCHOR, PIN, previous=first, version=8).version == 8
    assert make(ANCHOR, PIN, previous=first, version=100).version == 100


@pytest.mark.parametrize("version", [6, 7])
def test_a_version_that_is_not_higher_is_refused(version: int) -> None:
    with pytest.raises(TrustError, match=f"version {version} is not higher than version 7, which is published"):
        make(ANCHOR, PIN, previous=make(ANCHOR, version=7), version=version)


def test_version_0_is_refused_for_the_first_bundle() -> None:
    with pytest.raises(TrustError, match="version 0 is not higher than version 0"):
        make(ANCHOR, version=0)


def test_what_the_previous_bundle_has_is_not_removed() -> None:
    with pytest.raises(TrustError, match="removes CN=Feed CA"):
        make(ANCHOR, previous=make(ANCHOR, PIN))


def test_a_certificate_that_has_expired_is_not_added() -> None:
    gone = expired()
    with pytest.raises(TrustError) as caught:
        make(ANCHOR, gone, previous=make(ANCHOR))
    ended = moment_json(gone.certificate.not_after)
    assert str(caught.value) == f"{gone.certificate.subject}: expired at {ended}, so it may not be added"


def test_a_certificate_stays_after_it_has_expired() -> None:
    gone = expired()
    assert len(make(ANCHOR, gone, PIN, previous=make(ANCHOR, gone)).entries) == 3


def test_the_first_bundle_may_have_what_has_expired() -> None:
    assert len(make(ANCHOR, expired()).entries) == 2


def test_a_certificate_that_ends_later_is_added() -> None:
    pin = trusted(authority("Later CA", validity=around(days=1)).certificate)
    assert len(make(ANCHOR, pin, previous=make(ANCHOR)).entries) == 2


def test_the_steps_of_the_certificates_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    counted: list[tuple[TrustedCertificate, ...]] = []
    monkeypatch.setattr(feed_publication, "check_steps", counted.append)
    assert counted == [make(ANCHOR, PIN).entries]
