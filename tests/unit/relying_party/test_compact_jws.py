"""The strict JSON readers of both packages for relying parties: they refuse what the service's reader refuses."""

from pathlib import Path

import pytest
from support.ambiguous_json import AMBIGUOUS_JSON
from support.javascript_client import JavaScriptClient

from verifier.relying_party.compact_jws import JwsError, read_object

TEXTS = [raw for raw, _ in AMBIGUOUS_JSON]


@pytest.mark.parametrize("raw", TEXTS)
def test_python_refuses_ambiguous_json(raw: bytes) -> None:
    with pytest.raises(JwsError):
        read_object(raw)


def test_javascript_refuses_ambiguous_json_with_the_same_messages(tmp_path: Path) -> None:
    accepted = b'{"a":[1,{"b":"\\u00e9"}]}'
    assert read_object(accepted) == {"a": [1, {"b": "é"}]}
    messages = JavaScriptClient(tmp_path).run("read_objects.mjs", {"texts": [raw.hex() for raw in [accepted, *TEXTS]]})
    assert messages == ["", *map(refusal, TEXTS)]


def refusal(raw: bytes) -> str:
    with pytest.raises(JwsError) as caught:
        read_object(raw)
    return str(caught.value)
