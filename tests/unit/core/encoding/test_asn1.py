"""asn1crypto's types: their tables are complete before the first thread reads a document."""

import json
import subprocess
import sys

from asn1crypto import core
from support.documents import SAMPLES

from verifier.core.encoding import asn1

# A new process, whose threads all start with the same document and switch often.
_FIRST_READERS = """
import json, sys, threading
from datetime import datetime
from pathlib import Path
from asn1crypto import core
from verifier.adapters.trust.files import TrustDirectory
from verifier.core import evidence
from verifier.usecases.archive import ArchiveVerifier

def subtypes(kind):
    return {kind}.union(*map(subtypes, kind.__subclasses__()))

ready = set(core._SETUP_CLASSES)
left = subtypes(core.Asn1Value) - ready - {core.Asn1Value, core.Choice}
document = evidence.from_imds_answer(Path(sys.argv[1]).read_bytes())
at = datetime.fromisoformat(sys.argv[2])
verifier, outcomes = ArchiveVerifier(trust=TrustDirectory(None)), []
barrier = threading.Barrier(16)

def read():
    barrier.wait()
    try:
        verifier.appraise(document, at=at)
        outcomes.append("read")
    except BaseException as error:
        outcomes.append(repr(error))

sys.setswitchinterval(1e-5)
readers = [threading.Thread(target=read) for _ in range(16)]
for reader in readers: reader.start()
for reader in readers: reader.join()
late = set(core._SETUP_CLASSES) - ready
print(json.dumps({"left": [*map(str, left)], "late": [*map(str, late)], "outcomes": outcomes}))
"""


def test_no_table_is_filled_while_threads_read() -> None:
    sample = str(SAMPLES / "public-eastus-2026-07-28.json")
    command = [sys.executable, "-P", "-c", _FIRST_READERS, sample, "2026-07-28T13:24:00+00:00"]
    ran = subprocess.run(command, check=True, capture_output=True, text=True, timeout=120)
    assert json.loads(ran.stdout) == {"left": [], "late": [], "outcomes": ["read"] * 16}


def test_every_table_is_filled_by_the_import() -> None:
    def subtypes(kind: type[core.Asn1Value]) -> set[type[core.Asn1Value]]:
        return {kind}.union(*(subtypes(one) for one in kind.__subclasses__()))

    assert asn1.x509.Certificate in core._SETUP_CLASSES  # noqa: SLF001 - the library's list of complete types
    assert subtypes(core.Asn1Value) - set(core._SETUP_CLASSES) <= {core.Asn1Value, core.Choice}  # noqa: SLF001 - as above


def test_offers_only_the_types_of_certificates() -> None:
    assert asn1.__all__ == ["x509"]
    assert "_validator_types" not in vars(asn1)  # imported for its tables only
