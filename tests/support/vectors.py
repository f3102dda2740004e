"""The vectors, read by the code of the command `conformance`."""

import tomllib
from contextlib import AbstractContextManager
from functools import cache
from pathlib import Path

from verifier.adapters.trust.files import load_bundle
from verifier.api import json_codec
from verifier.cli.conformance_cases import TRUST, Case, read_case, read_cases
from verifier.core import evidence
from verifier.core.model import RawDocument
from verifier.core.trust.bundle import TrustBundle
from verifier.wiring.conformance import ConformanceService, open_service

VECTORS = Path(__file__).parents[2] / "vectors"
VERIFIED = "verified"
#: The vector that detects the removal of each check.
DETECTORS = Path(__file__).parents[1] / "vectors" / "detectors.toml"
#: The reason of each removal that no vector can detect.
EQUIVALENT = Path(__file__).parents[1] / "vectors" / "equivalent.toml"


@cache
def load_vectors() -> tuple[Case, ...]:
    return tuple(read_cases(VECTORS))


@cache
def vectors_trust() -> TrustBundle:
    return load_bundle(VECTORS / TRUST)


def find_vector(name: str) -> Case:
    """The vector of this name, e.g. `verified/json`."""
    return read_case(VECTORS / name)


def document_of(vector: Case) -> RawDocument:
    """Read the document in the body, as the service does. Raises FormatRefused."""
    evidence.check_size(vector.post.body)
    return json_codec.read_attestation(vector.post.media_type, vector.post.body).document


def conformance_service() -> AbstractContextManager[ConformanceService]:
    return open_service(vectors_trust())


def read_detectors(*kinds: str) -> dict[str, str]:
    """Return the vector for the removal of each check, of these kinds or of all kinds.

    `detected`: the answer differs. `backed_up`: another check refuses the document with the same code.
    """
    tables = tomllib.loads(DETECTORS.read_text("utf-8")) if DETECTORS.exists() else {}
    return {name: case for kind, table in tables.items() if not kinds or kind in kinds for name, case in table.items()}


def read_equivalent() -> dict[str, str]:
    return tomllib.loads(EQUIVALENT.read_text("utf-8"))
