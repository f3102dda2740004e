"""Decode each form of evidence to the bytes of one CMS ContentInfo."""

import base64
import binascii
import re

from verifier.core.bounds import MAX_EVIDENCE_BYTES
from verifier.core.encoding import strict_json
from verifier.core.encoding.strict_json import JsonError
from verifier.core.model import RawDocument
from verifier.core.reasons import FormatRefused, Reason

#: How many characters of an unknown encoding a refusal quotes.
_MAX_ENCODING_SHOWN = 32

# The labels of RFC 7468 sections 8 and 9. Both lines must have the same label. The possessive quantifiers keep the time
# linear, because the expression never backtracks.
_PEM = re.compile(
    rb"\s*+-----BEGIN (?P<label>PKCS7|CMS)-----(?P<base64>[A-Za-z0-9+/=\s]*+)-----END (?P=label)-----\s*+"
)
_DER_SEQUENCE = 0x30


def check_size(raw: bytes, limit: int = MAX_EVIDENCE_BYTES) -> None:
    """Refuse evidence of more than `limit` bytes. Raises FormatRefused."""
    if len(raw) > limit:
        raise FormatRefused(Reason.TOO_LARGE, f"The evidence is larger than {limit} bytes.")


def from_fields(*, encoding: object, signature: object) -> RawDocument:
    """Decode the two fields of the IMDS answer (Azure page, "Get Attested data"). Raises FormatRefused."""
    if not isinstance(encoding, str) or not isinstance(signature, str):
        raise _malformed("The evidence needs the text fields 'encoding' and 'signature' of the IMDS answer.")
    if encoding.lower() != "pkcs7":
        raise FormatRefused(
            Reason.UNSUPPORTED_ENCODING,
            f"The encoding {encoding[:_MAX_ENCODING_SHOWN]!r} is not supported. Use the encoding of IMDS, 'pkcs7'.",
        )
    try:
        return _from_base64(signature.encode("ascii"))
    except UnicodeEncodeError as error:
        raise _malformed("The signature is not base64.") from error


def from_imds_answer(raw: bytes) -> RawDocument:
    """Decode the JSON of an IMDS answer, and refuse other fields than its own. Raises FormatRefused."""
    try:
        answer = strict_json.decode(raw)
    except JsonError as error:
        raise _malformed(f"The evidence is not the JSON of an IMDS answer: {error}.") from error
    if answer.keys() - {"encoding", "signature"}:
        raise _malformed("The evidence has other fields than 'encoding' and 'signature'. Remove them.")
    return from_fields(encoding=answer.get("encoding"), signature=answer.get("signature"))


def from_text(raw: bytes) -> RawDocument:
    """Decode base64, with or without line breaks, or PEM with the label PKCS7 or CMS. Raises FormatRefused."""
    if raw.lstrip().startswith(b"-----BEGIN"):
        pem = _PEM.fullmatch(raw)
        if pem is None:
            raise _malformed("The evidence is not one PEM block with the label PKCS7 or CMS.")
        raw = pem["base64"]
    return _from_base64(b"".join(raw.split()))


def from_der(raw: bytes) -> RawDocument:
    """Take the bytes unchanged. Raises FormatRefused if there are none.

    Not checked: that they are DER. core.envelope checks it.
    """
    if not raw:
        raise _malformed("The evidence is empty.")
    return RawDocument(raw_der=raw)


def from_file(raw: bytes) -> RawDocument:
    """Decode DER, IMDS JSON, PEM or base64. The first bytes select the form. Raises FormatRefused."""
    if raw[:1] and raw[0] == _DER_SEQUENCE:
        return from_der(raw)
    if raw.lstrip().startswith(b"{"):
        return from_imds_answer(raw)
    return from_text(raw)


def _from_base64(raw: bytes) -> RawDocument:
    """Decode padded base64 of the standard alphabet (RFC 4648 section 4), and accept one text for each document."""
    try:
        data = binascii.a2b_base64(raw, strict_mode=True)
    except binascii.Error as error:
        raise _malformed("The signature is not base64.") from error
    if base64.b64encode(data) != raw:
        raise _malformed("The signature is not canonical base64.")
    return from_der(data)


def _malformed(detail: str) -> FormatRefused:
    return FormatRefused(Reason.MALFORMED_EVIDENCE, detail)
