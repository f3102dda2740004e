"""Documents that are accepted and the names of the differences that their accepted mutants may have."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cache

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, utils
from support import cms, documents
from support.certificates import make_signer
from support.documents import NOW, der, shared_bundle, shared_pki, sign, spare_key
from support.real_samples import REAL_SAMPLES

from verifier.adapters.trust.files import load_bundle
from verifier.core.encoding.cms import Algorithm, SignedData, read_signed_data
from verifier.core.trust.bundle import TrustBundle
from verifier.core.trust.certificates import read_issuer_and_number
from verifier.emulator import pki

CONTENT = documents.encode(documents.content())
#: The forms in which the same document can be written. None changes the signed content.
OTHER_NAME = "another name of the same algorithm, or NULL for absent parameters (RFC 5754 2)"
OTHER_CERTIFICATES = "other certificates beside the signer's, on which no verdict depends"
NEGATED = "(r, n - s) instead of the ECDSA signature (r, s)"


@dataclass(frozen=True, slots=True, kw_only=True)
class Base:
    name: str
    make: Callable[[], bytes]
    bundle: Callable[[], TrustBundle] = shared_bundle
    at: datetime = NOW

    def __str__(self) -> str:
        return self.name


@cache
def elliptic() -> pki.Identity:
    return make_signer(key=pki.make_ec_key(ec.SECP256R1()))


def with_attributes() -> bytes:
    signer, scheme = shared_pki().signer, cms.rsa_encryption(cms.SHA256)
    time = cms.Attribute(oid="1.2.840.113549.1.9.5", values=(b"\x17\x0d" + f"{NOW:%y%m%d%H%M%S}Z".encode(),))
    attributes = (*cms.content_attributes(CONTENT, digest=cms.SHA256), time)
    info = cms.sign_attributes(attributes, certificate=signer.certificate, key=signer.key, scheme=scheme)
    return cms.SignedData(
        digest_algorithms=(info.digest_algorithm,),
        content=CONTENT,
        certificates=(der(signer.certificate),),
        signer_infos=(info,),
    ).encode()


def with_two_certificates() -> bytes:
    signer = shared_pki().signer
    good = cms.signed_data(CONTENT, certificate=signer.certificate, key=signer.key)
    other = make_signer(key=spare_key()).certificate
    return replace(good, certificates=(*good.certificates, der(other))).encode()


BASES = (
    Base(name="rsa", make=lambda: sign(CONTENT)),
    Base(name="rsa-sha512", make=lambda: sign(CONTENT, scheme=cms.rsa_with_digest(cms.SHA512))),
    Base(name="pss", make=lambda: sign(CONTENT, scheme=cms.rsassa_pss(cms.SHA256))),
    Base(name="ecdsa", make=lambda: sign(CONTENT, signer=elliptic(), scheme=cms.ecdsa(cms.SHA256))),
    Base(name="signed-attributes", make=with_attributes),
    Base(name="two-certificates", make=with_two_certificates),
    *(
        Base(name=sample.name, make=lambda sample=sample: sample.der, bundle=load_bundle, at=sample.created_on)  # type: ignore[misc]  # the default binds the present value
        for sample in REAL_SAMPLES
    ),
)


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
