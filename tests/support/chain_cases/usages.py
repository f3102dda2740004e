"""keyUsage and extendedKeyUsage (RFC 5280 4.2.1.3, 4.2.1.12 and 6.1.4 n)."""

from collections.abc import Iterator

from support.chain_cases.recipe import Case, Cert, accept, ca, refuse, root, signer
from support.chain_cases.values import (
    ANY_PURPOSE,
    CLIENT_AUTH,
    EMAIL_PROTECTION,
    EXTENDED_KEY_USAGE,
    KEY_USAGE,
    SERVER_AUTH,
    Extension,
    extended_key_usage,
    key_usage,
)
from support.der_parts import tlv

from verifier.core.reasons import Check


def cases() -> Iterator[Case]:
    yield from _key_usage_of_authorities()
    yield from _key_usage_of_signers()
    yield from _purposes_of_signers()
    yield from _purposes_of_authorities()


def _key_usage_of_authorities() -> Iterator[Case]:
    for place in ("issuer", "upper"):

        def over(*new: Extension, place: str = place, without: str = "") -> Cert:
            odd = ca("Odd").with_extensions(*new).without(without)
            return signer(odd if place == "issuer" else ca(under=odd))

        yield accept(
            f"key-usage/{place}-missing", over(without=KEY_USAGE), "6.1.4 n: keyCertSign is required if it is present"
        )
        yield accept(
            f"key-usage/{place}-not-critical",
            over(key_usage("key_cert_sign", critical=False)),
            "6.1.4 n: whether it is critical does not count",
        )
        yield accept(
            f"key-usage/{place}-with-other-usages",
            over(key_usage("digital_signature", "key_cert_sign", "crl_sign")),
            "6.1.4 n: keyCertSign is there",
        )
        without_bit = "6.1.4 n: keyUsage without keyCertSign"
        yield refuse(f"key-usage/{place}-only-crl-sign", over(key_usage("crl_sign")), without_bit)
        yield refuse(f"key-usage/{place}-of-a-signer", over(key_usage("digital_signature")), without_bit)
        yield refuse(
            f"key-usage/{place}-not-critical-only-crl-sign", over(key_usage("crl_sign", critical=False)), without_bit
        )
    anchor = "6.1.1 d: the anchor's name and key count"
    yield accept("key-usage/anchor-missing", signer(ca(under=root("Odd").without(KEY_USAGE))), anchor)
    odd = root("Odd").with_extensions(key_usage("crl_sign"))
    yield accept("key-usage/anchor-only-crl-sign", signer(ca(under=odd)), anchor)


def _key_usage_of_signers() -> Iterator[Case]:
    leaf = signer()
    yield accept("key-usage/signer-missing", leaf.without(KEY_USAGE), "4.2.1.3: if it is absent, no use is restricted")
    yield accept(
        "key-usage/signer-only-digital-signature",
        leaf.with_extensions(key_usage("digital_signature")),
        "4.2.1.3: digitalSignature is there",
    )
    yield accept(
        "key-usage/signer-not-critical",
        leaf.with_extensions(key_usage("digital_signature", critical=False)),
        "4.2.1.3: that it is critical is only recommended",
    )
    for name, usages in (
        ("only-key-encipherment", ("key_encipherment",)),
        ("only-non-repudiation", ("non_repudiation",)),
        ("only-key-agreement", ("key_agreement",)),
    ):
        yield refuse(
            f"key-usage/signer-{name}",
            leaf.with_extensions(key_usage(*usages)),
            "4.2.1.3: a key that signs data needs digitalSignature",
            by=Check.SIGNER_NAME,
        )
    yield refuse(
        "key-usage/signer-key-cert-sign",
        leaf.with_extensions(key_usage("digital_signature", "key_cert_sign")),
        "4.2.1.9: no keyCertSign unless cA is asserted",
    )
    for name, value, why in (
        ("no-bit", tlv(0x03, b"\x00"), "4.2.1.3: at least one bit must be set"),
        ("unused-bits-set", tlv(0x03, b"\x07\xff"), "4.1 and X.690 11.2.1: unused bits are zero"),
        ("octet-string", tlv(0x04, b"\x07\x80"), "4.2.1.3: a BIT STRING"),
    ):
        odd = Extension(oid=KEY_USAGE, value=value, critical=True)
        yield refuse(f"key-usage/signer-{name}", leaf.with_extensions(odd), why, by=Check.FORMAT)
    zeros = Extension(oid=KEY_USAGE, value=tlv(0x03, b"\x00\x00"), critical=True)
    yield refuse(
        "key-usage/signer-zero-bits",
        leaf.with_extensions(zeros),
        "4.2.1.3: at least one bit must be set",
        by=Check.SIGNER_NAME,
    )
    at_the_end = Extension(oid=KEY_USAGE, value=tlv(0x03, b"\x00\x80"), critical=True)
    yield refuse(
        "key-usage/signer-trailing-zeros",
        leaf.with_extensions(at_the_end),
        "4.1 and X.690 11.2.2: DER has no zeros at the end",
    )


