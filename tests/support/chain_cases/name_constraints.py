"""nameConstraints (RFC 5280 4.2.1.10, 6.1.3 b and c, 6.1.4 g)."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace

from support.chain_cases.keys import Elliptic
from support.chain_cases.recipe import NAME, NAMES, Case, Cert, accept, ca, refuse, root, signer
from support.chain_cases.values import (
    NAME_CONSTRAINTS,
    OTHER_NAME,
    Extension,
    alternative_names,
    attribute,
    directory_name,
    dns_name,
    ip_address,
    name_constraints,
    organisation,
    rfc822_name,
    subtree,
    uri,
)
from support.der_parts import sequence, tlv

_ALL_IPV4 = ip_address(bytes(8))
_OWN = sequence(organisation())
_OTHER = sequence(organisation("another organisation"))


def cases() -> Iterator[Case]:
    yield from _dns_names()
    yield from _forms_of_dns_names()
    yield from _directory_names()
    yield from _other_kinds()
    yield from _malformed()
    yield from _positions()
    yield from _several_authorities()


def _under(
    *, permitted: Iterable[bytes] | None = None, excluded: Iterable[bytes] | None = None, critical: bool = True
) -> Cert:
    return signer(_constrained(permitted=permitted, excluded=excluded, critical=critical))


def _constrained(
    name: str = "Constrained",
    *,
    permitted: Iterable[bytes] | None = None,
    excluded: Iterable[bytes] | None = None,
    critical: bool = True,
) -> Cert:
    extension = name_constraints(permitted=permitted, excluded=excluded, critical=critical)
    return ca(name).with_extensions(extension)


def _dns_names() -> Iterator[Case]:
    inside, outside = "6.1.3 b: each name is inside", "6.1.3 b: a name is outside"
    free, excluded = "6.1.3 c: no name is excluded", "6.1.3 c: a name is excluded"
    for name, permitted, decide in (
        ("parent", ["azure.com"], accept),
        ("top", ["com"], accept),
        ("each-exact", list(NAMES), accept),
        ("exact-parent", [NAME], accept),
        ("one-of-several", ["example.com", "azure.com", "example.org"], accept),
        ("upper-case", ["AZURE.COM"], accept),
        ("another", ["example.com"], refuse),
        ("only-one-of-two-names", [NAMES[0]], refuse),
        ("below", [f"a.{NAME}"], refuse),
        ("part-of-a-label", ["zure.com"], refuse),
    ):
        why = inside if decide is accept else outside
        yield decide(f"name-constraints/permitted-{name}", _under(permitted=map(dns_name, permitted)), why)
    for name, names, decide in (
        ("another", ["example.com"], accept),
        ("part-of-a-label", ["zure.com"], accept),
        ("below", [f"a.{NAME}"], accept),
        ("parent", ["azure.com"], refuse),
        ("exact", [NAME], refuse),
        ("one-of-two-names", [NAMES[0]], refuse),
        ("upper-case", ["AZURE.COM"], refuse),
        ("one-of-several", ["example.com", "azure.com"], refuse),
    ):
        why = free if decide is accept else excluded
        yield decide(f"name-constraints/excluded-{name}", _under(excluded=map(dns_name, names)), why)
    both = _under(permitted=[dns_name(NAME)], excluded=[dns_name("com")])
    yield refuse("name-constraints/excluded-beats-permitted", both, excluded)
    apart = _under(permitted=[dns_name("azure.com")], excluded=[dns_name("example.com")])
    yield accept("name-constraints/permitted-and-excluded-apart", apart, inside)


def _forms_of_dns_names() -> Iterator[Case]:
    zero = "4.2.1.10: adding labels to the empty name gives every name"
    yield accept("name-constraints/permitted-empty-dns-name", _under(permitted=[dns_name("")]), zero)
    yield refuse("name-constraints/excluded-empty-dns-name", _under(excluded=[dns_name("")]), zero)
    no_host = "4.2.1.10: a constraint that cannot be processed; a host name begins with no dot"
    yield refuse("name-constraints/permitted-leading-dot", _under(permitted=[dns_name(".azure.com")]), no_host)
    yield refuse("name-constraints/excluded-leading-dot", _under(excluded=[dns_name(".azure.com")]), no_host)
    wildcard = "4.2.1.10: a constraint that cannot be processed; a host name has no wildcard"
    yield refuse("name-constraints/permitted-wildcard", _under(permitted=[dns_name("*.azure.com")]), wildcard)
    yield refuse("name-constraints/excluded-wildcard", _under(excluded=[dns_name("*.azure.com")]), wildcard)
    issuer = _constrained(permitted=[dns_name("azure.com")])
    yield accept(
        "name-constraints/permitted-and-a-wildcard-name",
        signer(issuer, names=(NAME, f"*.{NAME}")),
        "6.1.3 b: each name is inside",
    )
    yield refuse(
        "name-constraints/permitted-and-another-wildcard-name",
        signer(issuer, names=(NAME, "*.example.com")),
        "6.1.3 b: a name is outside",
    )


def _directory_names() -> Iterator[Case]:
    subject_inside, subject_outside = "6.1.3 b: the subject is inside", "6.1.3 b: the subject is outside"
    permitted = _constrained(permitted=[directory_name(_OWN)])
    yield accept("name-constraints/permitted-directory-name", signer(permitted), subject_inside)
    yield refuse(
        "name-constraints/permitted-another-directory-name",
        _under(permitted=[directory_name(_OTHER)]),
        subject_outside,
    )
    longer = sequence(organisation(), attribute("2.5.4.11", "a unit"))
    yield refuse(
        "name-constraints/permitted-longer-directory-name", _under(permitted=[directory_name(longer)]), subject_outside
    )
    yield accept(
        "name-constraints/permitted-empty-directory-name",
        _under(permitted=[directory_name(sequence())]),
        "4.2.1.10: every name is below the empty one",
    )
    yield accept(
        "name-constraints/excluded-another-directory-name",
        _under(excluded=[directory_name(_OTHER)]),
        "6.1.3 c: the subject is not excluded",
    )
    yield refuse(
        "name-constraints/excluded-directory-name",
        _under(excluded=[directory_name(_OWN)]),
        "6.1.3 c: the subject is excluded",
    )
    compared = "7.1: names are compared without case, string type and repeated spaces"
    for name, text, tag in (
        ("upper-case", "CHAIN CASES", 0x0C),
        ("printable", "chain cases", 0x13),
        ("spaces", "chain   cases", 0x0C),
    ):
        base = directory_name(sequence(organisation(text, tag=tag)))
        yield accept(f"name-constraints/permitted-directory-name-{name}", _under(permitted=[base]), compared)
        yield refuse(f"name-constraints/excluded-directory-name-{name}", _under(excluded=[base]), compared)
    empty = replace(signer(_constrained(permitted=[directory_name(_OTHER)])), subject=sequence())
    names = alternative_names(*map(dns_name, NAMES), critical=True)
    yield accept(
        "name-constraints/permitted-another-directory-name-and-no-subject",
        empty.with_extensions(names),
        "6.1.3 b: an empty subject is not compared",
    )
    inside = alternative_names(*map(dns_name, NAMES), directory_name(_OTHER))
    yield refuse(
        "name-constraints/excluded-directory-name-among-the-names",
        signer(_constrained(excluded=[directory_name(_OTHER)])).with_extensions(inside),
        "6.1.3 c: a directoryName of subjectAltName is excluded",
    )
    yield refuse(
        "name-constraints/permitted-directory-name-and-another-among-the-names",
        signer(permitted).with_extensions(inside),
        "6.1.3 b: a directoryName of subjectAltName is outside",
    )


def _other_kinds() -> Iterator[Case]:
    none = "4.2.1.10: no name of this kind is there"
    for name, base in (
        ("ip-address", _ALL_IPV4),
        ("rfc822-name", rfc822_name("example.com")),
        ("uri", uri("example.com")),
        ("other-name", OTHER_NAME),
        ("registered-id", tlv(0x88, b"\x2a\x03")),
    ):
        yield accept(f"name-constraints/permitted-only-{name}", _under(permitted=[base]), none)
        yield accept(f"name-constraints/excluded-only-{name}", _under(excluded=[base]), none)
    address = ip_address(bytes((10, 0, 0, 1)))
    for name, own, inside, outside in (
        (
            "ip-address",
            address,
            ip_address(bytes((10, 0, 0, 0, 255, 0, 0, 0))),
            ip_address(bytes((11, 0, 0, 0, 255, 0, 0, 0))),
        ),
        ("rfc822-name", rfc822_name("a@azure.com"), rfc822_name("azure.com"), rfc822_name("example.com")),
        ("uri", uri("https://a.azure.com/"), uri(".azure.com"), uri(".example.com")),
    ):
        names = alternative_names(*map(dns_name, NAMES), own)
        for kind, base, decide in (
            ("permitted", inside, accept),
            ("permitted-another", outside, refuse),
            ("excluded", inside, refuse),
            ("excluded-another", outside, accept),
        ):
            over = _constrained(**{kind.partition("-")[0]: [base]})  # type: ignore[arg-type] # permitted or excluded
            why = "6.1.3 b and c: a name of this kind is there"
            yield decide(f"name-constraints/{kind}-{name}-of-the-signer", signer(over).with_extensions(names), why)


def _malformed() -> Iterator[Case]:
    """The RFC lets validators process minimum and maximum or refuse. Nobody processes them."""
    formal = "6.1.4 g: the constraints name no subtree; only 4.2.1.10 forbids an authority to issue them"
    yield accept("name-constraints/empty", _under(), formal)
    yield accept("name-constraints/permitted-empty-list", _under(permitted=[]), formal)
    yield accept("name-constraints/excluded-empty-list", _under(excluded=[]), formal)
    limits = "4.2.1.10: process minimum and maximum, or refuse"
    for name, base in (
        ("minimum-1", subtree(dns_name("azure.com"), minimum=1)),
        ("maximum", subtree(dns_name("azure.com"), maximum=3)),
    ):
        yield refuse(f"name-constraints/permitted-with-{name}", _under(permitted=[base]), limits)
    mask = ip_address(bytes((10, 0, 0, 0, 255, 0, 255, 0)))
    own = alternative_names(*map(dns_name, NAMES), ip_address(bytes((10, 0, 0, 1))))
    yield refuse(
        "name-constraints/permitted-ip-address-with-a-mask-of-gaps",
        signer(_constrained(permitted=[mask])).with_extensions(own),
        "4.2.1.10: a mask in the style of RFC 4632",
    )
    yield refuse(
        "name-constraints/no-sequence",
        signer(ca("Constrained").with_extensions(Extension(oid=NAME_CONSTRAINTS, value=b"\x05\x00", critical=True))),
        "6.1.4 g: the extension cannot be processed",
    )


def _positions() -> Iterator[Case]:
    permitted = name_constraints(permitted=[dns_name("azure.com")])
    foreign = name_constraints(permitted=[dns_name("example.com")])
    yield refuse("name-constraints/signer", signer().with_extensions(permitted), "4.2.1.10: only in a CA certificate")
    yield refuse(
        "name-constraints/signer-not-critical",
        signer().with_extensions(name_constraints(permitted=[dns_name("azure.com")], critical=False)),
        "4.2.1.10: only in a CA certificate",
    )
    yield accept(
        "name-constraints/not-critical-permitted",
        _under(permitted=[dns_name("azure.com")], critical=False),
        "6.1.4 g: whether it is critical does not count",
    )
    yield refuse(
        "name-constraints/not-critical-permitted-another",
        _under(permitted=[dns_name("example.com")], critical=False),
        "6.1.4 g: whether it is critical does not count",
    )
    yield refuse(
        "name-constraints/upper-permitted-another",
        signer(ca(under=ca("Upper").with_extensions(foreign))),
        "6.1.4 g: the constraints hold for the whole path below",
    )
    anchor = "6.1.1 d: the anchor's constraints are no input"
    good, odd = root("Odd").with_extensions(permitted), root("Odd").with_extensions(foreign)
    yield accept("name-constraints/anchor-permitted", signer(ca(under=good)), anchor)
    yield accept("name-constraints/anchor-permitted-another", signer(ca(under=odd)), anchor)


def _several_authorities() -> Iterator[Case]:
    def names(upper: str, lower: str) -> Cert:
        above = _constrained("Upper", permitted=[dns_name(upper)])
        return signer(ca(under=above).with_extensions(name_constraints(permitted=[dns_name(lower)])))

    decisions: tuple[tuple[str, str, str, Callable[..., Case]], ...] = (
        ("narrows", "azure.com", NAME, accept),
        ("repeats", "azure.com", "azure.com", accept),
        ("may-be-wider", NAME, "com", accept),
        ("leaves-nothing", "azure.com", "example.com", refuse),
        ("cannot-widen", "example.com", "com", refuse),
    )
    for name, wide, narrow, decide in decisions:
        yield decide(f"name-constraints/lower-{name}", names(wide, narrow), "6.1.4 g: the intersection of both")
    above = _constrained("Upper", excluded=[dns_name("azure.com")])
    lower = ca(under=above).with_extensions(name_constraints(permitted=[dns_name("azure.com")]))
    yield refuse("name-constraints/lower-cannot-permit-what-is-excluded", signer(lower), "6.1.4 g: the union of both")

    upper = _constrained("Upper", permitted=[directory_name(_OTHER)])
    inside = sequence(organisation("another organisation"))
    leaf = replace(signer(ca(under=upper)), subject=inside)
    yield refuse(
        "name-constraints/subject-of-an-authority-outside", leaf, "6.1.3 b: the subject of an authority is outside"
    )
    renewed = replace(ca("Upper", upper, key=Elliptic("Upper renewed")), subject=upper.subject)
    yield accept(
        "name-constraints/subject-of-a-self-issued-authority-outside",
        replace(signer(renewed), subject=inside),
        "6.1.3 b: a self-issued certificate is not compared unless it is the last",
    )
