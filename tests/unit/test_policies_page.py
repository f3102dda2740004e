"""The examples of docs/integrate/policies.md mean what their text says, and its table has every key."""

import re
import runpy
import tomllib
from pathlib import Path

import pytest
from support import documents
from support.applications import FixedTrust
from support.page_blocks import ROOT, blocks_of

from verifier.adapters.settings.policies import MAX_DEPTH, MAX_TABLES, PolicyTable
from verifier.core.policy import ClaimName, Policies
from verifier.core.reasons import PolicyRefused
from verifier.core.trust.clouds import Cloud
from verifier.usecases.archive import ArchiveVerifier

NAME = "docs/integrate/policies.md"
RUNS_BLOCKS = {"docs/integrate/policies.md": {"In the library": 1}}
PAGE = (ROOT / NAME).read_text("utf-8")
_ROW = re.compile(r"^\| `(?P<key>\w+)` \| (?P<means>[^|]+) \| (?P<version>[^|]*) ?\|$", re.MULTILINE)


def blocks(language: str) -> list[str]:
    return [block.text for block in blocks_of(NAME, None, language)]


def policies() -> Policies:
    tables = [tomllib.loads(text)["policies"] for text in blocks("toml")]
    return Policies({name: PolicyTable.model_validate(table).rule() for one in tables for name, table in one.items()})


def fields(**changes: object) -> dict[str, object]:
    plan = {"publisher": "contoso", "product": "contoso-appliance", "name": "standard"}
    return {**documents.content(), "plan": plan, "sku": "standard", **changes}


def denial(policy: str, made: dict[str, object]) -> str:
    """What the policy says against it; nothing where it is satisfied."""
    verifier = ArchiveVerifier(trust=FixedTrust(in_force=documents.shared_bundle()), policies=policies())
    try:
        verifier.appraise(documents.raw(documents.sign(documents.encode(made))), at=documents.NOW, policy=policy)
    except PolicyRefused as refused:
        return refused.detail
    return ""


@pytest.mark.parametrize("policy", ["gold", "appliance", "own-license"])
def test_the_examples_accept_the_machine_that_they_are_for(policy: str) -> None:
    assert denial(policy, fields()) == ""


def test_the_composed_example_takes_one_alternative_and_never_what_is_excluded() -> None:
    theirs = {"publisher": "fabrikam", "product": "other", "name": "standard"}
    assert denial("appliance", fields(plan=theirs, subscriptionId="0f9d6c2b-3b1e-4c55-8a67-2d94e7b1c3f8")) == ""
    assert denial("appliance", fields(plan=theirs, subscriptionId="1" * 8)) != ""
    preview = {"publisher": "contoso", "product": "contoso-appliance", "name": "Preview"}
    assert "not (plan.name is allowed)" in denial("appliance", fields(plan=preview))


def test_the_pilot_is_of_two_vms() -> None:
    for vm_id in ("02aab8a4-74ef-476e-8182-f6d2ba4166a6", "13f56399-bd52-4150-9748-7190aae1ff21"):
        assert denial("pilot", fields(vmId=vm_id)) == ""
    assert "vmId" in denial("pilot", fields())


def test_shows_the_sentences_that_callers_are_told() -> None:
    theirs = {"publisher": "fabrikam", "product": "other", "name": "standard"}
    without_license = fields()
    del without_license["licenseType"]
    told = [denial("gold", fields(plan=theirs)), denial("own-license", without_license)]
    assert "".join(blocks("text")).splitlines() == told


def test_the_table_has_every_key_and_the_version_of_its_claim() -> None:
    rows = {row["key"]: row["version"].strip() for row in _ROW.finditer(PAGE)}
    assert list(rows) == [field.alias or name for name, field in PolicyTable.model_fields.items()]
    claims = {
        "publishers": ClaimName.PUBLISHER,
        "products": ClaimName.PRODUCT,
        "plans": ClaimName.PLAN,
        "vmIds": ClaimName.VM_ID,
        "subscriptionIds": ClaimName.SUBSCRIPTION_ID,
        "skus": ClaimName.SKU,
        "licenseTypes": ClaimName.LICENSE_TYPE,
    }
    assert {key: rows[key] for key in claims} == {key: claim.introduced for key, claim in claims.items()}


def test_tells_the_bounds_and_the_clouds_that_there_are() -> None:
    assert f"up to {MAX_DEPTH} deep, up to {MAX_TABLES} in one policy" in PAGE
    assert [cloud.value for cloud in Cloud if f"`{cloud.value}`" not in PAGE] == []


def test_the_library_example_makes_policies(tmp_path: Path) -> None:
    (example,) = blocks("python")
    script = tmp_path / "example.py"
    script.write_text(example, "utf-8")
    made = runpy.run_path(str(script))["policies"]
    assert isinstance(made, Policies)
    assert set(made.rules) == {"default", "appliance"}
