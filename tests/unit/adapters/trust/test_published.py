"""The bundle of a feed as JSON: what is written is read again, and everything else is refused with a sentence."""

import json
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.chains import authority, root
from support.documents import NOW
from support.feeds import anchor, entry, published

from verifier.adapters.trust import published as module
from verifier.adapters.trust.published import MAX_BUNDLE_BYTES, MAX_ENTRIES, read_bundle, write_bundle
from verifier.core.trust.bundle import TrustedCertificate, TrustError
from verifier.core.trust.clouds import Cloud

ROOT = root("Feed Root")
BUNDLE = published(
    anchor(ROOT, clouds=frozenset(Cloud)),
    entry(authority("Feed New CA", issuer=ROOT), activate_at=NOW, retire_at=NOW + timedelta(days=1, microseconds=5)),
    version=3,
)
Fields = dict[str, Any]


def fields() -> Fields:
    read: Fields = json.loads(write_bundle(BUNDLE))
    return read


def fingerprint(entry: TrustedCertificate) -> str:
    return entry.certificate.sha256


def refusal(raw: bytes) -> str:
    with pytest.raises(TrustError) as refused:
        read_bundle(raw)
    return str(refused.value)


def test_reads_what_it_writes() -> None:
    read = read_bundle(write_bundle(BUNDLE))
    assert (read.version, read.published_at, read.expires_at) == (3, BUNDLE.published_at, BUNDLE.expires_at)
    assert sorted(read.entries, key=fingerprint) == sorted(BUNDLE.entries, key=fingerprint)


def test_writes_equal_bundles_alike() -> None:
    other = published(*reversed(BUNDLE.entries), version=3)
    assert write_bundle(other) == write_bundle(BUNDLE) == write_bundle(read_bundle(write_bundle(BUNDLE)))


def test_reads_the_largest_bundle() -> None:
    """The bounds on members and bytes allow MAX_ENTRIES entries with every field."""
    [large] = [one for one in fields()["certificates"] if "retireAt" in one]
    large |= {"clouds": [cloud.value for cloud in Cloud], "note": "a note"}
    raw = json.dumps(fields() | {"certificates": [large] * MAX_ENTRIES}).encode()
    assert len(raw) < MAX_BUNDLE_BYTES
    assert refusal(raw) == "the bundle lists a certificate twice"


def test_refuses_more_entries_and_more_bytes() -> None:
    more = fields()
    more["certificates"] = more["certificates"][:1] * (MAX_ENTRIES + 1)
    assert refusal(json.dumps(more).encode()).startswith(
        "the bundle is malformed: certificates: List should have at most"
    )
    assert refusal(b" " * (MAX_BUNDLE_BYTES + 1)) == "the bundle has more than 1048576 bytes"


@pytest.mark.parametrize(
    ("number", "advice"), [(2, "update imds-verifier"), (10**9, "update imds-verifier"), (0, "publish it again")]
)
def test_names_the_format_of_another_release(number: int, advice: str) -> None:
    raw = json.dumps({"format": number, "unknown": [], "version": "x"}).encode()
    assert refusal(raw).startswith(f"the bundle has format {number}, and this release knows format 1: {advice}")


@pytest.mark.parametrize(
    ("raw", "fault"),
    [
        (b"", "not strict JSON: it ends too early"),
        (b"\xff\xfe", "not UTF-8"),
        (b"[]", "not strict JSON: it is not a JSON object"),
        (b"null", "not strict JSON: it is not a JSON object"),
        (b"\xef\xbb\xbf{}", "not strict JSON"),
        (b'{"format": 1, "format": 1}', "not strict JSON: it has a duplicate name"),
        (b'{"format": NaN}', "not strict JSON: it has a number that is not finite"),
        (b'{"format": 1e999}', "not strict JSON: it has a number that is not finite"),
        (b'{"format": ' + b"9" * 5000 + b"}", "not strict JSON: it has a number that is too long"),
        (b'{"format": "\\ud800"}', "not strict JSON: it has a lone surrogate"),
        (b'{"a": ' + b"[" * 10_000, "not strict JSON: it is nested deeper than 16"),
        (b'{"a": ' + b"[" * 1_000_000, "not strict JSON: it has more than 16384 members and elements"),
        (b'{"a": [' + b"0," * 200_000 + b"0]}", "not strict JSON: it has more than 16384 members and elements"),
        (b"{}", "malformed: format: Field required"),
        (b'{"format": "1"}', "malformed: format: Input should be a valid integer"),
        (b'{"format": 1.0}', "malformed: format: Input should be a valid integer"),
    ],
)
def test_refuses_hostile_bytes(raw: bytes, fault: str) -> None:
    assert refusal(raw).startswith(f"the bundle is {fault}")


