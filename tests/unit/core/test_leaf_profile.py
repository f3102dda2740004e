"""The rules for signers: each refuses a certificate that both path validators accept, and accepts real signers."""

from dataclasses import replace

import pytest
from asn1crypto import core
from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.x509.oid import ExtensionOID
from support.certificate_mutants import (
    OWN_NAMES,
    element,
    elements,
    mint,
    sequence,
    with_extension,
    with_subject,
    without_extension,
)
from support.certificates import make_names
from support.chains import Chain, certvalidator_accepts, claims_of, pyca_accepts
from support.documents import NOW, SAMPLES, der, sample, shared_pki

from verifier.core import leaf_profile
from verifier.core.chain import build_chain
from verifier.core.envelope import read_envelope
from verifier.core.leaf_profile import RULES
from verifier.core.model import RawDocument
from verifier.core.reasons import ChainRefused, Reason
from verifier.core.trust.certificates import Certificate

# cryptography warns of some names that a later version refuses. The service does not turn warnings into errors.
pytestmark = pytest.mark.filterwarnings("ignore:Attribute's length must be:UserWarning")

TBS = mint("EC").tbs
OID = b"\x06\x03\x2a\x03\x04"
#: For the rule about RSA keys.
RSA_CLAUSE = "4.1.2.7"
UTF8, NUMERIC, PRINTABLE, TELETEX, IA5 = 0x0C, 0x12, 0x13, 0x14, 0x16
COMMON_NAME, SERIAL, COUNTRY, LOCALITY, ORGANISATION = "2.5.4.3", "2.5.4.5", "2.5.4.6", "2.5.4.7", "2.5.4.10"
MAIL, COMPONENT, UNIQUE_IDENTIFIER = "1.2.840.113549.1.9.1", "0.9.2342.19200300.100.1.25", "2.5.4.45"


def with_field(place: int, field: bytes, tbs: bytes = TBS) -> bytes:
    fields = list(elements(tbs))
    fields[place] = field
    return sequence(*fields)


def with_one_more_field(field: bytes) -> bytes:
    *fields, extensions = elements(TBS)
    return sequence(*fields, field, extensions)


def with_names(*names: bytes) -> bytes:
    return with_extension(TBS, ExtensionOID.SUBJECT_ALTERNATIVE_NAME, sequence(*OWN_NAMES, *names))


def with_issuer_names(*names: bytes) -> bytes:
    return with_extension(TBS, ExtensionOID.ISSUER_ALTERNATIVE_NAME, sequence(*names))


def with_policies(*policies: bytes) -> bytes:
    return with_extension(TBS, ExtensionOID.CERTIFICATE_POLICIES, sequence(*policies))


def with_key_identifier(*, critical: bool) -> bytes:
    return with_extension(TBS, ExtensionOID.SUBJECT_KEY_IDENTIFIER, element(0x04, b"key"), critical=critical)


def without_common_name(tbs: bytes = TBS) -> bytes:
    *others, _ = elements(elements(TBS)[5])
    return with_field(5, sequence(*others), tbs)


def bare_key() -> bytes:
    """Return the key of the mint's signer without parameters of its algorithm."""
    algorithm, key = elements(elements(mint("RSA").tbs)[6])
    return sequence(sequence(elements(algorithm)[0]), key)


