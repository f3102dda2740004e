"""`core`: what it costs to authenticate a document, in RSA-2048 verifications."""

import gc
import os
from collections.abc import Callable
from datetime import UTC, datetime
from itertools import cycle
from statistics import median

from authentication import Authenticate, authenticator, cpu_seconds_of, interleave
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from figures import Figure
from options import Options
from support import cms, documents
from support.real_samples import REAL_SAMPLES

from verifier.adapters.trust.files import load_bundle
from verifier.core.trust.bundle import TrustBundle

#: The published document of 2026, and a time at which it was valid.
SAMPLE = "public-eastus-2026-07-28"
SAMPLED_AT = datetime(2026, 7, 28, 13, 24, tzinfo=UTC)
_RSA_TIMES, _DOCUMENT_TIMES = 200, 50


def measure(options: Options) -> list[Figure]:
    """Measure warm and cold chains over the shipped trust, against one verification in the same round."""
    bundle = load_bundle()
    verify = rsa_verification()
    # As the service does before it forks its workers. Otherwise a collection of all modules may fall into a sample.
    gc.freeze()
    cold = [_fork_cold(bundle, verify) for _ in range(options.rounds * 2)]
    gc.unfreeze()
    document, authenticate = documents.sample(SAMPLE), authenticator(bundle, at=SAMPLED_AT)
    others = cycle([documents.document(nonce=f"{number:010}") for number in range(_DOCUMENT_TIMES)])
    authenticate_others = authenticator(documents.shared_bundle(), at=documents.NOW)
    rounds = interleave(
        {
            "rsa": (verify, _RSA_TIMES),
            "warm": (lambda: authenticate(document), _DOCUMENT_TIMES),
            "others": (lambda: authenticate_others(next(others)), _DOCUMENT_TIMES),
        },
        options.rounds * 2,
    )

    def ratios(name: str) -> tuple[float, ...]:
        return tuple(each[name] / each["rsa"] for each in rounds)

    return [
        _figure("warm chain / RSA-2048 verification", ratios("warm"), bar=8, aim=5),
        _figure("cold chain / RSA-2048 verification", tuple(cold), bar=250, aim=150),
        _figure("warm chain, another document each time / RSA", ratios("others")),
        _figure("RSA-2048 verification", tuple(each["rsa"] * 1e6 for each in rounds), unit="us CPU"),
        _figure("warm chain", tuple(each["warm"] * 1e6 for each in rounds), unit="us CPU"),
    ]


def _figure(
    row: str, samples: tuple[float, ...], *, unit: str = "x", bar: float | None = None, aim: float | None = None
) -> Figure:
    return Figure(part="core", row=row, unit=unit, samples=samples, bar=bar, aim=aim)


def rsa_verification() -> Callable[[], None]:
    """Return one PKCS#1 v1.5 verification by pyca/cryptography, with the key and the algorithms made before."""
    key = documents.spare_key()
    if not isinstance(key, rsa.RSAPrivateKey):
        raise TypeError("the spare key is an RSA key")
    content, scheme = documents.encode(documents.content()), padding.PKCS1v15()
    signature, public = key.sign(content, scheme, cms.SHA256), key.public_key()
    return lambda: public.verify(signature, content, scheme, cms.SHA256)


def _fork_cold(bundle: TrustBundle, verify: Callable[[], None]) -> float:
    """Return the cost of the first document of a signer, in RSA-2048 verifications, measured in a new process.

    The process has authenticated documents of other signers over the same trust, so only the signer is new: no cache
    knows a part of its document or of its chain.
    """
    reader, writer = os.pipe()
    process_id = os.fork()
    if process_id == 0:
        status = 1
        try:
            for sample in (*REAL_SAMPLES, *REAL_SAMPLES):
                authenticator(bundle, at=sample.created_on)(sample.der)
            os.write(writer, str(_cold(authenticator(bundle, at=SAMPLED_AT), verify)).encode("ascii"))
            status = 0
        finally:
            os._exit(status)
    os.close(writer)
    with os.fdopen(reader, "rb") as results:
        result = results.read()
    _, status = os.waitpid(process_id, 0)
    if status != 0:
        raise RuntimeError("the process that authenticates the first document of a signer failed")
    return float(result)


def _cold(authenticate: Authenticate, verify: Callable[[], None]) -> float:
    before = cpu_seconds_of(verify, _RSA_TIMES)
    cold = cpu_seconds_of(lambda: authenticate(documents.sample(SAMPLE)))
    return cold / median((before, cpu_seconds_of(verify, _RSA_TIMES)))