def change(**changed: object) -> Callable[[Fields], None]:
    return lambda fields: fields.update(changed)


def change_entry(**changed: object) -> Callable[[Fields], None]:
    return lambda fields: fields["certificates"][0].update(changed)


PEM = fields()["certificates"][0]["pem"]


@pytest.mark.parametrize(
    ("damage", "fault"),
    [
        (change(format=True), "malformed: format"),
        (change(format=False), "malformed: format"),
        (change(version=0), "malformed: version"),
        (change(version=2**53 + 1), "malformed: version"),
        (change(version="3"), "malformed: version"),
        (change(version=None), "malformed: version"),
        (change(publishedAt=1_795_420_800), "malformed: publishedAt: Value error, expected a time in UTC"),
        (change(publishedAt="2026-11-23T08:00:00"), "malformed: publishedAt"),
        (change(publishedAt="2026-11-23T08:00:00+00:00"), "malformed: publishedAt"),
        (change(publishedAt="2026-13-23T08:00:00Z"), "malformed: publishedAt"),
        (change(publishedAt="2026-11-23T24:00:00Z"), "malformed: publishedAt"),
        (change(publishedAt="2026-11-23T08:00:00Z\n"), "malformed: publishedAt"),
        (change(expiresAt="2026-11-23T08:00:00Z"), "expires before it is published"),
        (change(unknown=1), "malformed: unknown: Extra inputs"),
        (change(**{"\x1b[31m" + "x" * 5000: 1}), "malformed: \\x1b[31mxxx"),
        (change(certificates={}), "malformed: certificates"),
        (change_entry(role="leaf"), "malformed: certificates.0.role"),
        (change_entry(role=1), "malformed: certificates.0.role"),
        (change_entry(clouds=[]), "malformed: certificates.0.clouds"),
        (change_entry(clouds=["Moon"]), "malformed: certificates.0.clouds.0"),
        (change_entry(clouds="AzurePublicCloud"), "malformed: certificates.0.clouds"),
        (change_entry(source=""), "malformed: certificates.0.source"),
        (change_entry(source="a\nb"), "malformed: certificates.0.source: Value error, expected one line"),
        (change_entry(note="\x1b[2J"), "malformed: certificates.0.note"),
        (change_entry(note="x" * 501), "malformed: certificates.0.note"),
        (change_entry(note=None), "malformed: certificates.0.note"),
        (change_entry(retireAt="soon"), "malformed: certificates.0.retireAt"),
        (change_entry(origin="listed"), "malformed: certificates.0.origin: Extra inputs"),
        (change_entry(pem=""), "not exactly one PEM block"),
        (change_entry(pem=PEM + PEM), "not exactly one PEM block"),
        (change_entry(pem=PEM.replace("CERTIFICATE", "PRIVATE KEY")), "has a certificate that is not in PEM"),
        (change_entry(pem=PEM.replace("MII", "MIJ", 1)), "has a certificate that is not in PEM"),
        (change_entry(pem="x" * 17_000), "malformed: certificates.0.pem"),
        (lambda fields: [one.update(role="root") for one in fields["certificates"]], "a root that another authority"),
    ],
)
def test_refuses_fields_that_it_does_not_write(damage: Callable[[Fields], None], fault: str) -> None:
    damaged = fields()
    damage(damaged)
    sentence = refusal(json.dumps(damaged).encode())
    assert fault in sentence
    assert len(sentence) < 600
    assert sentence.isprintable()


@given(raw=st.binary(max_size=300) | st.text(max_size=300).map(str.encode))
def test_refuses_arbitrary_bytes_with_a_sentence(raw: bytes) -> None:
    assert refusal(raw)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=10,
)


@given(place=st.sampled_from(["", *fields(), "certificates.0", *fields()["certificates"][0]]), value=JSON)
def test_reads_or_refuses_any_value_at_any_place(place: str, value: object) -> None:
    damaged: Any = fields()
    if place == "certificates.0":
        damaged["certificates"][0] = value
    elif place in damaged["certificates"][0]:
        damaged["certificates"][0][place] = value
    else:
        damaged[place] = value
    with suppress(TrustError):
        read = read_bundle(json.dumps(damaged).encode("utf-8", "replace"))
        assert read_bundle(write_bundle(read)).version == read.version


def test_the_bound_on_members_allows_every_bundle_within_the_other_bounds() -> None:
    assert 8 + MAX_ENTRIES * (8 + 2 * len(Cloud)) <= module._MAX_VALUES  # noqa: SLF001 - the sum of the other bounds
