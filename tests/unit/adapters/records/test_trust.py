import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from verifier.adapters.records.feed import decode_feed, encode_feed_files, encode_feed_look
from verifier.adapters.records.trust import (
    bound_nonconforming,
    bound_observation,
    decode_authorities,
    decode_decisions,
    decode_event,
    decode_nonconforming,
    decode_number,
    decode_observation,
    discovered_issuer,
    encode_authorities,
    encode_decisions,
    encode_event,
    encode_nonconforming,
    encode_observation,
    nonconforming_record,
)
from verifier.core.discovery import DiscoveredIssuer, IssuerObservation
from verifier.core.nonconforming import NonconformingDocument
from verifier.core.trust.bundle import AuthorityIdentity, Denials
from verifier.core.trust.clouds import Cloud
from verifier.core.trust.operator_decisions import FollowedBundle, OperatorDecisions, PinDecision, RejectedBundle
from verifier.ports.stores import StoreUnavailable
from verifier.ports.trust import FeedState, NonconformingRecord, TrustAuditEvent

NOW = datetime(2026, 11, 23, 8, 0, tzinfo=UTC)
MICROSECONDS = 1_795_420_800_000_000
OBSERVATION = IssuerObservation(
    cloud=Cloud.CHINA,
    issuer="CN=ö",
    authority_key_identifier="00ff",
    issuer_urls=("http://a/", "http://b/"),
    signer_sha256="aa",
    seen_at=NOW,
)
EVENT = TrustAuditEvent(at=NOW, by="ann", what="approve", subject="ab", before="undecided", after="pinned")


def identity(spki_sha256: str, subject: str = "CN=ö") -> AuthorityIdentity:
    return AuthorityIdentity(subject_der=b"\x30\xff", spki_sha256=spki_sha256, subject=subject)


DECISIONS = OperatorDecisions(
    pins={
        "bb": PinDecision(der=b"\x30\xff", clouds=frozenset(Cloud), decided_by="ö", decided_at=NOW, note="n"),
        "aa": PinDecision(der=b"", clouds=frozenset({Cloud.PUBLIC}), decided_by="", decided_at=NOW),
    },
    rejected=frozenset({identity("dd"), identity("cc")}),
    denials=Denials(serial_numbers=frozenset({255, 16}), spki_sha256=frozenset({"ff", "ee"})),
    denied_authorities={255: frozenset({identity("ab")})},
)
NONCONFORMING = NonconformingDocument(
    issuer="CN=ö",
    pin_sha256="aa",
    clouds=frozenset({Cloud.US_GOVERNMENT, Cloud.PUBLIC}),
    signer_sha256="bb",
    document_sha256="cc",
    detail="An element stands there twice.",
    seen_at=NOW,
)

ENCODED_OBSERVATION = f'[1,"AzureChinaCloud","CN=\\u00f6","00ff",["http://a/","http://b/"],"aa",{MICROSECONDS}]'
ENCODED_EVENT = f'[1,{MICROSECONDS},"ann","approve","ab","undecided","pinned"]'
ENCODED_AUTHORITIES = '[1,["MP8=",""]]'
ENCODED_REJECTED = '[["cc","MP8=","CN=\\u00f6"],["dd","MP8=","CN=\\u00f6"]]'
ENCODED_SERIALS = '[["10",[]],["ff",[["ab","MP8=","CN=\\u00f6"]]]]'
ENCODED_DECISIONS = (
    f'[1,[["aa","",["AzurePublicCloud"],"",{MICROSECONDS},""],'
    '["bb","MP8=",["AzureChinaCloud","AzureGermanCloud","AzurePublicCloud","AzureUSGovernmentCloud"],'
    f'"\\u00f6",{MICROSECONDS},"n"]],{ENCODED_REJECTED},{ENCODED_SERIALS},["ee","ff"]]'
)
ENCODED_NONCONFORMING = (
    '[1,"CN=\\u00f6","aa",["AzurePublicCloud","AzureUSGovernmentCloud"],"bb","cc","An element stands there twice.",'
    f"{MICROSECONDS}]"
)

