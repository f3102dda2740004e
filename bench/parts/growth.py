"""`growth`: how a cost changes with the number of pins, nonces and signers, and with the size of a document.

Each figure compares a large case with a small one that ran in turns with it.
"""

import random
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from functools import partial
from itertools import count, islice
from statistics import median

from authentication import authenticator, interleave
from figures import Figure
from nonces import FIRST, Bench, issue, on_redis, on_sqlite, redeem, time_calls
from options import Options
from support import cms, documents
from support.certificates import make_signer
from support.chains import authority
from support.documents import NOW, der, shared_pki, trusted

from verifier.core.model import AuthenticContent
from verifier.core.trust.bundle import TrustBundle

#: Within this change, in percent, a cost counts as flat.
_FLAT = 10
_FEW_PINS = 10
#: The size up to which a cost must be flat, for pins and signers, and for nonces. Larger cases are for information.
_BARRED, _BARRED_NONCES = 1_000, 10**6
#: How many calls each round makes.
_DOCUMENTS, _COLD, _NONCES = 50, 5, 400
_EMBEDDED_CERTIFICATES = 8
_Call = Callable[[], object]


def measure(options: Options) -> list[Figure]:
    """Measure each dimension up to its bar, or with `options.long` to the largest case."""
    sizes = (1_000, 10_000) if options.long else (1_000,)
    return [
        *_pins(sizes, options.rounds),
        *_signers(sizes, options.rounds),
        *_document_sizes(options.rounds),
        *_nonces("Redis", partial(on_redis, appendonly=False), options),
        *_nonces("SQLite", on_sqlite, options),
    ]


def _pins(sizes: tuple[int, ...], rounds: int) -> Iterator[Figure]:
    """Compare bundles of so many pins. One pin issued the signer, and no other has the name of its issuer."""
    own = tuple(map(trusted, (shared_pki().root.certificate, shared_pki().issuing_ca.certificate)))
    others = (trusted(authority(f"Growth CA {number}").certificate) for number in count())
    pins = [*own, *islice(others, _FEW_PINS - 1)]
    small, document = TrustBundle.of(tuple(pins)), documents.document()
    for size in sizes:
        pins += islice(others, size + 1 - len(pins))
        bundles = (small, TrustBundle.of(tuple(pins)))
        name = f"pins {_FEW_PINS} to {size:,}"
        warm = [partial(authenticator(bundle, at=NOW), document) for bundle in bundles]
        yield _compare(f"warm chain, {name}", *warm, times=_DOCUMENTS, rounds=rounds, bar=_bar(size))
        cold = [partial(_authenticate_first, bundle, document) for bundle in bundles]
        yield _compare(f"cold chain, {name}", *cold, times=_COLD, rounds=rounds, bar=_bar(size))


def _authenticate_first(bundle: TrustBundle, document: bytes) -> AuthenticContent:
    return authenticator(bundle, at=NOW)(document)


def _signers(sizes: tuple[int, ...], rounds: int) -> Iterator[Figure]:
    """Compare documents of one signer with those of so many, in random order, after each signer was seen once."""
    chosen = random.Random(18)  # noqa: S311 - repeatable, and no secret
    authenticate, one = authenticator(documents.shared_bundle(), at=NOW), documents.document()
    signed: list[bytes] = []

    def authenticate_any() -> AuthenticContent:
        return authenticate(chosen.choice(signed))

    for size in sizes:
        added = [documents.document(signer=make_signer()) for _ in range(size - len(signed))]
        signed += added
        for document in added:
            authenticate(document)
        yield _compare(
            f"warm chain, signers 1 to {size:,}",
            partial(authenticate, one),
            authenticate_any,
            times=_DOCUMENTS,
            rounds=rounds,
            bar=_bar(size),
        )


def _document_sizes(rounds: int) -> Iterator[Figure]:
    """Compare an ordinary document with one of 16 KiB that has a long text, and with one of many certificates."""
    authenticate, small = authenticator(documents.shared_bundle(), at=NOW), documents.document()
    fields = documents.content()
    room = 16 * 1024 - len(small) - 100
    long_text = documents.sign(documents.encode(fields | {"text": "x" * room}))
    signer = shared_pki().signer
    content = documents.encode(fields)
    info = cms.sign_content(content, certificate=signer.certificate, key=signer.key)
    others = [make_signer().certificate for _ in range(_EMBEDDED_CERTIFICATES - 1)]
    many = cms.SignedData(
        digest_algorithms=(info.digest_algorithm,),
        content=content,
        certificates=tuple(map(der, (signer.certificate, *others))),
        signer_infos=(info,),
    ).encode()
    for what, large in (("a long text", long_text), (f"{_EMBEDDED_CERTIFICATES} certificates", many)):
        row = f"warm chain, document of {len(small) / 1000:.1f} to {len(large) / 1000:.1f} KB, {what}"
        calls = [partial(authenticate, document) for document in (small, large)]
        yield _compare(row, *calls, times=_DOCUMENTS, rounds=rounds)


def _nonces(name: str, on_store: Callable[[], AbstractContextManager[Bench]], options: Options) -> Iterator[Figure]:
    """Compare the time to issue and redeem with so many outstanding nonces, in a store that holds only ours."""
    sizes = (10**6, 10**7) if options.long else (10**6,)
    fresh = count(10**9, _NONCES)  # numbers that no size reaches
    held = 0
    with on_store() as small, on_store() as large:
        small.load(range(FIRST))
        for size in sizes:
            large.load(range(held, size))
            held = size
            ratios = [_nonce_ratio(small, large, next(fresh), next(fresh)) for _ in range(options.rounds + 1)][1:]
            bar = _FLAT if size <= _BARRED_NONCES else None
            yield _growth(f"issue and redeem on {name}, outstanding nonces {FIRST:,} to {size:,}", ratios, bar=bar)


def _nonce_ratio(small: Bench, large: Bench, *first: int) -> float:
    numbers = [range(number, number + _NONCES) for number in first]
    pairs = list(zip((small.store, large.store), numbers, strict=True))
    (issued_few, issued), (redeemed_few, redeemed) = (time_calls(call, *pairs) for call in (issue, redeem))
    return (median(issued) + median(redeemed)) / (median(issued_few) + median(redeemed_few))


def _compare(row: str, small: _Call, large: _Call, *, times: int, rounds: int, bar: float | None = None) -> Figure:
    measured = interleave({"small": (small, times), "large": (large, times)}, rounds * 2)
    return _growth(row, [each["large"] / each["small"] for each in measured], bar=bar)


def _growth(row: str, ratios: list[float], *, bar: float | None) -> Figure:
    changes = tuple((ratio - 1) * 100 for ratio in ratios)
    return Figure(part="growth", row=row, unit="%", samples=changes, bar=bar)


def _bar(size: int) -> float | None:
    return _FLAT if size <= _BARRED else None
