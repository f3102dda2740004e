"""Certificates: read once and strictly, and refused if two parsers could read them differently."""

import hashlib
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import fields

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.hashes import SHA1, SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import AuthorityInformationAccessOID, ExtendedKeyUsageOID
from hypothesis import given, settings
from hypothesis import strategies as st
from support.certificates import alternative_names, make_names, make_signer
from support.der_parts import integer, oid, sequence, tlv
from support.documents import around, der, sample, shared_pki
from support.multiplied import Leaf, explicit_curve, extension, spki
from support.mutations import edited, mutants

from verifier.adapters.trust.files import load_bundle
from verifier.core.bounds import (
    CERTIFICATE_CACHE_BYTES,
    MAX_CERTIFICATE_BYTES,
    MAX_EXTENSION_ELEMENTS,
    MAX_EXTENSIONS,
    MAX_KEY_PURPOSES,
    MAX_NAME_ATTRIBUTES,
    MAX_NAMES,
    MAX_RSA_EXPONENT_BITS,
    MAX_SERIAL_NUMBER_BYTES,
)
from verifier.core.envelope import read_envelope
from verifier.core.model import RawDocument
from verifier.core.trust import certificates
from verifier.core.trust.certificates import Certificate, CertificateError, read_issuer_and_number
from verifier.core.trust.extensions import Extensions
from verifier.emulator import pki

SIGNER = shared_pki().signer.certificate
ROOT = shared_pki().root.certificate
ISSUER = shared_pki().issuing_ca.certificate


def read(certificate: x509.Certificate) -> Certificate:
    return Certificate.from_der(der(certificate))


def changed(certificate: x509.Certificate, before: bytes, after: bytes) -> bytes:
    """Overwrite bytes of the certificate. Its signature is then invalid, which these tests do not check."""
    data = der(certificate)
    assert data.count(before) == 1
    assert len(before) == len(after)
    return data.replace(before, after)


def test_has_the_fields_of_the_certificate() -> None:
    found = read(SIGNER)

    assert found.der == der(SIGNER)
    assert found.subject == SIGNER.subject.rfc4514_string()
    assert found.subject_der == SIGNER.subject.public_bytes()
    assert found.issuer == ISSUER.subject.rfc4514_string()
    assert found.issuer_der == ISSUER.subject.public_bytes()
    assert found.spki_sha256 == hashlib.sha256(spki(shared_pki().signer.key.public_key())).hexdigest()
    assert found.public_key == SIGNER.public_key()
    assert found.serial_number == SIGNER.serial_number
    assert int.from_bytes(found.serial_bytes) == SIGNER.serial_number
    assert int(found.serial_hex, 16) == SIGNER.serial_number
    assert (found.not_before, found.not_after) == (SIGNER.not_valid_before_utc, SIGNER.not_valid_after_utc)
    assert found.signature_oid == SIGNER.signature_algorithm_oid.dotted_string
    assert found.common_names == (b"metadata.azure.com",)
    assert found.dns_names == (b"eastus.metadata.azure.com", b"metadata.azure.com")
    assert not found.is_ca
    assert not found.is_self_issued
    assert found.key_usage == frozenset({"digital_signature", "key_encipherment"})
    assert found.extended_key_usage == frozenset({ExtendedKeyUsageOID.SERVER_AUTH.dotted_string})
    assert found.authority_key_identifier == read(ISSUER).subject_key_identifier


def test_an_absent_extension_is_none_and_not_empty() -> None:
    bare = make_signer(
        without=(x509.KeyUsage.oid, x509.ExtendedKeyUsage.oid, x509.AuthorityKeyIdentifier.oid), names=()
    )
    found = read(bare.certificate)

    assert found.key_usage is None
    assert found.extended_key_usage is None
    assert found.authority_key_identifier is None
    assert found.dns_names == ()


def test_a_root_is_a_self_issued_authority() -> None:
    found = read(ROOT)
    assert found.is_ca
    assert found.is_self_issued


def test_names_are_undecoded_bytes() -> None:
    odd = (b"m\xe9tadata.azure.com", b"metadata.azure.com\0.evil.net", b"")
    found = read(make_signer(common_names=("a\0b", "\u00e9"), extensions=[alternative_names(*odd)]).certificate)
    assert found.dns_names == odd
    assert found.common_names == (b"a\0b", "\u00e9".encode())


def test_alternative_names_of_other_kinds_are_not_dns_names() -> None:
    others = x509.SubjectAlternativeName(
        [x509.UniformResourceIdentifier("https://metadata.azure.com"), x509.RFC822Name("a@metadata.azure.com")]
    )
    assert read(make_signer(extensions=[others]).certificate).dns_names == ()


