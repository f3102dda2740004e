"""Documents and the PKI that signs them: valid by default, so that a test changes the one thing it is about.

One PKI with its keys is made for the whole run (making RSA keys is what takes the time); a test that needs an odd
certificate makes it under that PKI's authorities, with `verifier.emulator.pki`.
"""

import base64
import json
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from support.session_log import SESSION_LOG

from verifier.core.model import RawDocument
from verifier.core.trust.bundle import Role, TrustBundle, TrustedCertificate
from verifier.core.trust.certificates import Certificate
from verifier.core.trust.clouds import Cloud
from verifier.emulator import cms, pki
from verifier.emulator.documents import VirtualMachine, make_content

#: When everything here is valid, unless a test says otherwise.
NOW = datetime(2026, 11, 23, 8, 0, 0, tzinfo=UTC)
NONCE = "0123456789"
VM = VirtualMachine()

SAMPLES = Path(__file__).parents[1] / "data" / "samples"


@cache
def shared_pki() -> pki.Pki:
    return pki.make_pki(now=NOW)


@cache
def spare_key(number: int = 0) -> pki.PrivateKey:  # noqa: ARG001 - it is the cache's key
    """An RSA-2048 key that is not in the shared PKI; the same one for the same number."""
    return pki.make_rsa_key()


def content(*, nonce: str | None = NONCE, created_on: datetime = NOW, vm: VirtualMachine = VM) -> dict[str, object]:
    """The signed JSON of a valid document, as a dictionary to change."""
    fields: dict[str, object] = json.loads(make_content(vm, now=created_on, api_version="2020-09-01", nonce=nonce))
    return fields


def encode(fields: dict[str, object]) -> bytes:
    return json.dumps(fields, separators=(",", ":")).encode()


def sign(data: bytes, *, signer: pki.Identity | None = None, scheme: cms.Scheme = cms.AZURE) -> bytes:
    """The DER of a document over these bytes, shaped like a real one but for the scheme."""
    identity = signer or shared_pki().signer
    info = cms.sign_content(data, certificate=identity.certificate, key=identity.key, scheme=scheme)
    signed = cms.SignedData(
        digest_algorithms=(info.digest_algorithm,),
        content=data,
        certificates=(der(identity.certificate),),
        signer_infos=(info,),
    ).encode()
    SESSION_LOG.keep_document(signed)
    return signed


def document(
    *,
    nonce: str | None = NONCE,
    created_on: datetime = NOW,
    signer: pki.Identity | None = None,
    vm: VirtualMachine = VM,
) -> bytes:
    """The DER of a valid document."""
    SESSION_LOG.keep_nonce(nonce)
    return sign(encode(content(nonce=nonce, created_on=created_on, vm=vm)), signer=signer)


def raw(data: bytes) -> RawDocument:
    return RawDocument(raw_der=data)


def imds_answer(data: bytes) -> dict[str, object]:
    """What IMDS answers with this document."""
    return {"encoding": "pkcs7", "signature": base64.b64encode(data).decode("ascii")}


def sample(name: str) -> bytes:
    """The DER of a published document (tests/data/samples)."""
    return base64.b64decode(json.loads((SAMPLES / f"{name}.json").read_bytes())["signature"], validate=True)


def der(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(Encoding.DER)


def trusted(
    certificate: x509.Certificate,
    *,
    clouds: frozenset[Cloud] = frozenset({Cloud.PUBLIC}),
    activate_at: datetime | None = None,
    retire_at: datetime | None = None,
) -> TrustedCertificate:
    """An anchor where the certificate is self-issued, a pin otherwise."""
    read = Certificate.from_der(der(certificate))
    return TrustedCertificate(
        certificate=read,
        role=Role.ROOT if read.is_self_issued else Role.INTERMEDIATE,
        clouds=clouds,
        source="urn:imds-verifier:test",
        activate_at=activate_at,
        retire_at=retire_at,
    )


def bundle_of(*certificates: x509.Certificate, clouds: frozenset[Cloud] = frozenset({Cloud.PUBLIC})) -> TrustBundle:
    return TrustBundle.of(tuple(trusted(certificate, clouds=clouds) for certificate in certificates))


@cache
def shared_bundle() -> TrustBundle:
    """Trusts the shared PKI for the public cloud."""
    return bundle_of(shared_pki().root.certificate, shared_pki().issuing_ca.certificate)


def around(moment: datetime = NOW, *, days: int = 180) -> pki.Validity:
    return pki.Validity.around(moment, timedelta(days=days))
