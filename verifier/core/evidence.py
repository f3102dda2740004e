"""The forms in which evidence is handed in, each decoded to the bytes of one CMS ContentInfo."""

import base64
import binascii
import re

from verifier.core.bounds import MAX_EVIDENCE_BYTES
from verifier.core.encoding import strict_json
from verifier.core.encoding.strict_json import JsonError
from verifier.core.model import RawDocument
from verifier.core.reasons import FormatRefused, Reason

#: The largest name of an encoding that is repeated in a refusal.
_MAX_ENCODING_SHOWN = 32

# RFC 7468 section 8 and its CMS label of section 9; the label at the end must be the one at the start. Each part ends
# where the next begins, so that nothing is ever tried twice: the time is linear.
_PEM = re.compile(
    rb"\s*+-----BEGIN (?P<label>PKCS7|CMS)-----(?P<base64>[A-Za-z0-9+/=\s]*+)-----END (?P=label)-----\s*+"
)
_DER_SEQUENCE = 0x30


def check_size(raw: bytes, limit: int = MAX_EVIDENCE_BYTES) -> None:
    """`raw` has at most `limit` bytes. Raises FormatRefused."""
    if len(raw) > limit:
        raise FormatRefused(Reason.TOO_LARGE, f"The evidence is larger than {limit} bytes.")


def from_fields(*, encoding: object, signature: object) -> RawDocument:
    """The document in the two fields of the IMDS answer (Azure page, "Get Attested data")."""
    if not isinstance(encoding, str) or not isinstance(signature, str):
        raise _malformed("The evidence needs the text fields 'encoding' and 'signature', as IMDS answers them.")
    if encoding.lower() != "pkcs7":
        raise FormatRefused(
            Reason.UNSUPPORTED_ENCODING,
            f"The encoding {encoding[:_MAX_ENCODING_SHOWN]!r} is not supported; IMDS signs as 'pkcs7'.",
        )
    try:
        return _from_base64(signature.encode("ascii"))
    except UnicodeEncodeError as error:
        raise _malformed("The signature is not base64.") from error


def from_imds_answer(raw: bytes) -> RawDocument:
    """The document in the JSON that IMDS answers, untouched. Other fields are refused."""
    try:
        answer = strict_json.decode(raw)
    except JsonError as error:
        raise _malformed(f"The evidence is not the JSON that IMDS answers: {error}.") from error
    unknown = sorted(answer.keys() - {"encoding", "signature"})
    if unknown:
        raise _malformed("The evidence has fields besides 'encoding' and 'signature'.")
    return from_fields(encoding=answer.get("encoding"), signature=answer.get("signature"))


def from_text(raw: bytes) -> RawDocument:
    """The document in base64, wrapped or not, or in PEM with the label PKCS7 or CMS."""
    if raw.lstrip().startswith(b"-----BEGIN"):
        pem = _PEM.fullmatch(raw)
        if pem is None:
            raise _malformed("The evidence is not one PEM block labelled PKCS7 or CMS.")
        raw = pem["base64"]
    return _from_base64(b"".join(raw.split()))


def from_der(raw: bytes) -> RawDocument:
    """The document as it stands; core.envelope checks that it is DER."""
    if not raw:
        raise _malformed("The evidence is empty.")
    return RawDocument(raw_der=raw)


def from_file(raw: bytes) -> RawDocument:
    """The document in whichever of the forms `raw` begins like; no two begin alike."""
    if raw[:1] and raw[0] == _DER_SEQUENCE:
        return from_der(raw)
    if raw.lstrip().startswith(b"{"):
        return from_imds_answer(raw)
    return from_text(raw)


def _from_base64(raw: bytes) -> RawDocument:
    """RFC 4648 section 4: padded, of the standard alphabet alone, and no other text stands for these bytes."""
    try:
        data = binascii.a2b_base64(raw, strict_mode=True)
    except binascii.Error as error:
        raise _malformed("The signature is not base64.") from error
    if base64.b64encode(data) != raw:
        raise _malformed("The signature is not base64 in its one canonical form.")
    return from_der(data)


def _malformed(detail: str) -> FormatRefused:
    return FormatRefused(Reason.MALFORMED_EVIDENCE, detail)
