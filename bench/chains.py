"""What a chain costs: built, remembered, and refused to 10,000 strangers; and what remembering them holds in memory.

Run from the repository: `PYTHONPATH=.:tests python bench/chains.py`. Step 6 alone: decoding a document and checking its
signature are not in it. The real chain is that of the published document of 2026 over the shipped bundle.
"""

import sys
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from statistics import mean, median
from time import perf_counter

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from support.appraisals import read_in_time
from support.certificates import make_names
from support.chains import authority, claims_of, key
from support.documents import around, der, raw, sample

from verifier.adapters.trust.files import load_bundle
from verifier.core import chain
from verifier.core.chain import build_chain
from verifier.core.model import Limits, UnverifiedClaims
from verifier.core.reasons import ChainRefused
from verifier.core.trust.certificates import Certificate
from verifier.emulator import pki
from verifier.usecases.chain_cache import ChainCache

SAMPLED_AT = datetime(2026, 7, 28, 13, 24, tzinfo=UTC)
BUNDLE = load_bundle()
STRANGERS = 10_000
ROUNDS = 200


def strangers(issuer: x509.Name, issuer_key: pki.PublicKey | None = None) -> Iterator[UnverifiedClaims]:
    """Leaves with the right name that say that this issuer, of this key, issued them; no trusted authority did."""
    own = key("stranger")
    template = claims_of(make_leaf(own, make_names("metadata.azure.com"))).decoded
    for _ in range(STRANGERS):
        signer = Certificate.read(der(make_leaf(own, issuer, issuer_key)))
        named = replace(template.named, signed=replace(template.named.signed, signer=signer))
        yield UnverifiedClaims(decoded=replace(template, named=named))


def make_leaf(own: pki.PrivateKey, issuer: x509.Name, issuer_key: pki.PublicKey | None = None) -> x509.Certificate:
    return pki.issue(
        subject=make_names("metadata.azure.com"),
        public_key=own.public_key(),
        issuer_name=issuer,
        issuer_key=own,
        validity=around(SAMPLED_AT),
        extensions=pki.signer_extensions(
            names=("metadata.azure.com",),
            public_key=own.public_key(),
            issuer_public_key=issuer_key or own.public_key(),
            issuer_urls=(),
        ),
        signing_hash=hashes.SHA256(),
    )


def time_call(call: Callable[[], object]) -> float:
    """In microseconds; a refusal counts as an answer."""
    started = perf_counter()
    with suppress(ChainRefused):
        call()
    return (perf_counter() - started) * 1e6


def count_searches() -> list[int]:
    """One entry that counts the searches for a path from now on."""
    searches = [0]
    find = chain._find_path  # noqa: SLF001 - what is counted is the search itself

    def find_counted(*arguments: object) -> object:
        searches[0] += 1
        return find(*arguments)  # type: ignore[arg-type]  # passed on as they came

    chain._find_path = find_counted  # type: ignore[assignment]  # noqa: SLF001 - as above
    return searches


def write_row(what: str, times: list[float], *, searches: int, held: str = "") -> None:
    sys.stdout.write(f"{what:46} {median(times):10.1f} {mean(times):10.1f} {max(times):10.1f} {searches:9} {held}\n")


def issuer_of(claims: UnverifiedClaims) -> x509.Certificate:
    signer = claims.signer
    (issuer,) = [entry.certificate for entry in BUNDLE.entries if signer.is_issued_by(entry.certificate)]
    return issuer.parsed


def main() -> int:
    searches = count_searches()
    sys.stdout.write(f"{'':46} {'median us':>10} {'mean us':>10} {'max us':>10} {'searches':>9} held\n")
    real = read_in_time(raw(sample("public-eastus-2026-07-28")), now=SAMPLED_AT, limits=Limits())
    built = [time_call(lambda: build_chain(real, now=SAMPLED_AT, bundle=BUNDLE)) for _ in range(ROUNDS)]
    write_row(f"real chain, built, {ROUNDS} times", built, searches=searches[0])
    searches[0] = 0
    memory = ChainCache()
    memory.build(real, now=SAMPLED_AT, bundle=BUNDLE)
    remembered = [time_call(lambda: memory.build(real, now=SAMPLED_AT, bundle=BUNDLE)) for _ in range(ROUNDS)]
    write_row(f"real chain, remembered, {ROUNDS} times", remembered, searches=searches[0] - 1)
    pinned = issuer_of(real)
    pinned_key = pinned.public_key()
    if not isinstance(pinned_key, rsa.RSAPublicKey):
        raise TypeError("the sample's issuer has an RSA key")
    kinds: dict[str, Callable[[], Iterator[UnverifiedClaims]]] = {
        "self-signed": partial(strangers, make_names("metadata.azure.com")),
        "issuer that nobody pinned": partial(strangers, authority("Nobody CA").certificate.subject),
        "pinned issuer, forged": partial(strangers, pinned.subject, pinned_key),
    }
    searched = 0
    for kind, make in kinds.items():
        searches[0] = 0
        memory = ChainCache()
        leaves = list(make())
        tracemalloc.start()
        for leaf in leaves:
            time_call(partial(memory.build, leaf, now=SAMPLED_AT, bundle=BUNDLE))
        held, _ = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        fresh = ChainCache()
        times = [time_call(partial(fresh.build, leaf, now=SAMPLED_AT, bundle=BUNDLE)) for leaf in leaves]
        write_row(
            f"{STRANGERS} distinct leaves, {kind}",
            times,
            searches=searches[0],
            held=f"{held / 1024:.0f} KiB in {len(memory)} entries",
        )
        searched += searches[0]
    return 0 if searched == 0 else 1


if __name__ == "__main__":
    sys.exit(main())
