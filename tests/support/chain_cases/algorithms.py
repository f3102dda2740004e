"""Keys, signature algorithms and signatures (RFC 5280 4.1.1.2, 4.1.2.7 and 6.1.3 a 1, and the RFCs that it names)."""

from collections.abc import Callable, Iterator
from dataclasses import replace

from cryptography.hazmat.primitives.asymmetric import utils
from support.chain_cases import keys
from support.chain_cases.keys import ALGORITHMS, NULL, Algorithm, Ed25519, Elliptic, Key, Rsa, pss, rsa
from support.chain_cases.recipe import ROOT, Case, Cert, accept, ca, refuse, root, signer
from support.der_parts import integer, oid, sequence, tlv
from support.multiplied import explicit_curve

from verifier.core.reasons import Check

_GOOD = "6.1.3 a 1: the signature verifies"
_BAD = "6.1.3 a 1: the signature does not verify"
_RSA_CA = rsa(number=1)
_RSA_ROOT = rsa(number=2)


def cases() -> Iterator[Case]:
    yield from _rsa_keys()
    yield from _exponents()
    yield from _curves()
    yield from _other_keys()
    yield from _encodings_of_keys()
    yield from _digests()
    yield from _pss()
    yield from _two_algorithms()
    yield from _parameters()
    yield from _signatures()


def _with(place: str, key: Key) -> Cert:
    """Return a signer in whose path the certificate at this place has this key."""
    match place:
        case "signer":
            return signer(key=key)
        case "issuer":
            return signer(ca("Odd", key=key))
        case "upper":
            return signer(ca(under=ca("Odd", key=key)))
        case _:
            return signer(ca(under=root("Odd", key=key)))


def _rsa_keys() -> Iterator[Case]:
    rule = "rule: RSA keys have at least 2048 bits (core.bounds, ADR 0004)"
    for place in ("signer", "issuer", "upper", "anchor"):
        by = Check.SIGNATURE if place == "signer" else Check.CHAIN
        yield refuse(f"key/{place}-rsa-1024", _with(place, rsa(1024)), rule, by=by)
        for bits in (2048, 3072, 4096, 8192):
            yield accept(f"key/{place}-rsa-{bits}", _with(place, rsa(bits)), "RFC 8017 3.1: an RSA key")
    yield refuse(
        "key/signer-rsa-16384",
        _with("signer", rsa(16384)),
        "rule: a signer's RSA key has at most 8192 bits (core.bounds)",
        by=Check.SIGNATURE,
    )
    for place in ("issuer", "anchor"):
        yield accept(
            f"key/{place}-rsa-16384", _with(place, rsa(16384)), "RFC 8017 3.1: the operator chooses authorities"
        )


def _exponents() -> Iterator[Case]:
    for place in ("signer", "issuer", "anchor"):
        by = {"signer": Check.FORMAT, "issuer": Check.CHAIN}.get(place)
        yield accept(
            f"key/{place}-rsa-exponent-3", _with(place, rsa(exponent=3)), "RFC 8017 3.1: 3 is the least exponent"
        )
        yield refuse(f"key/{place}-rsa-exponent-1", _with(place, rsa(exponent=1)), "RFC 8017 3.1: at least 3", by=by)
    rule = "rule: an exponent has at most 33 bits (core.bounds)"
    yield accept("key/signer-rsa-exponent-of-33-bits", _with("signer", rsa(exponent=(1 << 32) + 15)), rule)
    yield refuse(
        "key/signer-rsa-exponent-of-34-bits", _with("signer", rsa(exponent=(1 << 33) + 17)), rule, by=Check.FORMAT
    )
    even = Rsa(offsets=rsa().offsets, exponent=65537)
    encoded = sequence(
        sequence(oid(even.kind), NULL), tlv(0x03, b"\x00", sequence(integer(even.modulus), integer(65538)))
    )
    leaf = replace(signer(key=even), public_key=encoded)
    yield refuse("key/signer-rsa-exponent-even", leaf, "RFC 8017 3.1: coprime to an even number", by=Check.FORMAT)


