"""Name the fields of a document by the types of RFC 5652 (CMS) and RFC 5280 (certificates).

The tables name elements for people. No check uses them.
"""

from collections.abc import Mapping
from dataclasses import field
from types import MappingProxyType
from typing import Final

from verifier.core.values import dataclass

# X.680 section 8.6.
BOOLEAN, INTEGER, BIT_STRING, OCTET_STRING, NULL, OID = 1, 2, 3, 4, 5, 6
ENUMERATED, SEQUENCE, SET, UTC_TIME, GENERALIZED_TIME = 10, 16, 17, 23, 24
_IA5_STRING: Final = 22
TYPES: Final[Mapping[int, str]] = MappingProxyType(
    {
        0: "end-of-contents",
        BOOLEAN: "BOOLEAN",
        INTEGER: "INTEGER",
        BIT_STRING: "BIT STRING",
        OCTET_STRING: "OCTET STRING",
        NULL: "NULL",
        OID: "OBJECT IDENTIFIER",
        ENUMERATED: "ENUMERATED",
        12: "UTF8String",
        SEQUENCE: "SEQUENCE",
        SET: "SET",
        18: "NumericString",
        19: "PrintableString",
        20: "TeletexString",
        _IA5_STRING: "IA5String",
        UTC_TIME: "UTCTime",
        GENERALIZED_TIME: "GeneralizedTime",
        26: "VisibleString",
        28: "UniversalString",
        30: "BMPString",
    }
)
#: The character sets of the string types.
CODECS: Final[Mapping[int, str]] = MappingProxyType(
    {
        12: "utf-8",
        18: "ascii",
        19: "ascii",
        20: "latin-1",
        _IA5_STRING: "ascii",
        26: "ascii",
        28: "utf-32-be",
        30: "utf-16-be",
    }
)
#: The names of the bits of a keyUsage (RFC 5280 4.2.1.3).
KEY_USAGES: Final = (
    "digitalSignature",
    "nonRepudiation",
    "keyEncipherment",
    "dataEncipherment",
    "keyAgreement",
    "keyCertSign",
    "cRLSign",
    "encipherOnly",
    "decipherOnly",
)

_CONTEXT: Final = 0x80
_CONSTRUCTED: Final = 0x20


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """The members of one element. If it is `repeated`, each member is one of `fields`; otherwise they have an order."""

    fields: tuple["Field", ...] = ()
    repeated: bool = False


NO_SHAPE: Final = Shape()


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """One member. `tags` are the tag bytes that it may have; none means any.

    `by_oid` gives the shape of a member whose type an object identifier before it selects. `reads_as` is the type of a
    member with an implicit tag. The contents of a string that `is_opened` are DER. Those that are `is_text` are UTF-8.
    """

    name: str
    tags: frozenset[int] = frozenset()
    shape: Shape = NO_SHAPE
    by_oid: Mapping[str, Shape] = field(default_factory=dict)
    reads_as: int | None = None
    is_opened: bool = False
    is_text: bool = False


def _in_order(*fields: Field) -> Shape:
    return Shape(fields=fields)


def _many(*fields: Field) -> Shape:
    return Shape(fields=fields, repeated=True)


def _sequence(name: str, shape: Shape = NO_SHAPE) -> Field:
    return Field(name=name, tags=frozenset({SEQUENCE | _CONSTRUCTED}), shape=shape)


def _set(name: str, shape: Shape = NO_SHAPE, *, by_oid: Mapping[str, Shape] | None = None) -> Field:
    return Field(name=name, tags=frozenset({SET | _CONSTRUCTED}), shape=shape, by_oid=by_oid or {})


def _plain(name: str, *numbers: int) -> Field:
    return Field(name=name, tags=frozenset(numbers))


def _tagged(number: int, name: str, shape: Shape = NO_SHAPE, *, reads_as: int | None = None) -> Field:
    tags = frozenset({_CONTEXT | number, _CONTEXT | _CONSTRUCTED | number})
    return Field(name=name, tags=tags, shape=shape, reads_as=reads_as)


