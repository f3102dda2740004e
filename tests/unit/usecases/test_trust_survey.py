"""Check the survey of trust: what it says of each certificate, cloud, denial and rejected CA."""

from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from support.certificates import make_authority
from support.documents import NOW, shared_pki, spare_key
from support.feeds import published
from support.trust_operations import Operations, make_operations, new_authority, read, renewed_authority

from verifier.adapters.trust.published import write_bundle
from verifier.core.issuer_review import ReviewStatus
from verifier.core.nonconforming import NonconformingDocument
from verifier.core.trust.bundle import AuthorityIdentity, Denials, State
from verifier.core.trust.certificates import Certificate
from verifier.core.trust.clouds import Cloud
from verifier.core.trust.operator_decisions import FollowedBundle, OperatorDecisions
from verifier.ports.trust import TrustAuditEvent
from verifier.usecases.trust_survey import SurveyedCloud, TrustSurvey, survey_trust

SECOND, DAY = timedelta(seconds=1), timedelta(days=1)
PUBLIC = frozenset({Cloud.PUBLIC})
NEW = read(new_authority())


@pytest.fixture
def operations(tmp_path: Path) -> Operations:
    return make_operations(tmp_path)


def survey(operations: Operations, *, at: datetime = NOW) -> TrustSurvey:
    return survey_trust(operations.administration, operations.feed, at=at)


def cloud_of(shown: TrustSurvey, cloud: Cloud = Cloud.PUBLIC) -> SurveyedCloud:
    [found] = [one for one in shown.clouds if one.cloud is cloud]
    return found


def issuing_ca() -> Certificate:
    return read(shared_pki().issuing_ca)


def test_survey_has_the_trust_in_force_and_its_time(operations: Operations) -> None:
    bundle = operations.administration.bundle()
    shown = survey(operations)
    assert (shown.at, shown.generation, shown.entries) == (NOW, bundle.generation, bundle.entries)
    assert [one.cloud for one in shown.clouds] == list(bundle.clouds)
    assert (shown.discovered, shown.operator_pins, shown.rejected, shown.denied) == ((), (), (), ())
    assert (shown.nonconforming, shown.oddities, shown.audit) == ((), (), ())
    assert shown.feed == operations.feed.status()


def test_cloud_has_its_anchors_pins_and_horizon(operations: Operations) -> None:
    cloud = cloud_of(survey(operations))
    for entries, certificate in ((cloud.anchors, read(shared_pki().root)), (cloud.pins, issuing_ca())):
        [one] = entries
        assert one.entry.certificate == certificate
        assert (one.state, one.chainable, one.denied) == (State.ACTIVE, True, False)
    assert cloud.horizon == issuing_ca().not_after
    assert (cloud.served, cloud.closed, cloud.is_counted) == (True, False, True)


def test_states_and_horizons_are_those_of_the_time_of_the_survey(operations: Operations) -> None:
    for at, state in (
        (issuing_ca().not_before - SECOND, State.STAGED),
        (issuing_ca().not_after + SECOND, State.EXPIRED),
    ):
        cloud = cloud_of(survey(operations, at=at))
        [pin] = cloud.pins
        assert (pin.state, pin.chainable, cloud.horizon) == (state, False, None)


def test_denied_pin_is_named_and_ends_the_chains(operations: Operations) -> None:
    operations.administration.deny(Denials(spki_sha256=frozenset({issuing_ca().spki_sha256})), by="alice")
    cloud = cloud_of(survey(operations))
    [anchor], [pin] = cloud.anchors, cloud.pins
    assert (anchor.denied, pin.denied, pin.chainable, cloud.horizon) == (False, True, False, None)


@pytest.mark.parametrize("served", [PUBLIC, frozenset({Cloud.US_GOVERNMENT})])
def test_cloud_that_is_not_served_is_not_counted(operations: Operations, served: frozenset[Cloud]) -> None:
    administration = replace(operations.administration, served=served)
    shown = survey_trust(administration, operations.feed, at=NOW)
    for cloud in (Cloud.PUBLIC, Cloud.US_GOVERNMENT):
        assert (cloud_of(shown, cloud).served, cloud_of(shown, cloud).is_counted) == (cloud in served, cloud in served)


def test_closed_cloud_is_not_counted(operations: Operations) -> None:
    cloud = cloud_of(survey(operations))
    assert not replace(cloud, closed=True).is_counted
    assert not replace(cloud, served=False, closed=True).is_counted


def test_chains_end_within_a_warning_up_to_and_with_its_last_moment(operations: Operations) -> None:
    cloud = cloud_of(survey(operations))
    left = issuing_ca().not_after - NOW
    assert cloud.ends_within(left, at=NOW)
    assert not cloud.ends_within(left - SECOND, at=NOW)
    assert cloud.ends_within(left - SECOND, at=NOW + SECOND)
    assert replace(cloud, horizon=None).ends_within(-DAY, at=NOW)


def test_usable_certificates_that_end_are_listed_the_earliest_first(operations: Operations) -> None:
    ends = [read(renewed_authority(days=100)), read(renewed_authority(days=200))]
    for one in ends[::-1]:
        operations.administration.pin(one, PUBLIC, by="alice")
    shown = survey(operations)
    warning = ends[1].not_after - NOW
    assert [one.certificate for one in shown.ending_within(warning)] == ends
    assert [one.certificate for one in shown.ending_within(warning - SECOND)] == ends[:1]
    assert [one.certificate for one in shown.ending_within(ends[0].not_after - NOW - SECOND)] == []
    reversed_entries = replace(shown, entries=shown.entries[::-1])
    assert [one.certificate for one in reversed_entries.ending_within(warning)] == ends
    late = survey(operations, at=ends[0].not_after + SECOND)
    assert [one.certificate for one in late.ending_within(warning)] == ends[1:]


