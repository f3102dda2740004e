"""Several authorities of one name: renewed, cross-signed, in loops, forged; and how names compare (RFC 5280 7.1)."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta

from support.chain_cases import values
from support.chain_cases.keys import Elliptic, rsa
from support.chain_cases.recipe import (
    ISSUING,
    NAME,
    ROOT,
    SECOND,
    Case,
    accept,
    ca,
    period,
    refuse,
    root,
    signer,
)
from support.chain_cases.values import AUTHORITY_KEY_IDENTIFIER, SUBJECT_KEY_IDENTIFIER, key_usage
from support.der_parts import sequence
from support.documents import NOW

_PAST = period(NOW - timedelta(days=300), NOW - SECOND)
_FOUND = "6.1: one of the paths is valid"
_NONE = "6.1: no path is valid"
_OLD, _NEW = Elliptic("old"), Elliptic("new")


def cases() -> Iterator[Case]:
    yield from _renewed()
    yield from _odd_twins()
    yield from _cross_signed()
    yield from _renewed_roots()
    yield from _loops()
    yield from _forged()
    yield from _self_signed()
    yield from _compared()


def _renewed() -> Iterator[Case]:
    old, new = ca(key=_OLD), ca(key=_NEW)
    for order, pins in (("old-first", (old, new)), ("new-first", (new, old))):
        yield accept(f"same-name/two-keys-{order}-and-the-old-signs", signer(old), _FOUND, pins=pins)
        yield accept(f"same-name/two-keys-{order}-and-the-new-signs", signer(new), _FOUND, pins=pins)
        bare = tuple(pin.without(SUBJECT_KEY_IDENTIFIER) for pin in pins)
        yield accept(f"same-name/two-keys-without-identifiers-{order}", signer(old), _FOUND, pins=bare)
    alike = tuple(pin.with_extensions(values.subject_key_identifier(_OLD.public())) for pin in (new, old))
    yield accept("same-name/two-keys-with-one-identifier", signer(old), _FOUND, pins=alike)
    yield refuse("same-name/only-the-other-key", signer(old), _NONE, pins=(new,), anchors=(ROOT,))
    alike_new = new.with_extensions(values.subject_key_identifier(_OLD.public()))
    yield refuse(
        "same-name/only-the-other-key-with-the-identifier", signer(old), _NONE, pins=(alike_new,), anchors=(ROOT,)
    )
    expired = replace(ISSUING, validity=_PAST)
    for order, pins in (("first", (expired, ISSUING)), ("last", (ISSUING, expired))):
        yield accept(f"same-name/one-key-renewed-and-expired-{order}", signer(), _FOUND, pins=pins)
    yield refuse("same-name/one-key-expired", signer(), _NONE, pins=(expired,))


def _odd_twins() -> Iterator[Case]:
    """A certificate of the issuer's name and key that makes no valid path, beside one that does."""
    for name, odd in (
        ("without-key-cert-sign", ISSUING.with_extensions(key_usage("crl_sign"))),
        ("for-mail", ISSUING.with_extensions(values.extended_key_usage(values.EMAIL_PROTECTION))),
        (
            "excluding-the-name",
            ISSUING.with_extensions(values.name_constraints(excluded=[values.dns_name("azure.com")])),
        ),
        (
            "excluding-the-subject",
            ISSUING.with_extensions(values.name_constraints(excluded=[values.directory_name(sequence())])),
        ),
        ("unknown-critical", ISSUING.with_extensions(values.unknown(critical=True))),
        ("explicit-policy", ISSUING.with_extensions(values.policy_constraints(require=0))),
        ("forged", replace(ISSUING, signing_key=Elliptic("a forger"), serial=7)),
    ):
        for order, pins in (("first", (odd, ISSUING)), ("last", (ISSUING, odd))):
            yield accept(f"same-name/twin-{name}-{order}", signer(), _FOUND, pins=pins)
        yield refuse(f"same-name/twin-{name}-alone", signer(), _NONE, pins=(odd,))
    upper = ca("Upper", path_length=0)
    narrow = ca(under=upper, key=ISSUING.key)
    yield accept("same-name/twin-below-path-length-0", signer(), _FOUND, pins=(narrow, upper, ISSUING))


