"""What it costs to appraise a document up to the chain step, in CPU time; the unit is one RSA-2048 verification."""

from time import process_time

from cryptography.hazmat.primitives.asymmetric import padding, rsa
from support import cms, documents
from support.appraisals import read_in_time
from support.documents import raw

from verifier.core.model import Limits
from verifier.core.reasons import Refused

#: The documents of which the cheapest counts.
ROUNDS = 5
_BATCH = 200


def verification_seconds() -> float:
    """One verification by cryptography with a key that is loaded: the best of several batches."""
    key = documents.spare_key()
    assert isinstance(key, rsa.RSAPrivateKey)
    content = documents.encode(documents.content())
    signature = key.sign(content, padding.PKCS1v15(), cms.SHA256)
    public = key.public_key()
    best = float("inf")
    for _ in range(2 * ROUNDS):
        started = process_time()
        for _ in range(_BATCH):
            public.verify(signature, content, padding.PKCS1v15(), cms.SHA256)
        best = min(best, (process_time() - started) / _BATCH)
    return best


def cost_of(document: bytes) -> tuple[float, str]:
    """The seconds, and what came of it: `passed` is the chain step's turn."""
    taken = raw(document)
    started = process_time()
    try:
        read_in_time(taken, now=documents.NOW, limits=Limits())
    except Refused as refused:
        return process_time() - started, refused.detail
    return process_time() - started, "passed"