#: Certificates that both path validators accept, by the clause of the rule that each breaks.
BREAKING = {
    "4.1.2.2": {"serial number of 21 bytes": with_field(1, element(0x02, b"\x01" * 21))},
    "4.1.2.6": {
        "country in three letters": with_subject(TBS, (COUNTRY, PRINTABLE, b"USA")),
        "country in UTF-8": with_subject(TBS, (COUNTRY, UTF8, b"US")),
        "empty organisation": with_subject(TBS, (ORGANISATION, UTF8, b"")),
        "organisation of 65 characters": with_subject(TBS, (ORGANISATION, UTF8, b"a" * 65)),
        "organisation in Teletex": with_subject(TBS, (ORGANISATION, TELETEX, b"a")),
        "organisation in a NumericString": with_subject(TBS, (ORGANISATION, NUMERIC, b"123")),
        "locality of 129 characters": with_subject(TBS, (LOCALITY, UTF8, b"a" * 129)),
        "serial number in UTF-8": with_subject(TBS, (SERIAL, UTF8, b"1")),
        "mail address in UTF-8": with_subject(TBS, (MAIL, UTF8, b"a@b")),
        "domain component in UTF-8": with_subject(TBS, (COMPONENT, UTF8, b"com")),
        "unique identifier with 9 unused bits": with_subject(TBS, (UNIQUE_IDENTIFIER, 0x03, b"\x09\x00")),
    },
    RSA_CLAUSE: {"RSA key without parameters": with_field(6, bare_key(), mint("RSA").tbs)},
    "4.1.2.8": {
        "issuerUniqueID": with_one_more_field(element(0x81, b"\x00\x01")),
        "subjectUniqueID": with_one_more_field(element(0x82, b"\x00\x01")),
    },
    "4.2": {
        "no access description": with_extension(TBS, ExtensionOID.AUTHORITY_INFORMATION_ACCESS, sequence()),
        "no subject access description": with_extension(TBS, ExtensionOID.SUBJECT_INFORMATION_ACCESS, sequence()),
        "no distribution point": with_extension(TBS, ExtensionOID.CRL_DISTRIBUTION_POINTS, sequence()),
        "no policy": with_policies(),
        "no policy qualifier": with_policies(sequence(OID, sequence())),
        "no issuer name": with_issuer_names(),
    },
    "4.2.1.1": {
        "empty authority key identifier": with_extension(TBS, ExtensionOID.AUTHORITY_KEY_IDENTIFIER, sequence()),
    },
    "4.2.1.3": {
        "keyUsage with zeros at its end": with_extension(TBS, ExtensionOID.KEY_USAGE, b"\x03\x02\x00\x80"),
        "keyUsage with one zero at its end": with_extension(TBS, ExtensionOID.KEY_USAGE, b"\x03\x02\x06\x80"),
        "keyUsage with a byte of zeros": with_extension(TBS, ExtensionOID.KEY_USAGE, b"\x03\x03\x00\x80\x00"),
    },
    "4.2.1.2": {"critical subject key identifier": with_key_identifier(critical=True)},
    "4.2.1.4": {"a policy twice": with_policies(sequence(OID), sequence(OID))},
    "4.2.1.5": {
        "policy mappings": with_extension(TBS, ExtensionOID.POLICY_MAPPINGS, sequence(sequence(OID, OID))),
    },
    "4.2.1.6": {
        "underscore in a host name": with_names(element(0x82, b"a_b.metadata.azure.com")),
        "empty host name": with_names(element(0x82, b"")),
        "address as a host name": with_names(element(0x82, b"127.0.0.1")),
        "a wildcard alone": with_names(element(0x82, b"*")),
        "wildcard within a label": with_names(element(0x82, b"a*.metadata.azure.com")),
        "host name of 254 characters": with_names(element(0x82, b".".join([b"a" * 50] * 5))),
        "mailbox without a domain": with_names(element(0x81, b"a")),
        "relative URI": with_names(element(0x86, b"/a")),
        "country in UTF-8": with_names(
            element(0xA4, sequence(element(0x31, sequence(b"\x06\x03\x55\x04\x06", element(UTF8, b"US")))))
        ),
        "underscore in a host name of the issuer": with_issuer_names(element(0x82, b"a_b")),
    },
    "4.2.1.11": {
        "policy constraints": with_extension(TBS, ExtensionOID.POLICY_CONSTRAINTS, sequence(element(0x80, b"\x05"))),
    },
    "4.2.1.14": {"inhibitAnyPolicy": with_extension(TBS, ExtensionOID.INHIBIT_ANY_POLICY, b"\x02\x01\x05")},
}
KEEPING = {
    "as it is": TBS,
    "serial number of 20 bytes behind a zero": with_field(1, element(0x02, b"\x00" + b"\xff" * 20)),
    "no subject key identifier": without_extension(TBS, ExtensionOID.SUBJECT_KEY_IDENTIFIER),
    "another subject key identifier": with_key_identifier(critical=False),
    "no keyUsage": without_extension(TBS, ExtensionOID.KEY_USAGE),
    "keyUsage that is not critical": with_extension(TBS, ExtensionOID.KEY_USAGE, b"\x03\x02\x07\x80"),
    "no extendedKeyUsage": without_extension(TBS, ExtensionOID.EXTENDED_KEY_USAGE),
    "no basicConstraints": without_extension(TBS, ExtensionOID.BASIC_CONSTRAINTS),
    "no policies": without_extension(TBS, ExtensionOID.CERTIFICATE_POLICIES),
    "anyPolicy": with_policies(sequence(b"\x06\x04\x55\x1d\x20\x00")),
    "no common name": without_common_name(),
    "empty subject, critical alternative name": with_field(
        5,
        sequence(),
        with_extension(TBS, ExtensionOID.SUBJECT_ALTERNATIVE_NAME, sequence(*OWN_NAMES), critical=True),
    ),
    "organisation of 64 characters of two bytes": with_subject(TBS, (ORGANISATION, UTF8, "é".encode() * 64)),
    "mail address in IA5": with_subject(TBS, (MAIL, IA5, b"a@b")),
    "unknown attribute": with_subject(TBS, ("1.2.3.4", UTF8, b"")),
    "wildcard": with_names(element(0x82, b"*.metadata.azure.com")),
    "host name of another domain": with_names(element(0x82, b"example.com")),
    "mailbox, URI, address and registered ID": with_names(
        element(0x81, b"a@example.com"), element(0x86, b"https://example.com"), element(0x87, b"addr"), b"\x88\x01\x2a"
    ),
    "unknown extension": with_extension(TBS, x509.ObjectIdentifier("1.2.3.4"), b"\x05\x00"),
    "location that is no URL": with_extension(
        TBS,
        ExtensionOID.AUTHORITY_INFORMATION_ACCESS,
        sequence(sequence(b"\x06\x08\x2b\x06\x01\x05\x05\x07\x30\x02", element(0x86, b"\x07"))),
    ),
}
UNREADABLE = {
    "two policies extensions in one": with_extension(
        TBS, ExtensionOID.CERTIFICATE_POLICIES, sequence(sequence(OID)) + b"\x05\x00"
    ),
    "address of 5 bytes": with_names(element(0x87, b"12345")),
    "path length of a signer": with_extension(TBS, ExtensionOID.BASIC_CONSTRAINTS, sequence(b"\x02\x01\x00")),
    "timestamps of another form": with_extension(
        TBS, ExtensionOID.PRECERT_SIGNED_CERTIFICATE_TIMESTAMPS, element(0x04, b"\x00\x05")
    ),
}