def _cross_signed() -> Iterator[Case]:
    other = root("Other Root")
    crossed = ca("Issuing", other, key=ISSUING.key)
    leaf = signer()
    for order, pins in (("first", (crossed, ISSUING)), ("last", (ISSUING, crossed))):
        yield accept(f"cross-signed/trusted-root-{order}", leaf, _FOUND, pins=pins, anchors=(ROOT,))
        yield accept(f"cross-signed/both-roots-{order}", leaf, _FOUND, pins=pins, anchors=(ROOT, other))
        past = replace(ROOT, validity=_PAST)
        yield accept(f"cross-signed/one-root-expired-{order}", leaf, _FOUND, pins=pins, anchors=(past, other))
    yield refuse("cross-signed/no-root", leaf, _NONE, pins=(crossed, ISSUING), anchors=(root("Third Root"),))
    new = root("New Root")
    issuing = ca(under=new)
    by_old = replace(ca("New Root", ROOT, key=new.key), subject=new.subject)
    yield accept(
        "cross-signed/root-under-an-older-one", signer(issuing), _FOUND, pins=(issuing, by_old), anchors=(ROOT,)
    )
    yield accept("cross-signed/root-itself", signer(issuing), _FOUND, pins=(issuing, by_old), anchors=(new,))
    yield accept(
        "cross-signed/root-and-older-one", signer(issuing), _FOUND, pins=(issuing, by_old), anchors=(ROOT, new)
    )
    only = replace(by_old, signing_key=Elliptic("a forger"))
    yield refuse("cross-signed/root-forged", signer(issuing), _NONE, pins=(issuing, only), anchors=(ROOT,))


def _renewed_roots() -> Iterator[Case]:
    """The certificates of RFC 4210 4.4 that link the old and the new key of a root."""
    old, new = root(key=_OLD), root(key=_NEW)
    new_with_old = replace(ca("Root", old, key=_NEW), subject=old.subject)
    old_with_new = replace(ca("Root", new, key=_OLD), subject=old.subject)
    by_new, by_old = ca(under=new), ca(under=old)
    links = (new_with_old, old_with_new)
    yield accept("root-renewed/new-under-old", signer(by_new), _FOUND, pins=(by_new, *links), anchors=(old,))
    yield accept("root-renewed/old-under-new", signer(by_old), _FOUND, pins=(by_old, *links), anchors=(new,))
    yield accept("root-renewed/both", signer(by_new), _FOUND, pins=(by_new, *links), anchors=(old, new))
    yield accept("root-renewed/two-anchors-of-one-name", signer(by_old), _FOUND, pins=(by_old,), anchors=(new, old))
    yield refuse("root-renewed/other-key-of-one-name", signer(by_old), _NONE, pins=(by_old,), anchors=(new,))
    same_key = replace(old, validity=_PAST)
    yield accept("root-renewed/one-key-and-expired", signer(by_old), _FOUND, pins=(by_old,), anchors=(same_key, old))


def _loops() -> Iterator[Case]:
    a, b = ca("A"), ca("B")
    a_by_b, b_by_a = ca("A", b), ca("B", a)
    leaf = signer(a)
    yield refuse("loop/two", leaf, _NONE, pins=(a_by_b, b_by_a), anchors=(ROOT,))
    yield accept("loop/two-with-an-exit", leaf, _FOUND, pins=(a_by_b, b_by_a, b), anchors=(ROOT,))
    yield accept("loop/two-with-the-exit-at-the-issuer", leaf, _FOUND, pins=(a_by_b, b_by_a, a), anchors=(ROOT,))
    c = ca("C")
    ring = (ca("A", b), ca("B", c), ca("C", a))
    yield refuse("loop/three", leaf, _NONE, pins=ring, anchors=(ROOT,))
    yield accept("loop/three-with-an-exit", leaf, _FOUND, pins=(*ring, c), anchors=(ROOT,))
    itself = replace(ca("A", a), subject=a.subject)
    yield refuse("loop/one", leaf, _NONE, pins=(itself,), anchors=(ROOT,))
    yield accept("loop/one-with-an-exit", leaf, _FOUND, pins=(itself, a), anchors=(ROOT,))
    pinned = root("A")
    yield refuse("loop/self-signed-pin", signer(pinned), _NONE, pins=(pinned,), anchors=(ROOT,))


