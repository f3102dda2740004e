"""Generate accepted documents in every form and at every limit."""

import base64
import json
import textwrap
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509 import ExtendedKeyUsage
from cryptography.x509.oid import ExtendedKeyUsageOID, ExtensionOID
from support import cms, documents
from support.certificates import make_signer
from support.documents import NONCE, NOW, VM, der, encode, shared_pki, sign

from vectors.recipes.authorities import entry, issuing_ca
from vectors.recipes.claims import nested, shown, window, with_fields
from vectors.recipes.forms import sign_attributes
from vectors.recipes.recipe import Form, Nonce, Recipe, posted
from verifier.core.bounds import MAX_EVIDENCE_BYTES
from verifier.core.trust.clouds import Cloud
from verifier.emulator import pki

_SECOND = timedelta(seconds=1)
_CONTENT = encode(documents.content())


def recipes() -> Iterator[Recipe]:
    yield from _forms()
    yield from _algorithms()
    yield from _signers()
    yield from _contents()
    yield from _challenges()


def _forms() -> Iterator[Recipe]:
    document = documents.document()
    text = base64.b64encode(document).decode()
    wrapped = "\n".join(textwrap.wrap(text, 64))
    fields = json.loads(posted(document))
    yield Recipe(name="json", description="The answer of IMDS, untouched.", body=posted(document))
    yield Recipe(
        name="json-upper-case-encoding",
        description="The encoding is PKCS7: its case is ignored.",
        body=json.dumps({**fields, "encoding": "PKCS7"}).encode(),
    )
    yield Recipe(
        name="json-as-large-as-can-be",
        description="A body of exactly 16,384 bytes; the last ones are spaces.",
        body=posted(document).ljust(MAX_EVIDENCE_BYTES),
    )
    yield Recipe(
        name="json-with-nonce-and-policy",
        description="The request names the nonce and a policy.",
        body=posted(document, nonce=NONCE, policy="asked"),
        request={"nonce": NONCE, "policy": "asked"},
        policies={"asked": {"publishers": ["Contoso"], "requirePlan": True, "clouds": ["AzurePublicCloud"]}},
    )
    yield Recipe(name="text", description="The base64 alone.", body=text.encode(), form=Form.TEXT)
    yield Recipe(
        name="text-wrapped", description="The base64 alone, in lines.", body=wrapped.encode() + b"\n", form=Form.TEXT
    )
    for label in ("PKCS7", "CMS"):
        pem = f"-----BEGIN {label}-----\n{wrapped}\n-----END {label}-----\n"
        yield Recipe(
            name=f"pem-{label.lower()}", description=f"PEM, labelled {label}.", body=pem.encode(), form=Form.PEM
        )
    for form in (Form.DER, Form.CMS, Form.BYTES):
        subtype = form.media_type.split("/")[1]
        yield Recipe(
            name=f"der-as-{subtype}", description=f"DER, posted as {form.media_type}.", body=document, form=form
        )


def _algorithms() -> Iterator[Recipe]:
    by_key: dict[str, tuple[str, cms.Scheme]] = {
        "digest-oid": ("SHA-256 named as a digest, as RFC 5652 has it.", cms.rsa_encryption(cms.SHA256)),
        "rsa-sha384": ("SHA-384 with RSA, named as one.", cms.rsa_with_digest(cms.SHA384)),
        "rsa-sha512": ("SHA-512 with RSA, named as one.", cms.rsa_with_digest(cms.SHA512)),
        "pss-sha256": ("RSASSA-PSS with SHA-256.", cms.rsassa_pss(cms.SHA256)),
        "pss-sha512": ("RSASSA-PSS with SHA-512.", cms.rsassa_pss(cms.SHA512)),
        "rsa-without-null": (
            "rsaEncryption with its parameters left out.",
            replace(cms.AZURE, signature_algorithm=replace(cms.AZURE.signature_algorithm, parameters=None)),
        ),
    }
    for name, (description, scheme) in by_key.items():
        yield Recipe(name=name, description=description, body=posted(sign(_CONTENT, scheme=scheme)))
    elliptic: tuple[tuple[ec.EllipticCurve, cms.Scheme], ...] = (
        (ec.SECP256R1(), cms.ecdsa(cms.SHA256)),
        (ec.SECP384R1(), cms.ecdsa(cms.SHA384)),
        (ec.SECP521R1(), cms.ecdsa(cms.SHA512)),
    )
    for curve, scheme in elliptic:
        signer = make_signer(key=pki.make_ec_key(curve), issuer=entry("public-ecc-issuing").identity)
        yield Recipe(
            name=f"ecdsa-{curve.name}",
            description=f"ECDSA on {curve.name}, the chain over a P-384 authority.",
            body=posted(sign(_CONTENT, signer=signer, scheme=scheme)),
        )
    attributes = cms.content_attributes(_CONTENT, digest=cms.SHA256)
    signing_time = cms.Attribute(oid="1.2.840.113549.1.9.5", values=(b"\x17\x0d" + f"{NOW:%y%m%d%H%M%S}Z".encode(),))
    yield Recipe(
        name="signed-attributes",
        description="With the two signed attributes that RFC 5652 demands.",
        body=posted(sign_attributes(_CONTENT, attributes)),
    )
    yield Recipe(
        name="signed-attributes-with-time",
        description="With signed attributes, a signing time among them.",
        body=posted(sign_attributes(_CONTENT, (*attributes, signing_time))),
    )