def _curves() -> Iterator[Case]:
    for place in ("signer", "issuer", "upper", "anchor"):
        for curve in ("secp256r1", "secp384r1", "secp521r1"):
            yield accept(
                f"key/{place}-{curve}", _with(place, Elliptic("odd", curve)), "RFC 5480 2.1.1.1: a named curve"
            )
        by = Check.SIGNATURE if place == "signer" else Check.CHAIN
        for curve in ("secp192r1", "secp224r1", "secp256k1", "brainpoolP256r1"):
            rule = "rule: the curves P-256, P-384 and P-521 (core.signature, ADR 0004)"
            yield refuse(f"key/{place}-{curve}", _with(place, Elliptic("odd", curve)), rule, by=by)


def _other_keys() -> Iterator[Case]:
    rule = "rule: RSA and ECDSA (core.signature)"
    for place in ("signer", "issuer", "upper", "anchor"):
        by = Check.SIGNATURE if place in {"signer", "issuer"} else Check.CHAIN
        yield refuse(f"key/{place}-ed25519", _with(place, Ed25519("odd")), rule, by=by)


def _encodings_of_keys() -> Iterator[Case]:
    own = rsa(number=3)
    no_null = replace(signer(key=own), public_key=replace(own, parameters=b"").public())
    yield refuse("key/signer-rsa-without-null", no_null, "4.1.2.7: NULL as parameters (RFC 3279 2.3.1)")
    odd = ca("Odd", key=own)
    yield accept(
        "key/issuer-rsa-without-null",
        signer(replace(odd, public_key=replace(own, parameters=b"").public())),
        "6.1.4 d: parameters of a key count for DSA and the like only",
    )
    for name, key in (("compressed", Elliptic("odd").compressed()), ("explicit", explicit_curve())):
        why = "rule: uncompressed points of named curves (core.signature)"
        leaf = replace(signer(key=Elliptic("odd")), public_key=key)
        yield refuse(f"key/signer-{name}-point", leaf, why, by=Check.SIGNATURE)
        over = replace(ca("Odd", key=Elliptic("odd")), public_key=key)
        yield refuse(f"key/issuer-{name}-point", signer(over), why)
    point = tlv(0x03, b"\x00\x04", b"\x01" * 64)
    off_curve = sequence(sequence(oid("1.2.840.10045.2.1"), oid("1.2.840.10045.3.1.7")), point)
    leaf = replace(signer(key=Elliptic("odd")), public_key=off_curve)
    yield refuse("key/signer-point-off-the-curve", leaf, "SEC 1 3.2.2: a point of the curve", by=Check.FORMAT)
    over = replace(ca("Odd", key=Elliptic("odd")), public_key=off_curve)
    yield refuse("key/issuer-point-off-the-curve", signer(over), "SEC 1 3.2.2: a point of the curve")
    of_pss = replace(own, kind="1.2.840.113549.1.1.10", parameters=b"")
    rule = "rule: a key is named rsaEncryption (core.signature)"
    yield refuse("key/signer-named-pss", signer(key=of_pss), rule, by=Check.SIGNATURE)
    over = replace(ca("Odd", key=of_pss))
    yield refuse("key/issuer-named-pss", replace(signer(over), algorithm=pss("sha256")), rule)


def _signed(place: str, algorithm: Algorithm) -> Cert:
    """Return a signer in whose RSA path the certificate at this place is signed with this algorithm."""

    def of(cert: Cert, own: str) -> Cert:
        return replace(cert, algorithm=algorithm) if own == place else cert

    top = of(root("RSA Root", key=_RSA_ROOT), "anchor")
    upper = of(ca("RSA Upper", top, key=rsa(number=4)), "upper")
    return of(signer(of(ca("RSA Issuing", upper, key=_RSA_CA), "issuer")), "signer")


