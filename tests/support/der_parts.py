"""Write DER with asn1crypto: single elements, and a document from the parts that `core.encoding.cms` read.

The reader and this writer share no code. If both together return the same bytes, the reader skipped none of them.
"""

from functools import cache

from asn1crypto import core, parser

from verifier.core.encoding.cms import Algorithm, SignedData
from verifier.emulator.cms import ID_DATA, ID_SIGNED_DATA

# The paths of the parts of a document without signed attributes, for `support.mutations.edited`.
SIGNED_DATA = (1, 0)
VERSION, DIGESTS, ENCAPSULATED, CERTIFICATES, SIGNERS = ((*SIGNED_DATA, number) for number in range(5))
SIGNER = (*SIGNERS, 0)
SIGNER_VERSION, SID, DIGEST, SIGNATURE_ALGORITHM, SIGNATURE = ((*SIGNER, number) for number in range(5))


def tlv(tag: int, *contents: bytes) -> bytes:
    """Encode an element. `tag` is the identifier byte, with class and form."""
    return bytes(parser.emit(tag >> 6, tag >> 5 & 1, tag & 0x1F, b"".join(contents)))


def sequence(*members: bytes) -> bytes:
    return tlv(0x30, *members)


@cache
def oid(dotted: str) -> bytes:
    return bytes(core.ObjectIdentifier(dotted).dump())


def integer(value: int) -> bytes:
    return bytes(core.Integer(value).dump())


def encode_signed_data(parts: SignedData) -> bytes:
    """Encode a SignedData (RFC 5652 3 and 5) without sorting the members of SET OF."""
    signer_info = sequence(
        integer(1),
        sequence(parts.issuer, tlv(0x02, parts.serial_number)),
        _algorithm(parts.digest_algorithm),
        b"" if parts.signed_attributes is None else tlv(0xA0, *parts.signed_attributes),
        _algorithm(parts.signature_algorithm),
        tlv(0x04, parts.signature),
    )
    signed_data = sequence(
        integer(1),
        tlv(0x31, _algorithm(parts.announced_digest)),
        sequence(oid(ID_DATA), tlv(0xA0, tlv(0x04, parts.content))),
        tlv(0xA0, *parts.certificates),
        tlv(0x31, signer_info),
    )
    return sequence(oid(ID_SIGNED_DATA), tlv(0xA0, signed_data))


def _algorithm(algorithm: Algorithm) -> bytes:
    return sequence(oid(algorithm.oid), algorithm.parameters)
