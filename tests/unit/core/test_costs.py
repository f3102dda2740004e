"""No document costs more than 250 RSA-2048 verifications before the chain step, or stays in memory.

`bench/multiplied_elements.py` prints the cost of each kind.
"""

import subprocess
import sys
from pathlib import Path
from time import process_time

import pytest
from support import growth
from support.appraisal_cost import cost_of, verification_seconds
from support.hostile_structures import HOSTILE_STRUCTURES
from support.multiplied import KINDS, LARGEST, Kind

from verifier.core import bounds
from verifier.core.encoding.structure import read_structure

MOST_VERIFICATIONS = 250
MOST_VERIFICATIONS_OF_A_STRUCTURE = 1500
MOST_GROWTH = 10_000_000
DOCUMENTS = 5000
TESTS = Path(__file__).parents[2]

#: The kinds that leave most in the caches.
HEAVY = {
    "SAN: dNSName, 1 byte",
    "EKU: purpose, each another",
    "subject: RDN of 200 bytes",
}


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_the_most_expensive_document_of_each_kind_is_cheap(kind: Kind) -> None:
    """Compare two CPU times of one process, each the minimum of several runs."""
    unit = verification_seconds()
    for first, document in kind.documents(1):
        assert len(document) <= LARGEST
        others = [document, *(one for serial in (2, 3) for count, one in kind.documents(serial) if count == first)]
        cost = min(cost_of(one)[0] for one in others) / unit
        assert cost < MOST_VERIFICATIONS, (first, len(document), cost)


@pytest.mark.parametrize("raw", HOSTILE_STRUCTURES.values(), ids=HOSTILE_STRUCTURES)
def test_the_structure_of_any_input_is_cheap(raw: bytes) -> None:
    """Compare as above. 1,500 verifications are 50 ms if one takes 33 us."""
    costs: list[float] = []
    for _ in range(8):
        started = process_time()
        read_structure(raw)
        costs.append(process_time() - started)
    assert min(costs) / verification_seconds() < MOST_VERIFICATIONS_OF_A_STRUCTURE


def test_there_is_a_kind_for_every_bound_of_a_certificate() -> None:
    """Fail if a bound has no kind of document, because its cost is then not measured."""
    assert {name for name in vars(bounds) if name.startswith("MAX_")} == {
        *("MAX_EVIDENCE_BYTES", "MAX_CERTIFICATE_BYTES"),  # the sizes of all of them
        *(
            "MAX_NAMES",
            "MAX_HOST_NAME_BYTES",
            "MAX_NAME_ATTRIBUTES",
            "MAX_EXTENSIONS",
            "MAX_EXTENSION_ELEMENTS",
            "MAX_KEY_PURPOSES",
        ),
        *("MAX_SERIAL_NUMBER_BYTES", "MAX_RSA_BITS", "MAX_RSA_EXPONENT_BITS", "MAX_OID_BYTES", "MAX_DEPTH"),
        *(
            "MAX_EMBEDDED_CERTIFICATES",
            "MAX_SIGNED_ATTRIBUTES",
            "MAX_ALGORITHM_BYTES",
            "MAX_JSON_VALUES",
            "MAX_JSON_DEPTH",
        ),
        # No kind: these truncate text, limit one field, or concern fetched answers and refused documents.
        *("MAX_SHOWN_CHARACTERS", "MAX_NONCE_CHARACTERS", "MAX_VM_ID_CHARACTERS", "MAX_ELEMENTS"),
        *("MAX_TOLERATED_ELEMENTS", "MAX_TOLERATED_RSA_BITS", "MAX_TOLERATED_EXPONENT_BITS"),
    }


def test_five_thousand_documents_leave_no_memory_behind() -> None:
    made = [document for kind in KINDS if kind.name in HEAVY for _, document in kind.documents(growth.PLACE)]
    # Only these get as far as the caches.
    made = [document for document in made if cost_of(document)[1] == "passed"]
    assert len(made) >= len(HEAVY)
    grown = subprocess.run(
        [sys.executable, "-m", "support.growth", str(DOCUMENTS)],
        cwd=TESTS,
        input="\n".join(document.hex() for document in made),
        capture_output=True,
        text=True,
        check=True,
        timeout=300,
    )
    assert int(grown.stdout) < MOST_GROWTH
