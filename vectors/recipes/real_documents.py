"""Generate vectors from a real document, which its owner published (tests/data/samples/README.md).

It carries the default nonce of IMDS, which no service issues, so its verifier accepts documents without a challenge.
"""

import base64
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Final

from support.documents import SAMPLES

from vectors.recipes.recipe import RETRY, Recipe, posted
from verifier.core.reasons import Check, Reason

_NAME: Final = "public-eastus-2026-07-28"
_IN_ITS_LIFE: Final = datetime(2026, 7, 28, 13, 25, 0, tzinfo=UTC)
_VM_ID: Final = b"b1310a36-d400-46f6-82cb-6217df846586"
_OTHER_VM_ID: Final = b"c1310a36-d400-46f6-82cb-6217df846586"


def recipes() -> Iterator[Recipe]:
    answer = (SAMPLES / f"{_NAME}.json").read_bytes()
    document = base64.b64decode(json.loads(answer)["signature"], validate=True)
    if document.count(_VM_ID) != 1:
        raise ValueError(f"{_NAME} does not have the vmId once")
    yield Recipe(
        name=_NAME,
        description="A real document of a VM in East US, byte for byte, one minute after it was made.",
        body=answer,
        at=_IN_ITS_LIFE,
        nonces=(),
        nonce_mode="optional",
        is_real=True,
    )
    yield Recipe(
        name=_NAME,
        description="A real document of a VM in East US, byte for byte, one day after it was made.",
        reason=Reason.DOCUMENT_EXPIRED,
        check=Check.VALIDITY_WINDOW,
        retry_after=RETRY,
        body=answer,
        at=_IN_ITS_LIFE + timedelta(days=1),
        nonces=(),
        nonce_mode="optional",
        is_real=True,
    )
    yield Recipe(
        name=f"{_NAME}-other-vm-id",
        description="A real document of a VM in East US, with another first digit of its vmId.",
        reason=Reason.SIGNATURE_INVALID,
        check=Check.SIGNATURE,
        body=posted(document.replace(_VM_ID, _OTHER_VM_ID)),
        at=_IN_ITS_LIFE,
        nonces=(),
        nonce_mode="optional",
        is_real=True,
    )