BROKEN = [pytest.param(clause, tbs, id=name) for clause, kinds in BREAKING.items() for name, tbs in kinds.items()]


def chain_of(tbs: bytes, kind: str = "EC") -> Chain:
    made = mint(kind)
    signer = x509.load_der_x509_certificate(made.certify(tbs))
    anchor, issuer = (entry.certificate.parsed for entry in made.bundle.entries)
    return Chain(signer=signer, pins=(issuer,), anchor=anchor)


def refusal(tbs: bytes, kind: str = "EC") -> ChainRefused:
    with pytest.raises(ChainRefused) as caught:
        build_chain(claims_of(chain_of(tbs, kind).signer), now=NOW, bundle=mint(kind).bundle)
    assert caught.value.reason is Reason.CHAIN_UNTRUSTED
    return caught.value


def kind_of(clause: str) -> str:
    return "RSA" if clause == RSA_CLAUSE else "EC"


@pytest.mark.parametrize(("clause", "tbs"), BROKEN)
def test_a_certificate_that_breaks_a_rule_is_refused_with_the_clause(clause: str, tbs: bytes) -> None:
    detail = refusal(tbs, kind_of(clause)).detail
    assert detail.startswith(f"The signer's certificate breaks RFC 5280 {clause}: ")


@pytest.mark.parametrize(("clause", "tbs"), BROKEN)
def test_both_path_validators_accept_a_certificate_that_breaks_a_rule(clause: str, tbs: bytes) -> None:
    # If this fails, the rule is no longer needed.
    chain = chain_of(tbs, kind_of(clause))
    assert (pyca_accepts(chain), certvalidator_accepts(chain)) == (True, True)


def test_each_rule_has_a_certificate_that_breaks_it() -> None:
    assert RULES.keys() == BREAKING.keys()


@pytest.mark.parametrize("tbs", KEEPING.values(), ids=KEEPING)
def test_a_certificate_that_keeps_all_rules_is_accepted(tbs: bytes) -> None:
    assert mint("EC").appraise(tbs) is None


@pytest.mark.parametrize("tbs", UNREADABLE.values(), ids=UNREADABLE)
def test_a_certificate_that_cannot_be_read_is_refused(tbs: bytes) -> None:
    assert mint("EC").appraise(tbs) in {Reason.CHAIN_UNTRUSTED, Reason.MALFORMED_EVIDENCE}


@pytest.mark.parametrize("name", [path.stem for path in SAMPLES.glob("public-*.json")])
def test_real_signers_keep_all_rules(name: str) -> None:
    leaf_profile.check(read_envelope(RawDocument(raw_der=sample(name))).signer)


