"""An inspection costs at most 1,500 RSA-2048 verifications, about 50 ms, for any document within the default limit.

It is more than an appraisal, because it reads the structure and writes an answer of up to 300 KB.
"""

from time import process_time

import pytest
from support import documents
from support.applications import FixedTrust
from support.appraisal_cost import verification_seconds
from support.clocks import ManualClock
from support.hostile_structures import HOSTILE_STRUCTURES
from support.multiplied import KINDS, LARGEST, Kind

from verifier.api.inspection_codec import inspection_json
from verifier.core.encoding.json_text import encode_json
from verifier.core.model import RawDocument
from verifier.usecases.inspection import Inspector, Question

MOST_VERIFICATIONS = 1500
MOST_BYTES = 300_000
OTHERS = {
    **{name: raw[:LARGEST] for name, raw in HOSTILE_STRUCTURES.items()},
    **{f"content of {byte!r}": documents.sign(byte * (LARGEST - 4000)) for byte in (b"\x00", b"\x1b", b'"', b"\xff")},
}


@pytest.fixture(scope="module")
def unit() -> float:
    return verification_seconds()


def assert_cheap(document: bytes, unit: float) -> None:
    """Compare two CPU times of one process, the one of the inspection being the lesser of two."""
    assert len(document) <= LARGEST
    inspector = Inspector(trust=FixedTrust(in_force=documents.shared_bundle()), clock=ManualClock(documents.NOW))
    costs: list[float] = []
    for _ in range(2):
        started = process_time()
        answer = encode_json(inspection_json(inspector.inspect(RawDocument(raw_der=document), Question())))
        costs.append(process_time() - started)
        assert len(answer) < MOST_BYTES
    assert min(costs) / unit < MOST_VERIFICATIONS


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_a_document_of_each_kind_is_inspected_cheaply(kind: Kind, unit: float) -> None:
    for _, document in kind.documents(1):
        assert_cheap(document, unit)


@pytest.mark.parametrize("name", OTHERS)
def test_other_input_is_inspected_cheaply(name: str, unit: float) -> None:
    assert_cheap(OTHERS[name], unit)