def test_has_the_claimed_urls_of_its_issuer() -> None:
    def access(method: x509.ObjectIdentifier, url: str) -> x509.AccessDescription:
        return x509.AccessDescription(method, x509.UniformResourceIdentifier(url))

    information = x509.AuthorityInformationAccess(
        [
            access(AuthorityInformationAccessOID.CA_ISSUERS, "http://one.invalid/ca.crt"),
            access(AuthorityInformationAccessOID.OCSP, "http://ocsp.invalid/"),
            access(AuthorityInformationAccessOID.CA_ISSUERS, "ldap://two.invalid/"),
        ]
    )
    found = read(make_signer(extensions=[information]).certificate)
    assert found.unverified_issuer_urls == ("http://one.invalid/ca.crt", "ldap://two.invalid/")


def test_is_issued_by_an_authority_with_the_name_and_the_key() -> None:
    namesake = pki.make_root(subject=ISSUER.subject, key=shared_pki().signer.key, validity=around())
    renamed = pki.make_root(subject=make_names("Another"), key=shared_pki().issuing_ca.key, validity=around())
    signer = read(SIGNER)
    assert signer.is_issued_by(read(ISSUER))
    assert not signer.is_issued_by(read(ROOT))
    assert not signer.is_issued_by(read(namesake.certificate))
    assert not signer.is_issued_by(read(renamed.certificate))
    assert not signer.is_issued_by(signer)
    assert read(ROOT).is_issued_by(read(ROOT))


def test_fingerprints_cover_the_bytes_and_the_key() -> None:
    one, other = make_signer(), make_signer()
    assert read(one.certificate).sha256 != read(other.certificate).sha256
    assert read(one.certificate).spki_sha256 == read(other.certificate).spki_sha256


@pytest.mark.parametrize(
    "raw",
    [
        lambda _: b"",
        lambda data: data[:-1],
        lambda data: data + b"\0",
        lambda data: data + data,
        lambda data: b"\x30\x80" + data[4:] + b"\0\0",
        lambda data: b"\x30\x83\x00" + data[2:],
        lambda _: b"\x30\x00",
        lambda _: b"\x05\x00",
    ],
)
def test_refuses_bytes_that_are_not_exactly_one_certificate(raw: Callable[[bytes], bytes]) -> None:
    with pytest.raises(CertificateError):
        Certificate.from_der(raw(der(SIGNER)))


def test_an_authority_with_another_kind_of_key_did_not_issue_it() -> None:
    namesake = pki.make_root(subject=ISSUER.subject, key=pki.make_ec_key(ec.SECP256R1()), validity=around())
    assert not read(SIGNER).is_issued_by(read(namesake.certificate))


def test_a_key_that_is_not_loaded_issued_no_certificate() -> None:
    own = pki.make_ec_key(ec.SECP256R1())
    issuer = pki.make_root(subject=make_names("CA"), key=own, validity=around())
    signer = make_signer(issuer=issuer).certificate
    point = own.public_key().public_bytes(Encoding.X962, PublicFormat.CompressedPoint)
    key = sequence(sequence(oid("1.2.840.10045.2.1"), oid("1.2.840.10045.3.1.7")), tlv(0x03, b"\0" + point))
    compressed = edited(der(issuer.certificate), (0, 6), lambda _: key)
    signer.verify_directly_issued_by(x509.load_der_x509_certificate(compressed))
    assert read(signer).is_issued_by(read(issuer.certificate))
    assert not read(signer).is_issued_by(Certificate.read(compressed))


@pytest.mark.parametrize("number", [b"\x00", b"\xff", b"\x80"])
def test_refuses_a_serial_number_that_is_not_positive(number: bytes) -> None:
    one = (
        x509.CertificateBuilder()
        .subject_name(make_names("CA"))
        .issuer_name(make_names("CA"))
        .public_key(shared_pki().root.key.public_key())
        .serial_number(0x7A)
        .not_valid_before(around().not_before)
        .not_valid_after(around().not_after)
        .sign(shared_pki().root.key, SHA256())
    )
    raw = changed(one, b"\xa0\x03\x02\x01\x02\x02\x01\x7a", b"\xa0\x03\x02\x01\x02\x02\x01" + number)
    assert refusal(raw) == "is not exact DER: it has a serial number that is not positive"


def test_refuses_an_extension_twice() -> None:
    # The object identifiers of keyUsage (2.5.29.15) and extendedKeyUsage (2.5.29.37).
    with pytest.raises(CertificateError):
        Certificate.from_der(changed(SIGNER, b"\x06\x03\x55\x1d\x0f", b"\x06\x03\x55\x1d\x25"))


