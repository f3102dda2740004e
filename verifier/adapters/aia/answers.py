"""Read certificates from a fetched answer. The format is detected from the bytes; media types are unreliable."""

import base64
import binascii

from verifier.core.encoding import der
from verifier.core.trust.certificates import Certificate, CertificateError
from verifier.ports.trust import FetchFailed

#: The limit for one answer. A CA may publish one certificate for each of its issuers.
MAX_CERTIFICATES = 4

_BEGIN = b"-----BEGIN CERTIFICATE-----"
_END = b"-----END CERTIFICATE-----"

# RFC 5652 3 and 5.1: ContentInfo holds id-signedData and [0] SignedData; that is version, digestAlgorithms,
# encapContentInfo, [0] certificates, [1] crls, signerInfos, of which the middle two may be absent.
_ID_SIGNED_DATA = bytes.fromhex("06092a864886f70d010702")
_TAG_0 = 0xA0
_NO_SIGNERS = b"\x31\x00"
_SIGNED_DATA_FIELDS = 4


def read_certificates(body: bytes) -> tuple[bytes, ...]:
    """Return the DER of the certificates in `body`: at least one, at most MAX_CERTIFICATES.

    The body is one DER certificate, PEM blocks, or a degenerate SignedData (RFC 5652 5.1). Other bytes before it are
    refused, and also after DER. Invalid certificates are skipped if at least one is valid.
    Not checked: signatures and names of the certificates. Raises FetchFailed.
    """
    found = _from_pem(body) if body.lstrip().startswith(_BEGIN) else _from_der(body)
    if len(found) > MAX_CERTIFICATES:
        raise FetchFailed(f"The answer has more than {MAX_CERTIFICATES} certificates.")
    readable = tuple(one for one in found if _is_certificate(one))
    if not readable:
        raise FetchFailed("The answer is not a certificate.")
    return readable


def _from_pem(body: bytes) -> list[bytes]:
    """Decode PEM blocks (RFC 7468 5.1)."""
    found: list[bytes] = []
    for text in body.split(_BEGIN)[1:]:
        try:
            found.append(base64.b64decode(b"".join(text.partition(_END)[0].split()), validate=True))
        except binascii.Error:
            found.append(b"")  # counts towards the limit, and is not a certificate
    return found


def _from_der(body: bytes) -> list[bytes]:
    try:
        der.check(body)
        parts = der.children(body)
        if parts[:1] != (_ID_SIGNED_DATA,):
            return [body]
        [_, explicit] = parts
        [signed_data] = der.children(explicit)
        fields = der.children(signed_data)
        if len(fields) < _SIGNED_DATA_FIELDS or fields[-1] != _NO_SIGNERS or fields[3][0] != _TAG_0:
            return []
        return list(der.children(fields[3]))
    except ValueError:  # DerError, or an unexpected structure
        return []


def _is_certificate(raw: bytes) -> bool:
    try:
        Certificate.from_der(raw)
    except CertificateError:
        return False
    return True
