"""Inputs on which an earlier version failed (tests/data/cases), through each way in."""

from datetime import UTC, datetime
from pathlib import Path

import pytest
from support.applications import make_application
from support.command_line import run

from verifier.adapters.trust.files import load_bundle

CASES = Path(__file__).parents[1] / "data" / "cases"
DOCUMENT = CASES / "numericstring-in-subject.der"
TRUST = CASES / "numericstring-trust"
AT = datetime(2026, 11, 23, 8, 0, 5, tzinfo=UTC)


def test_an_unreadable_subject_is_a_refusal_at_the_command_line() -> None:
    ended = run("verify", str(DOCUMENT), "--trust-dir", str(TRUST), "--at", AT.isoformat())

    assert (ended.status, ended.out) == (1, "")
    assert ended.err.startswith("refused, chain-untrusted: The signer's certificate breaks RFC 5280 4.1.2.6: ")
    assert ended.err.count("\n") == 1


@pytest.mark.parametrize("media_type", ["application/pkcs7-mime", "application/octet-stream"])
def test_an_unreadable_subject_is_a_refusal_over_http(tmp_path: Path, media_type: str) -> None:
    application = make_application(tmp_path, bundle=load_bundle(TRUST), moment=AT)

    answer = application.client.post("/v1/attestations", data=DOCUMENT.read_bytes(), content_type=media_type)

    assert (answer.status_code, answer.get_json()["code"]) == (422, "chain-untrusted")
    assert "RFC 5280 4.1.2.6" in answer.get_json()["detail"]
    assert application.records.failures == []
