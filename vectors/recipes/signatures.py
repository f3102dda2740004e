"""Generate the vectors of signature-invalid and algorithm-refused."""

from collections.abc import Iterator
from dataclasses import replace
from functools import partial

from asn1crypto import algos, core
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.hashes import SHA1
from support import cms, documents
from support.certificates import make_names, make_signer, resign, sign_rsa
from support.documents import around, der, shared_pki, sign, spare_key

from vectors.recipes.forms import sign_attributes
from vectors.recipes.recipe import Recipe, posted
from verifier.core.reasons import Check, Reason
from verifier.emulator import pki

_invalid = partial(Recipe, reason=Reason.SIGNATURE_INVALID, check=Check.SIGNATURE)
_refused = partial(Recipe, reason=Reason.ALGORITHM_REFUSED, check=Check.SIGNATURE)
_CONTENT = documents.encode(documents.content())
_MD5, _SHA1 = cms.Algorithm(oid="1.2.840.113549.2.5"), cms.Algorithm(oid="1.3.14.3.2.26")


def recipes() -> Iterator[Recipe]:
    yield from _changed()
    yield from _attributes()
    yield from _broken_digests()
    yield from _contradictions()
    yield from _keys()
    yield from _certificates()


def _good() -> cms.SignedData:
    signer = shared_pki().signer
    return cms.signed_data(_CONTENT, certificate=signer.certificate, key=signer.key)


def _with_signature(signature: bytes) -> bytes:
    good = _good()
    return replace(good, signer_infos=(replace(good.signer_infos[0], signature=signature),)).encode()


def _changed() -> Iterator[Recipe]:
    good = _good()
    signer, signature = shared_pki().signer, good.signer_infos[0].signature
    assert isinstance(signer.key, rsa.RSAPrivateKey)  # make_pki generates RSA keys
    octet_string = core.OctetString(_CONTENT).dump()
    faults = {
        "content-changed": (
            "One character of the signed vmId was changed.",
            replace(good, content=_CONTENT.replace(b'"vmId":"5', b'"vmId":"6')).encode(),
        ),
        "content-space-added": (
            "A space was added behind the content.",
            replace(good, content=_CONTENT + b" ").encode(),
        ),
        "signature-changed": ("The last bit of the signature was changed.", _with_signature(_flipped(signature))),
        "signature-empty": ("The signature has no bytes.", _with_signature(b"")),
        "signature-short": ("The signature lacks its last byte.", _with_signature(signature[:-1])),
        "signed-by-another-key": (
            "The signature is by another key than that of the certificate.",
            sign(_CONTENT, signer=replace(signer, key=spare_key())),
        ),
        "over-octet-string": (
            "The signature is over the DER of the OCTET STRING, and not over its contents (RFC 5652 5.4).",
            _with_signature(signer.key.sign(octet_string, padding.PKCS1v15(), cms.SHA256)),
        ),
        "another-digest": (
            "Signed with SHA-384, and said to be SHA-256.",
            _with_signature(signer.key.sign(_CONTENT, padding.PKCS1v15(), cms.SHA384)),
        ),
    }
    for name, (description, document) in faults.items():
        yield _invalid(name=name, description=description, body=posted(document))
    elliptic = make_signer(key=pki.make_ec_key(ec.SECP256R1()))
    document = sign(_CONTENT, signer=elliptic, scheme=cms.ecdsa(cms.SHA256))
    yield _invalid(
        name="ecdsa-content-changed",
        description="ECDSA, and the signed vmId was changed.",
        body=posted(document.replace(b'"vmId":"5', b'"vmId":"6')),
    )


def _flipped(signature: bytes) -> bytes:
    return signature[:-1] + bytes([signature[-1] ^ 1])


