"""The sample on the Azure page has a valid signature and a valid name, and is refused for other faults."""

import json
from base64 import b64decode
from datetime import UTC, datetime, timedelta

import pytest
from asn1crypto import cms
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from support.appraisals import authenticate_archived
from support.documents import SAMPLES, der, raw
from support.vectors import document_of, find_vector, vectors_trust

from verifier.core.model import Limits
from verifier.core.reasons import Reason, Refused
from verifier.core.trust.certificates import Certificate
from verifier.core.trust.clouds import Cloud, cloud_of

DOCUMENT = b64decode(json.loads((SAMPLES / "azure-page-2018.json").read_bytes())["signature"], validate=True)
ITS_OWN_TIME = datetime(2018, 11, 20, 22, 8, 0, tzinfo=UTC)
TWINS = {
    "chain-untrusted/azure-page-2018-self-signed",
    "algorithm-refused/azure-page-2018-md5-certificate",
    "algorithm-refused/azure-page-2018-rsa-1024",
    "document-expired/azure-page-2018-45-seconds",
    "verified/azure-page-2018-repaired",
}


def read(document: bytes) -> tuple[cms.SignedData, x509.Certificate]:
    """Read a document without the package."""
    signed_data = cms.ContentInfo.load(document)["content"]
    return signed_data, x509.load_der_x509_certificate(signed_data["certificates"][0].dump())


def faults(document: bytes) -> set[str]:
    """Return the faults of a document, out of the four faults of the sample."""
    signed_data, signer = read(document)
    times = json.loads(signed_data["encap_content_info"]["content"].native)["timeStamp"]
    created_on, expires_on = (
        datetime.strptime(times[name], "%m/%d/%y %H:%M:%S %z") for name in ("createdOn", "expiresOn")
    )
    key = signer.public_key()
    assert isinstance(key, rsa.RSAPublicKey)
    found = {
        "self-signed": signer.subject == signer.issuer,
        "md5-certificate": signer.signature_algorithm_oid.dotted_string == "1.2.840.113549.1.1.4",
        "rsa-1024": key.key_size == 1024,
        "45-seconds": expires_on - created_on == timedelta(seconds=45),
    }
    return {fault for fault, there in found.items() if there}


def verify_content(document: bytes) -> None:
    signed_data, signer = read(document)
    key = signer.public_key()
    assert isinstance(key, rsa.RSAPublicKey)
    content = signed_data["encap_content_info"]["content"].native
    key.verify(signed_data["signer_infos"][0]["signature"].native, content, padding.PKCS1v15(), SHA256())


def test_its_content_signature_is_good() -> None:
    verify_content(DOCUMENT)
    with pytest.raises(InvalidSignature):
        verify_content(DOCUMENT.replace(b'"nonce":"1', b'"nonce":"2'))


def test_its_name_is_of_the_public_cloud() -> None:
    _, signer = read(DOCUMENT)
    [name] = Certificate.from_der(der(signer)).common_names
    assert cloud_of(name) is Cloud.PUBLIC


def test_it_has_four_faults_each_enough() -> None:
    assert faults(DOCUMENT) == {"self-signed", "md5-certificate", "rsa-1024", "45-seconds"}


def test_it_is_refused_at_its_own_time() -> None:
    with pytest.raises(Refused) as caught:
        authenticate_archived(raw(DOCUMENT), at=ITS_OWN_TIME, bundle=vectors_trust(), limits=Limits())
    assert caught.value.reason is Reason.ALGORITHM_REFUSED


@pytest.mark.parametrize("name", sorted(TWINS))
def test_each_twin_has_one_of_its_faults_alone(name: str) -> None:
    document = document_of(find_vector(name)).raw_der
    verify_content(document)
    assert faults(document) == {name.partition("2018-")[2]} - {"repaired"}