def test_a_certificate_without_extensions_has_no_empty_list() -> None:
    bare = x509.CertificateBuilder(
        issuer_name=shared_pki().issuing_ca.certificate.subject,
        subject_name=make_names("metadata.azure.com"),
        public_key=shared_pki().signer.key.public_key(),
        serial_number=1,
        not_valid_before=NOW,
        not_valid_after=NOW,
    ).sign(shared_pki().issuing_ca.key, SHA256())
    assert leaf_profile._has_no_empty_list(leaf_profile._Parts(Certificate.from_der(der(bare))))  # noqa: SLF001 - another rule refuses it first


#: What the rules read, and the two of their parts that other extensions and names need.
Parts = leaf_profile._Parts  # noqa: SLF001 - the rules are tested without a path
is_well_formed, is_general_name = leaf_profile._is_well_formed, leaf_profile._is_general_name  # noqa: SLF001 - as above


def parts_of(tbs: bytes, kind: str = "EC") -> Parts:
    return Parts(Certificate.from_der(mint(kind).certify(tbs)))


def mailbox(text: str) -> x509.RFC822Name:
    return x509.RFC822Name._init_without_validation(text)  # noqa: SLF001 - as the library reads it from a certificate


def name_of(kind: str, tag: int, value: bytes) -> bytes:
    attribute = sequence(bytes(core.ObjectIdentifier(kind).dump()), element(tag, value))
    return sequence(element(0x31, attribute))