FOLLOWING = replace(DECISIONS, followed=FollowedBundle(raw=b"{}", version=7, decided_by="\N{LOCK}", decided_at=NOW))
ENCODED_FOLLOWING = ENCODED_DECISIONS.replace("[1,", "[2,", 1)[:-1] + f',["e30=",7,"\\ud83d\\udd12",{MICROSECONDS}]]'
REJECTING = replace(
    FOLLOWING, rejected_bundle=RejectedBundle(version=8, sha256="cc", decided_by="\N{LOCK}", decided_at=NOW)
)
ENCODED_REJECTING = ENCODED_FOLLOWING.replace("[2,", "[3,", 1)[:-1] + f',[8,"cc","\\ud83d\\udd12",{MICROSECONDS}]]'
FEED = FeedState(
    metadata={"timestamp.json": b"t", "1.root.json": b""},
    offered=b"{}",
    root_sha256="aa",
    checked_at=NOW,
    problem="\N{LOCK}",
)
ENCODED_FILES = '[1,[["1.root.json",""],["timestamp.json","dA=="]],"e30=","aa"]'
ENCODED_LOOK = f'[1,{MICROSECONDS},"\\ud83d\\udd12"]'

DECODERS: list[tuple[Callable[[str], object], str]] = [
    (decode_observation, ENCODED_OBSERVATION),
    (decode_event, ENCODED_EVENT),
    (decode_authorities, ENCODED_AUTHORITIES),
    (decode_decisions, ENCODED_DECISIONS),
    (decode_nonconforming, ENCODED_NONCONFORMING),
    (lambda files: decode_feed(files, ENCODED_LOOK), ENCODED_FILES),
    (lambda look: decode_feed(ENCODED_FILES, look), ENCODED_LOOK),
]

_moments = st.datetimes(timezones=st.just(UTC))
_fingerprints = st.text(alphabet="0123456789abcdef", max_size=8)
_observations = st.builds(
    IssuerObservation,
    cloud=st.sampled_from(Cloud),
    issuer=st.text(),
    authority_key_identifier=st.text(),
    issuer_urls=st.lists(st.text()).map(tuple),
    signer_sha256=st.text(),
    seen_at=_moments,
)
_identities = st.builds(AuthorityIdentity, subject_der=st.binary(), spki_sha256=_fingerprints, subject=st.text())
_decisions = st.builds(
    OperatorDecisions,
    pins=st.dictionaries(
        _fingerprints,
        st.builds(
            PinDecision,
            der=st.binary(),
            clouds=st.frozensets(st.sampled_from(Cloud)),
            decided_by=st.text(),
            decided_at=_moments,
            note=st.text(),
        ),
        max_size=3,
    ),
    rejected=st.frozensets(_identities, max_size=3),
    denials=st.builds(
        Denials,
        serial_numbers=st.frozensets(st.integers()).map(lambda some: some | {7}),
        spki_sha256=st.frozensets(_fingerprints),
    ),
    denied_authorities=st.dictionaries(st.just(7), st.frozensets(_identities, max_size=3)),
    followed=st.none()
    | st.builds(
        FollowedBundle,
        raw=st.none() | st.binary(),
        version=st.integers(),
        decided_by=st.text(),
        decided_at=_moments,
    ),
    rejected_bundle=st.none()
    | st.builds(RejectedBundle, version=st.integers(), sha256=st.text(), decided_by=st.text(), decided_at=_moments),
)
_feeds = st.builds(
    FeedState,
    metadata=st.dictionaries(st.text(), st.binary(), max_size=3),
    offered=st.none() | st.binary(),
    checked_at=st.none() | _moments,
    problem=st.text().map(lambda text: text.encode("utf-8", "replace").decode()),
)
_nonconforming = st.builds(
    NonconformingDocument,
    issuer=st.text(),
    pin_sha256=st.text(),
    clouds=st.frozensets(st.sampled_from(Cloud)),
    signer_sha256=st.text(),
    document_sha256=st.text(),
    detail=st.text(),
    seen_at=_moments,
)
_events = st.builds(
    TrustAuditEvent, at=_moments, by=st.text(), what=st.text(), subject=st.text(), before=st.text(), after=st.text()
)


