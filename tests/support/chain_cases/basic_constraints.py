"""basicConstraints and path lengths (RFC 5280 4.2.1.9 and 6.1.4 k to m)."""

from collections.abc import Iterator
from dataclasses import replace

from support.chain_cases import values
from support.chain_cases.keys import Elliptic
from support.chain_cases.recipe import ISSUING, ROOT, Case, Cert, accept, ca, refuse, root, signer
from support.chain_cases.values import BASIC_CONSTRAINTS, Extension, basic_constraints
from support.der_parts import sequence

from verifier.core.reasons import Check

_FALSE = b"\x01\x01\x00"
#: An INTEGER that does not fit into 64 bits.
_HUGE = 1 << 64


def cases() -> Iterator[Case]:
    yield from _of_authorities()
    yield from _of_signers()
    yield from _path_lengths()
    yield from _self_issued()
    yield from _numbers_of_authorities()


def _of_authorities() -> Iterator[Case]:
    yield accept("basic-constraints/plain", signer(), "6.1: each certificate is good")
    yield accept("basic-constraints/anchor-issues-the-signer", signer(ROOT), "6.1: a path of one certificate")
    must_be_ca = "6.1.4 k: each certificate but the last must have basicConstraints with cA"
    for place in ("issuer", "upper"):
        for fault, odd in (
            ("missing", ca("Odd").without(BASIC_CONSTRAINTS)),
            ("ca-false", ca("Odd").with_extensions(basic_constraints())),
            ("ca-false-encoded", ca("Odd").with_extensions(basic_constraints(default=_FALSE))),
            ("ca-false-with-path-length", ca("Odd").with_extensions(basic_constraints(path_length=0))),
        ):
            over = odd if place == "issuer" else ca(under=odd)
            # The bundle does not hold it, so the name of the issuer is not pinned, or no path leads to the anchor.
            yield refuse(f"basic-constraints/{place}-{fault}", signer(over), must_be_ca)
        odd = ca("Odd").with_extensions(basic_constraints(is_ca=True, critical=False))
        over = odd if place == "issuer" else ca(under=odd)
        yield accept(
            f"basic-constraints/{place}-not-critical", signer(over), "6.1.4 k: whether it is critical does not count"
        )
    v1 = replace(ca("Odd"), version=b"", extensions=())
    yield refuse("basic-constraints/issuer-of-version-1", signer(v1), "6.1.4 k: it is not known as a CA by other means")
    anchor_rule = "rule: an anchor must be a CA (core.trust.bundle)"
    no_ca = root("Odd").without(BASIC_CONSTRAINTS)
    yield refuse("basic-constraints/anchor-missing", signer(ca(under=no_ca)), anchor_rule, by=None)
    not_ca = root("Odd").with_extensions(basic_constraints())
    yield refuse("basic-constraints/anchor-ca-false", signer(ca(under=not_ca)), anchor_rule, by=None)
    old = replace(root("Odd"), version=b"", extensions=())
    yield refuse("basic-constraints/anchor-of-version-1", signer(ca(under=old)), anchor_rule, by=None)
    not_critical = root("Odd").with_extensions(basic_constraints(is_ca=True, critical=False))
    yield accept(
        "basic-constraints/anchor-not-critical",
        signer(ca(under=not_critical)),
        "6.1.1 d: the anchor's name and key count",
    )


def _of_signers() -> Iterator[Case]:
    leaf = signer()
    yield accept(
        "basic-constraints/signer-missing", leaf.without(BASIC_CONSTRAINTS), "4.2.1.9: optional in an end entity"
    )
    yield accept(
        "basic-constraints/signer-not-critical",
        leaf.with_extensions(basic_constraints(critical=False)),
        "4.2.1.9: critical or not in an end entity",
    )
    yield refuse(
        "basic-constraints/signer-is-ca",
        leaf.with_extensions(basic_constraints(is_ca=True)),
        "rule: a signer must not be a CA (core.names)",
        by=Check.SIGNER_NAME,
    )
    yield refuse(
        "basic-constraints/signer-is-ca-with-the-usages-of-one",
        leaf.with_extensions(
            basic_constraints(is_ca=True), values.key_usage("digital_signature", "key_cert_sign", "crl_sign")
        ),
        "rule: a signer must not be a CA (core.names)",
        by=Check.SIGNER_NAME,
    )
    yield refuse(
        "basic-constraints/signer-path-length-without-ca",
        leaf.with_extensions(basic_constraints(path_length=0)),
        "4.2.1.9: no pathLenConstraint unless cA is asserted",
    )
    yield refuse(
        "basic-constraints/signer-ca-false-encoded",
        leaf.with_extensions(basic_constraints(default=_FALSE)),
        "4.1 and X.690 11.5: DER does not encode a default",
    )
    trailing = Extension(oid=BASIC_CONSTRAINTS, value=sequence() + b"\x05\x00", critical=True)
    yield refuse(
        "basic-constraints/signer-trailing-bytes",
        leaf.with_extensions(trailing),
        "4.2: extnValue is the DER of one value",
        by=Check.FORMAT,
    )
    stray = Extension(oid=BASIC_CONSTRAINTS, value=sequence(b"\x05\x00"), critical=True)
    yield refuse(
        "basic-constraints/signer-stray-element",
        leaf.with_extensions(stray),
        "4.2.1.9: a SEQUENCE of cA and pathLenConstraint",
        by=Check.FORMAT,
    )