def _digests() -> Iterator[Case]:
    broken = "rule: MD5 and SHA-1 are broken (core.signature, core.chain)"
    for place in ("signer", "issuer", "upper"):
        by = Check.SIGNATURE if place == "signer" else Check.CHAIN
        for digest in ("md5", "sha1"):
            yield refuse(f"signature/{place}-rsa-{digest}", _signed(place, ALGORITHMS[f"rsa-{digest}"]), broken, by=by)
        for digest in ("sha384", "sha512"):
            yield accept(f"signature/{place}-rsa-{digest}", _signed(place, ALGORITHMS[f"rsa-{digest}"]), _GOOD)
    yield accept("signature/each-rsa-sha256", _signed("signer", ALGORITHMS["rsa-sha256"]), _GOOD)
    for digest in ("md5", "sha1"):
        yield accept(
            f"signature/anchor-rsa-{digest}",
            _signed("anchor", ALGORITHMS[f"rsa-{digest}"]),
            "6.1.1 d: the anchor's own signature does not count",
        )
    yield refuse(
        "signature/signer-rsa-sha224",
        _signed("signer", ALGORITHMS["rsa-sha224"]),
        "rule: SHA-256, SHA-384 and SHA-512 (core.signature)",
        by=Check.SIGNATURE,
    )
    ecdsa = ALGORITHMS["ecdsa-sha1"]
    yield refuse("signature/signer-ecdsa-sha1", replace(signer(), algorithm=ecdsa), broken, by=Check.SIGNATURE)
    yield refuse("signature/issuer-ecdsa-sha1", signer(replace(ca("Odd"), algorithm=ecdsa)), broken)
    for digest in ("sha384", "sha512"):
        leaf = replace(signer(), algorithm=ALGORITHMS[f"ecdsa-{digest}"])
        yield accept(f"signature/signer-p256-ecdsa-{digest}", leaf, _GOOD)


def _pss() -> Iterator[Case]:
    for place in ("signer", "issuer"):
        for digest in ("sha256", "sha384", "sha512"):
            yield accept(f"signature/{place}-pss-{digest}", _signed(place, pss(digest)), _GOOD)
    yield accept(
        "signature/signer-pss-salt-of-20-bytes", _signed("signer", pss("sha256", salt=20)), "RFC 4055 3.1: any salt"
    )
    yield accept(
        "signature/signer-pss-without-a-salt", _signed("signer", pss("sha256", salt=0)), "RFC 4055 3.1: any salt"
    )
    sha1 = "rule: SHA-1 is broken (core.signature)"
    yield refuse("signature/signer-pss-mask-of-sha1", _signed("signer", pss("sha256", mask="sha1")), sha1)
    yield refuse("signature/signer-pss-of-defaults", _signed("signer", pss("sha1")), sha1)
    yield refuse("signature/issuer-pss-of-defaults", _signed("issuer", pss("sha1")), sha1)
    yield refuse(
        "signature/signer-pss-without-parameters",
        _signed("signer", keys.PSS_WITHOUT_PARAMETERS),
        "RFC 4055 3.1: a signature has parameters",
    )
    yield refuse(
        "signature/signer-pss-trailer-2", _signed("signer", pss("sha256", trailer=2)), "RFC 4055 3.1: the trailer is 1"
    )
    other = replace(pss("sha256"), encoded=pss("sha384").encoded)
    yield refuse("signature/signer-pss-with-parameters-of-another", _signed("signer", other), _BAD)
    named = replace(pss("sha256"), encoded=ALGORITHMS["rsa-sha256"].encoded)
    yield refuse("signature/signer-pss-named-pkcs1", _signed("signer", named), _BAD)
    reverse = replace(ALGORITHMS["rsa-sha256"], encoded=pss("sha256").encoded)
    yield refuse("signature/signer-pkcs1-named-pss", _signed("signer", reverse), _BAD)


def _two_algorithms() -> Iterator[Case]:
    """The outer algorithm is the one that signed, or the inner one."""
    same = "4.1.1.2: both fields have the same algorithm"
    other = ALGORITHMS["ecdsa-sha384"]
    for field, fault in (("inner", {"inner": other.encoded}), ("outer", {"outer": other.encoded})):
        yield refuse(f"signature/signer-other-{field}-algorithm", replace(signer(), **fault), same, by=Check.FORMAT)  # type: ignore[arg-type] # a field of Cert
        yield refuse(f"signature/issuer-other-{field}-algorithm", signer(replace(ca("Odd"), **fault)), same)  # type: ignore[arg-type] # as above
    rsa_names = ALGORITHMS["rsa-sha256-without-null"].encoded
    by_rsa = ca("RSA Issuing", key=_RSA_CA)
    yield refuse(
        "signature/signer-null-in-one-algorithm", replace(signer(by_rsa), inner=rsa_names), same, by=Check.FORMAT
    )


