"""Unknown, critical, duplicate and policy extensions at each position (RFC 5280 4.2, 4.1.2.9, 6.1.3 to 6.1.5)."""

from collections.abc import Iterator
from dataclasses import replace

from support.chain_cases import values
from support.chain_cases.keys import NULL
from support.chain_cases.recipe import NAME, V3, Case, Cert, accept, ca, refuse, root, signer
from support.chain_cases.values import ANY_POLICY, OTHER_POLICY, POLICY, Extension, policies, unknown
from support.der_parts import integer, oid, sequence, tlv

from verifier.core.reasons import Check


def cases() -> Iterator[Case]:
    yield from _unknown()
    yield from _known()
    yield from _duplicates()
    yield from _versions()
    yield from _policies()


def _at(place: str, *extensions: Extension) -> Cert:
    """Return a signer in whose path the certificate at this place has these extensions too."""
    match place:
        case "signer":
            return signer().with_extensions(*extensions)
        case "issuer":
            return signer(ca("Odd").with_extensions(*extensions))
        case "upper":
            return signer(ca(under=ca("Odd").with_extensions(*extensions)))
        case _:
            return signer(ca(under=root("Odd").with_extensions(*extensions)))


def _unknown() -> Iterator[Case]:
    for place, clause in (("signer", "6.1.5 f"), ("issuer", "6.1.4 o"), ("upper", "6.1.4 o")):
        yield refuse(
            f"extension/unknown-critical-{place}", _at(place, unknown(critical=True)), f"{clause}: it is not known"
        )
        yield accept(f"extension/unknown-{place}", _at(place, unknown(critical=False)), "4.2: it is not critical")
    anchor = "6.1.1 d: the anchor's name and key count"
    yield accept("extension/unknown-critical-anchor", _at("anchor", unknown(critical=True)), anchor)
    yield accept("extension/unknown-anchor", _at("anchor", unknown(critical=False)), anchor)
    poison = Extension(oid=values.POISON, value=NULL, critical=True)
    yield refuse("extension/precertificate-signer", _at("signer", poison), "6.1.5 f: RFC 6962 3.1 makes it unusable")
    yield refuse("extension/precertificate-issuer", _at("issuer", poison), "6.1.4 o: RFC 6962 3.1 makes it unusable")


def _known() -> Iterator[Case]:
    access = sequence(sequence(oid("1.3.6.1.5.5.7.48.2"), values.uri("http://pki.invalid/a.crt")))
    for critical, decide, why in (
        (False, accept, "4.2.2.1: it is not critical"),
        (True, refuse, "4.2.2.1: it must not be critical"),
    ):
        extension = Extension(oid=values.AUTHORITY_INFORMATION_ACCESS, value=access, critical=critical)
        yield decide(
            f"extension/authority-information-access-{'critical' if critical else 'plain'}",
            _at("signer", extension),
            why,
        )
    own = signer().key.public()
    yield refuse(
        "extension/subject-key-identifier-critical-signer",
        _at("signer", values.subject_key_identifier(own, critical=True)),
        "4.2.1.2: it must not be critical",
    )
    yield accept(
        "extension/alternative-names-critical",
        _at("signer", replace(values.dns_names(NAME), critical=True)),
        "4.2.1.6: that it is not critical is only recommended",
    )


def _duplicates() -> Iterator[Case]:
    once = "4.2: each extension at most once"
    for name, doubled in (
        ("basic-constraints", values.basic_constraints()),
        ("alternative-names", values.dns_names("example.com")),
        ("unknown", unknown(critical=False)),
    ):
        for order in ("before", "behind"):
            own = signer().extensions
            if name == "unknown":
                own = (*own, doubled)
            new = (doubled, *own) if order == "before" else (*own, doubled)
            leaf = replace(signer(), extensions=new)
            yield refuse(f"extension/duplicate-{name}-signer-{order}", leaf, once, by=Check.FORMAT)
    for name, doubled in (
        ("basic-constraints", values.basic_constraints(is_ca=True, path_length=7)),
        ("key-usage", values.key_usage("key_cert_sign")),
        ("unknown", unknown(critical=False)),
    ):
        odd = ca("Odd").with_extensions(unknown(critical=False))
        odd = replace(odd, extensions=(*odd.extensions, doubled))
        yield refuse(f"extension/duplicate-{name}-issuer", signer(odd), once)


