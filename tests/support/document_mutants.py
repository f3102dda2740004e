"""Name the differences that an accepted mutant of a document may have."""

from dataclasses import replace

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, utils

from verifier.core.encoding.cms import Algorithm, SignedData, read_signed_data
from verifier.core.trust.certificates import read_issuer_and_number

#: The forms in which the same document can be written. None changes the signed content.
OTHER_NAME = "another name of the same algorithm, or NULL for absent parameters (RFC 5754 2)"
OTHER_CERTIFICATES = "other certificates beside the signer's, on which no verdict depends"
NEGATED = "(r, n - s) instead of the ECDSA signature (r, s)"


def normal(parts: SignedData) -> SignedData:
    """Remove the differences that the three names above permit."""
    unnamed = Algorithm(oid="", parameters=b"")
    signature = parts.signature
    sid = (parts.issuer, parts.serial_number)
    [signer] = [one for one in parts.certificates if read_issuer_and_number(one) == sid]
    key = x509.load_der_x509_certificate(signer).public_key()
    if isinstance(key, ec.EllipticCurvePublicKey):
        r, s = utils.decode_dss_signature(signature)
        signature = utils.encode_dss_signature(r, min(s, key.curve.group_order - s))
    return replace(
        parts,
        announced_digest=unnamed,
        digest_algorithm=unnamed,
        signature_algorithm=unnamed,
        signature=signature,
        certificates=(signer,),
    )


def difference(mutant: bytes, original: bytes) -> str:
    """Return the name of the difference of an accepted mutant, or an empty string if it has no name."""
    one, other = read_signed_data(mutant), read_signed_data(original)
    if normal(one) != normal(other):
        return ""
    if one.certificates != other.certificates:
        return OTHER_CERTIFICATES
    return NEGATED if one.signature != other.signature else OTHER_NAME