def _purposes_of_signers() -> Iterator[Case]:
    leaf = signer()
    yield accept(
        "extended-key-usage/signer-missing",
        leaf.without(EXTENDED_KEY_USAGE),
        "4.2.1.12: if it is absent, no purpose is restricted",
    )
    among = "4.2.1.12: serverAuth is among the purposes"
    for name, extension in (
        ("critical", extended_key_usage(SERVER_AUTH, critical=True)),
        ("and-client-auth", extended_key_usage(CLIENT_AUTH, SERVER_AUTH)),
        ("and-any", extended_key_usage(ANY_PURPOSE, SERVER_AUTH)),
        ("and-any-critical", extended_key_usage(SERVER_AUTH, ANY_PURPOSE, critical=True)),
        ("twice", extended_key_usage(SERVER_AUTH, SERVER_AUTH)),
        ("and-an-unknown-one", extended_key_usage("1.3.6.1.4.1.55738.666.9", SERVER_AUTH)),
    ):
        yield accept(f"extended-key-usage/signer-server-auth-{name}", leaf.with_extensions(extension), among)
    not_among = "4.2.1.12: serverAuth is not among the purposes"
    for name, purposes in (("client-auth", (CLIENT_AUTH,)), ("email-protection", (EMAIL_PROTECTION,))):
        odd = leaf.with_extensions(extended_key_usage(*purposes))
        yield refuse(f"extended-key-usage/signer-only-{name}", odd, not_among, by=Check.SIGNER_NAME)
    yield refuse(
        "extended-key-usage/signer-only-any",
        leaf.with_extensions(extended_key_usage(ANY_PURPOSE)),
        "rule: a signer needs serverAuth itself (core.names), as 4.2.1.12 permits",
        by=Check.SIGNER_NAME,
    )
    yield refuse(
        "extended-key-usage/signer-empty",
        leaf.with_extensions(extended_key_usage()),
        "4.2.1.12: SIZE (1..MAX)",
        by=Check.SIGNER_NAME,
    )


def _purposes_of_authorities() -> Iterator[Case]:
    rule = "rule: the purposes of an authority limit those below (CA/Browser profile, ADR 0027)"
    for place in ("issuer", "upper"):
        for name, extension, decide in (
            ("critical", extended_key_usage(SERVER_AUTH, critical=True), accept),
            ("and-others", extended_key_usage(EMAIL_PROTECTION, SERVER_AUTH), accept),
            ("only-any", extended_key_usage(ANY_PURPOSE), accept),
            ("only-client-auth", extended_key_usage(CLIENT_AUTH), refuse),
            ("only-email-protection", extended_key_usage(EMAIL_PROTECTION), refuse),
        ):
            odd = ca("Odd").with_extensions(extension)
            yield decide(
                f"extended-key-usage/{place}-{name}", signer(odd if place == "issuer" else ca(under=odd)), rule
            )
        odd = ca("Odd").without(EXTENDED_KEY_USAGE)
        yield accept(
            f"extended-key-usage/{place}-missing",
            signer(odd if place == "issuer" else ca(under=odd)),
            "4.2.1.12: an authority need not have it",
        )
    for name, purpose in (("server-auth", SERVER_AUTH), ("email-protection", EMAIL_PROTECTION)):
        odd = root("Odd").with_extensions(extended_key_usage(purpose))
        yield accept(
            f"extended-key-usage/anchor-{name}", signer(ca(under=odd)), "6.1.1 d: the anchor's name and key count"
        )