def _versions() -> Iterator[Case]:
    only_v3 = "4.1.2.9: extensions only in version 3"
    for name, version in (
        ("1", b""),
        ("2", tlv(0xA0, integer(1))),
        ("4", tlv(0xA0, integer(3))),
        ("1-encoded", tlv(0xA0, integer(0))),
    ):
        leaf = replace(signer(), version=version)
        yield refuse(f"extension/signer-of-version-{name}", leaf, only_v3, by=Check.FORMAT)
        odd = replace(ca("Odd"), version=version)
        yield refuse(f"extension/issuer-of-version-{name}", signer(odd), only_v3)
    empty = replace(signer(), extensions=(), version=V3)
    yield refuse(
        "extension/signer-without-extensions",
        empty,
        "4.2.1.1 and rule: an authority key identifier and an alternative name",
    )


def _policies() -> Iterator[Case]:
    explicit = values.policy_constraints(require=0)
    named, other = policies(POLICY), policies(OTHER_POLICY)

    def over(*extensions: Extension, leaf: tuple[Extension, ...] = ()) -> Cert:
        return signer(ca("Explicit").with_extensions(*extensions)).with_extensions(*leaf)

    satisfied, missing = "6.1.5 g: a policy is valid in the whole path", "6.1.5 g: no policy is valid in the whole path"
    yield accept("policy/explicit-and-named", over(explicit, named, leaf=(named,)), satisfied)
    yield accept("policy/explicit-and-any-above", over(explicit, policies(ANY_POLICY), leaf=(named,)), satisfied)
    yield refuse("policy/explicit-and-none", over(explicit), missing)
    yield refuse("policy/explicit-and-none-in-the-signer", over(explicit, named), missing)
    yield refuse("policy/explicit-and-another", over(explicit, named, leaf=(other,)), missing)
    yield refuse(
        "policy/explicit-not-critical-and-none",
        over(values.policy_constraints(require=0, critical=False)),
        "6.1.4 i: whether it is critical does not count",
    )
    yield accept(
        "policy/explicit-after-2-more", over(values.policy_constraints(require=2)), "6.1.4 i: not yet required"
    )
    yield accept("policy/critical-and-named", over(named, leaf=(policies(POLICY, critical=True),)), satisfied)
    yield accept("policy/none-in-common", over(named, leaf=(other,)), "6.1.5 g: no policy is required")
    inhibited = Extension(oid=values.INHIBIT_ANY_POLICY, value=integer(0), critical=True)
    yield accept("policy/any-inhibited-and-named", over(inhibited, explicit, named, leaf=(named,)), satisfied)
    yield refuse(
        "policy/any-inhibited-and-only-any",
        over(inhibited, explicit, named, leaf=(policies(ANY_POLICY),)),
        "6.1.3 d: anyPolicy is inhibited",
    )
    mapped = values.policy_mappings(POLICY, OTHER_POLICY)
    yield accept("policy/mapped", over(explicit, named, mapped, leaf=(other,)), satisfied)
    yield refuse("policy/mapped-and-not-followed", over(explicit, named, mapped, leaf=(named,)), missing)
    for name, mapping in (
        ("from", values.policy_mappings(ANY_POLICY, POLICY)),
        ("to", values.policy_mappings(POLICY, ANY_POLICY)),
    ):
        yield refuse(
            f"policy/mapped-{name}-any", over(named, mapping, leaf=(named,)), "6.1.4 a: anyPolicy is not mapped"
        )
    only_ca = "only a CA may have it"
    yield refuse("policy/constraints-in-the-signer", signer().with_extensions(named, explicit), f"4.2.1.11: {only_ca}")
    yield refuse("policy/mapping-in-the-signer", signer().with_extensions(named, mapped), f"4.2.1.5: {only_ca}")
    yield refuse("policy/inhibition-in-the-signer", signer().with_extensions(named, inhibited), f"4.2.1.14: {only_ca}")
    yield refuse("policy/twice-in-the-signer", signer().with_extensions(policies(POLICY, POLICY)), "4.2.1.4: each once")
