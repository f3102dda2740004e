"""Make documents and the PKI that signs them. They are valid by default, so that a test changes only its subject.

All tests of a run share one PKI, because RSA keys take long to generate. A test that needs a special certificate makes
it with `verifier.emulator.pki` under the authorities of that PKI.
"""

import base64
import json
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from support import cms
from support.session_log import SESSION_LOG

from verifier.core.model import RawDocument
from verifier.core.trust.bundle import Role, TrustBundle, TrustedCertificate
from verifier.core.trust.certificates import Certificate
from verifier.core.trust.clouds import Cloud
from verifier.emulator import pki
from verifier.emulator.documents import VirtualMachine, make_content

#: The time at which everything here is valid by default.
NOW = datetime(2026, 11, 23, 8, 0, 0, tzinfo=UTC)
NONCE = "0123456789"
VM = VirtualMachine()

SAMPLES = Path(__file__).parents[1] / "data" / "samples"


@cache
def shared_pki() -> pki.Pki:
    return pki.make_pki(now=NOW)


@cache
def spare_key(number: int = 0) -> pki.PrivateKey:  # noqa: ARG001 - it is the cache's key
    """Return an RSA-2048 key that is not in the shared PKI. It is the same for the same number."""
    return pki.make_rsa_key()


def content(*, nonce: str | None = NONCE, created_on: datetime = NOW, vm: VirtualMachine = VM) -> dict[str, object]:
    """Return the signed JSON of a valid document as a dictionary that the caller may change."""
    fields: dict[str, object] = json.loads(make_content(vm, now=created_on, api_version="2020-09-01", nonce=nonce))
    return fields


def encode(fields: dict[str, object]) -> bytes:
    return json.dumps(fields, separators=(",", ":")).encode()


def sign(data: bytes, *, signer: pki.Identity | None = None, scheme: cms.Scheme = cms.AZURE) -> bytes:
    """Sign these bytes, and return a document in DER that differs from a real one only in its scheme."""
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
    """Return the DER of a valid document."""
    SESSION_LOG.keep_nonce(nonce)
    return sign(encode(content(nonce=nonce, created_on=created_on, vm=vm)), signer=signer)


def raw(data: bytes) -> RawDocument:
    return RawDocument(raw_der=data)


def imds_answer(data: bytes) -> dict[str, object]:
    """Return the answer of IMDS with this document."""
    return {"encoding": "pkcs7", "signature": base64.b64encode(data).decode("ascii")}


def der_of(answer: dict[str, str]) -> bytes:
    """Return the document in the answer of IMDS. Raises KeyError, TypeError and ValueError."""
    return base64.b64decode(answer["signature"], validate=True)


def sample(name: str) -> bytes:
    """Return the DER of a published document (tests/data/samples)."""
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
    """Return an anchor if the certificate is self-issued, and a pin otherwise."""
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
    """Return a bundle that trusts the shared PKI for the public cloud."""
    return bundle_of(shared_pki().root.certificate, shared_pki().issuing_ca.certificate)


def around(moment: datetime = NOW, *, days: int = 180) -> pki.Validity:
    return pki.Validity.around(moment, timedelta(days=days))