def test_writes_lines_of_ascii_with_their_format_first() -> None:
    assert encode_observation(OBSERVATION) == ENCODED_OBSERVATION
    assert encode_event(EVENT) == ENCODED_EVENT
    assert encode_authorities([b"\x30\xff", b""]) == ENCODED_AUTHORITIES
    assert encode_decisions(DECISIONS) == ENCODED_DECISIONS
    assert encode_decisions(FOLLOWING) == ENCODED_FOLLOWING
    assert encode_decisions(REJECTING) == ENCODED_REJECTING
    assert encode_nonconforming(NONCONFORMING) == ENCODED_NONCONFORMING
    assert (encode_feed_files(FEED), encode_feed_look(FEED)) == (ENCODED_FILES, ENCODED_LOOK)


def test_writes_the_same_moment_alike_in_any_zone() -> None:
    elsewhere = NOW.astimezone(timezone(timedelta(hours=5, minutes=30)))
    event = TrustAuditEvent(at=elsewhere, by="ann", what="approve", subject="ab", before="undecided", after="pinned")
    assert encode_event(event) == ENCODED_EVENT
    assert decode_event(ENCODED_EVENT).at.tzinfo is UTC


@given(observation=_observations)
def test_reads_back_an_observation(observation: IssuerObservation) -> None:
    assert decode_observation(encode_observation(observation)) == observation


@given(decisions=_decisions)
def test_reads_back_decisions(decisions: OperatorDecisions) -> None:
    encoded = encode_decisions(decisions)
    assert encoded.isascii()
    assert "\n" not in encoded
    assert decode_decisions(encoded) == decisions


@given(decisions=_decisions)
def test_reads_back_the_names_of_authorities(decisions: OperatorDecisions) -> None:
    """Two identities that differ only in the name for people are equal, so equal decisions do not show it."""
    read = decode_decisions(encode_decisions(decisions))
    assert sorted(one.subject for one in read.rejected) == sorted(one.subject for one in decisions.rejected)


@given(document=_nonconforming)
def test_reads_back_a_nonconforming_document(document: NonconformingDocument) -> None:
    assert decode_nonconforming(encode_nonconforming(document)) == document


@given(state=_feeds)
def test_reads_back_the_state_of_a_feed(state: FeedState) -> None:
    assert decode_feed(encode_feed_files(state), encode_feed_look(state)) == state


def test_keeps_the_problem_of_a_feed_at_a_bounded_length() -> None:
    kept = decode_feed(ENCODED_FILES, encode_feed_look(FeedState(problem="\ud800" + "x" * 20_000)))
    assert kept.problem == "?" + "x" * 1023


@pytest.mark.parametrize(
    ("written", "other"),
    [
        ("[2,", "[1,"),
        ("[2,", "[3,"),
        ("[2,", "[4,"),
        ('["e30=",7', '["e30",7'),
        ('["e30=",7', '["e30=",7.0'),
        ('["e30=",7', '["e30=",true'),
        (f'["e30=",7,"\\ud83d\\udd12",{MICROSECONDS}]', "null"),
        (f'["e30=",7,"\\ud83d\\udd12",{MICROSECONDS}]', "[]"),
        (f',["e30=",7,"\\ud83d\\udd12",{MICROSECONDS}]', ""),
    ],
)
def test_refuses_decisions_that_follow_a_bundle_in_another_form(written: str, other: str) -> None:
    assert decode_decisions(ENCODED_FOLLOWING) == FOLLOWING
    assert written in ENCODED_FOLLOWING
    said = "that has format 4, and this release knows format 3: update" if other == "[4," else "cannot read"
    with pytest.raises(StoreUnavailable, match=said):
        decode_decisions(ENCODED_FOLLOWING.replace(written, other, 1))