def test_refuses_an_extension_that_cannot_be_read() -> None:
    broken = x509.UnrecognizedExtension(x509.KeyUsage.oid, b"\x05\x00")
    with pytest.raises(CertificateError):
        read(make_signer(extensions=[broken]).certificate)


def test_refuses_an_unknown_version() -> None:
    with pytest.raises(CertificateError):
        Certificate.from_der(changed(SIGNER, b"\xa0\x03\x02\x01\x02", b"\xa0\x03\x02\x01\x09"))


@given(position=st.integers(min_value=0), byte=st.integers(min_value=0, max_value=255))
@settings(deadline=None)
def test_a_changed_certificate_raises_only_certificate_errors(position: int, byte: int) -> None:
    raw = bytearray(der(SIGNER))
    raw[position % len(raw)] = byte
    try:
        found = Certificate.from_der(bytes(raw))
    except CertificateError:
        return
    assert found.der == bytes(raw)


def test_a_replaced_element_raises_only_certificate_errors() -> None:
    count = 0
    for count, changed in enumerate(mutants(der(SIGNER)), start=1):  # noqa: B007 - used after the loop
        with suppress(CertificateError):
            assert Certificate.from_der(changed).der == changed
    assert count > 2000


def test_an_empty_key_usage_is_refused() -> None:
    # The first byte of a BIT STRING counts the unused bits of the last one (X.690 8.6.2).
    empty = x509.UnrecognizedExtension(x509.KeyUsage.oid, b"\x03\x00")
    with pytest.raises(CertificateError):
        read(make_signer(extensions=[empty]).certificate)


@given(raw=st.binary(max_size=100))
def test_arbitrary_bytes_are_refused(raw: bytes) -> None:
    with pytest.raises(CertificateError):
        Certificate.from_der(raw)


def test_reads_one_pem_certificate() -> None:
    assert Certificate.from_pem(SIGNER.public_bytes(Encoding.PEM)) == read(SIGNER)


@pytest.mark.parametrize("raw", [b"", b"not PEM", SIGNER.public_bytes(Encoding.PEM) * 2])
def test_refuses_pem_that_is_not_one_certificate(raw: bytes) -> None:
    with pytest.raises(CertificateError):
        Certificate.from_pem(raw)


@pytest.mark.parametrize("name", ["azure-page-2018", "public-southcentralus-2022-04-19", "public-eastus-2026-07-28"])
def test_reads_the_signers_of_the_published_documents(name: str) -> None:
    signer = read_envelope(RawDocument(raw_der=sample(name))).signer
    assert signer.common_names[0].endswith(b"metadata.azure.com")


def test_its_representation_shows_what_people_compare() -> None:
    shown = repr(read(SIGNER))
    assert len(shown) < 2000
    assert [one.name for one in fields(Certificate) if f"{one.name}=" in shown] == [
        *("sha256", "spki_sha256", "subject", "issuer", "serial_number", "not_before", "not_after"),
        *("signature_oid", "common_names", "dns_names", "is_ca", "key_usage", "extended_key_usage"),
    ]


LEAF = Leaf().encode()
NULL = b"\x05\x00"
_NOT_EXACT = "is not exact DER: it has "
_BELONGS = f"{_NOT_EXACT}bytes or elements that do not belong in it"
_UNKNOWN = "has a field of an unknown form (ValueError)"
_WHOLE = f"{_NOT_EXACT}a BIT STRING that does not consist of whole bytes"


def with_field(place: int, *elements: bytes, raw: bytes = LEAF) -> bytes:
    """Return the certificate with these elements instead of one of its TBSCertificate."""
    return edited(raw, (0, place), lambda _: b"".join(elements))


def behind(*path: int, element: bytes = NULL) -> bytes:
    return edited(LEAF, path, lambda one: one + element)


def in_version_1(*more: bytes) -> bytes:
    """Return the certificate without a version and extensions, but with these elements at the end."""
    return with_field(0, raw=with_field(7, *more))


def signed_with(*parameters: bytes) -> bytes:
    algorithm = sequence(oid("1.2.840.113549.1.1.11"), *parameters)
    return edited(with_field(2, algorithm), (1,), lambda _: algorithm)


def with_rsa_key(*more: bytes, last: bytes = b"") -> bytes:
    key = sequence(integer((1 << 2047) + 1), integer(65537), *more)
    return with_field(6, sequence(sequence(oid("1.2.840.113549.1.1.1"), NULL), tlv(0x03, b"\0" + key + last)))


