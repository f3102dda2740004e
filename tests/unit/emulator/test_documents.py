"""Document content equals that of real documents, and has the fields of its api-version."""

import base64
import json
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from asn1crypto import cms as asn1_cms

from verifier.emulator.documents import MarketplacePlan, VirtualMachine, make_content

SAMPLES = Path(__file__).parents[2] / "data" / "samples"


def read_content(name: str) -> bytes:
    der = base64.b64decode(json.loads((SAMPLES / name).read_bytes())["signature"])
    signed_data = asn1_cms.ContentInfo.load(der)["content"]
    return bytes(signed_data["encap_content_info"]["content"].native)


def test_content_equals_the_real_document_of_2026() -> None:
    vm = VirtualMachine(
        vm_id="b1310a36-d400-46f6-82cb-6217df846586",
        subscription_id="8a205152-b25a-417f-a676-80465535a6c9",
        plan=MarketplacePlan(),
        sku="",
    )
    content = make_content(vm, now=datetime(2026, 7, 28, 13, 24, tzinfo=UTC), api_version="2025-04-07")
    assert content == read_content("public-eastus-2026-07-28.json")


def test_content_equals_the_real_document_of_2022() -> None:
    vm = VirtualMachine(
        vm_id="bd8e7443-24a0-41f3-b949-8baf4fd1c573",
        subscription_id="5f130ffc-0a3e-4795-b691-4f56a12a5547",
        plan=MarketplacePlan(),
        sku="20_04-lts-gen2",
    )
    content = make_content(vm, now=datetime(2022, 4, 19, 1, 27, 21, tzinfo=UTC), api_version="2020-09-01")
    assert content == read_content("public-southcentralus-2022-04-19.json")


def test_oldest_version_has_the_fields_of_the_sample_of_2018_in_order(now: datetime) -> None:
    sample = json.loads(read_content("azure-page-2018.json"))
    ours = json.loads(make_content(VirtualMachine(), now=now, api_version="2018-10-01"))
    assert list(ours) == list(sample)
    assert list(ours["plan"]) == list(sample["plan"])
    assert list(ours["timeStamp"]) == list(sample["timeStamp"])


@pytest.mark.parametrize(
    ("api_version", "added"),
    [
        ("2018-10-01", set()),
        ("2019-03-11", set()),
        ("2019-04-30", {"subscriptionId"}),
        ("2019-11-01", {"subscriptionId", "sku"}),
        ("2020-07-15", {"subscriptionId", "sku"}),
        ("2020-09-01", {"subscriptionId", "sku", "licenseType"}),
        ("2025-04-07", {"subscriptionId", "sku", "licenseType"}),
    ],
)
def test_each_version_has_its_fields(now: datetime, api_version: str, added: set[str]) -> None:
    fields = json.loads(make_content(VirtualMachine(), now=now, api_version=api_version))
    assert set(fields) == {"nonce", "plan", "timeStamp", "vmId"} | added


def test_content_describes_the_machine(now: datetime) -> None:
    vm = VirtualMachine(
        vm_id="v",
        subscription_id="s",
        plan=MarketplacePlan(publisher="p", product="o", name="n"),
        sku="k",
        license_type="Windows_Server",
    )
    fields = json.loads(make_content(vm, now=now, api_version="2020-09-01", nonce="1234567890"))
    assert fields == {
        "licenseType": "Windows_Server",
        "nonce": "1234567890",
        "plan": {"name": "n", "product": "o", "publisher": "p"},
        "sku": "k",
        "subscriptionId": "s",
        "timeStamp": {"createdOn": "11/23/26 08:00:00 -0000", "expiresOn": "11/23/26 14:00:00 -0000"},
        "vmId": "v",
    }


def test_content_of_a_classic_machine_is_vm_id_and_nonce(now: datetime) -> None:
    vm = VirtualMachine(vm_id="v", is_classic=True)
    content = make_content(vm, now=now, api_version="2025-04-07", nonce="1234567890")
    assert content == b'{"nonce":"1234567890","vmId":"v"}'


def test_times_are_utc_with_any_time_zone_of_the_clock(now: datetime) -> None:
    elsewhere = now.astimezone(timezone(timedelta(hours=9)))
    vm = VirtualMachine()
    assert make_content(vm, now=elsewhere, api_version="2020-09-01") == make_content(
        vm, now=now, api_version="2020-09-01"
    )


def test_naive_time_and_version_without_documents_are_refused(now: datetime) -> None:
    with pytest.raises(ValueError, match="aware"):
        make_content(VirtualMachine(), now=now.replace(tzinfo=None), api_version="2020-09-01")
    with pytest.raises(ValueError, match="2018-10-01"):
        make_content(VirtualMachine(), now=now, api_version="2018-04-02")


def test_machine_needs_an_id_and_a_region() -> None:
    with pytest.raises(ValueError, match="vmId"):
        VirtualMachine(vm_id="")
    with pytest.raises(ValueError, match="region"):
        VirtualMachine(region="")
    with pytest.raises(ValueError, match="the region must be 1 to 63 ASCII letters, digits and hyphens"):
        VirtualMachine(region="a..b")