@pytest.mark.parametrize(
    ("written", "other"),
    [
        ("[3,", "[2,"),
        ("[3,", "[1,"),
        ('[8,"cc"', '["8","cc"'),
        ('[8,"cc"', "[8,null"),
        (f',[8,"cc","\\ud83d\\udd12",{MICROSECONDS}]', ""),
        (f',[8,"cc","\\ud83d\\udd12",{MICROSECONDS}]', ",null"),
    ],
)
def test_refuses_decisions_that_reject_a_bundle_in_another_form(written: str, other: str) -> None:
    assert decode_decisions(ENCODED_REJECTING) == REJECTING
    assert written in ENCODED_REJECTING
    with pytest.raises(StoreUnavailable, match="cannot read"):
        decode_decisions(ENCODED_REJECTING.replace(written, other, 1))


def test_decisions_without_a_bundle_have_the_format_of_releases_without_feeds() -> None:
    assert encode_decisions(replace(REJECTING, followed=None, rejected_bundle=None)) == ENCODED_DECISIONS
    assert encode_decisions(replace(REJECTING, rejected_bundle=None)) == ENCODED_FOLLOWING
    assert decode_decisions(encode_decisions(replace(REJECTING, followed=None))).followed is None


@given(event=_events)
def test_reads_back_an_event(event: TrustAuditEvent) -> None:
    assert decode_event(encode_event(event)) == event


@given(authorities=st.lists(st.binary()).map(tuple))
def test_reads_back_authorities(authorities: tuple[bytes, ...]) -> None:
    assert decode_authorities(encode_authorities(authorities)) == authorities


@given(number=st.integers())
def test_reads_back_a_number(number: int) -> None:
    assert decode_number(str(number)) == number


@pytest.mark.parametrize(("decode", "encoded"), DECODERS, ids=lambda value: getattr(value, "__name__", ""))
def test_refuses_what_it_would_not_have_written(decode: Callable[[str], object], encoded: str) -> None:
    decode(encoded)
    for other in (
        "",
        "null",
        "{}",
        "[]",
        "[1]",
        encoded + " ",
        " " + encoded,
        encoded.replace(",", ", "),
        encoded.replace("[1,", "[2,", 1),
        encoded.replace("[1,", "[true,", 1),
        encoded.replace("[1,", "[1.0,", 1),
        encoded[:-1],
        encoded[:-1] + ",0]",
        "[" * 100_000,
        "[1," + "9" * 5000 + "]",
        "\ufffd",
    ):
        with pytest.raises(StoreUnavailable, match=r"cannot read|update imds-verifier") as caught:
            decode(other)
        assert len(caught.value.detail) < 120


