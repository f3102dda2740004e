"""Step 2: the CMS SignedData around the content, and the one signer that it names (RFC 5652 section 5)."""

import hashlib

from verifier.core import der
from verifier.core.asn1 import UNREADABLE, cms
from verifier.core.certificates import Certificate, CertificateError
from verifier.core.der import DerError
from verifier.core.model import Envelope, RawDocument, SignedAttributes
from verifier.core.reasons import FormatRefused, Reason

#: Real documents embed one certificate, the signer's.
MAX_EMBEDDED_CERTIFICATES = 8

_SIGNED_DATA = "1.2.840.113549.1.7.2"
_DATA = "1.2.840.113549.1.7.1"
_CONTENT_TYPE = "1.2.840.113549.1.9.3"
_MESSAGE_DIGEST = "1.2.840.113549.1.9.4"


def read_envelope(document: RawDocument) -> Envelope:
    """The document is one DER SignedData, version 1, of content type id-data, with exactly one SignerInfo,
    whose sid names exactly one of at most MAX_EMBEDDED_CERTIFICATES embedded certificates.

    Not checked: the signature, its algorithms, and anything about the certificates but that the signer's can
    be read. Raises FormatRefused.
    """
    raw = document.raw_der
    try:
        der.check(raw)
        return _read(raw)
    except DerError as error:
        raise _malformed(f"The document is not DER: {error}.") from error
    except CertificateError as error:
        raise _malformed("The signer's certificate cannot be read.") from error
    except UNREADABLE as error:
        raise _malformed("The document is not a CMS SignedData.") from error


def _read(raw: bytes) -> Envelope:
    content_info = cms.ContentInfo.load(raw, strict=True)
    if content_info["content_type"].dotted != _SIGNED_DATA:
        raise _malformed("The document is not a CMS SignedData.")
    signed_data: cms.SignedData = content_info["content"]
    # RFC 5652 5.1: version 1 goes with id-data and issuerAndSerialNumber, which is what IMDS makes.
    if signed_data["version"].native != "v1" or signed_data["encap_content_info"]["content_type"].dotted != _DATA:
        raise _malformed("The document is not a SignedData of version 1 over data.")
    content = signed_data["encap_content_info"]["content"].native
    if not isinstance(content, bytes):
        raise _malformed("The document carries no content.")
    if len(signed_data["signer_infos"]) != 1:
        raise _malformed("The document does not have exactly one signer.")
    signer_info: cms.SignerInfo = signed_data["signer_infos"][0]
    certificate, others = _split_certificates(signed_data, signer_info)
    algorithm = signer_info["signature_algorithm"]
    return Envelope(
        sha256=hashlib.sha256(raw).hexdigest(),
        unverified_content=content,
        signer=Certificate.from_der(certificate),
        digest_oid=_digest_oid(signed_data, signer_info),
        signature_oid=algorithm["algorithm"].dotted,
        signature_parameters=algorithm["parameters"].dump(),
        signature=signer_info["signature"].native,
        signed_attributes=_signed_attributes(signer_info["signed_attrs"]),
        unverified_candidates=others,
    )


def _digest_oid(signed_data: cms.SignedData, signer_info: cms.SignerInfo) -> str:
    """The signer's digest algorithm, which must be the one that the SignedData announces (RFC 5652 5.1)."""
    digest = signer_info["digest_algorithm"]
    if [announced.dump() for announced in signed_data["digest_algorithms"]] != [digest.dump()]:
        raise _malformed("The document announces another digest algorithm than its signer uses.")
    return str(digest["algorithm"].dotted)


def _split_certificates(signed_data: cms.SignedData, signer_info: cms.SignerInfo) -> tuple[bytes, tuple[bytes, ...]]:
    """The certificate that sid names, octet for octet (RFC 5652 5.3), and the others."""
    if signer_info["version"].native != "v1" or signer_info["sid"].name != "issuer_and_serial_number":
        raise _malformed("The signer is not named by issuer and serial number.")
    sid = signer_info["sid"].chosen
    embedded = signed_data["certificates"]
    if len(embedded) > MAX_EMBEDDED_CERTIFICATES:
        raise _malformed(f"The document embeds more than {MAX_EMBEDDED_CERTIFICATES} certificates.")
    named: list[bytes] = []
    others: list[bytes] = []
    for choice in embedded:
        if choice.name != "certificate":
            raise _malformed("The document embeds something else than X.509 certificates.")
        tbs = choice.chosen["tbs_certificate"]
        matches = (
            tbs["issuer"].dump() == sid["issuer"].dump() and tbs["serial_number"].dump() == sid["serial_number"].dump()
        )
        (named if matches else others).append(choice.chosen.dump())
    if len(named) != 1:
        raise _malformed("The document does not embed exactly one certificate for the signer that it names.")
    return named[0], tuple(others)


def _signed_attributes(attributes: object) -> SignedAttributes | None:
    """RFC 5652 5.3: where they are there, content-type and message-digest each stand once, with one value."""
    if not isinstance(attributes, cms.CMSAttributes):
        return None
    values: dict[str, list[object]] = {_CONTENT_TYPE: [], _MESSAGE_DIGEST: []}
    for attribute in attributes:
        oid = attribute["type"].dotted
        if oid == _CONTENT_TYPE:
            values[oid] += [value.dotted for value in attribute["values"]]
        elif oid == _MESSAGE_DIGEST:
            values[oid] += [value.native for value in attribute["values"]]
    match values[_CONTENT_TYPE], values[_MESSAGE_DIGEST]:
        case [str() as content_type], [bytes() as message_digest]:
            return SignedAttributes(
                # RFC 5652 5.4: what is signed is the DER of an explicit SET OF, not the [0] that is transmitted.
                signed_octets=der.set_of(der.children(attributes.dump())),
                content_type_oid=content_type,
                message_digest=message_digest,
            )
        case _:
            raise _malformed("The signed attributes lack content-type or message-digest, or have one twice.")


def _malformed(detail: str) -> FormatRefused:
    return FormatRefused(Reason.MALFORMED_EVIDENCE, detail)