class TestRules:
    """Check what the validators refuse as well, or what another check refuses first."""

    #: The string types and lengths of RFC 5280 appendix A.1.
    ATTRIBUTES = (
        *(("2.5.4.3", {UTF8, PRINTABLE}, 1, 64), ("2.5.4.4", {UTF8, PRINTABLE}, 1, 32768)),
        *(("2.5.4.5", {PRINTABLE}, 1, 64), ("2.5.4.6", {PRINTABLE}, 2, 2), ("2.5.4.7", {UTF8, PRINTABLE}, 1, 128)),
        *(("2.5.4.8", {UTF8, PRINTABLE}, 1, 128), ("2.5.4.10", {UTF8, PRINTABLE}, 1, 64)),
        *(("2.5.4.11", {UTF8, PRINTABLE}, 1, 64), ("2.5.4.12", {UTF8, PRINTABLE}, 1, 64)),
        *(("2.5.4.41", {UTF8, PRINTABLE}, 1, 32768), ("2.5.4.42", {UTF8, PRINTABLE}, 1, 32768)),
        *(("2.5.4.43", {UTF8, PRINTABLE}, 1, 32768), ("2.5.4.44", {UTF8, PRINTABLE}, 1, 32768)),
        *(("2.5.4.46", {PRINTABLE}, 1, 32768), ("2.5.4.65", {UTF8, PRINTABLE}, 1, 128)),
        *((COMPONENT, {IA5}, 1, 63), (MAIL, {IA5}, 1, 255)),
    )

    @pytest.mark.parametrize(("kind", "tags", "shortest", "longest"), ATTRIBUTES)
    def test_an_attribute_has_a_string_type_and_a_length_of_its_type(
        self, kind: str, tags: set[int], shortest: int, longest: int
    ) -> None:
        for tag in (UTF8, NUMERIC, PRINTABLE, TELETEX, IA5):
            assert is_well_formed(name_of(kind, tag, b"1" * shortest)) is (tag in tags)
        [tag, *_] = tags
        for length in (shortest - 1, shortest, longest, longest + 1):
            is_allowed = shortest <= length <= longest
            assert is_well_formed(name_of(kind, tag, b"1" * length)) is is_allowed

    @pytest.mark.parametrize("bad", [0, 1])
    def test_each_attribute_of_a_name_counts(self, bad: int) -> None:
        parts = [name_of(COUNTRY, PRINTABLE, b"USA" if one == bad else b"US") for one in (0, 1)]
        several = [elements(part)[0] for part in parts]
        one = element(0x31, b"".join(elements(member)[0] for member in several))
        assert not is_well_formed(sequence(*several))
        assert not is_well_formed(sequence(one))

    @pytest.mark.parametrize(
        ("value", "is_valid"),
        [(b"\x00", True), (b"", False), (b"\x01", False), (b"\x07\x80", True), (b"\x08\x00", False)],
    )
    def test_a_bit_string_has_at_most_7_unused_bits_in_its_last_byte(self, value: bytes, *, is_valid: bool) -> None:
        assert is_well_formed(name_of(UNIQUE_IDENTIFIER, 0x03, value)) is is_valid

    @pytest.mark.parametrize(
        ("number", "is_valid"), [(-1, False), (0, False), (1, True), ((1 << 160) - 1, True), (1 << 160, False)]
    )
    def test_a_serial_number_is_positive_and_has_at_most_160_bits(self, number: int, *, is_valid: bool) -> None:
        certificate = replace(parts_of(TBS).certificate, serial_number=number)
        assert RULES["4.1.2.2"][1](Parts(certificate)) is is_valid

    def test_the_key_is_found_in_a_certificate_without_a_version(self) -> None:
        _, *others, _ = elements(mint("RSA").tbs)
        assert RULES[RSA_CLAUSE][1](parts_of(sequence(*others), "RSA"))
        *others, _ = others
        assert not RULES[RSA_CLAUSE][1](parts_of(sequence(*others, bare_key()), "RSA"))

    @pytest.mark.parametrize(
        "oid",
        [
            *(ExtensionOID.SUBJECT_ALTERNATIVE_NAME, ExtensionOID.ISSUER_ALTERNATIVE_NAME),
            *(ExtensionOID.EXTENDED_KEY_USAGE, ExtensionOID.CERTIFICATE_POLICIES),
            *(ExtensionOID.CRL_DISTRIBUTION_POINTS, ExtensionOID.FRESHEST_CRL),
            *(ExtensionOID.AUTHORITY_INFORMATION_ACCESS, ExtensionOID.SUBJECT_INFORMATION_ACCESS),
        ],
    )
    def test_no_list_of_an_extension_is_empty(self, oid: x509.ObjectIdentifier) -> None:
        signer = parts_of(TBS)
        assert RULES["4.2"][1](signer)
        for value in (sequence(), sequence(sequence(OID), sequence()), sequence(sequence(), sequence(OID))):
            signer.values[oid] = value
            assert not RULES["4.2"][1](signer)

    @pytest.mark.parametrize(
        ("clause", "oid"),
        [("4.2.1.1", ExtensionOID.AUTHORITY_KEY_IDENTIFIER), ("4.2.1.6", ExtensionOID.SUBJECT_ALTERNATIVE_NAME)],
    )
    def test_an_absent_extension_breaks_no_rule(self, clause: str, oid: x509.ObjectIdentifier) -> None:
        assert RULES[clause][1](parts_of(without_extension(TBS, oid)))

    def test_other_extensions_may_be_empty(self) -> None:
        assert RULES["4.2"][1](parts_of(with_extension(TBS, ExtensionOID.BASIC_CONSTRAINTS, sequence())))

    @pytest.mark.parametrize(
        ("flags", "is_minimal"),
        [
            *((b"\x00\x01", True), (b"\x07\x80", True), (b"\x06\xc0", True), (b"\x07\x00\x80", True)),
            *((b"\x00", False), (b"\x01\x01", False), (b"\x06\x80", False)),
        ],
    )
    def test_the_last_bit_of_the_key_usage_is_set(self, flags: bytes, *, is_minimal: bool) -> None:
        signer = parts_of(TBS)
        signer.values[ExtensionOID.KEY_USAGE] = element(0x03, flags)
        assert RULES["4.2.1.3"][1](signer) is is_minimal

    @pytest.mark.parametrize(
        ("name", "is_valid"),
        [
            (x509.DNSName(".".join(["a" * 63] * 3 + ["a" * 61])), True),
            (x509.DNSName(".".join(["a" * 63] * 3 + ["a" * 62])), False),
            *((x509.DNSName("a"), True), (x509.DNSName("1.a"), True), (x509.DNSName("a.1.b"), True)),
            (x509.DNSName("a.1"), False),
            (x509.DNSName("*.*.a"), False),
            (x509.DNSName("*."), False),
            (x509.DNSName("a..b"), False),
            (mailbox("a@b"), True),
            (mailbox("a@b c"), False),
            (mailbox("a@b@c"), False),
            (mailbox("<a@b>"), False),
            (mailbox("@b"), False),
            (x509.UniformResourceIdentifier("Za9+.-:x"), True),
            (x509.UniformResourceIdentifier("9a:x"), False),
            (x509.UniformResourceIdentifier("a:"), False),
            (x509.UniformResourceIdentifier("a:x y"), False),
            (x509.UniformResourceIdentifier("a_b:x"), False),
            (x509.DirectoryName(make_names("metadata.azure.com")), True),
        ],
    )
    def test_an_alternative_name_is_well_formed(self, name: x509.GeneralName, *, is_valid: bool) -> None:
        assert is_general_name(name) is is_valid
