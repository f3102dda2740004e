"""The claims: each field of the signed content has its type, and absent fields stay absent."""

from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support import documents
from support.documents import VM, encode, shared_pki

from verifier.core.bounds import MAX_JSON_DEPTH, MAX_NONCE_CHARACTERS, MAX_VM_ID_CHARACTERS
from verifier.core.claims import decode_claims
from verifier.core.model import DecodedClaims, NamedContent, Plan, SignedContent
from verifier.core.reasons import Check, ClaimsRefused, Reason
from verifier.core.trust.certificates import Certificate
from verifier.core.trust.clouds import Cloud

SIGNER = Certificate.from_der(documents.der(shared_pki().signer.certificate))


def decode_bytes(content: bytes) -> DecodedClaims:
    signed = SignedContent(sha256="", content=content, signer=SIGNER, unverified_candidates=())
    return decode_claims(NamedContent(signed=signed, cloud=Cloud.PUBLIC, names=(), server_name=None))


def decode(**fields: object) -> DecodedClaims:
    return decode_bytes(encode(fields))


def refused(**fields: object) -> Reason:
    with pytest.raises(ClaimsRefused) as caught:
        decode(**fields)
    assert caught.value.check is Check.CLAIMS
    return caught.value.reason


def times(text: object, name: str = "createdOn") -> dict[str, object]:
    return {"vmId": "1", "timeStamp": {name: text}}


def test_reads_every_field() -> None:
    decoded = decode_bytes(encode(documents.content()))
    claims = decoded.claims
    assert claims.vm_id == VM.vm_id
    assert claims.subscription_id == VM.subscription_id
    assert claims.sku == "standard"
    assert claims.license_type == ""
    assert claims.nonce == documents.NONCE
    assert claims.plan == Plan(publisher="contoso", product="contoso-appliance", name="standard")
    assert claims.created_on == datetime(2026, 11, 23, 8, tzinfo=UTC)
    assert claims.expires_on == datetime(2026, 11, 23, 14, tzinfo=UTC)
    assert decoded.document == documents.content()
    assert decoded.named.signed.content == encode(documents.content())


def test_absent_and_null_fields_are_none() -> None:
    absent = decode(vmId="1").claims
    null = decode(vmId="1", subscriptionId=None, sku=None, licenseType=None, nonce=None, plan=None, timeStamp=None)
    assert absent == null.claims
    assert absent.nonce is None
    assert absent.plan is None
    assert absent.created_on is absent.expires_on is None


def test_empty_fields_are_empty_and_not_none() -> None:
    claims = decode(vmId="1", sku="", nonce="", plan={}, timeStamp={"createdOn": "", "expiresOn": ""}).claims
    assert claims.sku == claims.nonce == ""
    assert claims.plan == Plan(publisher=None, product=None, name=None)
    assert claims.created_on is None


def test_unknown_fields_are_kept() -> None:
    assert decode(vmId="1", zone={"number": 2}).document == {"vmId": "1", "zone": {"number": 2}}


def test_the_document_is_immutable() -> None:
    document = decode(vmId="1").document
    with pytest.raises(TypeError):
        document["vmId"] = "2"  # type: ignore[index] # the test assigns on purpose


@pytest.mark.parametrize("spelling", ["timeStamp", "timestamp"])
def test_the_times_are_read_in_both_spellings(spelling: str) -> None:
    fields: dict[str, object] = {"vmId": "1", spelling: {"createdOn": "11/20/18 22:07:39 -0000"}}
    assert decode(**fields).claims.created_on == datetime(2018, 11, 20, 22, 7, 39, tzinfo=UTC)


def test_both_spellings_at_once_are_refused() -> None:
    assert refused(vmId="1", timeStamp={}, timestamp={}) is Reason.MALFORMED_EVIDENCE


def test_a_null_spelling_counts_as_absent() -> None:
    assert decode(vmId="1", timeStamp={"createdOn": "01/02/03 04:05:06 -0000"}, timestamp=None).claims.created_on


@pytest.mark.parametrize("vm_id", [None, ""])
def test_a_document_that_names_no_vm_is_incomplete(vm_id: str | None) -> None:
    assert refused(vmId=vm_id) is Reason.CLAIMS_INCOMPLETE
    assert refused(sku="1") is Reason.CLAIMS_INCOMPLETE


@pytest.mark.parametrize(
    "fields",
    [
        {"vmId": 1},
        {"vmId": ["1"]},
        {"vmId": True},
        {"vmId": "1", "nonce": 1234567890},
        {"vmId": "1", "sku": {}},
        {"vmId": "1", "subscriptionId": 1},
        {"vmId": "1", "licenseType": False},
        {"vmId": "1", "plan": "standard"},
        {"vmId": "1", "plan": []},
        {"vmId": "1", "plan": {"name": 1}},
        {"vmId": "1", "plan": {"product": []}},
        {"vmId": "1", "timeStamp": "now"},
        {"vmId": "1", "timestamp": []},
        {"vmId": "1", "timeStamp": {"createdOn": 1}},
        {"vmId": "1", "timeStamp": {"expiresOn": {}}},
    ],
)
def test_a_field_of_another_type_is_refused(fields: dict[str, object]) -> None:
    assert refused(**fields) is Reason.MALFORMED_EVIDENCE


