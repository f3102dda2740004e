"""The eleven real documents of tests/data/samples/real, each with the moment at which it was made."""

import base64
import csv
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from support.documents import SAMPLES

_REAL: Final = SAMPLES / "real"


@dataclass(frozen=True, slots=True, kw_only=True)
class RealSample:
    """A document, and what is known of it."""

    name: str
    source: str
    common_name: str
    issuer: str
    created_on: datetime
    nonce: str

    def __str__(self) -> str:
        return self.name

    @property
    def der(self) -> bytes:
        return base64.b64decode((_REAL / f"{self.name}.b64").read_bytes().strip(), validate=True)


def _load() -> tuple[RealSample, ...]:
    with (_REAL / "INDEX.tsv").open(encoding="utf-8", newline="") as index:
        return tuple(
            RealSample(
                name=row["name"],
                source=row["source"],
                common_name=row["signer_cn"],
                issuer=row["issuer_cn"],
                created_on=datetime.strptime(row["createdOn"], "%m/%d/%y %H:%M:%S -0000").replace(tzinfo=UTC),
                nonce=row["nonce"],
            )
            for row in csv.DictReader(index, delimiter="\t")
        )


REAL_SAMPLES: Final = _load()
