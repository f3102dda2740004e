"""Read the CMS SignedData around the content, and find its one signer: check 1 (RFC 5652 section 5)."""

import hashlib

from verifier.core.bounds import MAX_CERTIFICATE_BYTES
from verifier.core.encoding import der
from verifier.core.encoding.cms import CmsError, SignedData, read_signed_data
from verifier.core.encoding.der import DerError, Reader
from verifier.core.model import Envelope, RawDocument, SignedAttributes
from verifier.core.reasons import FormatRefused, Reason
from verifier.core.trust.certificates import Certificate, CertificateError, read_issuer_and_number

_CONTENT_TYPE = bytes.fromhex("2a864886f70d010903")
_MESSAGE_DIGEST = bytes.fromhex("2a864886f70d010904")


def read_envelope(document: RawDocument) -> Envelope:
    """Read one SignedData whose sid names exactly one embedded certificate. Raises FormatRefused.

    Not checked: the signature, its algorithms, and the certificates, except that the signer's can be read.
    """
    raw = document.raw_der
    try:
        signed_data = read_signed_data(raw)
        certificate, others = _split_certificates(signed_data)
        attributes = _signed_attributes(signed_data)
    except CmsError as error:
        raise _malformed(str(error)) from error
    except DerError as error:
        raise _malformed(f"The document is not a CMS SignedData in DER: {error}.") from error
    try:
        signer = Certificate.from_der(certificate)
    except CertificateError as error:
        raise _malformed(f"The signer's certificate {error.fault}.") from error
    return Envelope(
        sha256=hashlib.sha256(raw).hexdigest(),
        unverified_content=signed_data.content,
        signer=signer,
        digest_oid=signed_data.digest_algorithm.oid,
        signature_oid=signed_data.signature_algorithm.oid,
        signature_parameters=signed_data.signature_algorithm.parameters,
        signature=signed_data.signature,
        signed_attributes=attributes,
        unverified_candidates=others,
    )


def _split_certificates(signed_data: SignedData) -> tuple[bytes, tuple[bytes, ...]]:
    """Return the certificate that sid names (RFC 5652 5.3), compared byte by byte, and the other certificates."""
    sid = (signed_data.issuer, signed_data.serial_number)
    named: list[bytes] = []
    others: list[bytes] = []
    for certificate in signed_data.certificates:
        if len(certificate) > MAX_CERTIFICATE_BYTES:
            raise CmsError(f"The document embeds a certificate that is larger than {MAX_CERTIFICATE_BYTES} bytes.")
        (named if read_issuer_and_number(certificate) == sid else others).append(certificate)
    if len(named) != 1:
        raise CmsError("The document does not embed exactly one certificate of the signer that it names.")
    return named[0], tuple(others)


def _signed_attributes(signed_data: SignedData) -> SignedAttributes | None:
    """Read the signed attributes, which must have one content-type and one message-digest (RFC 5652 5.3)."""
    if signed_data.signed_attributes is None:
        return None
    content_types: list[str] = []
    message_digests: list[bytes] = []
    for encoded in signed_data.signed_attributes:
        attribute = Reader(encoded).inside(der.SEQUENCE)
        oid = attribute.contents(der.OBJECT_IDENTIFIER)
        values = attribute.inside(der.SET)
        attribute.end()
        if oid == _CONTENT_TYPE:
            content_types.append(der.dotted(values.contents(der.OBJECT_IDENTIFIER)))
            values.end()
        elif oid == _MESSAGE_DIGEST:
            message_digests.append(values.contents(der.OCTET_STRING))
            values.end()
    match content_types, message_digests:
        case [content_type], [message_digest]:
            return SignedAttributes(
                signed_bytes=signed_data.signed_set,
                content_type_oid=content_type,
                message_digest=message_digest,
            )
        case _:
            raise CmsError("The signed attributes must have content-type and message-digest exactly once.")


def _malformed(detail: str) -> FormatRefused:
    return FormatRefused(Reason.MALFORMED_EVIDENCE, detail)