def test_discovered_issuer_has_the_status_of_the_decisions(operations: Operations) -> None:
    observation = operations.discover(new_authority())
    [open_one] = survey(operations).discovered
    assert open_one.issuer.observation == observation
    assert open_one.review_status is ReviewStatus.APPROVABLE
    operations.administration.reject(NEW.sha256, by="alice")
    [rejected] = survey(operations).discovered
    assert rejected.review_status is ReviewStatus.REJECTED
    operations.administration.approve(NEW.sha256, by="alice")
    [approved] = survey(operations).discovered
    assert approved.review_status is ReviewStatus.PINNED


def test_pinned_name_has_the_status_of_the_time_of_the_survey(operations: Operations) -> None:
    identifier = issuing_ca().subject_key_identifier
    assert identifier is not None
    operations.discover(issuer=issuing_ca().subject, key_identifier=identifier.hex())
    for at, status in (
        (issuing_ca().not_after, ReviewStatus.PINNED),
        (issuing_ca().not_after + SECOND, ReviewStatus.UNRESOLVED),
    ):
        [seen] = survey(operations, at=at).discovered
        assert seen.review_status is status


def test_operators_pins_and_events_are_listed(operations: Operations) -> None:
    operations.administration.pin(NEW, PUBLIC, by="alice")
    shown = survey(operations)
    assert shown.operator_pins == tuple(operations.administration.decisions().pins.values())
    assert [(event.what, event.subject) for event in shown.audit] == [("pin", NEW.sha256)]


def test_last_100_events_are_listed(operations: Operations) -> None:
    for number in range(1, 103):
        event = TrustAuditEvent(at=NOW, by="alice", what="deny", subject=str(number), before="", after="")
        operations.registry.decide(OperatorDecisions(), event, expected=operations.registry.revision())
    assert {event.subject for event in survey(operations).audit} == {str(number) for number in range(3, 103)}


def test_rejected_cas_are_sorted_and_have_their_known_certificates(operations: Operations) -> None:
    operations.discover(new_authority(), key_identifier="01")
    operations.discover(renewed_authority(), key_identifier="02")
    operations.discover(new_authority("Another CA"), key_identifier="03")
    same_name = read(make_authority(issuer=shared_pki().root, name="Another CA", key=spare_key()))
    another = read(new_authority("Another CA"))
    gone = AuthorityIdentity.of(same_name)
    rejected = frozenset({AuthorityIdentity.of(NEW), AuthorityIdentity.of(another), gone})
    event = TrustAuditEvent(at=NOW, by="alice", what="reject", subject="", before="", after="")
    operations.registry.decide(OperatorDecisions(rejected=rejected), event, expected=operations.registry.revision())
    shown = survey(operations).rejected
    assert [(one.authority.subject, one.authority.spki_sha256) for one in shown] == sorted(
        (one.subject, one.spki_sha256) for one in rejected
    )
    certificates = {one.authority: {certificate.sha256 for certificate in one.certificates} for one in shown}
    assert certificates == {
        AuthorityIdentity.of(NEW): {NEW.sha256, read(renewed_authority()).sha256},
        AuthorityIdentity.of(another): {another.sha256},
        gone: set(),
    }


def test_denials_are_single_sorted_and_have_the_known_certificates(operations: Operations) -> None:
    keys, serials = {"ff" * 32, "00" * 32, issuing_ca().spki_sha256}, {1, 2**80, read(shared_pki().root).serial_number}
    operations.administration.deny(Denials(spki_sha256=frozenset(keys), serial_numbers=frozenset(serials)), by="alice")
    shown = survey(operations).denied
    assert [one.denials for one in shown] == [
        *(Denials(spki_sha256=frozenset({key})) for key in sorted(keys)),
        *(Denials(serial_numbers=frozenset({serial})) for serial in sorted(serials)),
    ]
    named = {
        Denials(spki_sha256=frozenset({issuing_ca().spki_sha256})): (issuing_ca(),),
        Denials(serial_numbers=frozenset({read(shared_pki().root).serial_number})): (read(shared_pki().root),),
    }
    assert [one.certificates for one in shown] == [named.get(one.denials, ()) for one in shown]


def test_odd_certificates_and_refused_genuine_documents_are_listed(operations: Operations) -> None:
    odd = make_authority(
        issuer=shared_pki().root, name="Odd CA", key=spare_key(), without=(x509.SubjectKeyIdentifier.oid,)
    )
    operations.administration.pin(read(odd), PUBLIC, by="alice")
    document = NonconformingDocument(
        issuer="CN=Pinned CA",
        pin_sha256="aa" * 32,
        clouds=PUBLIC,
        signer_sha256="bb" * 32,
        document_sha256="cc" * 32,
        detail="The certificate has 300 names.",
        seen_at=NOW,
    )
    operations.registry.record_nonconforming(document)
    shown = survey(operations)
    assert shown.oddities == operations.administration.bundle().oddities()
    assert len(shown.oddities) == 1
    assert shown.nonconforming == operations.administration.nonconforming()
    assert [one.document for one in shown.nonconforming] == [document]


def test_feed_is_the_followed_one(operations: Operations) -> None:
    raw = write_bundle(published(version=3))
    bundle = FollowedBundle(raw=raw, version=3, decided_by="alice", decided_at=NOW)
    operations.administration.follow(bundle, by="alice", judge=lambda _: None)
    in_force = survey(operations).feed.in_force
    assert in_force is not None
    assert in_force.version == 3
