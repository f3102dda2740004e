"""What a fetched answer is, by its bytes: servers' media types are as often wrong as right."""

import base64
import binascii

from verifier.core.encoding import der
from verifier.core.trust.certificates import Certificate, CertificateError
from verifier.ports.trust import FetchFailed

#: In one answer. A CA publishes its certificate, at times in the forms of its several issuers.
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
    """The DER of the certificates in `body`: one as DER, PEM texts, or a degenerate SignedData (RFC 5652 5.1),
    with nothing before it and, but for PEM, nothing behind it. At least one, at most MAX_CERTIFICATES.

    What cannot be read as a certificate beside one that can is left out. Nothing is known of any of them.
    Raises FetchFailed.
    """
    found = _from_pem(body) if body.lstrip().startswith(_BEGIN) else _from_der(body)
    if len(found) > MAX_CERTIFICATES:
        raise FetchFailed(f"The answer has more than {MAX_CERTIFICATES} certificates.")
    readable = tuple(one for one in found if _is_certificate(one))
    if not readable:
        raise FetchFailed("The answer is no certificate.")
    return readable


def _from_pem(body: bytes) -> list[bytes]:
    """RFC 7468 5.1."""
    found: list[bytes] = []
    for text in body.split(_BEGIN)[1:]:
        try:
            found.append(base64.b64decode(b"".join(text.partition(_END)[0].split()), validate=True))
        except binascii.Error:
            found.append(b"")  # counted, and no certificate
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
    except ValueError:  # DerError, and a structure of other parts than these
        return []


def _is_certificate(raw: bytes) -> bool:
    try:
        Certificate.from_der(raw)
    except CertificateError:
        return False
    return True