def _chain(*lengths: int | None, anchor: Cert = ROOT) -> Cert:
    """Return a signer under authorities with these path lengths, the upper one first."""
    over = anchor
    for level, length in enumerate(lengths):
        over = ca(f"Level {level}", over, path_length=length)
    return signer(over)


def _path_lengths() -> Iterator[Case]:
    within, exceeded = "6.1.4 l: the path length is not exceeded", "6.1.4 l: the path length is exceeded"
    decisions: tuple[tuple[str, tuple[int | None, ...]], ...] = (
        ("issuer-0", (0,)),
        ("upper-1-exact", (1, None)),
        ("upper-2-exact", (2, None, None)),
        ("each-exact", (2, 1, 0)),
        ("huge", (_HUGE,)),
        ("lower-is-wider", (1, 5)),
    )
    for name, lengths in decisions:
        yield accept(f"path-length/{name}", _chain(*lengths), within)
    decisions = (
        ("upper-0-exceeded", (0, None)),
        ("upper-1-exceeded", (1, None, None)),
        ("lower-0-exceeded", (None, 0, None)),
        ("lower-cannot-widen", (0, 5)),
        ("narrowed-and-exceeded", (2, 0, None)),
        ("both-exceeded", (0, 0)),
    )
    for name, lengths in decisions:
        yield refuse(f"path-length/{name}", _chain(*lengths), exceeded)
    yield refuse("path-length/negative", _chain(-1), "4.2.1.9: INTEGER (0..MAX)")
    narrow = root("Narrow").with_extensions(basic_constraints(is_ca=True, path_length=0))
    yield accept("path-length/anchor-0-exact", _chain(anchor=narrow), within)
    yield accept(
        "path-length/anchor-0-exceeded", _chain(None, anchor=narrow), "6.1.1 d: the anchor's path length is no input"
    )


def _renewed(old: Cert, name: str, **changes: object) -> Cert:
    """Return a self-issued authority with the name of `old` and a new key."""
    new = ca(name, old, key=Elliptic(f"{name} renewed"))
    return replace(new, subject=old.subject, **changes)  # type: ignore[arg-type] # fields of Cert


def _self_issued() -> Iterator[Case]:
    why = "6.1.4 l: a self-issued certificate does not count"
    narrow = ca("Narrow", path_length=0)
    renewed = _renewed(narrow, "Narrow")
    yield accept("path-length/self-issued-does-not-count", signer(renewed), why)
    one = ca("One", path_length=1)
    between = _renewed(one, "One")
    yield accept("path-length/self-issued-between-does-not-count", signer(ca(under=between)), why)
    yield refuse(
        "path-length/self-issued-and-one-more-exceeded",
        signer(ca(under=renewed)),
        "6.1.4 l: the CA below the self-issued one counts",
    )
    narrowed = renewed.with_extensions(basic_constraints(is_ca=True, path_length=0))
    yield accept("path-length/self-issued-of-length-0", signer(narrowed), why)


def _numbers_of_authorities() -> Iterator[Case]:
    rule = "rule: at most 4 authorities above the signer (core.chain.MAX_AUTHORITIES)"
    yield accept("path-length/4-authorities", _chain(None, None, None), rule)
    yield refuse("path-length/5-authorities", _chain(None, None, None, None), rule)
    yield refuse("path-length/12-authorities", _chain(*([None] * 11)), rule)
    short = (ISSUING, ca("Issuing", ca("Level 1", ca("Level 0")), key=ISSUING.key))
    long = ca("Issuing", ca("Level 2", ca("Level 1", ca("Level 0"))), key=ISSUING.key)
    beside = [long, *(one for one in (long.issuer, short[1].issuer) if one is not None), ca("Level 0"), short[0]]
    yield accept("path-length/a-short-path-beside-a-long-one", signer(), rule, pins=dict.fromkeys(beside))