# RFC 5280 4.1.1.2 and 4.1.2.4.
_ALGORITHM = _in_order(_plain("algorithm", OID), Field(name="parameters"))
_ATTRIBUTE_TYPE_AND_VALUE = _in_order(_plain("type", OID), Field(name="value"))
_NAME = _many(_set("relativeDistinguishedName", _many(_sequence("attributeTypeAndValue", _ATTRIBUTE_TYPE_AND_VALUE))))

# RFC 5280 4.2.1.6.
_GENERAL_NAME = (
    _tagged(0, "otherName"),
    _tagged(1, "rfc822Name", reads_as=_IA5_STRING),
    _tagged(2, "dNSName", reads_as=_IA5_STRING),
    _tagged(4, "directoryName", _many(_sequence("rdnSequence", _NAME))),
    _tagged(6, "uniformResourceIdentifier", reads_as=_IA5_STRING),
    _tagged(7, "iPAddress"),
    _tagged(8, "registeredID", reads_as=OID),
)
_GENERAL_NAMES = _many(*_GENERAL_NAME)
# The first member is the base, of any kind. In RFC 5280 4.2.1.10, minimum and maximum have tags that names have too.
_SUBTREE = _in_order(*_GENERAL_NAME, _tagged(0, "minimum", reads_as=INTEGER), _tagged(1, "maximum", reads_as=INTEGER))
_SUBTREES = _many(_sequence("generalSubtree", _SUBTREE))
_DISTRIBUTION_POINT = _in_order(
    _tagged(
        0,
        "distributionPoint",
        _many(_tagged(0, "fullName", _GENERAL_NAMES), _tagged(1, "nameRelativeToCRLIssuer")),
    ),
    _tagged(1, "reasons"),
    _tagged(2, "cRLIssuer", _GENERAL_NAMES),
)
_POLICY = _in_order(
    _plain("policyIdentifier", OID),
    _sequence(
        "policyQualifiers",
        _many(
            _sequence("policyQualifierInfo", _in_order(_plain("policyQualifierId", OID), Field(name="qualifier"))),
        ),
    ),
)
_ACCESS = _many(_sequence("accessDescription", _in_order(_plain("accessMethod", OID), *_GENERAL_NAME)))
#: The contents of extnValue, by extnID (RFC 5280 4.2).
_EXTENSIONS: Mapping[str, Shape] = {
    "2.5.29.14": _many(_plain("subjectKeyIdentifier", OCTET_STRING)),
    "2.5.29.15": _many(_plain("keyUsage", BIT_STRING)),
    "2.5.29.17": _many(_sequence("subjectAltName", _GENERAL_NAMES)),
    "2.5.29.19": _many(
        _sequence("basicConstraints", _in_order(_plain("cA", BOOLEAN), _plain("pathLenConstraint", INTEGER)))
    ),
    "2.5.29.30": _many(
        _sequence(
            "nameConstraints",
            _in_order(_tagged(0, "permittedSubtrees", _SUBTREES), _tagged(1, "excludedSubtrees", _SUBTREES)),
        )
    ),
    "2.5.29.31": _many(
        _sequence("cRLDistributionPoints", _many(_sequence("distributionPoint", _DISTRIBUTION_POINT))),
    ),
    "2.5.29.32": _many(_sequence("certificatePolicies", _many(_sequence("policyInformation", _POLICY)))),
    "2.5.29.35": _many(
        _sequence(
            "authorityKeyIdentifier",
            _in_order(
                _tagged(0, "keyIdentifier"),
                _tagged(1, "authorityCertIssuer", _GENERAL_NAMES),
                _tagged(2, "authorityCertSerialNumber", reads_as=INTEGER),
            ),
        )
    ),
    "2.5.29.37": _many(_sequence("extKeyUsage", _many(_plain("keyPurposeId", OID)))),
    "1.3.6.1.5.5.7.1.1": _many(_sequence("authorityInfoAccess", _ACCESS)),
    "1.3.6.1.4.1.11129.2.4.2": _many(_plain("signedCertificateTimestampList", OCTET_STRING)),
}
_EXTENSION = _in_order(
    _plain("extnID", OID),
    _plain("critical", BOOLEAN),
    Field(name="extnValue", tags=frozenset({OCTET_STRING}), by_oid=_EXTENSIONS, is_opened=True),
)
_RSA_PUBLIC_KEY = _in_order(_plain("modulus", INTEGER), _plain("publicExponent", INTEGER))
_PUBLIC_KEY = _in_order(
    _sequence("algorithm", _ALGORITHM),
    Field(
        name="subjectPublicKey",
        tags=frozenset({BIT_STRING}),
        by_oid={"1.2.840.113549.1.1.1": _many(_sequence("rsaPublicKey", _RSA_PUBLIC_KEY))},
        is_opened=True,
    ),
)
# RFC 5280 4.1.
_TBS_CERTIFICATE = _in_order(
    _tagged(0, "version", _many(_plain("version", INTEGER))),
    _plain("serialNumber", INTEGER),
    _sequence("signature", _ALGORITHM),
    _sequence("issuer", _NAME),
    _sequence(
        "validity",
        _in_order(
            _plain("notBefore", UTC_TIME, GENERALIZED_TIME),
            _plain("notAfter", UTC_TIME, GENERALIZED_TIME),
        ),
    ),
    _sequence("subject", _NAME),
    _sequence("subjectPublicKeyInfo", _PUBLIC_KEY),
    _tagged(1, "issuerUniqueID"),
    _tagged(2, "subjectUniqueID"),
    _tagged(3, "extensions", _many(_sequence("extensions", _many(_sequence("extension", _EXTENSION))))),
)
_CERTIFICATE = _in_order(
    _sequence("tbsCertificate", _TBS_CERTIFICATE),
    _sequence("signatureAlgorithm", _ALGORITHM),
    _plain("signatureValue", BIT_STRING),
)

