"""Send documents through all checks whose signer's certificate has changes and is signed again by its CA."""

import random
import warnings
from collections.abc import Iterator
from time import process_time

from support.certificate_mutants import EXPLAINED, all_mutants, differences, mint
from support.documents import NOW
from support.hostile_documents import Appraiser
from support.mutations import random_mutants
from support.tally import Tally, Timed

from verifier.core.model import RawDocument
from verifier.core.reasons import Refused

KINDS = ("EC", "RSA")


def attack_certificates(number: int, seed: int) -> Tally:
    """Appraise `number` mutants: up to half with one named change, the others with random changes.

    The changes are the same for the same seed. The keys are new in each process.
    """
    tally = Tally(kind="certificates")
    appraiser = Appraiser()
    made = [(kind, list(hostile_certificates(kind, number // 2, seed))) for kind in KINDS]
    # cryptography warns of names that it will refuse one day. The service does not make warnings errors.
    with Timed(tally) as timed, warnings.catch_warnings(action="ignore"):
        for kind, mutants in made:
            for tbs in mutants:
                _attack(tally, appraiser, kind, tbs)
                timed.count()
    return tally


def hostile_certificates(kind: str, number: int, seed: int) -> Iterator[bytes]:
    """Yield what the CA is to sign: named changes, then random changes of the signer or of a named change."""
    chance = random.Random(seed)  # noqa: S311 - the same changes in every run
    tbs = mint(kind).tbs
    named = all_mutants(kind)
    chosen = chance.sample(named, min(number // 2, len(named)))
    yield from chosen
    fresh = random_mutants(tbs, number, seed)
    for _ in range(number - len(chosen)):
        yield next(fresh) if chance.random() < 0.5 else _changed_again(chance.choice(named), chance)


def _changed_again(mutant: bytes, chance: random.Random) -> bytes:
    try:
        return next(random_mutants(mutant, 1, chance.randrange(2**32)))
    except (ValueError, IndexError):  # it is not DER
        return mutant[:-1]


def _attack(tally: Tally, appraiser: Appraiser, kind: str, tbs: bytes) -> None:
    minted = mint(kind)
    document = minted.document(tbs)
    started = process_time() - appraiser.chain_seconds
    try:
        content = appraiser.appraise(RawDocument(raw_der=document), at=NOW, bundle=minted.bundle)
    except Refused as refused:
        tally.spend(process_time() - appraiser.chain_seconds - started, document)
        tally.refused[refused.code] += 1
        return
    except Exception as error:  # noqa: BLE001 - this is what is looked for
        tally.fail(f"{kind}: {type(error).__name__}: {error}, for the signed part {tbs.hex()}")
        return
    tally.spend(process_time() - appraiser.chain_seconds - started, document)
    found = sorted(differences(minted.tbs, tbs))
    unknown = [name for name in found if name not in EXPLAINED]
    if unknown or tbs not in content.signer.der:
        tally.fail(f"{kind}: accepted with {unknown}, for the signed part {tbs.hex()}")
    elif len(found) == 1:
        tally.accepted[f"{found[0]}: {EXPLAINED[found[0]]}"] += 1
    else:
        tally.accepted["several of these differences"] += 1
