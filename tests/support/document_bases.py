"""Genuine documents of each scheme and form, of which tests make mutants."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cache

from cryptography.hazmat.primitives.asymmetric import ec
from support import cms, documents
from support.appraisals import read_in_time
from support.certificates import make_signer
from support.documents import NOW, der, raw, shared_bundle, shared_pki, sign, spare_key
from support.real_samples import REAL_SAMPLES

from verifier.adapters.trust.files import load_bundle
from verifier.core.chain import build_chain
from verifier.core.model import Limits
from verifier.core.reasons import Refused
from verifier.core.trust.bundle import TrustBundle
from verifier.emulator import pki

CONTENT = documents.encode(documents.content())


@dataclass(frozen=True, slots=True, kw_only=True)
class Base:
    """A document, with the trust and the moment that make it acceptable."""

    name: str
    make: Callable[[], bytes]
    bundle: Callable[[], TrustBundle] = shared_bundle
    at: datetime = NOW

    def __str__(self) -> str:
        return self.name

    def is_accepted(self, document: bytes) -> bool:
        """Return whether every check up to the chain accepts a mutant of this document."""
        try:
            claims = read_in_time(raw(document), now=self.at, limits=Limits())
            build_chain(claims, now=self.at, bundle=self.bundle())
        except Refused:
            return False
        return True


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
        for sample in REAL_SAMPLES[::3]
    ),
)
