"""The codes are a promise to programs: those of the page, each named after its text, and two of them temporary."""

import re

from support.javascript_client import ROOT

from verifier.relying_party import NotVerified, RefusalCode


def test_the_codes_are_those_of_the_page() -> None:
    page = (ROOT / "docs" / "integrate" / "relying-party-codes.md").read_text("utf-8")
    assert re.findall(r"^\| `([a-z-]+)` \| ", page, re.MULTILINE) == [code.value for code in RefusalCode]


def test_a_code_is_named_after_its_text() -> None:
    assert [code.name for code in RefusalCode] == [code.value.replace("-", "_").upper() for code in RefusalCode]


def test_unavailable_keys_and_stores_are_temporary_and_nothing_else() -> None:
    temporary = [code for code in RefusalCode if code.is_temporary]
    assert temporary == [RefusalCode.KEYS_UNAVAILABLE, RefusalCode.REPLAY_STORE_UNAVAILABLE]


def test_a_refusal_has_a_code_for_programs_and_a_message_for_people() -> None:
    refused = NotVerified(RefusalCode.TOKEN_EXPIRED, "The token is expired.")
    assert (refused.code, str(refused)) == (RefusalCode.TOKEN_EXPIRED, "The token is expired.")
