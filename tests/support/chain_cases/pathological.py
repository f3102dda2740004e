"""Sets of authorities that make a search long. Each has a deadline and a bound on its cost.

The operator chooses these sets, and a sender only the signer, unless it is an authority itself.
"""

from collections.abc import Iterator
from dataclasses import replace

from support.chain_cases.keys import Elliptic, Rsa
from support.chain_cases.recipe import ROOT, Case, Cert, accept, ca, refuse, signer
from support.chain_cases.values import AUTHORITY_KEY_IDENTIFIER, SUBJECT_KEY_IDENTIFIER

_FOUND = "6.1: one of the paths is valid"
_NONE = "6.1: no path is valid"
#: Primes below 2**1024 give this many RSA keys when each pair is one.
_PRIMES = (105, 179, 1397, 3177, 5025, 5409, 6083, 6369, 6615, 7137, 7953, 8049, 9497, 9603, 9749, 10139)


def cases() -> Iterator[Case]:
    yield from _of_one_name()
    yield from _trees()
    yield from _loops()


def _rsa_keys() -> list[Rsa]:
    return [Rsa(offsets=(one, two)) for one in _PRIMES for two in _PRIMES if one < two]


def _of_one_name() -> Iterator[Case]:
    many = [ca("Crowd", key=Elliptic(f"crowd {number}")) for number in range(300)]
    for name, number in (("first", 0), ("last", -1)):
        yield accept(f"pathological/300-keys-of-one-name-and-the-{name}", signer(many[number]), _FOUND, pins=many)
    bare = [one.without(SUBJECT_KEY_IDENTIFIER) for one in many]
    yield accept("pathological/300-keys-without-identifiers", signer(many[-1]), _FOUND, pins=bare)
    unknown = replace(signer(many[0]), signing_key=Elliptic("a forger"))
    yield refuse("pathological/300-keys-without-identifiers-and-none", unknown, _NONE, pins=bare)
    by_rsa = [ca("Crowd", key=key).without(SUBJECT_KEY_IDENTIFIER) for key in _rsa_keys()]
    forged = replace(signer(by_rsa[0]), signing_key=Rsa(offsets=(569, 629), prime_bits=512))
    yield refuse("pathological/120-rsa-keys-of-one-name-and-none", forged, _NONE, pins=by_rsa)
    yield accept("pathological/120-rsa-keys-of-one-name-and-the-last", signer(by_rsa[-1]), _FOUND, pins=by_rsa)
    one_key = [replace(ca("Crowd"), serial=number + 1) for number in range(300)]
    yield accept("pathological/300-certificates-of-one-key", signer(one_key[0]), _FOUND, pins=one_key)
    no_root = [replace(one, signing_key=Elliptic("a forger")) for one in one_key]
    yield refuse("pathological/300-certificates-of-one-key-forged", signer(one_key[0]), _NONE, pins=no_root)
    leaf = signer(one_key[0]).without(AUTHORITY_KEY_IDENTIFIER)
    yield refuse("pathological/300-certificates-and-no-identifier", leaf, "4.2.1.1: there must be one", pins=one_key)


def _trees() -> Iterator[Case]:
    """Three levels of one name each. Every certificate of a level is signed by the one key of the next."""
    for width in (4, 12, 40):
        levels = _levels(width, top=Elliptic("a forger"))
        leaf = signer(levels[0][0])
        yield refuse(
            f"pathological/tree-of-{width}-without-a-root",
            leaf,
            _NONE,
            pins=[c for one in levels for c in one],
            anchors=(ROOT,),
        )
    levels = _levels(40, top=None)
    leaf = signer(levels[0][0])
    yield accept("pathological/tree-of-40", leaf, _FOUND, pins=[c for one in levels for c in one], anchors=(ROOT,))


def _levels(width: int, *, top: Elliptic | None) -> list[list[Cert]]:
    upper = ca("Upper")
    middle = ca("Middle", upper)
    lower = ca("Lower", middle)
    numbers = range(1, width + 1)
    return [
        [replace(lower, serial=number) for number in numbers],
        [replace(middle, serial=number) for number in numbers],
        [replace(upper, serial=number, signing_key=top) for number in numbers],
    ]


def _loops() -> Iterator[Case]:
    for count in (8, 40):
        keys = [Elliptic(f"ring {number}") for number in range(count)]
        each = [ca("Ring", key=key) for key in keys]
        ring = [
            replace(ca("Ring", each[number - 1], key=keys[number]), issuer_name=each[0].subject)
            for number in range(count)
        ]
        yield refuse(f"pathological/ring-of-{count}", signer(each[0]), _NONE, pins=ring, anchors=(ROOT,))
        yield accept(
            f"pathological/ring-of-{count}-with-an-exit",
            signer(each[0]),
            _FOUND,
            pins=(*ring, each[-2]),
            anchors=(ROOT,),
        )
    one = ca("Ring", key=Elliptic("ring"))
    for count in (8, 40):
        knot = [replace(ca("Ring", one, key=one.key), serial=number + 1) for number in range(count)]
        yield refuse(f"pathological/knot-of-{count}", signer(one), _NONE, pins=knot, anchors=(ROOT,))
    names = [ca(f"Web {number}") for number in range(8)]
    web = [
        ca(f"Web {number}", other, key=names[number].key)
        for number in range(8)
        for other in names
        if other is not names[number]
    ]
    yield refuse("pathological/web-of-8", signer(names[0]), _NONE, pins=web, anchors=(ROOT,))
    yield accept("pathological/web-of-8-with-an-exit", signer(names[0]), _FOUND, pins=(*web, names[7]), anchors=(ROOT,))
