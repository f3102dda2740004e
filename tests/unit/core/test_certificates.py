"""Certificates: read strictly, once, and refused where two parsers could see two things."""

from collections.abc import Callable
from contextlib import suppress

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import AuthorityInformationAccessOID, ExtendedKeyUsageOID
from hypothesis import given, settings
from hypothesis import strategies as st
from support.certificates import alternative_names, make_names, make_signer
from support.documents import around, der, sample, shared_pki
from support.mutations import mutants

from verifier.core.certificates import Certificate, CertificateError
from verifier.core.envelope import read_envelope
from verifier.core.model import RawDocument
from verifier.emulator import pki

SIGNER = shared_pki().signer.certificate
ROOT = shared_pki().root.certificate
ISSUER = shared_pki().issuing_ca.certificate


def read(certificate: x509.Certificate) -> Certificate:
    return Certificate.from_der(der(certificate))


def changed(certificate: x509.Certificate, before: bytes, after: bytes) -> bytes:
    """The certificate with one thing in it overwritten; its signature is then wrong, which nobody looks at here."""
    octets = der(certificate)
    assert octets.count(before) == 1
    assert len(before) == len(after)
    return octets.replace(before, after)


def test_tells_what_the_certificate_says() -> None:
    found = read(SIGNER)

    assert found.der == der(SIGNER)
    assert found.subject == SIGNER.subject.rfc4514_string()
    assert found.subject_der == SIGNER.subject.public_bytes()
    assert found.issuer_der == ISSUER.subject.public_bytes()
    assert found.serial_number == SIGNER.serial_number
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


def test_names_are_octets_that_nobody_decoded() -> None:
    odd = (b"m\xe9tadata.azure.com", b"metadata.azure.com\0.evil.net", b"")
    found = read(make_signer(common_names=("a\0b", "\u00e9"), extensions=[alternative_names(*odd)]).certificate)
    assert found.dns_names == odd
    assert found.common_names == (b"a\0b", "\u00e9".encode())


def test_alternative_names_of_other_kinds_are_no_dns_names() -> None:
    others = x509.SubjectAlternativeName(
        [x509.UniformResourceIdentifier("https://metadata.azure.com"), x509.RFC822Name("a@metadata.azure.com")]
    )
    assert read(make_signer(extensions=[others]).certificate).dns_names == ()


def test_tells_where_its_issuer_is_said_to_be() -> None:
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


def test_is_issued_by_whoever_has_the_name_and_the_key() -> None:
    namesake = pki.make_root(subject=ISSUER.subject, key=shared_pki().signer.key, validity=around())
    renamed = pki.make_root(subject=make_names("Another"), key=shared_pki().issuing_ca.key, validity=around())
    signer = read(SIGNER)
    assert signer.is_issued_by(read(ISSUER))
    assert not signer.is_issued_by(read(ROOT))
    assert not signer.is_issued_by(read(namesake.certificate))
    assert not signer.is_issued_by(read(renamed.certificate))
    assert not signer.is_issued_by(signer)
    assert read(ROOT).is_issued_by(read(ROOT))


def test_fingerprints_are_of_the_octets_and_of_the_key() -> None:
    one, other = make_signer(), make_signer()
    assert read(one.certificate).sha256 != read(other.certificate).sha256
    assert read(one.certificate).spki_sha256 == read(other.certificate).spki_sha256


@pytest.mark.parametrize(
    "raw",
    [
        lambda _: b"",
        lambda octets: octets[:-1],
        lambda octets: octets + b"\0",
        lambda octets: octets + octets,
        lambda octets: b"\x30\x80" + octets[4:] + b"\0\0",
        lambda octets: b"\x30\x83\x00" + octets[2:],
        lambda _: b"\x30\x00",
        lambda _: b"\x05\x00",
    ],
)
def test_refuses_what_is_not_exactly_one_certificate(raw: Callable[[bytes], bytes]) -> None:
    with pytest.raises(CertificateError):
        Certificate.from_der(raw(der(SIGNER)))


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
    with pytest.raises(CertificateError):
        Certificate.from_der(
            changed(one, b"\xa0\x03\x02\x01\x02\x02\x01\x7a", b"\xa0\x03\x02\x01\x02\x02\x01" + number)
        )


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


@given(position=st.integers(min_value=0), octet=st.integers(min_value=0, max_value=255))
@settings(deadline=None)
def test_a_changed_certificate_raises_nothing_but_certificate_errors(position: int, octet: int) -> None:
    raw = bytearray(der(SIGNER))
    raw[position % len(raw)] = octet
    try:
        found = Certificate.from_der(bytes(raw))
    except CertificateError:
        return
    assert found.der == bytes(raw)


def test_no_element_that_is_another_one_raises_anything_but_certificate_errors() -> None:
    count = 0
    for count, changed in enumerate(mutants(der(SIGNER)), start=1):  # noqa: B007 - it is told below
        with suppress(CertificateError):
            assert Certificate.from_der(changed).der == changed
    assert count > 2000


def test_a_key_usage_without_an_octet_is_an_error_of_the_certificate() -> None:
    # The BIT STRING needs one that says how many bits of the last are unused (X.690 8.6.2).
    empty = x509.UnrecognizedExtension(x509.KeyUsage.oid, b"\x03\x00")
    with pytest.raises(CertificateError):
        read(make_signer(extensions=[empty]).certificate)


@given(raw=st.binary(max_size=100))
def test_arbitrary_octets_are_no_certificate(raw: bytes) -> None:
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


def test_its_representation_does_not_spill_octets() -> None:
    assert len(repr(read(SIGNER))) < 2000