def test_strings_are_bounded_exactly() -> None:
    longest = decode(vmId="v" * MAX_VM_ID_CHARACTERS, nonce="n" * MAX_NONCE_CHARACTERS)
    assert longest.claims.vm_id == "v" * MAX_VM_ID_CHARACTERS
    assert refused(vmId="v" * (MAX_VM_ID_CHARACTERS + 1)) is Reason.MALFORMED_EVIDENCE
    assert refused(vmId="1", nonce="n" * (MAX_NONCE_CHARACTERS + 1)) is Reason.MALFORMED_EVIDENCE


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("11/20/18 22:07:39 -0000", datetime(2018, 11, 20, 22, 7, 39, tzinfo=UTC)),
        ("11/20/18 22:07:39 +0000", datetime(2018, 11, 20, 22, 7, 39, tzinfo=UTC)),
        ("01/01/00 00:00:00 -0000", datetime(2000, 1, 1, tzinfo=UTC)),
        ("12/31/99 23:59:59 -0000", datetime(2099, 12, 31, 23, 59, 59, tzinfo=UTC)),
        ("02/29/28 12:00:00 -0000", datetime(2028, 2, 29, 12, tzinfo=UTC)),
    ],
)
def test_a_time_is_in_utc_and_in_this_century(text: str, moment: datetime) -> None:
    assert decode(**times(text)).claims.created_on == moment


@given(moment=st.datetimes(min_value=datetime(2000, 1, 1), max_value=datetime(2099, 12, 31, 23, 59, 59)))  # noqa: DTZ001 - the strategy takes naive bounds
@settings(deadline=None)
def test_every_time_of_the_century_round_trips(moment: datetime) -> None:
    expected = moment.replace(microsecond=0, tzinfo=UTC)
    assert decode(**times(f"{expected:%m/%d/%y %H:%M:%S} -0000", "expiresOn")).claims.expires_on == expected


@pytest.mark.parametrize(
    "text",
    [
        "2018-11-20T22:07:39Z",
        "11/20/18 22:07:39",
        "11/20/18 22:07:39 -0100",
        "11/20/18 22:07:39 UTC",
        "11/20/2018 22:07:39 -0000",
        "1/2/18 22:07:39 -0000",
        "20/11/18 22:07:39 -0000",
        "00/20/18 22:07:39 -0000",
        "11/00/18 22:07:39 -0000",
        "11/31/18 22:07:39 -0000",
        "02/29/27 22:07:39 -0000",
        "11/20/18 24:00:00 -0000",
        "11/20/18 22:60:39 -0000",
        "11/20/18 22:07:60 -0000",
        " 11/20/18 22:07:39 -0000",
        "11/20/18 22:07:39 -0000\n",
        "11/20/18 22:07:39 -0000 ",
        "11/20/1\u0668 22:07:39 -0000",
        "-1/20/18 22:07:39 -0000",
        "0",
    ],
)
@pytest.mark.parametrize("name", ["createdOn", "expiresOn"])
def test_a_malformed_time_is_refused(text: str, name: str) -> None:
    assert refused(**times(text, name)) is Reason.MALFORMED_EVIDENCE


@pytest.mark.parametrize(
    "content",
    [b"", b"[]", b"{", b'{"vmId":"1","vmId":"1"}', b'{"vmId":"\xff"}', b'{"vmId":"\\ud800"}', b'{"vmId":"1"}{}'],
)
def test_content_that_is_not_one_strict_object_is_refused(content: bytes) -> None:
    with pytest.raises(ClaimsRefused) as caught:
        decode_bytes(content)
    assert caught.value.reason is Reason.MALFORMED_EVIDENCE


def test_depth_is_bounded_exactly() -> None:
    def nested(depth: int) -> object:
        return "bottom" if depth == 0 else [nested(depth - 1)]

    assert decode(vmId="1", note=nested(MAX_JSON_DEPTH - 1)).claims.vm_id == "1"
    assert refused(vmId="1", note=nested(MAX_JSON_DEPTH)) is Reason.MALFORMED_EVIDENCE


def test_details_do_not_quote_the_content() -> None:
    for fields in ({"vmId": "secret" * 30}, {"vmId": "1", "nonce": "secret" * 20}, times("secret")):
        with pytest.raises(ClaimsRefused) as caught:
            decode(**fields)
        assert "secret" not in caught.value.detail


@given(content=st.binary(max_size=100))
def test_arbitrary_content_raises_only_refusals(content: bytes) -> None:
    with pytest.raises(ClaimsRefused):
        decode_bytes(content)