@pytest.mark.parametrize(
    ("raw", "fault"),
    [
        pytest.param(LEAF + b"\0", _BELONGS, id="a byte behind it"),
        pytest.param(behind(2), _BELONGS, id="an element behind the signature"),
        pytest.param(edited(LEAF, (2,), lambda _: b"\x03\x02\x01\x00"), _WHOLE, id="unused bits in the signature"),
        pytest.param(with_field(0, tlv(0xA0, integer(1))), f"{_NOT_EXACT}a version other than 1 and 3", id="version 2"),
        pytest.param(with_field(0, tlv(0xA0, integer(0))), f"{_NOT_EXACT}a version other than 1 and 3", id="version 1"),
        pytest.param(
            with_field(2, sequence(oid("1.2.840.113549.1.1.12"), NULL)),
            f"{_NOT_EXACT}two signature algorithms",
            id="another signature algorithm",
        ),
        pytest.param(signed_with(NULL, NULL), _UNKNOWN, id="two parameters of the algorithm"),
        pytest.param(behind(0, 7), _BELONGS, id="an element behind the extensions"),
        pytest.param(behind(0, 7, 0), _BELONGS, id="an element behind the list of extensions"),
        pytest.param(behind(0, 6, element=b"\x81\x02\x01\x00"), _WHOLE, id="unused bits in issuerUniqueID"),
        pytest.param(behind(0, 6, element=b"\x82\x02\x01\x00"), _WHOLE, id="unused bits in subjectUniqueID"),
        pytest.param(behind(0, 6, element=b"\x82\x01\0\x81\x01\0"), _BELONGS, id="unique identifiers out of order"),
        pytest.param(in_version_1(b"\x81\x01\0"), _BELONGS, id="unique identifier in version 1"),
        pytest.param(in_version_1(tlv(0xA3, sequence())), _BELONGS, id="extensions in version 1"),
        pytest.param(with_rsa_key(last=NULL), _BELONGS, id="an element behind the RSA key"),
        pytest.param(with_rsa_key(integer(3)), _BELONGS, id="a third number in the RSA key"),
        pytest.param(
            with_field(4, sequence(tlv(0x17, b"269901000000Z"), tlv(0x17, b"270101000000Z"))),
            _UNKNOWN,
            id="a month 99",
        ),
    ],
)
def test_refuses_another_form_with_the_fault(raw: bytes, fault: str) -> None:
    assert refusal(raw) == fault


@pytest.mark.parametrize(
    "raw",
    [
        pytest.param(in_version_1(), id="version 1"),
        pytest.param(with_field(7), id="no extensions"),
        pytest.param(behind(0, 6, element=b"\x81\x02\0a"), id="issuerUniqueID"),
        pytest.param(behind(0, 6, element=b"\x82\x02\0a"), id="subjectUniqueID"),
        pytest.param(behind(0, 6, element=b"\x81\x02\0a\x82\x02\0a"), id="both unique identifiers"),
        pytest.param(signed_with(), id="no parameters of the algorithm"),
        pytest.param(with_rsa_key(), id="another RSA key"),
    ],
)
def test_accepts_what_a_certificate_may_have(raw: bytes) -> None:
    found = Certificate.read(raw)
    assert (found.der, found.subject) == (raw, "CN=metadata.azure.com")
    assert isinstance(found.public_key, rsa.RSAPublicKey)


def test_an_elliptic_key_is_loaded() -> None:
    own = ec.generate_private_key(ec.SECP256R1()).public_key()
    assert Certificate.read(Leaf(spki=spki(own)).encode()).public_key == own


