"""Key identifiers, serial numbers and subjects (RFC 5280 4.1.2.2, 4.1.2.6, 4.2.1.1 and 4.2.1.2)."""

from collections.abc import Iterator
from dataclasses import replace

from support.chain_cases import values
from support.chain_cases.keys import Elliptic
from support.chain_cases.recipe import ISSUING, NAME, NAMES, ROOT, Case, Cert, accept, ca, refuse, root, signer
from support.chain_cases.values import (
    AUTHORITY_KEY_IDENTIFIER,
    SUBJECT_KEY_IDENTIFIER,
    Extension,
    authority_key_identifier,
    subject_key_identifier,
)
from support.der_parts import sequence, tlv

from verifier.core.reasons import Check

_OTHER = Elliptic("another").public()
_NUMBERED = replace(ca("Numbered"), serial=4711)
_OWN = _NUMBERED.key.public()


def cases() -> Iterator[Case]:
    yield from _of_signers()
    yield from _by_issuer_and_number()
    yield from _of_authorities()
    yield from _serial_numbers()
    yield from _subjects()


def _of_signers() -> Iterator[Case]:
    leaf = signer()
    must = "4.2.1.1: each certificate but a root has a key identifier of its issuer"
    yield refuse("key-identifier/signer-no-authority", leaf.without(AUTHORITY_KEY_IDENTIFIER), must)
    yield refuse("key-identifier/signer-empty-authority", leaf.with_extensions(authority_key_identifier(None)), must)
    yield refuse(
        "key-identifier/signer-another-authority",
        leaf.with_extensions(authority_key_identifier(_OTHER)),
        "4.2.1.2: the issuer's identifier is the one in what it issues",
    )
    critical = authority_key_identifier(ISSUING.key.public(), critical=True)
    yield refuse("key-identifier/signer-critical-authority", leaf.with_extensions(critical), "4.2.1.1: not critical")
    twice = replace(leaf, extensions=(*leaf.extensions, authority_key_identifier(ISSUING.key.public())))
    yield refuse("key-identifier/signer-authority-twice", twice, "4.2: each extension at most once", by=Check.FORMAT)
    yield accept("key-identifier/signer-no-subject", leaf.without(SUBJECT_KEY_IDENTIFIER), "4.2.1.2: only recommended")
    yield accept(
        "key-identifier/signer-another-subject",
        leaf.with_extensions(subject_key_identifier(_OTHER)),
        "4.2.1.2: any way to make one will do",
    )
    own = subject_key_identifier(leaf.key.public())
    twice = replace(leaf, extensions=(*leaf.extensions, own))
    yield refuse("key-identifier/signer-subject-twice", twice, "4.2: each extension at most once", by=Check.FORMAT)


def _by_issuer_and_number() -> Iterator[Case]:
    leaf = signer(_NUMBERED)

    def names(key: bytes | None, *, issuer: bytes = ROOT.subject, serial: int | None = 4711) -> Cert:
        return leaf.with_extensions(authority_key_identifier(key, issuer=issuer, serial=serial))

    yield accept("key-identifier/signer-authority-and-number", names(_OWN), "4.2.1.1: both forms are permitted")
    yield refuse("key-identifier/signer-only-number", names(None), "4.2.1.1: the key identifier must be there")
    no_match = "4.2.1.1: an aid to find a path; section 6.1 does not compare it"
    yield accept("key-identifier/signer-authority-and-another-number", names(_OWN, serial=4712), no_match)
    yield accept("key-identifier/signer-authority-and-another-issuer", names(_OWN, issuer=values.name("X")), no_match)
    both = "4.2.1.1: issuer and number are both there or both absent"
    yield refuse("key-identifier/signer-issuer-without-number", names(_OWN, serial=None), both)
    yield refuse("key-identifier/signer-number-without-issuer", names(_OWN, issuer=b""), both)


