"""read_envelope refuses the bytes or accounts for each of them: what it returns encodes to the same bytes."""

from support.der_parts import encode_signed_data

from verifier.core.bounds import MAX_CERTIFICATE_BYTES, MAX_EMBEDDED_CERTIFICATES, MAX_SIGNED_ATTRIBUTES
from verifier.core.encoding.cms import read_signed_data
from verifier.core.envelope import read_envelope
from verifier.core.model import RawDocument
from verifier.core.reasons import FormatRefused


def check(data: bytes) -> bool:
    """Check the property for one input, and return whether it is accepted."""
    try:
        envelope = read_envelope(RawDocument(raw_der=data))
    except FormatRefused:
        return False
    parts = read_signed_data(data)
    assert encode_signed_data(parts) == data
    assert parts.content == envelope.unverified_content
    assert sorted(parts.certificates) == sorted((envelope.signer.der, *envelope.unverified_candidates))
    assert len(parts.certificates) <= MAX_EMBEDDED_CERTIFICATES
    assert max(map(len, parts.certificates)) <= MAX_CERTIFICATE_BYTES
    assert len(parts.signed_attributes or ()) <= MAX_SIGNED_ATTRIBUTES
    return True