def _forged() -> Iterator[Case]:
    forger = Elliptic("a forger")
    yield refuse("forged/signer", replace(signer(), signing_key=forger), _NONE)
    yield refuse(
        "forged/signer-without-identifier",
        replace(signer(), signing_key=forger).without(AUTHORITY_KEY_IDENTIFIER),
        _NONE,
    )
    yield refuse("forged/upper", signer(ca(under=replace(ca("Odd"), signing_key=forger))), _NONE)
    by_rsa = ca("RSA Issuing", key=rsa())
    yield refuse("forged/signer-by-rsa", replace(signer(by_rsa), signing_key=rsa(number=1)), _NONE)
    other = root("Root", key=forger)
    yield refuse("forged/anchor-of-the-same-name", signer(ca(under=other)), _NONE, anchors=(ROOT,))
    yield refuse("forged/no-pin", signer(), _NONE, pins=())
    yield refuse("forged/no-upper-pin", signer(ca("Lower", ISSUING)), _NONE, pins=(ca("Lower", ISSUING),))
    lower = signer()
    by_signer = replace(signer(lower), subject=values.name("metadata.azure.com"))
    yield refuse(
        "forged/issued-by-a-signer",
        by_signer.with_extensions(values.authority_key_identifier(lower.key.public())),
        "6.1.4 k: the issuer is no CA",
        pins=(lower, ISSUING),
    )


def _self_signed() -> Iterator[Case]:
    lone = replace(signer(), issuer=None).with_extensions(values.authority_key_identifier(signer().key.public()))
    rule = "rule: a signer is not self-issued (core.chain)"
    yield refuse("self-signed/signer", lone, rule, pins=(ISSUING,), anchors=(ROOT,))
    trusted = root(NAME, key=signer().key)
    yield refuse("self-signed/signer-with-a-trusted-key", lone, rule, pins=(), anchors=(ROOT, trusted))
    named_alike = ca(NAME)
    yield refuse("self-signed/signer-with-the-name-of-its-issuer", signer(named_alike), rule)


def _compared() -> Iterator[Case]:
    why = "7.1: names are compared without case, string type and repeated spaces"
    for name, issuer in (
        ("printable", values.printable_name("Issuing")),
        ("upper-case", values.name("ISSUING")),
        ("spaces", values.name("  Issuing ")),
    ):
        yield accept(f"name/issuer-{name}", replace(signer(), issuer_name=issuer), why)
        upper = {"printable": values.printable_name("Root"), "upper-case": values.name("ROOT")}.get(
            name, values.name("  Root ")
        )
        yield accept(f"name/upper-{name}", signer(replace(ca("Odd"), issuer_name=upper)), why)
    other = "6.1.3 a 4: the issuer is another one"
    yield refuse("name/issuer-another", replace(signer(), issuer_name=values.name("Issuing 2")), other)
    yield refuse("name/upper-another", signer(replace(ca("Odd"), issuer_name=values.name("Root 2"))), other)
    reversed_ = sequence(values.attribute("2.5.4.3", "Issuing"), values.organisation())
    yield refuse("name/issuer-in-another-order", replace(signer(), issuer_name=reversed_), other)
    yield refuse("name/issuer-empty", replace(signer(), issuer_name=sequence()), "4.1.2.4: the issuer is not empty")
