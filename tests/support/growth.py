"""A process that appraises documents which a sender made up, and tells how much memory it grew by.

`python -m support.growth NUMBER` reads a document a line, in hexadecimal, and appraises NUMBER of them in turn. Each
has another serial number in the place of PLACE, so that no cache knows its certificate. It makes none of them itself:
what it frees before it begins would hide what it grows by.
"""

import gc
import sys
from contextlib import suppress
from datetime import UTC, datetime
from itertools import cycle, islice
from pathlib import Path
from resource import getpagesize

from support.appraisals import read_in_time

from verifier.adapters.trust.files import load_bundle
from verifier.core.model import Limits, RawDocument
from verifier.core.reasons import Refused
from verifier.usecases.chain_cache import ChainCache

NOW = datetime(2026, 11, 23, 8, 0, 0, tzinfo=UTC)
#: The serial number that is replaced in the certificate and in the sid.
PLACE = 0x5A5A5A5A5A5A5A5A


def resident() -> int:
    """The bytes of memory that this process has."""
    gc.collect()
    return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * getpagesize()


def main(number: int) -> int:
    chains, bundle = ChainCache(), load_bundle()
    templates = [bytes.fromhex(line) for line in sys.stdin]

    def appraise(document: bytes) -> None:
        with suppress(Refused):
            claims = read_in_time(RawDocument(raw_der=document), now=NOW, limits=Limits())
            chains.build(claims, now=NOW, bundle=bundle)

    appraise(templates[0])
    before = resident()
    for serial, document in enumerate(islice(cycle(templates), number)):
        appraise(document.replace(PLACE.to_bytes(8), (PLACE + serial).to_bytes(8)))
    return resident() - before


if __name__ == "__main__":
    sys.stdout.write(f"{main(int(sys.argv[1]))}\n")
