"""The names of object identifiers are those of another library and of the standards."""

import re

import pytest
from cryptography.x509 import ObjectIdentifier

from verifier.core.encoding.oid_names import OID_NAMES

#: Those that the library does not name, or names in another way.
STANDARDS = {
    # RFC 5652 4, 5.1 and 11.
    "1.2.840.113549.1.7.1": "data",
    "1.2.840.113549.1.7.2": "signedData",
    "1.2.840.113549.1.9.3": "contentType",
    "1.2.840.113549.1.9.4": "messageDigest",
    "1.2.840.113549.1.9.5": "signingTime",
    # RFC 8551 2.5.2, RFC 2634 5.4 and RFC 6211 2.
    "1.2.840.113549.1.9.15": "smimeCapabilities",
    "1.2.840.113549.1.9.16.2.12": "signingCertificate",
    "1.2.840.113549.1.9.52": "cmsAlgorithmProtection",
    # RFC 8017 B.1 and B.2.1.
    "1.2.840.113549.2.5": "md5",
    "1.2.840.113549.1.1.8": "mgf1",
    # RFC 5480 2.1.1 and RFC 8410 3.
    "1.2.840.10045.2.1": "ecPublicKey",
    "1.2.840.10045.3.1.7": "secp256r1",
    "1.3.132.0.34": "secp384r1",
    "1.3.132.0.35": "secp521r1",
    "1.3.101.112": "Ed25519",
    # RFC 5280 4.2.1.4, 4.2.1.12 and 4.2.2.1.
    "2.5.29.32.0": "anyPolicy",
    "1.3.6.1.5.5.7.2.1": "cps",
    "2.5.29.37": "extKeyUsage",
    "1.3.6.1.5.5.7.48.1": "ocsp",
    # CA/Browser Forum Baseline Requirements 7.1.6.1.
    "2.23.140.1.2.1": "domain-validated",
    "2.23.140.1.2.2": "organization-validated",
}


@pytest.mark.parametrize(("dotted", "name"), OID_NAMES.items())
def test_an_object_identifier_has_the_name_of_its_standard(dotted: str, name: str) -> None:
    found = re.fullmatch(r"<ObjectIdentifier\(oid=.*, name=(.*)\)>", repr(ObjectIdentifier(dotted)))
    assert found is not None
    assert name == STANDARDS.get(dotted, found[1])


def test_the_names_of_the_standards_are_known() -> None:
    assert STANDARDS.items() <= OID_NAMES.items()
