"""Decode each form of evidence to the bytes of one CMS ContentInfo.

One reader serves the HTTP API and the command line. It accepts what editors, shells and Windows do to a text: a byte
order mark, UTF-16, other line breaks, and base64url. What it refuses, it names.
"""

import binascii
import json
import re
import string
from collections.abc import Mapping

from verifier.core.ascii_case import fold_case
from verifier.core.bounds import MAX_EVIDENCE_BYTES
from verifier.core.encoding import strict_json
from verifier.core.encoding.strict_json import JsonError
from verifier.core.encoding.text import TextError, decode_text
from verifier.core.encoding.unknown_fields import explain_unknown_field
from verifier.core.model import RawDocument
from verifier.core.reasons import FormatRefused, QuotingRefused, Reason

#: How many characters of an unknown encoding, and of an error of IMDS, a refusal quotes.
_MAX_ENCODING_SHOWN = 32
_MAX_ERROR_SHOWN = 200

# The labels of RFC 7468 sections 8 and 9. Both lines must have the same label. The possessive quantifiers keep the time
# linear, because the expression never backtracks.
_PEM = re.compile(
    r"\s*+-----BEGIN (?P<label>PKCS7|CMS)-----(?P<base64>[A-Za-z0-9+/=\s]*+)-----END (?P=label)-----\s*+", re.ASCII
)
_PEM_LABEL = re.compile(r"-----BEGIN ([A-Z0-9 ]{1,40})-----")
_BASE64 = re.compile(r"[A-Za-z0-9+/]*+", re.ASCII)
_BASE64URL = str.maketrans("-_", "+/")
_WHITE_SPACE = str.maketrans("", "", string.whitespace)
#: The tag of a SEQUENCE.
_DER_START = b"\x30"
_FIELDS = ("encoding", "signature")

#: Other JSON that agents post by mistake, by a field that it has and an attested document has not.
_OTHER_ANSWERS: Mapping[str, str] = {
    "timeStamp": "the content of a document without its signature",
    "compute": "instance metadata of IMDS",
    "azEnvironment": "instance metadata of IMDS",
    "access_token": "an access token of IMDS",
    "loadbalancer": "load balancer metadata of IMDS",
    "expiresAt": "a nonce of this service",
    "verdict": "a result of this service",
    "requestId": "an error answer of this service",
}
#: Other texts, by their start.
_OTHER_TEXTS: Mapping[str, str] = {
    "<": "HTML or XML",
    "eyJ": "a JSON web token, or JSON in base64",
    "[": "a JSON array",
    "HTTP/": "an HTTP response with its header",
    "{": "JSON inside a string",
    "'": "text in single quotes",
    '"': "text in quotes inside a string",
    "encoding=": "form data",
    "signature=": "form data",
}
_OTHER_STARTS = tuple(_OTHER_TEXTS)
# DER of a document begins with 0x30, so its base64 begins with this.
_BASE64_START = "M"
_REMEDY = "Post the answer of GET /metadata/attested/document."
_CUT_OFF = "The signature seems to be cut off: its base64 ends inside a byte."


def check_size(raw: bytes, limit: int = MAX_EVIDENCE_BYTES) -> None:
    """Refuse evidence of more than `limit` bytes. Raises FormatRefused."""
    if len(raw) > limit:
        raise FormatRefused(Reason.TOO_LARGE, f"The evidence is larger than {limit} bytes.")


def from_fields(*, encoding: object, signature: object) -> RawDocument:
    """Decode the two fields of the IMDS answer (Azure page, "Get Attested data").

    `signature` is base64 or base64url, with or without line breaks and padding, or PEM. Raises FormatRefused.
    """
    if not isinstance(encoding, str) or not isinstance(signature, str):
        raise _malformed("The evidence needs the text fields 'encoding' and 'signature' of the IMDS answer.")
    if fold_case(encoding) != "pkcs7":
        raise QuotingRefused(
            Reason.UNSUPPORTED_ENCODING,
            f"The encoding {encoding[:_MAX_ENCODING_SHOWN]!r} is not supported. Use the encoding of IMDS, 'pkcs7'.",
        )
    return _from_base64_or_pem(signature)


def from_imds_answer(raw: bytes) -> RawDocument:
    """Decode the JSON of an IMDS answer, and refuse other fields than its own. Raises FormatRefused."""
    return _from_json(_decode_text(raw))


def from_text(raw: bytes) -> RawDocument:
    """Decode base64 as `from_fields` does, also in double quotes, or PEM with the label PKCS7 or CMS.

    Raises FormatRefused.
    """
    return _from_text(_decode_text(raw))


def from_der(raw: bytes) -> RawDocument:
    """Take the bytes unchanged. Raises FormatRefused if there are none.

    Not checked: that they are DER. core.envelope checks it.
    """
    if not raw:
        raise _malformed("The evidence is empty.")
    return RawDocument(raw_der=raw)


