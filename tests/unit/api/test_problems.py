"""Every code is documented once, with a status that fits it, and explained where its `type` points to."""

from pathlib import Path

import pytest
from support.applications import make_application

from verifier.api.problems import DOCUMENTATION, Code, Failure, RequestFault, find_code, type_uri
from verifier.core.reasons import Reason

EVERY = [*Reason, *RequestFault, *Failure]


def test_documents_every_code_and_no_other() -> None:
    assert set(DOCUMENTATION) == set(EVERY)


def test_no_two_codes_have_one_text() -> None:
    texts = [code.value for code in EVERY]
    assert len(set(texts)) == len(texts)


@pytest.mark.parametrize("code", EVERY, ids=lambda code: code.value)
def test_says_what_a_code_means_and_what_to_do(code: Code) -> None:
    documentation = DOCUMENTATION[code]
    assert documentation.title
    assert not documentation.title.endswith(".")
    for sentence in (documentation.meaning, documentation.remedy):
        assert sentence.endswith(".")


@pytest.mark.parametrize("code", EVERY, ids=lambda code: code.value)
def test_the_status_is_of_the_family_of_the_code(code: Code) -> None:
    """What is refused is 4xx; what is no verdict is 5xx, so that nobody takes the one for the other."""
    assert DOCUMENTATION[code].status // 100 == (5 if isinstance(code, Failure) else 4)


@pytest.mark.parametrize("code", EVERY, ids=lambda code: code.value)
def test_finds_a_code_by_its_text(code: Code) -> None:
    assert find_code(code.value) is code


@pytest.mark.parametrize("text", ["", "none", "MALFORMED-EVIDENCE", "malformed_evidence"])
def test_finds_no_other(text: str) -> None:
    with pytest.raises(KeyError):
        find_code(text)


@pytest.mark.parametrize("code", EVERY, ids=lambda code: code.value)
def test_serves_the_page_that_the_type_points_to(tmp_path: Path, code: Code) -> None:
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
