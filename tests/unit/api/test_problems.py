"""Test that every code is documented and that the service serves its page."""

from pathlib import Path

import pytest
from support.applications import make_application

from verifier.api.problems import DOCUMENTATION, Code, Failure, RequestFault, find_code, type_uri
from verifier.core.reasons import Reason

EVERY = [*Reason, *RequestFault, *Failure]


def test_exactly_the_existing_codes_are_documented() -> None:
    assert set(DOCUMENTATION) == set(EVERY)


def test_codes_are_unique() -> None:
    texts = [code.value for code in EVERY]
    assert len(set(texts)) == len(texts)


@pytest.mark.parametrize("code", EVERY, ids=lambda code: code.value)
def test_documentation_is_complete_sentences(code: Code) -> None:
    documentation = DOCUMENTATION[code]
    assert documentation.title
    assert not documentation.title.endswith(".")
    for sentence in (documentation.meaning, documentation.remedy):
        assert sentence.endswith(".")


@pytest.mark.parametrize("code", EVERY, ids=lambda code: code.value)
def test_refusals_are_4xx_and_failures_are_5xx(code: Code) -> None:
    """Clients must be able to distinguish a refusal from a missing verdict by the status."""
    assert DOCUMENTATION[code].status // 100 == (5 if isinstance(code, Failure) else 4)


@pytest.mark.parametrize("code", EVERY, ids=lambda code: code.value)
def test_code_is_found_by_its_text(code: Code) -> None:
    assert find_code(code.value) is code


@pytest.mark.parametrize("text", ["", "none", "MALFORMED-EVIDENCE", "malformed_evidence"])
def test_unknown_code_is_not_found(text: str) -> None:
    with pytest.raises(KeyError):
        find_code(text)


@pytest.mark.parametrize("code", EVERY, ids=lambda code: code.value)
def test_service_serves_the_page_of_each_type(tmp_path: Path, code: Code) -> None:
    answer = make_application(tmp_path).client.get(type_uri(code))
    assert (answer.status_code, answer.mimetype) == (200, "text/plain")
    documentation = DOCUMENTATION[code]
    for part in (
        documentation.title,
        code.value,
        str(documentation.status),
        documentation.meaning,
        documentation.remedy,
    ):
        assert part in answer.text
    assert answer.headers["Cache-Control"] == "public, max-age=86400"