@pytest.mark.parametrize(
    ("decode", "encoded", "written", "other"),
    [
        (decode_observation, ENCODED_OBSERVATION, '"AzureChinaCloud"', '"AzureMoonCloud"'),
        (decode_observation, ENCODED_OBSERVATION, '"AzureChinaCloud"', "7"),
        (decode_observation, ENCODED_OBSERVATION, "\\u00f6", "\\u00F6"),
        (decode_observation, ENCODED_OBSERVATION, "\\u00f6", "ö"),
        (decode_observation, ENCODED_OBSERVATION, '"http://b/"', "null"),
        (decode_observation, ENCODED_OBSERVATION, '["http://a/","http://b/"]', '"http://a/"'),
        (decode_observation, ENCODED_OBSERVATION, str(MICROSECONDS), f"{MICROSECONDS}.0"),
        (decode_observation, ENCODED_OBSERVATION, str(MICROSECONDS), f'"{MICROSECONDS}"'),
        (decode_observation, ENCODED_OBSERVATION, str(MICROSECONDS), "true"),
        (decode_observation, ENCODED_OBSERVATION, str(MICROSECONDS), "9" * 30),
        (decode_event, ENCODED_EVENT, '"ann"', "null"),
        (decode_event, ENCODED_EVENT, str(MICROSECONDS), "NaN"),
        (decode_authorities, ENCODED_AUTHORITIES, "MP8=", "MP8"),
        (decode_authorities, ENCODED_AUTHORITIES, "MP8=", "MP9="),
        (decode_authorities, ENCODED_AUTHORITIES, "MP8=", "MP 8="),
        (decode_authorities, ENCODED_AUTHORITIES, "MP8=", "ö"),
        (decode_authorities, ENCODED_AUTHORITIES, '"MP8="', "12"),
        (decode_decisions, ENCODED_DECISIONS, ENCODED_REJECTED, ENCODED_REJECTED.replace("cc", "ee")),
        (decode_decisions, ENCODED_DECISIONS, ENCODED_REJECTED, ENCODED_REJECTED.replace("cc", "dd")),
        (decode_decisions, ENCODED_DECISIONS, ENCODED_REJECTED, '["cc","dd"]'),
        (decode_decisions, ENCODED_DECISIONS, ENCODED_REJECTED, '"cc"'),
        (decode_decisions, ENCODED_DECISIONS, '["cc","MP8=",', '["cc",null,'),
        (decode_decisions, ENCODED_DECISIONS, '["ff",[[', '["FF",[['),
        (decode_decisions, ENCODED_DECISIONS, '["10",[]]', '["0x10",[]]'),
        (decode_decisions, ENCODED_DECISIONS, '["10",[]]', "[16,[]]"),
        (decode_decisions, ENCODED_DECISIONS, '["10",[]]', '"10"'),
        (decode_decisions, ENCODED_DECISIONS, '["10",[]]', '["fff",[]]'),
        (decode_decisions, ENCODED_DECISIONS, '["10",[]]', '["ff",[]]'),
        (decode_nonconforming, ENCODED_NONCONFORMING, '"aa"', "null"),
        (decode_nonconforming, ENCODED_NONCONFORMING, '"AzurePublicCloud"', '"AzureMoonCloud"'),
        (decode_decisions, ENCODED_DECISIONS, '["aa","",', '["bb","",'),
        (decode_decisions, ENCODED_DECISIONS, '["aa","",', '["aa",null,'),
        (decode_decisions, ENCODED_DECISIONS, '["aa","",', '["aa",'),
        (decode_decisions, ENCODED_DECISIONS, '["AzurePublicCloud"]', '["AzurePublicCloud","AzurePublicCloud"]'),
    ],
)
def test_refuses_a_record_with_one_thing_wrong(
    decode: Callable[[str], object], encoded: str, written: str, other: str
) -> None:
    assert encoded.count(written) >= 1
    with pytest.raises(StoreUnavailable, match="cannot read"):
        decode(encoded.replace(written, other, 1))


@given(
    json_value=st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(), st.lists, max_leaves=12
    )
)
def test_refuses_any_other_json(json_value: object) -> None:
    for decode, _ in DECODERS:
        with pytest.raises(StoreUnavailable):
            decode(json.dumps([2, json_value]))
        with pytest.raises(StoreUnavailable):
            decode(json.dumps(json_value))


@pytest.mark.parametrize(
    "encoded", ["", " 1", "1 ", "+1", "01", "-0", "1_0", "1.0", "1e3", "\N{ARABIC-INDIC DIGIT ONE}", "x", "9" * 5000]
)
def test_refuses_a_number_that_it_would_not_have_written(encoded: str) -> None:
    with pytest.raises(StoreUnavailable):
        decode_number(encoded)


