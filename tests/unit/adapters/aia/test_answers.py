"""What an answer's bytes are."""

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.serialization import pkcs7
from hypothesis import given
from hypothesis import strategies as st
from support.documents import der, document, shared_pki
from support.issuers import degenerate, pem

from verifier.adapters.aia.answers import MAX_CERTIFICATES, read_certificates
from verifier.ports.trust import FetchFailed

ISSUER = shared_pki().issuing_ca.certificate
ROOT = shared_pki().root.certificate


def test_reads_a_der_certificate() -> None:
    assert read_certificates(der(ISSUER)) == (der(ISSUER),)


@pytest.mark.parametrize(
    "body",
    [pem(ISSUER), b"\r\n" + pem(ISSUER).replace(b"\n", b"\r\n"), pem(ISSUER) + b"and a word\n"],
)
def test_reads_a_pem_certificate(body: bytes) -> None:
    assert read_certificates(body) == (der(ISSUER),)


def test_reads_pem_certificates_in_order() -> None:
    assert read_certificates(pem(ISSUER, ROOT)) == (der(ISSUER), der(ROOT))


def test_reads_a_degenerate_signed_data() -> None:
    assert read_certificates(degenerate(ISSUER)) == (der(ISSUER),)
    assert set(read_certificates(degenerate(ISSUER, ROOT))) == {der(ISSUER), der(ROOT)}


def test_leaves_out_what_is_no_certificate_beside_one() -> None:
    odd = b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"
    worse = b"-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n"
    assert read_certificates(odd + worse + pem(ISSUER)) == (der(ISSUER),)


@pytest.mark.parametrize("count", [MAX_CERTIFICATES + 1, 12])
def test_refuses_more_certificates_than_an_authority_has_forms(count: int) -> None:
    few = [ISSUER] * MAX_CERTIFICATES
    assert len(read_certificates(pem(*few))) == MAX_CERTIFICATES
    for body in (pem(*[ISSUER] * count), degenerate(*[ISSUER] * count)):
        with pytest.raises(FetchFailed, match="more than"):
            read_certificates(body)


REFUSED = {
    "nothing": b"",
    "html": b"<!DOCTYPE html><html><body>Not found</body></html>",
    "html around a certificate": b"<pre>" + pem(ISSUER) + b"</pre>",
    "pem of nothing": b"-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n",
    "pem of a key": pem(ISSUER).replace(b"CERTIFICATE", b"PUBLIC KEY"),
    "pem of a signed data": pkcs7.serialize_certificates([ISSUER], serialization.Encoding.PEM),
    "der and an byte": der(ISSUER) + b"\x00",
    "der cut short": der(ISSUER)[:-1],
    "der twice": der(ISSUER) * 2,
    "a signed data with a signer": document(),
    "a signed data and an byte": degenerate(ISSUER) + b"\x00",
    "a signed data cut short": degenerate(ISSUER)[:-1],
    "another content type": degenerate(ISSUER).replace(
        bytes.fromhex("2a864886f70d010702"), bytes.fromhex("2a864886f70d010703"), 1
    ),
    "a signed data that is empty": bytes.fromhex("300f06092a864886f70d010702a0023000"),
    "a signed data without its content": bytes.fromhex("300b06092a864886f70d010702"),
    "a signed data without certificates": bytes.fromhex(
        "302306092a864886f70d010702a016301402010131003000" + "060a2b0601040182370a0301" + "3100"
    ),
    "an empty sequence": b"\x30\x00",
    "an integer": b"\x02\x01\x01",
    "indefinite length": b"\x30\x80" + der(ISSUER)[4:] + b"\x00\x00",
    "zeros": bytes(16_384),
    "gzip": b"\x1f\x8b\x08\x00" + bytes(100),
}


@pytest.mark.parametrize("body", REFUSED.values(), ids=REFUSED.keys())
def test_refuses_every_other_answer(body: bytes) -> None:
    with pytest.raises(FetchFailed, match="not a certificate"):
        read_certificates(body)


@given(st.integers(0, 4_000), st.binary(max_size=6), st.sampled_from([der(ISSUER), pem(ISSUER), degenerate(ISSUER)]))
def test_fails_in_no_other_way(place: int, data: bytes, body: bytes) -> None:
    try:
        read = read_certificates(body[:place] + data + body[place + len(data) :])
    except FetchFailed:
        return
    assert len(read) == 1
