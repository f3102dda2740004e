"""The claims of a token become typed values, and a claim of another form is refused by its name."""

from datetime import UTC, datetime

import pytest
from support.relying_party_cases import EXPECTED, KEY_SET, MACHINE, NOW, TOKEN, of_machine

from verifier.relying_party import MemoryReplayStore, Plan, ResultVerifier, VerifiedMachine
from verifier.relying_party.machine import (
    ClaimsError,
    numeric_date,
    optional_moment,
    optional_plan,
    optional_text,
    text,
    texts,
)


def verify(token: str) -> VerifiedMachine:
    verifier = ResultVerifier(**EXPECTED, jwks=KEY_SET, replay_store=MemoryReplayStore(), clock=lambda: NOW)
    return verifier.verify(token)


def test_each_claim_is_returned_under_its_name() -> None:
    assert verify(TOKEN) == VerifiedMachine(
        vm_id="02aab8a4-74ef-476e-8182-f6d2ba4166a6",
        subscription_id="8d10da13-8125-4ba9-a717-bf7490507b3d",
        sku="2022-datacenter",
        license_type="",
        plan=Plan(publisher="contoso", product="db", name=None),
        cloud="AzurePublicCloud",
        created_on=datetime(2026, 11, 29, 11, 59, tzinfo=UTC),
        expires_on=datetime(2026, 11, 29, 17, 59, 0, 500_000, tzinfo=UTC),
        trust_generation="g1",
        signer_sha256="ab" * 32,
        nonce="0123456789",
        tenant="contoso",
        policies=("gold", "appliance", "another"),
        token_id="token-1",  # noqa: S106 - an identifier
        token_issued_at=datetime(2026, 11, 29, 12, 0, tzinfo=UTC),
        token_expires_at=datetime(2026, 11, 29, 12, 10, tzinfo=UTC),
        key_thumbprint=None,
    )


def test_each_name_of_a_plan_is_returned() -> None:
    plan: dict[str, object] = {"publisher": "a", "product": "b", "name": "c"}
    assert verify(of_machine(plan=plan)).plan == Plan(publisher="a", product="b", name="c")


@pytest.mark.parametrize("claim", ["subscriptionId", "sku", "licenseType", "plan", "createdOn", "expiresOn"])
def test_null_is_none(claim: str) -> None:
    nothing = verify(of_machine(**{claim: None}))
    present = verify(TOKEN)
    different = [name for name in VerifiedMachine.__slots__ if getattr(nothing, name) != getattr(present, name)]
    assert different == [name for name in different if getattr(nothing, name) is None]
    assert len(different) == 1


@pytest.mark.parametrize("claim", sorted(MACHINE))
def test_a_claim_that_is_missing_is_refused_by_its_name(claim: str) -> None:
    fields = {name: value for name, value in MACHINE.items() if name != claim}
    read = {"plan": optional_plan, "createdOn": optional_moment, "expiresOn": optional_moment}.get(claim, optional_text)
    with pytest.raises(ClaimsError, match=f"'{claim}' is missing"):
        read(fields, claim)


def test_required_text_is_not_empty() -> None:
    assert text({"vmId": "x"}, "vmId") == "x"
    for refused in ("", None, 1, ["x"]):
        with pytest.raises(ClaimsError, match="'vmId'"):
            text({"vmId": refused}, "vmId")


def test_a_list_with_something_else_than_text_is_refused() -> None:
    assert texts({"ids": []}, "ids") == ()
    for refused in (["a", 1], "ab", {"a": 1}, None):
        with pytest.raises(ClaimsError, match="'ids'"):
            texts({"ids": refused}, "ids")


def test_the_last_time_is_the_start_of_the_year_9000() -> None:
    last = datetime(9000, 1, 1, tzinfo=UTC).timestamp()
    assert numeric_date({"exp": last}, "exp") == last
    assert numeric_date({"exp": 0}, "exp") == 0
    refused: object
    for refused in (last + 1, last + 0.5, -1, True, "1", None):
        with pytest.raises(ClaimsError, match="'exp'"):
            numeric_date({"exp": refused}, "exp")


@pytest.mark.parametrize(
    "moment",
    [
        "2026-11-29T11:59:00",
        "2026-11-29T11:59:00Z ",
        "2026-11-29T11:59:00+00:00",
        "2026-11-29 11:59:00Z",
        "2026-11-29T24:00:00Z",
        "2026-02-30T00:00:00Z",
        "0000-01-01T00:00:00Z",
        "2026-11-29T11:59:00.0000000Z",
        "",
    ],
)
def test_a_time_in_another_form_is_refused(moment: str) -> None:
    with pytest.raises(ClaimsError, match="'createdOn' is not a time in UTC"):
        optional_moment({"createdOn": moment}, "createdOn")