def _of_authorities() -> Iterator[Case]:
    formal = "6.1: an aid to find a path, which the operator answers for"
    for place in ("issuer", "upper"):

        def over(odd: Cert, place: str = place) -> Cert:
            return signer(odd if place == "issuer" else ca(under=odd))

        odd = ca("Odd")
        yield accept(f"key-identifier/{place}-no-authority", over(odd.without(AUTHORITY_KEY_IDENTIFIER)), formal)
        yield accept(f"key-identifier/{place}-no-subject", over(odd.without(SUBJECT_KEY_IDENTIFIER)), formal)
        neither = odd.without(AUTHORITY_KEY_IDENTIFIER, SUBJECT_KEY_IDENTIFIER)
        yield accept(f"key-identifier/{place}-neither", over(neither), formal)
        other = odd.with_extensions(authority_key_identifier(_OTHER))
        yield accept(f"key-identifier/{place}-another-authority", over(other), formal)
        numbered = odd.with_extensions(authority_key_identifier(None, issuer=ROOT.subject, serial=1))
        yield accept(f"key-identifier/{place}-only-number", over(numbered), formal)
        twice = replace(odd, extensions=(*odd.extensions, authority_key_identifier(ROOT.key.public())))
        yield refuse(f"key-identifier/{place}-authority-twice", over(twice), "4.2: each extension at most once")
    other = ca("Odd").with_extensions(subject_key_identifier(_OTHER))
    yield refuse(
        "key-identifier/issuer-another-subject", signer(other), "4.2.1.2: the signer names another key of its issuer"
    )
    for name, odd in (
        ("no-subject", root("Odd").without(SUBJECT_KEY_IDENTIFIER)),
        ("own-authority", root("Odd").with_extensions(authority_key_identifier(Elliptic("Odd").public()))),
        ("another-authority", root("Odd").with_extensions(authority_key_identifier(_OTHER))),
        (
            "authority-and-number",
            root("Odd").with_extensions(authority_key_identifier(_OTHER, issuer=ROOT.subject, serial=1)),
        ),
    ):
        yield accept(f"key-identifier/anchor-{name}", signer(ca(under=odd)), "6.1.1 d: the anchor's name and key count")


def _serial_numbers() -> Iterator[Case]:
    why = "4.1.2.2: positive, and at most 20 bytes"
    for name, number, decide in (
        ("1", 1, accept),
        ("of-20-bytes", (1 << 159) - 1, accept),
        ("of-20-bytes-and-a-zero", (1 << 160) - 1, refuse),
        ("of-21-bytes", 1 << 160, refuse),
    ):
        yield decide(f"serial-number/signer-{name}", replace(signer(), serial=number), why)
    for name, number in (("0", 0), ("negative", -1)):
        yield refuse(f"serial-number/signer-{name}", replace(signer(), serial=number), why, by=Check.FORMAT)
    formal = "6.1: the number does not count, and the operator answers for authorities"
    for name, number in (("of-21-bytes", 1 << 160), ("0", 0), ("negative", -1)):
        yield accept(f"serial-number/issuer-{name}", signer(replace(ca("Odd"), serial=number)), formal)
        yield accept(f"serial-number/anchor-{name}", signer(ca(under=replace(root("Odd"), serial=number))), formal)


def _subjects() -> Iterator[Case]:
    leaf = signer()
    names = [values.dns_name(name) for name in NAMES]
    critical = values.alternative_names(*names, critical=True)
    nameless = replace(leaf, subject=sequence())
    yield accept(
        "subject/empty-and-critical-names", nameless.with_extensions(critical), "4.1.2.6: named by subjectAltName"
    )
    yield refuse("subject/empty-and-names", nameless, "4.2.1.6: subjectAltName is critical if the subject is empty")
    yield refuse(
        "subject/no-names",
        leaf.without(values.SUBJECT_ALTERNATIVE_NAME),
        "rule: a signer needs an alternative name (core.chain)",
    )
    yield refuse(
        "subject/other-name",
        signer(names=("example.com",)),
        "rule: the names are in the domain of a cloud (core.names)",
        by=Check.SIGNER_NAME,
    )
    nul = values.alternative_names(*names, tlv(0x82, NAME.encode() + b"\x00.example.com"))
    yield refuse("subject/name-with-nul", leaf.with_extensions(nul), "4.2.1.6: preferred name syntax")
    yield refuse(
        "subject/empty-list-of-names", leaf.with_extensions(values.alternative_names()), "4.2.1.6: SIZE (1..MAX)"
    )
    nameless_ca = replace(ca("Odd"), subject=sequence())
    yield refuse("subject/issuer-empty", signer(nameless_ca), "4.1.2.4: the issuer is not empty")
    unique = Extension(oid="1.3.6.1.4.1.55738.666.5", value=b"\x05\x00")
    yield accept("subject/one-more-extension", leaf.with_extensions(unique), "4.2: it is not critical")