def from_file(raw: bytes) -> RawDocument:
    """Decode DER, IMDS JSON, PEM or base64. The first characters select the form. Raises FormatRefused."""
    if raw.startswith(_DER_START):
        return from_der(raw)
    text = _decode_text(raw)
    return _from_json(text) if _starts_object(text) else _from_text(text)


def object_text(raw: bytes) -> str | None:
    """Return the text if it begins like a JSON object, and None for other evidence. Raises FormatRefused.

    Not checked: the rest of the text.
    """
    if raw.startswith(_DER_START):
        return None
    text = _decode_text(raw)
    return text if _starts_object(text) else None


def _starts_object(text: str) -> bool:
    return text.lstrip(string.whitespace).startswith("{")


def refuse_other_answers(fields: Mapping[str, object]) -> None:
    """Refuse the JSON of another answer, and name it. An error of IMDS is quoted, bounded and as printable ASCII.

    Raises FormatRefused.
    """
    if "signature" in fields:
        return
    if "error" in fields:
        error = fields["error"]
        if isinstance(error, dict):
            error = error.get("message") or error.get("code")
        shown = ascii(error[:_MAX_ERROR_SHOWN]) if isinstance(error, str) else "no text"
        raise _quoting(f"This is an error answer of IMDS, not a document: {shown}. Ask IMDS again.")
    for field, name in _OTHER_ANSWERS.items():
        if field in fields:
            raise _malformed(f"This is {name}, not a document. {_REMEDY}")


def _from_json(text: str) -> RawDocument:
    try:
        answer = strict_json.decode_text(text)
    except JsonError as error:
        raise _malformed(f"The evidence is not the JSON of an IMDS answer: {error}.") from error
    refuse_other_answers(answer)
    unknown = next((name for name in answer if name not in _FIELDS), None)
    if unknown is not None:
        raise _quoting(explain_unknown_field(unknown, _FIELDS))
    return from_fields(encoding=answer.get("encoding"), signature=answer.get("signature"))


def _from_text(text: str) -> RawDocument:
    text = text.strip(string.whitespace)
    if text.startswith('"'):
        try:
            # Some serializers escape the plus sign. `strict` would refuse line breaks, which wrapped base64 has.
            text = json.loads(text, strict=False)
        except ValueError as error:
            raise _malformed("The evidence begins with a quote, but it is not one JSON string.") from error
    return _from_base64_or_pem(text)


def _from_base64_or_pem(text: str) -> RawDocument:
    text = text.strip(string.whitespace)
    if text.startswith(_OTHER_STARTS):
        name = next(name for start, name in _OTHER_TEXTS.items() if text.startswith(start))
        raise _malformed(f"This is {name}, not a document. {_REMEDY}")
    if text.startswith("-----BEGIN"):
        pem = _PEM.fullmatch(text)
        if pem is None:
            raise _quoting(f"The evidence is not one PEM block with the label PKCS7 or CMS. {_fault_of_pem(text)}")
        text = pem["base64"]
    # The search is ten times faster than the removal.
    if any(space in text for space in string.whitespace):
        text = text.translate(_WHITE_SPACE)
    return _from_base64(text)


def _fault_of_pem(text: str) -> str:
    label = _PEM_LABEL.match(text)
    if label is None:
        return "It has no label."
    if label[1] not in ("PKCS7", "CMS"):
        return f"It begins with the label {label[1]}."
    return "It has no end, or other text inside or after the block."


def _from_base64(text: str) -> RawDocument:
    """Decode base64 or base64url (RFC 4648 sections 4 and 5), with or without padding.

    The bits behind the last byte must be zero, as the RFC asks in section 3.5.
    """
    if text and not text.startswith(_BASE64_START):
        raise _malformed(f"This is other text: the base64 of a document begins with '{_BASE64_START}'. {_REMEDY}")
    if "-" in text or "_" in text:
        if "+" in text or "/" in text:
            raise _malformed("The signature mixes base64 and base64url.")
        text = text.translate(_BASE64URL)
    is_padded = "=" in text
    padded = text if is_padded else text + "=" * (-len(text) % 4)
    if len(text) % 4 == 1 and _BASE64.fullmatch(text):
        raise _malformed(_CUT_OFF)
    try:
        encoded = padded.encode("ascii")
        data = binascii.a2b_base64(encoded, strict_mode=True)
    except (UnicodeEncodeError, binascii.Error) as error:
        raise _malformed("The signature is not base64.") from error
    if binascii.b2a_base64(data, newline=False) != encoded:
        raise _malformed("The signature is not canonical base64." if is_padded else _CUT_OFF)
    return from_der(data)


def _decode_text(raw: bytes) -> str:
    try:
        return decode_text(raw)
    except TextError as error:
        raise _malformed(f"The evidence is neither DER nor text: {error}.") from error


def _malformed(detail: str) -> FormatRefused:
    return FormatRefused(Reason.MALFORMED_EVIDENCE, detail)


def _quoting(detail: str) -> QuotingRefused:
    return QuotingRefused(Reason.MALFORMED_EVIDENCE, detail)
