"""The readers of evidence and of requests refuse the bytes, or return a document that reads back from its base64.

The first byte of an input selects the reader. The other bytes are what a caller posts.
"""

import base64
from collections.abc import Callable

from verifier.api.json_codec import EVIDENCE_TYPES, RequestError, read_attestation, read_nonce_request
from verifier.core import evidence
from verifier.core.bounds import MAX_EVIDENCE_BYTES, MAX_NONCE_CHARACTERS
from verifier.core.model import RawDocument
from verifier.core.reasons import FormatRefused
from verifier.core.vm_ids import parse_vm_id

_READERS: tuple[Callable[[bytes], RawDocument], ...] = (
    evidence.from_file,
    evidence.from_text,
    evidence.from_imds_answer,
    evidence.from_der,
)


def check(data: bytes) -> bool:
    """Check the property for one input, and return whether it is accepted."""
    selector, body = data[0] if data else 0, data[1:]
    try:
        evidence.check_size(body)
        number = selector % (len(_READERS) + len(EVIDENCE_TYPES) + 1)
        if number < len(_READERS):
            document = _READERS[number](body)
        elif number < len(_READERS) + len(EVIDENCE_TYPES):
            document = _read_request(EVIDENCE_TYPES[number - len(_READERS)], body)
        else:
            _read_nonce_request(body)
            return True
    except (FormatRefused, RequestError):
        return False
    assert 0 < len(document.raw_der) <= MAX_EVIDENCE_BYTES
    if document.raw_der[:1] == b"\x30":
        assert evidence.from_file(document.raw_der) == document
        text = base64.b64encode(document.raw_der)
        assert not text.startswith(b"M") or evidence.from_text(text) == document
    return True


def _read_request(media_type: str, body: bytes) -> RawDocument:
    attestation = read_attestation(media_type, body)
    assert attestation.nonce is None or 1 <= len(attestation.nonce) <= MAX_NONCE_CHARACTERS
    assert media_type == "application/json" or (attestation.nonce, attestation.policy) == (None, None)
    return attestation.document


def _read_nonce_request(body: bytes) -> None:
    binding = read_nonce_request("application/json", body)
    assert not binding.vm_id or parse_vm_id(binding.vm_id) == binding.vm_id
    assert not binding.jkt or len(base64.urlsafe_b64decode(binding.jkt + "=")) == 32