def _attributes() -> Iterator[Recipe]:
    good = cms.content_attributes(_CONTENT, digest=cms.SHA256)
    another = cms.content_attributes(_CONTENT + b" ", digest=cms.SHA256)
    enveloped = cms.content_attributes(_CONTENT, digest=cms.SHA256, content_type="1.2.840.113549.1.7.3")
    yield _invalid(
        name="message-digest-of-another-content",
        description="Signed attributes whose message-digest is that of another content (RFC 5652 11.2).",
        body=posted(sign_attributes(_CONTENT, another)),
    )
    yield _invalid(
        name="content-type-of-another-content",
        description="Signed attributes whose content-type is not that of the content (RFC 5652 11.1).",
        body=posted(sign_attributes(_CONTENT, enveloped)),
    )
    # RFC 5652 5.4: the signature is over the explicit SET OF. A known attack signs the transmitted form instead.
    signer = shared_pki().signer
    info = cms.sign_content(
        b"\xa0" + _set_of_attributes(good)[1:],
        certificate=signer.certificate,
        key=signer.key,
        scheme=cms.rsa_encryption(cms.SHA256),
    )
    document = cms.SignedData(
        digest_algorithms=(info.digest_algorithm,),
        content=_CONTENT,
        certificates=(der(signer.certificate),),
        signer_infos=(replace(info, signed_attributes=good),),
    )
    yield _invalid(
        name="attributes-signed-as-transmitted",
        description="The signature is over the signed attributes as [0], and not as SET OF (RFC 5652 5.4).",
        body=posted(document.encode()),
    )
    # RFC 5652 5.4: the attributes are removed, and their DER becomes the content.
    stripped = cms.SignedData(
        digest_algorithms=(info.digest_algorithm,),
        content=_CONTENT,
        certificates=(der(signer.certificate),),
        signer_infos=(
            replace(
                cms.sign_attributes(
                    good, certificate=signer.certificate, key=signer.key, scheme=cms.rsa_encryption(cms.SHA256)
                ),
                signed_attributes=None,
            ),
        ),
    )
    yield _invalid(
        name="attributes-stripped",
        description="Signed attributes were there when it was signed, and were taken out.",
        body=posted(stripped.encode()),
    )


def _set_of_attributes(attributes: tuple[cms.Attribute, ...]) -> bytes:
    members = sorted(attribute.encode() for attribute in attributes)
    return bytes(core.SetOf(spec=core.Any, contents=b"".join(members)).dump())


def _labelled(
    *, digest: cms.Algorithm, signature_algorithm: cms.Algorithm, signature: bytes, signer: pki.Identity | None = None
) -> bytes:
    """Make a document that names these algorithms for this signature."""
    identity = signer or shared_pki().signer
    info = cms.SignerInfo(
        issuer=identity.certificate.issuer.public_bytes(),
        serial_number=identity.certificate.serial_number,
        digest_algorithm=digest,
        signature_algorithm=signature_algorithm,
        signature=signature,
    )
    return cms.SignedData(
        digest_algorithms=(digest,),
        content=_CONTENT,
        certificates=(der(identity.certificate),),
        signer_infos=(info,),
    ).encode()


def _broken_digests() -> Iterator[Recipe]:
    key = shared_pki().signer.key
    rsa_encryption = cms.AZURE.signature_algorithm
    for name, digest, combined in (("md5", _MD5, "1.2.840.113549.1.1.4"), ("sha1", _SHA1, "1.2.840.113549.1.1.5")):
        signature = sign_rsa(_CONTENT, key, name)
        yield _refused(
            name=f"digest-{name}",
            description=f"The document is signed with {name.upper()}.",
            body=posted(_labelled(digest=digest, signature_algorithm=rsa_encryption, signature=signature)),
        )
        combination = cms.Algorithm(oid=combined)
        yield _refused(
            name=f"digest-{name}-with-rsa",
            description=f"As Azure writes it, a signature algorithm names the digest: {name.upper()} with RSA.",
            body=posted(_labelled(digest=combination, signature_algorithm=rsa_encryption, signature=signature)),
        )
    yield _refused(
        name="digest-sha224",
        description="The digest is SHA-224, which is not one of those accepted.",
        body=posted(
            _labelled(
                digest=cms.Algorithm(oid="2.16.840.1.101.3.4.2.4"),
                signature_algorithm=rsa_encryption,
                signature=_good().signer_infos[0].signature,
            )
        ),
    )


