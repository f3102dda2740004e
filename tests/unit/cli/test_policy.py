"""`imds-verifier policy test`: what it says of each rule, and its exit status."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from support import documents
from support.command_line import Ended, call
from support.page_blocks import blocks_of

NAME, AT, VM_ID = ("public-southcentralus-2022-04-19", "2022-04-19T02:00:00Z", "bd8e7443-24a0-41f3-b949-8baf4fd1c573")
RUNS_BLOCKS = {"docs/integrate/policies.md": {"Test a policy": 1}}
DOCUMENT = str(documents.SAMPLES / f"{NAME}.json")
#: The document is of a Linux VM without a Marketplace plan.
GOOD = '[policies.linux]\nskus = ["20_04-lts-gen2"]\n'
BAD = """[policies.gold]
clouds = ["AzurePublicCloud"]
skus = ["standard", "premi\\u00fcm\\u001b"]
requirePlan = true
anyOf = [{ skus = ["20_04-lts-gen2"] }, { vmIds = ["02aab8a4-74ef-476e-8182-f6d2ba4166a6"] }]
not = { skus = ["20_04-lts-gen2"] }
"""

Test = Callable[..., Ended]


@pytest.fixture
def test(tmp_path: Path) -> Test:
    def test(policies: str, *options: str, document: str = DOCUMENT, stdin: bytes = b"", **environment: str) -> Ended:
        file = tmp_path / "policies.toml"
        file.write_text(policies, "utf-8")
        return call("policy", "test", str(file), "--document", document, *options, stdin=stdin, environment=environment)

    return test


def test_a_document_that_satisfies_every_policy_ends_with_0(test: Test) -> None:
    ended = test(GOOD, "--at", AT)
    assert (ended.status, ended.err) == (0, "")
    assert ended.out.splitlines() == [
        f"authentic: a document of AzurePublicCloud, vmId {VM_ID}, as of {AT}",
        'policy "linux": satisfied',
        "  satisfied: sku is allowed",
        '    found: "20_04-lts-gen2"',
    ]


def test_says_of_each_rule_why_the_document_does_not_satisfy_it(test: Test) -> None:
    ended = test(GOOD + BAD, "--at", AT, "--policy", "gold")
    assert (ended.status, ended.err) == (1, "")
    assert ended.out.isascii()
    assert ended.out.splitlines()[1:] == [
        'policy "gold": denied',
        "  denied: sku is allowed",
        "    The document's sku is not allowed.",
        '    found: "20_04-lts-gen2"',
        '    allowed: "premi\\u00fcm\\u001b", "standard"',
        "  satisfied: cloud is allowed",
        '    found: "AzurePublicCloud"',
        "  absent: plan is present",
        "    The VM was not made from a Marketplace image: its plan.publisher is empty.",
        "  satisfied: any of",
        "    satisfied: sku is allowed",
        '      found: "20_04-lts-gen2"',
        "    denied: vmId is allowed",
        "      The document's vmId is not allowed.",
        f'      found: "{VM_ID}"',
        '      allowed: "02aab8a4-74ef-476e-8182-f6d2ba4166a6"',
        "  denied: not",
        "    satisfied: sku is allowed",
        '      found: "20_04-lts-gen2"',
    ]


def test_the_json_has_every_rule_with_its_values(test: Test) -> None:
    ended = test(GOOD + BAD, "--at", AT, "--json")
    answer = json.loads(ended.out)
    assert ended.status == 1
    assert {name: answer[name] for name in ("evaluatedAt", "cloud", "vmId")} == {
        "evaluatedAt": AT,
        "cloud": "AzurePublicCloud",
        "vmId": VM_ID,
    }
    assert [(policy["name"], policy["outcome"]) for policy in answer["policies"]] == [
        ("linux", "satisfied"),
        ("gold", "denied"),
    ]
    sku, *_, negation = answer["policies"][1]["rules"]
    assert sku == {
        "rule": "sku is allowed",
        "outcome": "denied",
        "detail": "The document's sku is not allowed.",
        "found": "20_04-lts-gen2",
        "allowed": ["premi\u00fcm\u001b", "standard"],
        "rules": [],
    }
    assert [rule["outcome"] for rule in negation["rules"]] == ["satisfied"]


def test_the_page_shows_what_the_command_prints(test: Test) -> None:
    [shown] = blocks_of("docs/integrate/policies.md", "Test a policy", "console")
    vm_ids = 'vmIds = ["02aab8a4-74ef-476e-8182-f6d2ba4166a6"]\n'
    assert test(GOOD + vm_ids, "--at", AT).out == shown.text


def test_the_text_shows_some_of_many_values_and_the_json_all(test: Test) -> None:
    policies = f"[policies.gold]\nskus = {[f'sku-{number:02}' for number in range(12)]}"
    assert test(policies, "--at", AT).out.endswith('"sku-09", and 2 more\n')
    assert len(json.loads(test(policies, "--at", AT, "--json").out)["policies"][0]["rules"][0]["allowed"]) == 12


def test_a_document_that_is_not_authentic_satisfies_no_policy(test: Test) -> None:
    forged = bytearray(documents.sample(NAME))
    forged[-1] ^= 1
    ended = test(GOOD, "--at", AT, document="-", stdin=bytes(forged))
    assert (ended.status, ended.out) == (1, "")
    assert ended.err.startswith("refused, signature-invalid: ")
    expired = test(GOOD)
    assert expired.status == 1
    assert "--at TIME" in expired.err
    as_json = test(GOOD, "--json")
    assert (as_json.status, json.loads(as_json.out)["code"]) == (1, "document-expired")


def test_the_policies_of_the_settings_do_not_apply(test: Test) -> None:
    denying = json.dumps({"default": {"publishers": ["contoso"]}})
    assert test(GOOD, "--at", AT, VERIFIER_POLICIES=denying).status == 0


@pytest.mark.parametrize(
    ("policies", "options", "said"),
    [
        ("", (), "no policy"),
        ('[policies.gold]\nvmIds = ["vm-1"]', (), "policies.gold.vmIds.0: "),
        (GOOD, ("--policy", "gold"), "the file has no policy 'gold'; it has 'linux'"),
        (GOOD, ("--at", "yesterday"), "--at"),
        (GOOD, ("--document", "/nowhere/document.json"), "/nowhere/document.json"),
        (GOOD, ("--document", "-"), "malformed-evidence"),
        (GOOD, ("--trust-dir", "/nowhere"), "/nowhere"),
        (GOOD, ("--nonce", "1"), "--nonce"),
    ],
)
def test_ends_with_2_if_the_input_is_unusable(test: Test, policies: str, options: tuple[str, ...], said: str) -> None:
    ended = test(policies, *options)
    assert (ended.status, ended.out) == (2, "")
    assert said in ended.err


@pytest.mark.parametrize("arguments", [(), ("test",), ("test", "policies.toml")])
def test_needs_an_action_a_file_and_a_document(arguments: tuple[str, ...]) -> None:
    assert call("policy", *arguments).status == 2