def _signers() -> Iterator[Recipe]:
    domain = "metadata.azure.com"
    signers: dict[str, tuple[str, pki.Identity]] = {
        "san-wildcard": (
            "The one alternative name is a wildcard.",
            make_signer(common_names=(domain,), names=(f"*.{domain}",)),
        ),
        "cn-wildcard": ("The common name is a wildcard.", make_signer(common_names=(f"*.{domain}",))),
        "cn-upper-case": ("The common name is in upper case.", make_signer(common_names=(domain.upper(),))),
        "no-common-name": ("No common name.", make_signer(common_names=())),
        "deep-subdomain": ("Names several labels under the domain.", make_signer(names=(f"a.b.eastus.{domain}",))),
        "one-name-of-several": (
            "One alternative name of the domain, and one of another.",
            make_signer(names=("example.com", f"eastus.{domain}")),
        ),
        "server-and-client": (
            "extendedKeyUsage clientAuth beside serverAuth, as in the signers until 2024.",
            make_signer(
                extensions=[ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH])]
            ),
        ),
        "no-extended-key-usage": (
            "No extendedKeyUsage.",
            make_signer(without=(ExtensionOID.EXTENDED_KEY_USAGE,)),
        ),
        "no-key-usage": ("No keyUsage.", make_signer(without=(ExtensionOID.KEY_USAGE,))),
        "four-authorities": (
            "Four authorities above the signer, as many as there may be.",
            make_signer(issuer=entry("public-deep-3").identity),
        ),
        "cross-signed": (
            "Two pins have the issuer's name and key; the chain over one of them holds.",
            make_signer(issuer=entry("public-crossed-old").identity),
        ),
    }
    for name, (description, signer) in signers.items():
        yield Recipe(name=name, description=description, body=posted(documents.document(signer=signer)))
    for cloud in (Cloud.US_GOVERNMENT, Cloud.CHINA):
        signer = make_signer(
            issuer=issuing_ca(cloud), common_names=(cloud.domain,), names=(f"one.{cloud.domain}", cloud.domain)
        )
        yield Recipe(
            name=f"cloud-{cloud.domain}",
            description=f"A document of {cloud}.",
            body=posted(documents.document(signer=signer)),
            cloud=cloud.value,
        )
    for count, others in ((2, 1), (8, 7)):
        yield Recipe(
            name=f"{count}-certificates",
            description=f"{count} embedded certificates, of which the sid names one.",
            body=posted(_embedding(others)),
        )


def _embedding(others: int) -> bytes:
    good = cms.signed_data(_CONTENT, certificate=shared_pki().signer.certificate, key=shared_pki().signer.key)
    spares = (shared_pki().issuing_ca, *(make_signer() for _ in range(others - 1)))
    return replace(good, certificates=(*good.certificates, *(der(spare.certificate) for spare in spares))).encode()