def _contradictions() -> Iterator[Recipe]:
    sha256_with_384 = replace(cms.rsa_with_digest(cms.SHA384), digest_algorithm=cms.digest_algorithm(cms.SHA256))
    yield _refused(
        name="digest-contradicts-signature-algorithm",
        description="The digest is SHA-256, the signature algorithm sha384WithRSAEncryption (and so is the signature).",
        body=posted(sign(_CONTENT, scheme=sha256_with_384)),
    )
    pss = cms.rsassa_pss(cms.SHA256)
    yield _refused(
        name="pss-mask-sha1",
        description="PSS whose mask generation is with SHA-1, the default of RFC 4055 3.1.",
        body=posted(
            sign(
                _CONTENT,
                scheme=replace(
                    pss,
                    signature_algorithm=_pss(mask="sha1", salt_length=32),
                    rsa_padding=padding.PSS(mgf=padding.MGF1(SHA1()), salt_length=32),  # noqa: S303 - the fault of this vector
                ),
            )
        ),
    )
    yield _refused(
        name="pss-short-salt",
        description="PSS with a salt of 20 bytes, the default of RFC 4055 3.1, under SHA-256.",
        body=posted(
            sign(
                _CONTENT,
                scheme=replace(
                    pss,
                    signature_algorithm=_pss(mask="sha256", salt_length=20),
                    rsa_padding=padding.PSS(mgf=padding.MGF1(cms.SHA256), salt_length=20),
                ),
            )
        ),
    )
    yield _refused(
        name="pss-without-parameters",
        description="PSS without its parameters, which then are all SHA-1 (RFC 4055 3.1).",
        body=posted(
            sign(
                _CONTENT,
                scheme=replace(pss, signature_algorithm=cms.Algorithm(oid="1.2.840.113549.1.1.10", parameters=None)),
            )
        ),
    )
    yield _refused(
        name="rsa-null-with-contents",
        description="The parameters of rsaEncryption are a NULL that is not empty.",
        body=posted(
            sign(
                _CONTENT,
                scheme=replace(
                    cms.AZURE,
                    signature_algorithm=replace(cms.AZURE.signature_algorithm, parameters=b"\x05\x01\x00"),
                ),
            )
        ),
    )
    yield _refused(
        name="key-contradicts-signature-algorithm",
        description="The signature algorithm is ECDSA, the signer's key RSA (and so is the signature).",
        body=posted(
            sign(
                _CONTENT,
                scheme=replace(cms.AZURE, signature_algorithm=cms.ecdsa(cms.SHA256).signature_algorithm),
            )
        ),
    )


def _pss(*, mask: str, salt_length: int) -> cms.Algorithm:
    parameters = algos.RSASSAPSSParams(
        {
            "hash_algorithm": {"algorithm": "sha256"},
            "mask_gen_algorithm": {"algorithm": "mgf1", "parameters": {"algorithm": mask}},
            "salt_length": salt_length,
        }
    )
    return cms.Algorithm(oid="1.2.840.113549.1.1.10", parameters=parameters.dump())


def _keys() -> Iterator[Recipe]:
    yield _refused(
        name="rsa-1024",
        description="The signer's RSA key has 1024 bits.",
        body=posted(sign(_CONTENT, signer=make_signer(key=pki.make_rsa_key(1024)))),
    )
    yield _refused(
        name="rsa-2047",
        description="The signer's RSA key has 2047 bits, one too few.",
        body=posted(sign(_CONTENT, signer=make_signer(key=pki.make_rsa_key(2047)))),
    )
    curves: tuple[ec.EllipticCurve, ...] = (ec.SECP192R1(), ec.SECP256K1(), ec.BrainpoolP256R1())
    for curve in curves:
        signer = make_signer(key=pki.make_ec_key(curve))
        yield _refused(
            name=f"curve-{curve.name.lower()}",
            description=f"The signer's key is on the curve {curve.name}.",
            body=posted(sign(_CONTENT, signer=signer, scheme=cms.ecdsa(cms.SHA256))),
        )
    yield _refused(name="ed25519", description="The signer's key is Ed25519 (RFC 8419).", body=posted(_ed25519()))


def _ed25519() -> bytes:
    key = ed25519.Ed25519PrivateKey.generate()
    certificate = (
        x509.CertificateBuilder()
        .subject_name(make_names("metadata.azure.com"))
        .issuer_name(shared_pki().issuing_ca.certificate.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(around().not_before)
        .not_valid_after(around().not_after)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("metadata.azure.com")]), critical=False)
        .sign(shared_pki().issuing_ca.key, cms.SHA256)
    )
    return _labelled(
        digest=cms.digest_algorithm(cms.SHA512),
        signature_algorithm=cms.Algorithm(oid="1.3.101.112", parameters=None),
        signature=key.sign(_CONTENT),
        signer=pki.Identity(certificate=certificate, key=shared_pki().signer.key),
    )


def _certificates() -> Iterator[Recipe]:
    for digest in ("md5", "sha1"):
        yield _refused(
            name=f"certificate-{digest}",
            description=f"The signer's certificate is signed with {digest.upper()}.",
            body=posted(sign(_CONTENT, signer=resign(shared_pki().signer, digest=digest))),
        )