def _parameters() -> Iterator[Case]:
    by_rsa = ca("RSA Issuing", key=_RSA_CA)
    yield accept(
        "signature/signer-rsa-without-null",
        replace(signer(by_rsa), algorithm=ALGORITHMS["rsa-sha256-without-null"]),
        "RFC 4055 5: absent parameters must be accepted",
    )
    yield refuse(
        "signature/signer-ecdsa-with-null",
        replace(signer(), algorithm=ALGORITHMS["ecdsa-sha256-null"]),
        "RFC 5758 3.2: parameters must be absent",
        by=Check.FORMAT,
    )
    unknown = Algorithm(encoded=sequence(oid("1.3.6.1.4.1.55738.666.4")), digest="sha256")
    yield refuse(
        "signature/signer-unknown-algorithm",
        replace(signer(), algorithm=unknown),
        "6.1.3 a 1: it cannot be verified",
        by=Check.SIGNATURE,
    )
    yield refuse(
        "signature/issuer-unknown-algorithm",
        signer(replace(ca("Odd"), algorithm=unknown)),
        "6.1.3 a 1: it cannot be verified",
    )


def _signatures() -> Iterator[Case]:
    forger = Elliptic("a forger")
    decisions: tuple[tuple[str, Callable[[bytes], bytes], str], ...] = (
        ("of-another-key", lambda tbs: forger.sign(tbs, forger.algorithm()), _BAD),
        ("of-other-bytes", lambda tbs: ROOT.key.sign(tbs + b"\x00", ROOT.key.algorithm()), _BAD),
        ("empty", lambda _: b"", _BAD),
        ("of-zeros", lambda _: sequence(integer(0), integer(0)), "SEC 1 4.1.4: r and s are positive (CVE-2022-21449)"),
        ("of-ones", lambda _: sequence(integer(1), integer(1)), _BAD),
        (
            "with-a-trailing-byte",
            lambda tbs: ROOT.key.sign(tbs, ROOT.key.algorithm()) + b"\x00",
            "RFC 3279 2.2.3: one DER value",
        ),
        ("in-long-form", _in_long_form, "RFC 3279 2.2.3: one DER value"),
        ("negative", _negative, "SEC 1 4.1.4: r and s are positive"),
    )
    for name, sign, why in decisions:
        own = signer(ROOT)
        yield refuse(f"signature/signer-{name}", replace(own, sign=sign), why)
        yield refuse(f"signature/issuer-{name}", signer(replace(ca("Odd"), sign=sign)), why)
    weak = rsa(exponent=3)
    yield refuse(
        "signature/signer-rsa-forged-for-exponent-3",
        replace(signer(ca("Odd", key=weak)), sign=lambda tbs: keys.forged_for_exponent_3(weak, tbs, "sha256")),
        "RFC 8017 8.2.2: the padding fills the block (CVE-2006-4339)",
    )
    mixed = replace(signer(), algorithm=ALGORITHMS["rsa-sha256"], signing_key=rsa(number=5))
    yield refuse("signature/signer-rsa-under-an-elliptic-issuer", mixed, _BAD)


def _in_long_form(tbs: bytes) -> bytes:
    signature = ROOT.key.sign(tbs, ROOT.key.algorithm())
    return signature[:1] + b"\x81" + signature[1:]


def _negative(tbs: bytes) -> bytes:
    """Write r as r minus 2**256, which has the same low bits."""
    signature = ROOT.key.sign(tbs, ROOT.key.algorithm())
    r, s = utils.decode_dss_signature(signature)
    return sequence(integer(r - 2**256), integer(s))