def _contents() -> Iterator[Recipe]:
    contents: dict[str, tuple[str, bytes]] = {
        "classic-vm": (
            "A classic VM: only vmId and the nonce.",
            sign(encode({"nonce": NONCE, "vmId": VM.vm_id})),
        ),
        "fields-of-2018": (
            "The fields of api-version 2018-10-01.",
            with_fields(subscriptionId=..., sku=..., licenseType=...),
        ),
        "null-fields": ("Fields that are null, which is as if they were absent.", with_fields(sku=None, plan=None)),
        "empty-fields": (
            "Fields that are there and empty.",
            with_fields(sku="", licenseType="", plan={"name": "", "product": "", "publisher": ""}),
        ),
        "timestamp-spelling": (
            "The times are under `timestamp`, as the table of Azure's page spells it.",
            with_fields(timeStamp=..., timestamp=documents.content()["timeStamp"]),
        ),
        "empty-times": ("The times are there and empty.", with_fields(timeStamp={"createdOn": "", "expiresOn": ""})),
        "unknown-fields": (
            "Fields that this version does not know.",
            with_fields(note={"list": [1, 2.5, True, None, "\u00e9"]}, zone="1"),
        ),
        "nested-16-deep": ("Nested 16 deep, as deep as may be.", nested(16)),
        "not-ascii": (
            "Texts beyond ASCII, as themselves and escaped.",
            sign(_CONTENT.replace(b'"sku":"standard"', '"sku":"\u6a19\u6e96 \\ud83d\\ude00"'.encode())),
        ),
        "spaced": ("The JSON has spaces and line ends.", sign(json.dumps(documents.content(), indent=2).encode())),
        "expires-at-the-edge": ("expiresOn was 60 s ago, the whole skew.", window(-60 * _SECOND, -60 * _SECOND)),
        "created-at-the-edge": ("createdOn is 60 s ahead, the whole skew.", window(60 * _SECOND, 60 * _SECOND)),
        "created-with-its-expiry": ("createdOn and expiresOn are one moment, now.", window(0 * _SECOND, 0 * _SECOND)),
    }
    for name, (description, document) in contents.items():
        yield Recipe(name=name, description=description, body=posted(document))
    yield Recipe(
        name="as-old-as-can-be",
        description="createdOn was 6 h ago, the maximum age; the nonce, too, was issued then (with another lifetime).",
        body=posted(
            with_fields(
                timeStamp={"createdOn": shown(NOW - timedelta(hours=6)), "expiresOn": shown(NOW + timedelta(hours=1))}
            )
        ),
        nonces=(Nonce(issued_at=NOW - timedelta(hours=6), lifetime=timedelta(hours=6)),),
    )


def _challenges() -> Iterator[Recipe]:
    long = "aB3dE6gH9jK2mN5pQ8sT1vW4yZ7cF0hL"
    document = documents.document()
    yield Recipe(
        name="nonce-of-32-letters",
        description="A nonce of 32 letters and digits.",
        body=posted(documents.document(nonce=long)),
        nonces=(Nonce(value=long),),
    )
    yield Recipe(
        name="nonce-bound-to-the-vm",
        description="The nonce was issued for this VM, whose id it writes in upper case.",
        body=posted(document),
        nonces=(Nonce(vm_id=VM.vm_id.upper()),),
    )
    yield Recipe(
        name="nonce-bound-to-a-policy",
        description="The nonce was issued for a policy, and the request names the same.",
        body=posted(document, policy="asked"),
        request={"policy": "asked"},
        nonces=(Nonce(policy="asked"),),
        policies={"asked": {"skus": ["STANDARD"]}},
    )
    yield Recipe(
        name="policies-of-nonce-and-request",
        description="The nonce was issued for one policy, and the request names another. Both are satisfied.",
        body=posted(document, policy="asked"),
        request={"policy": "asked"},
        nonces=(Nonce(policy="bound"),),
        policies={"asked": {"skus": ["standard"]}, "bound": {"publishers": ["contoso"]}},
    )
    yield Recipe(
        name="policy-of-the-tenant-in-place-of-the-default",
        description="The tenant's own policy is satisfied. The policy `default` is not, and does not apply.",
        body=posted(document),
        policies={"asked": {"publishers": ["contoso"]}, "default": {"publishers": ["another"]}},
        tenant_policy="asked",
    )
    yield Recipe(
        name="nonce-at-its-end",
        description="The nonce expires at this very moment.",
        body=posted(document),
        nonces=(Nonce(issued_at=NOW - 300 * _SECOND),),
    )
    yield Recipe(
        name="nonce-issued-after-within-the-skew",
        description="The document was created 60 s before its nonce was issued, the whole skew.",
        body=posted(window(-60 * _SECOND, timedelta(hours=5))),
        nonces=(Nonce(issued_at=NOW),),
    )
    yield Recipe(
        name="nonce-of-another-tenant-used",
        description="Another tenant had the same nonce, and used it.",
        body=posted(document),
        nonces=(Nonce(), Nonce(tenant="another", used_at=NOW - 10 * _SECOND)),
    )