# RFC 5652 5.3 and 11.
_ATTRIBUTE = _in_order(
    _plain("attrType", OID),
    _set(
        "attrValues",
        _many(Field(name="attributeValue")),
        by_oid={
            "1.2.840.113549.1.9.3": _many(_plain("contentType", OID)),
            "1.2.840.113549.1.9.4": _many(_plain("messageDigest", OCTET_STRING)),
            "1.2.840.113549.1.9.5": _many(_plain("signingTime", UTC_TIME, GENERALIZED_TIME)),
        },
    ),
)
_ATTRIBUTES = _many(_sequence("attribute", _ATTRIBUTE))
_SIGNER_INFO = _in_order(
    _plain("version", INTEGER),
    Field(
        name="sid",
        tags=frozenset({SEQUENCE | _CONSTRUCTED, _CONTEXT}),
        shape=_in_order(_sequence("issuer", _NAME), _plain("serialNumber", INTEGER)),
    ),
    _sequence("digestAlgorithm", _ALGORITHM),
    _tagged(0, "signedAttrs", _ATTRIBUTES),
    _sequence("signatureAlgorithm", _ALGORITHM),
    _plain("signature", OCTET_STRING),
    _tagged(1, "unsignedAttrs", _ATTRIBUTES),
)
# RFC 5652 5.1 and 5.2.
_E_CONTENT = _many(Field(name="eContent", tags=frozenset({OCTET_STRING}), is_text=True))
_SIGNED_DATA = _in_order(
    _plain("version", INTEGER),
    _set("digestAlgorithms", _many(_sequence("digestAlgorithm", _ALGORITHM))),
    _sequence("encapContentInfo", _in_order(_plain("eContentType", OID), _tagged(0, "eContent", _E_CONTENT))),
    _tagged(0, "certificates", _many(_sequence("certificate", _CERTIFICATE))),
    _tagged(1, "crls"),
    _set("signerInfos", _many(_sequence("signerInfo", _SIGNER_INFO))),
)
#: The whole document (RFC 5652 section 3).
CONTENT_INFO: Final = _sequence(
    "contentInfo",
    _in_order(
        _plain("contentType", OID),
        Field(
            name="content",
            tags=frozenset({_CONTEXT | _CONSTRUCTED}),
            by_oid={"1.2.840.113549.1.7.2": _many(_sequence("signedData", _SIGNED_DATA))},
        ),
    ),
)