class TestBounds:
    """Accept up to each bound, and refuse more with the name of the bound."""

    def test_names(self) -> None:
        access = extension("1.3.6.1.5.5.7.1.1", sequence(sequence(oid("1.3.6.1.5.5.7.48.2"), tlv(0x86, b"u")) * 6))

        def leaf(count: int) -> bytes:
            names = extension("2.5.29.17", sequence(tlv(0x82, b"a") * count))
            return Leaf(extensions=(names, access)).encode()

        assert len(Certificate.from_der(leaf(MAX_NAMES - 6)).dns_names) == MAX_NAMES - 6
        assert refusal(leaf(MAX_NAMES - 5)) == f"has more than {MAX_NAMES} names"

    def test_extensions(self) -> None:
        def leaf(count: int) -> bytes:
            return Leaf(extensions=tuple(extension(f"1.3.{number}", b"\x05\x00") for number in range(count))).encode()

        assert Certificate.from_der(leaf(MAX_EXTENSIONS)).der == leaf(MAX_EXTENSIONS)
        assert refusal(leaf(MAX_EXTENSIONS + 1)) == f"has more than {MAX_EXTENSIONS} extensions"

    @pytest.mark.parametrize("at_once", [False, True])
    def test_elements_in_extensions(self, *, at_once: bool) -> None:
        def leaf(count: int) -> bytes:
            counts = [count] if at_once else [count // 2, count - count // 2]
            return Leaf(
                extensions=tuple(
                    extension(f"1.3.{number}", sequence(b"\x05\x00" * (one - 1))) for number, one in enumerate(counts)
                )
            ).encode()

        assert Certificate.from_der(leaf(MAX_EXTENSION_ELEMENTS)).der == leaf(MAX_EXTENSION_ELEMENTS)
        assert refusal(leaf(MAX_EXTENSION_ELEMENTS + 1)).startswith(f"has more than {MAX_EXTENSION_ELEMENTS} elements")

    def test_key_purposes(self) -> None:
        def leaf(count: int) -> bytes:
            purposes = sequence(*(oid(f"1.3.{number}") for number in range(count)))
            return Leaf(extensions=(extension("2.5.29.37", purposes),)).encode()

        assert len(Certificate.from_der(leaf(MAX_KEY_PURPOSES)).extended_key_usage or ()) == MAX_KEY_PURPOSES
        assert refusal(leaf(MAX_KEY_PURPOSES + 1)) == f"has more than {MAX_KEY_PURPOSES} extended key usages"

    @pytest.mark.parametrize("field", ["subject", "issuer"])
    def test_attributes_of_a_name(self, field: str) -> None:
        one = tlv(0x31, sequence(oid("2.5.4.10"), tlv(0x0C, b"o")))

        def leaf(count: int) -> bytes:
            name = sequence(one * count)
            return (Leaf(subject=name) if field == "subject" else Leaf(issuer=name)).encode()

        assert Certificate.from_der(leaf(MAX_NAME_ATTRIBUTES)).der == leaf(MAX_NAME_ATTRIBUTES)
        assert refusal(leaf(MAX_NAME_ATTRIBUTES + 1)) == f"has more than {MAX_NAME_ATTRIBUTES} attributes in a Name"

    def test_bytes(self) -> None:
        def leaf(size: int) -> bytes:
            return Leaf(extensions=(extension("1.3.4", tlv(0x04, bytes(size))),)).encode()

        fitting = MAX_CERTIFICATE_BYTES - (len(leaf(4000)) - 4000)
        assert len(Certificate.from_der(leaf(fitting)).der) == MAX_CERTIFICATE_BYTES
        assert refusal(leaf(fitting + 1)) == f"is larger than {MAX_CERTIFICATE_BYTES} bytes"

    def test_bytes_of_the_serial_number(self) -> None:
        longest = 2 ** (8 * MAX_SERIAL_NUMBER_BYTES - 1) - 1
        assert Certificate.from_der(Leaf(serial_number=longest).encode()).serial_number == longest
        said = refusal(Leaf(serial_number=longest + 1).encode())
        assert said == f"has more than {MAX_SERIAL_NUMBER_BYTES} bytes in its serial number"

    def test_bits_of_an_exponent(self) -> None:
        modulus = (1 << 2047) + 1

        def leaf(bits: int) -> bytes:
            return Leaf(spki=spki(rsa.RSAPublicNumbers((1 << bits - 1) + 1, modulus).public_key())).encode()

        assert Certificate.from_der(leaf(MAX_RSA_EXPONENT_BITS)).der == leaf(MAX_RSA_EXPONENT_BITS)
        said = refusal(leaf(MAX_RSA_EXPONENT_BITS + 1))
        assert said == f"has more than {MAX_RSA_EXPONENT_BITS} bits in its RSA exponent"

    def test_every_shipped_authority_is_within_the_bounds(self) -> None:
        assert len(load_bundle().entries) > 30


def refusal(raw: bytes) -> str:
    with pytest.raises(CertificateError) as caught:
        Certificate.from_der(raw)
    assert str(caught.value) == f"not a certificate that can be read: it {caught.value.fault}"
    return caught.value.fault


def with_extension(dotted: str, value: bytes) -> Certificate:
    return Certificate.from_der(Leaf(extensions=(extension(dotted, value),)).encode())


class TestExtensions:
    """Read the extensions that the appraisal needs strictly."""

    @pytest.mark.parametrize(
        ("dotted", "value"),
        [
            ("2.5.29.17", sequence(tlv(0x89))),
            ("2.5.29.17", sequence(tlv(0x82, b"a"), b"\x05\x00")),
            ("2.5.29.17", tlv(0x82, b"a")),
            ("2.5.29.17", sequence() + b"\x00"),
            ("2.5.29.19", sequence(b"\x01\x01\x00", b"\x01\x01\xff")),
            ("2.5.29.19", sequence(b"\x01\x01\x01")),
            ("2.5.29.19", sequence(b"\x02\x02\x00\x01")),
            ("2.5.29.15", b"\x03\x00"),
            ("2.5.29.15", b"\x03\x01\x00"),
            ("2.5.29.15", b"\x03\x02\x08\x80"),
            ("2.5.29.15", b"\x03\x02\x05\x81"),
            ("2.5.29.15", b"\x03\x04\x00\x80\x00\x00"),
            ("2.5.29.37", sequence(b"\x06\x00")),
            ("2.5.29.37", sequence(b"\x06\x02\x2a\x80")),
            ("2.5.29.14", b"\x05\x00"),
            ("2.5.29.35", sequence(tlv(0x82, b"\x00\x01"))),
            ("2.5.29.35", sequence(tlv(0x83, b"\x01"))),
            ("1.3.6.1.5.5.7.1.1", sequence(sequence(oid("1.3.6.1.5.5.7.48.2")))),
            ("1.3.6.1.5.5.7.1.1", sequence(sequence(oid("1.3.6.1.5.5.7.48.2"), tlv(0x86, b"u"), b"\x05\x00"))),
            ("1.3.4", b""),
            ("1.3.4", b"\x05\x00\x05\x00"),
            ("1.3.4", b"\x30\x80\x00\x00"),
        ],
    )
    def test_refuses_an_extension_with_an_unreadable_value(self, dotted: str, value: bytes) -> None:
        assert refusal(Leaf(extensions=(extension(dotted, value),)).encode()).startswith("is not exact DER: it ")

    def test_refuses_a_critical_field_with_the_default_value(self) -> None:
        one = sequence(oid("1.3.4"), b"\x01\x01\x00", tlv(0x04, b"\x05\x00"))
        assert "critical" in refusal(Leaf(extensions=(one,)).encode())

    @pytest.mark.parametrize(
        ("bits", "usages"),
        [
            (b"\x03\x02\x07\x80", {"digital_signature"}),
            (b"\x03\x02\x05\xa0", {"digital_signature", "key_encipherment"}),
            (b"\x03\x02\x01\x06", {"key_cert_sign", "crl_sign"}),
            (b"\x03\x03\x07\x08\x80", {"key_agreement", "decipher_only"}),
        ],
    )
    def test_key_usage_has_one_bit_for_each_usage(self, bits: bytes, usages: set[str]) -> None:
        assert Certificate.from_der(Leaf(extensions=(extension("2.5.29.15", bits),)).encode()).key_usage == frozenset(
            usages
        )

    @pytest.mark.parametrize(
        ("number", "usage"),
        [
            *((0, "digital_signature"), (1, "non_repudiation"), (2, "key_encipherment"), (3, "data_encipherment")),
            *((4, "key_agreement"), (5, "key_cert_sign"), (6, "crl_sign"), (7, "encipher_only"), (8, "decipher_only")),
        ],
    )
    def test_each_bit_of_the_key_usage_has_its_name(self, number: int, usage: str) -> None:
        flags = (0x8000 >> number).to_bytes(2)[: number // 8 + 1]
        value = tlv(0x03, bytes([7 - number % 8]) + flags)
        assert with_extension("2.5.29.15", value).key_usage == frozenset({usage})

    @pytest.mark.parametrize("tag", [0xA0, 0x81, 0x82, 0xA3, 0xA4, 0xA5, 0x86, 0x87, 0x88])
    def test_every_kind_of_name_is_read_and_only_dns_names_are_kept(self, tag: int) -> None:
        contents = sequence() if tag & 0x20 else b"a"
        names = sequence(tlv(tag, contents), tlv(0x82, b"b"))
        assert with_extension("2.5.29.17", names).dns_names == ((b"a", b"b") if tag == 0x82 else (b"b",))

    def test_the_urls_are_those_of_the_issuer(self) -> None:
        others = (oid("1.3.6.1.5.5.7.48.1"), tlv(0x86, b"http://o/")), (oid("1.3.6.1.5.5.7.48.2"), tlv(0x81, b"a@b"))
        issuers = (oid("1.3.6.1.5.5.7.48.2"), tlv(0x86, b"http://a/")), (oid("1.3.6.1.5.5.7.48.2"), tlv(0x86, b"b:"))
        access = sequence(*(sequence(*one) for one in (*others, *issuers)))
        assert with_extension("1.3.6.1.5.5.7.1.1", access).unverified_issuer_urls == ("http://a/", "b:")

    @pytest.mark.parametrize(
        ("value", "is_ca"),
        [
            *((sequence(), False), (sequence(b"\x01\x01\xff"), True), (sequence(b"\x01\x01\x00"), False)),
            *((sequence(b"\x01\x01\xff", integer(0)), True), (sequence(integer(0)), False)),
        ],
    )
    def test_an_authority_is_one_that_says_so(self, value: bytes, *, is_ca: bool) -> None:
        assert with_extension("2.5.29.19", value).is_ca is is_ca

    def test_a_key_usage_has_at_most_7_unused_bits_and_other_bits_have_no_name(self) -> None:
        assert "keyUsage" in refusal(Leaf(extensions=(extension("2.5.29.15", b"\x03\x02\x08\x00"),)).encode())
        assert with_extension("2.5.29.15", b"\x03\x03\x00\x00\x01").key_usage == frozenset()

    def test_a_certificate_without_extensions_is_no_authority_and_has_no_names(self) -> None:
        absent = Extensions()
        assert absent.is_ca is with_extension("1.3.4", b"\x05\x00").is_ca is False
        assert (absent.dns_names, absent.issuer_urls) == ((), ())
        usages = (absent.key_usage, absent.extended_key_usage)
        assert usages == (None, None)
        assert (absent.subject_key_identifier, absent.authority_key_identifier) == (None, None)

    def test_the_representation_shows_no_identifiers_and_urls(self) -> None:
        found = Extensions(subject_key_identifier=b"one", authority_key_identifier=b"two", issuer_urls=("three",))
        assert not any(text in repr(found) for text in ("one'", "two'", "three"))

    def test_the_identifiers_of_keys_are_contents(self) -> None:
        assert with_extension("2.5.29.14", tlv(0x04, b"key")).subject_key_identifier == b"key"
        assert with_extension("2.5.29.35", sequence(tlv(0x80, b"key"))).authority_key_identifier == b"key"
        assert with_extension("2.5.29.35", sequence()).authority_key_identifier is None

    def test_the_purposes_are_object_identifiers(self) -> None:
        purposes = with_extension("2.5.29.37", sequence(oid("1.3.4"), oid("1.3.5"))).extended_key_usage
        assert purposes == frozenset({"1.3.4", "1.3.5"})
        assert with_extension("2.5.29.37", sequence()).extended_key_usage == frozenset()

    @pytest.mark.parametrize("critical", [b"", b"\x01\x01\xff"])
    def test_an_extension_may_be_critical(self, critical: bytes) -> None:
        one = sequence(oid("2.5.29.14"), critical, tlv(0x04, tlv(0x04, b"key")))
        assert Certificate.from_der(Leaf(extensions=(one,)).encode()).subject_key_identifier == b"key"

    @pytest.mark.parametrize(
        ("one", "fault"),
        [
            (sequence(tlv(0x06, b"\x80"), tlv(0x04, b"\x05\x00")), "object identifier"),
            (sequence(oid("1.3.4"), tlv(0x04, b"\x05\x00"), b"\x05\x00"), "do not belong"),
            (sequence(oid("1.3.4"), b"\x01\x01\x01", tlv(0x04, b"\x05\x00")), "BOOLEAN"),
        ],
    )
    def test_refuses_an_extension_of_another_form(self, one: bytes, fault: str) -> None:
        assert fault in refusal(Leaf(extensions=(one,)).encode())

    def test_a_url_that_is_not_ascii_is_skipped(self) -> None:
        urls = [tlv(0x86, b"http://\xe9/"), tlv(0x86, b"http://a/"), tlv(0x82, b"b")]
        access = sequence(*(sequence(oid("1.3.6.1.5.5.7.48.2"), url) for url in urls))
        found = Certificate.from_der(Leaf(extensions=(extension("1.3.6.1.5.5.7.1.1", access),)).encode())
        assert found.unverified_issuer_urls == ("http://a/",)


def test_a_certificate_is_read_once() -> None:
    raw = der(make_signer().certificate)
    assert Certificate.from_der(raw) is Certificate.from_der(bytes(bytearray(raw)))


def test_certificates_that_senders_make_up_evict_no_signer_whose_chain_was_accepted() -> None:
    accepted, other = (Certificate.from_der(Leaf(serial_number=number).encode()) for number in (1, 2))
    accepted.remember_signer()
    accepted.remember_signer()
    template = Leaf(serial_number=1 << 30).encode()
    for number in range(CERTIFICATE_CACHE_BYTES // len(template) // 4):
        Certificate.from_der(template.replace((1 << 30).to_bytes(4), ((1 << 30) + number).to_bytes(4)))
    assert Certificate.from_der(bytes(bytearray(accepted.der))) is accepted
    assert Certificate.from_der(bytes(bytearray(other.der))) is not other


def test_a_certificate_stays_in_one_cache() -> None:
    raw = Leaf(serial_number=3).encode()
    first, second = Certificate.from_der(raw), Certificate.read(raw)
    first.remember_signer()
    second.remember_signer()
    assert Certificate.find_read(raw) is first
    assert certificates._OTHERS.find(raw) is None  # noqa: SLF001 - the memory that it takes is not seen otherwise


def test_the_weight_of_a_certificate_is_that_of_its_bytes_and_texts() -> None:
    access = sequence(sequence(oid("1.3.6.1.5.5.7.48.2"), tlv(0x86, b"http://a/")))
    purposes = extension("2.5.29.37", sequence(oid("1.3.4")))
    names = extension("2.5.29.17", sequence(tlv(0x82, b"one"), tlv(0x82, b"another")))
    raw = Leaf(extensions=(names, purposes, extension("1.3.6.1.5.5.7.1.1", access))).encode()
    found = Certificate.read(raw)
    texts = (found.subject, found.issuer, "http://a/", "1.3.4")
    parts = (found.subject_der, found.issuer_der, b"metadata.azure.com", b"one", b"another")
    objects = sum(map(sys.getsizeof, (*texts, *parts)))
    weight = certificates._weigh(raw, found)  # noqa: SLF001 - it bounds the memory of the cache
    assert weight - len(raw) - objects == 4096 + 8 * (len(texts) + len(parts))


def test_an_issuer_and_serial_number_are_those_of_the_certificate() -> None:
    raw = Leaf(serial_number=300).encode()
    assert Certificate.find_read(raw) is None
    unknown = read_issuer_and_number(raw)
    Certificate.from_der(raw)
    assert read_issuer_and_number(raw) == unknown == (ISSUER.subject.public_bytes(), b"\x01\x2c")


#: Odd, so that OpenSSL would test it for primality.
_LONG_ODD = (1 << 10_000) + 1


@pytest.mark.parametrize(
    "key",
    [
        sequence(
            sequence(oid("1.2.840.10046.2.1"), sequence(integer(_LONG_ODD), integer(2), integer(_LONG_ODD >> 5 | 1))),
            tlv(0x03, b"\0" + integer(8)),
        ),
        sequence(
            sequence(oid("1.2.840.113549.1.1.10")),
            tlv(0x03, b"\0" + sequence(integer((1 << 3071) + 1), integer((1 << 3000) + 1))),
        ),
        sequence(
            sequence(oid("1.2.840.10045.2.1"), oid("1.2.840.10045.3.1.7")),
            tlv(
                0x03,
                b"\0"
                + ec.generate_private_key(ec.SECP256R1())
                .public_key()
                .public_bytes(Encoding.X962, PublicFormat.CompressedPoint),
            ),
        ),
        explicit_curve(),
    ],
    ids=["Diffie-Hellman", "RSASSA-PSS with a long exponent", "compressed point", "explicit curve parameters"],
)
def test_does_not_load_a_key_of_unbounded_cost_or_in_a_second_encoding(key: bytes) -> None:
    certificate = Certificate.read(Leaf(spki=key).encode())
    assert certificate.public_key is None
    assert not Certificate.read(Leaf().encode()).is_issued_by(certificate)


def test_has_the_digest_by_which_the_azure_page_names_it() -> None:
    assert read(SIGNER).sha1 == SIGNER.fingerprint(SHA1()).hex()  # noqa: S303 - it identifies


def test_an_authority_key_identifier_may_name_the_issuer_and_its_number() -> None:
    names = [x509.DirectoryName(ISSUER.issuer)]
    both = x509.AuthorityKeyIdentifier(b"key", names, ISSUER.serial_number)
    assert read(make_signer(extensions=[both]).certificate).authority_key_identifier == b"key"
    neither = x509.AuthorityKeyIdentifier(None, names, ISSUER.serial_number)
    assert read(make_signer(extensions=[neither]).certificate).authority_key_identifier is None


@pytest.mark.parametrize("version", [b"", tlv(0xA0, integer(2))])
def test_the_issuer_and_number_are_read_with_and_without_a_version(version: bytes) -> None:
    algorithm, issuer = sequence(oid("1.2.3")), sequence(tlv(0x31))
    certificate = sequence(sequence(version, integer(300), algorithm, issuer, b"\x05\x00"), algorithm)
    assert read_issuer_and_number(certificate) == (issuer, b"\x01\x2c")