def test_makes_a_discovered_issuer_of_what_a_registry_keeps() -> None:
    issuer = discovered_issuer(
        ENCODED_OBSERVATION, first_seen=MICROSECONDS - 1, documents=7, authorities=ENCODED_AUTHORITIES
    )
    assert issuer == DiscoveredIssuer(
        observation=OBSERVATION,
        first_seen=NOW - timedelta(microseconds=1),
        last_seen=NOW,
        documents=7,
        authorities=(b"\x30\xff", b""),
    )
    assert (
        discovered_issuer(ENCODED_OBSERVATION, first_seen=MICROSECONDS, documents=1, authorities=None).authorities == ()
    )


@pytest.mark.parametrize(
    ("first_seen", "documents"), [(MICROSECONDS + 1, 1), (MICROSECONDS, 0), (MICROSECONDS, -1), (10**30, 1)]
)
def test_refuses_an_issuer_that_cannot_be(first_seen: int, documents: int) -> None:
    with pytest.raises(StoreUnavailable, match="cannot read"):
        discovered_issuer(ENCODED_OBSERVATION, first_seen=first_seen, documents=documents, authorities=None)


def test_makes_a_record_of_nonconforming_documents_of_what_a_registry_keeps() -> None:
    record = nonconforming_record(ENCODED_NONCONFORMING, first_seen=MICROSECONDS - 1, documents=7)
    assert record == NonconformingRecord(
        document=NONCONFORMING, first_seen=NOW - timedelta(microseconds=1), documents=7
    )
    assert record.last_seen == NOW


@pytest.mark.parametrize(("first_seen", "documents"), [(MICROSECONDS + 1, 1), (MICROSECONDS, 0), (10**30, 1)])
def test_refuses_a_record_of_nonconforming_documents_that_cannot_be(first_seen: int, documents: int) -> None:
    with pytest.raises(StoreUnavailable, match="cannot read"):
        nonconforming_record(ENCODED_NONCONFORMING, first_seen=first_seen, documents=documents)


def test_bounds_the_texts_of_a_nonconforming_document() -> None:
    bounded = bound_nonconforming(replace(NONCONFORMING, issuer="x" * 1025, detail="y" * 513 + "\ud800"))
    assert (bounded.issuer, bounded.detail) == ("x" * 1024, "y" * 512)
    assert bound_nonconforming(NONCONFORMING) == NONCONFORMING


def test_leaves_an_ordinary_observation_as_it_is() -> None:
    assert bound_observation(OBSERVATION) == OBSERVATION


@given(
    observation=st.builds(
        IssuerObservation,
        cloud=st.just(Cloud.PUBLIC),
        issuer=st.text(alphabet=st.characters(exclude_categories=())),  # unpaired surrogates too
        authority_key_identifier=st.text(alphabet=st.characters(exclude_categories=())),
        issuer_urls=st.lists(st.text(alphabet=st.characters(exclude_categories=()))).map(tuple),
        signer_sha256=st.just("aa"),
        seen_at=_moments,
    )
)
def test_whatever_is_bounded_is_read_back_as_the_same_issuer(observation: IssuerObservation) -> None:
    bounded = bound_observation(observation)
    assert decode_observation(encode_observation(bounded)) == bounded
    assert bound_observation(bounded) == bounded
    assert decode_observation(encode_observation(bounded)).id == bounded.id


def test_bounds_each_text_at_its_length() -> None:
    bounded = bound_observation(
        IssuerObservation(
            cloud=Cloud.PUBLIC,
            issuer="x" * 1025,
            authority_key_identifier="a" * 129,
            issuer_urls=("u" * 512, "v" * 513, "w", "x", "y"),
            signer_sha256="aa",
            seen_at=NOW,
        )
    )
    assert bounded.issuer == "x" * 1024
    assert bounded.authority_key_identifier == "a" * 128
    assert bounded.issuer_urls == ("u" * 512, "w", "x")
