"""Generate the vectors of chain-untrusted and issuer-unpinned."""

from collections.abc import Iterator
from datetime import timedelta
from functools import partial

from cryptography import x509
from support import cms, documents
from support.certificates import make_authority, make_self_signed, make_signer
from support.documents import around, der, shared_pki, spare_key

from vectors.recipes.authorities import entry, issuing_ca
from vectors.recipes.recipe import Recipe, posted
from verifier.core.reasons import Check, Reason
from verifier.core.trust.clouds import Cloud
from verifier.emulator import pki

_untrusted = partial(Recipe, reason=Reason.CHAIN_UNTRUSTED, check=Check.CHAIN)
_unpinned = partial(Recipe, reason=Reason.ISSUER_UNPINNED, check=Check.CHAIN)

_UNDER = {
    "anchor-of-another-cloud": (
        "public-strayed-issuing",
        "The issuer is pinned for the public cloud, and chains to China's anchor alone.",
    ),
    "expired-anchor": ("public-under-old-root", "The issuer's anchor has expired."),
    "retired-pin": ("public-retired-issuing", "The issuer's pin was retired by the manifest."),
    "staged-pin": ("public-staged-issuing", "The issuer's pin is staged by the manifest, and not active yet."),
    "five-authorities": ("public-deep-4", "Five authorities above the signer; four are the most."),
    "issuer-without-server-auth": ("public-mail-issuing", "The issuer's extendedKeyUsage lacks serverAuth."),
    "path-length-exceeded": ("public-under-narrow", "An authority above the issuer may have none under it."),
    "subject-excluded": (
        "public-excluding-issuing",
        "The issuer excludes the organisation of the signer's subject. Some validators constrain only other names.",
    ),
    "name-constraints": ("public-bounded-issuing", "The issuer may issue for example.com alone."),
}


def recipes() -> Iterator[Recipe]:
    for name, (issuer, description) in _UNDER.items():
        yield _untrusted(
            name=name,
            description=description,
            body=posted(documents.document(signer=make_signer(issuer=entry(issuer).identity))),
        )
    for name, (description, signer) in {**_signers(), **_forgeries()}.items():
        yield _untrusted(name=name, description=description, body=posted(documents.document(signer=signer)))
    cloud = Cloud.GERMANY
    signer = make_signer(
        issuer=issuing_ca(cloud), common_names=(cloud.domain,), names=(f"one.{cloud.domain}", cloud.domain)
    )
    yield _untrusted(
        name="closed-cloud",
        description=f"A document of {cloud}, which is closed: the manifest retired its anchor and its pin in 2021.",
        body=posted(documents.document(signer=signer)),
    )
    yield _unpinned(
        name="expired-pin",
        description="The issuer's pinned certificate has expired, and its key signed: it was renewed, and no renewed "
        "one is pinned.",
        body=posted(documents.document(signer=make_signer(issuer=entry("public-expired-issuing").identity))),
    )
    yield from _unknown_issuers()
    yield Recipe(
        name="beside-an-odd-certificate",
        description="The issuer has two pinned certificates. One excludes the signer's organisation, one does not.",
        body=posted(documents.document(signer=make_signer(issuer=entry("public-twin").identity))),
    )


def _signers() -> dict[str, tuple[str, pki.Identity]]:
    second = timedelta(seconds=1)
    ended = pki.Validity(not_before=documents.NOW - timedelta(days=180), not_after=documents.NOW - second)
    to_come = pki.Validity(not_before=documents.NOW + second, not_after=documents.NOW + timedelta(days=180))
    return {
        "self-signed": ("The signer vouches for itself.", make_self_signed(key=spare_key())),
        "no-alternative-name": (
            "A common name and no alternative name: the form of 2018, with a strong key and a real chain.",
            make_signer(common_names=("testsubdomain.metadata.azure.com",), names=()),
        ),
        "empty-subject": (
            "The subject is empty, and its alternative names are not critical (RFC 5280 4.2.1.6).",
            make_signer(common_names=None),
        ),
        "expired-signer": ("The signer expired a second ago; there is no skew here.", make_signer(validity=ended)),
        "signer-not-yet-valid": ("The signer is valid from the next second on.", make_signer(validity=to_come)),
    }


def _forgeries() -> dict[str, tuple[str, pki.Identity]]:
    anchor = shared_pki().root
    authority = shared_pki().issuing_ca
    return {
        "forged-issuer": (
            "The certificate names the pinned issuer and its key identifier, and was signed with another key.",
            make_signer(issuer_key=spare_key()),
        ),
        "forged-issuer-without-key-identifier": (
            "The certificate names the pinned issuer and no key identifier, and was signed with another key.",
            make_signer(issuer_key=spare_key(), without=(x509.AuthorityKeyIdentifier.oid,)),
        ),
        "forged-anchor": (
            "The certificate names the anchor itself, and was signed with another key.",
            make_signer(issuer=anchor, issuer_key=spare_key()),
        ),
        "signer-issued-by-a-signer": (
            "The certificate was signed by another signer's key, in the name of that signer's issuer.",
            make_signer(issuer=authority, issuer_key=shared_pki().signer.key),
        ),
    }


def _unknown_issuers() -> Iterator[Recipe]:
    unknown = make_authority(issuer=shared_pki().root, name="Vectors Unknown Issuing", key=spare_key(2))
    namesake = make_authority(issuer=shared_pki().root, name="Emulator Issuing CA", key=spare_key(2))
    signer = make_signer(issuer=unknown)
    yield _unpinned(
        name="name-unknown",
        description="The issuer chains to the anchor, and is not pinned.",
        body=posted(documents.document(signer=signer)),
    )
    yield _unpinned(
        name="name-unknown-without-key-identifier",
        description="The issuer is not pinned, and the signer does not name the key of its issuer.",
        body=posted(documents.document(signer=make_signer(issuer=unknown, without=(x509.AuthorityKeyIdentifier.oid,)))),
    )
    info = cms.signed_data(documents.encode(documents.content()), certificate=signer.certificate, key=signer.key)
    embedded = cms.SignedData(
        digest_algorithms=info.digest_algorithms,
        content=info.content,
        certificates=(*info.certificates, der(unknown.certificate)),
        signer_infos=info.signer_infos,
    )
    yield _unpinned(
        name="embedded-issuer",
        description="The issuer chains to the anchor, is embedded, and is not pinned.",
        body=posted(embedded.encode()),
    )
    yield _unpinned(
        name="name-known-key-unknown",
        description="The issuer has the name of one that is pinned, and another key (and so another key identifier).",
        body=posted(documents.document(signer=make_signer(issuer=namesake))),
    )
    yield _unpinned(
        name="issuer-of-another-cloud",
        description="The signer is named for the public cloud; its issuer is pinned for China alone.",
        body=posted(documents.document(signer=make_signer(issuer=issuing_ca(Cloud.CHINA)))),
    )
    foreign_root = pki.make_root(subject=pki.make_name("Vectors Foreign Root"), key=spare_key(2), validity=around())
    yield _unpinned(
        name="foreign-root",
        description="The issuer is a root that is not trusted.",
        body=posted(documents.document(signer=make_signer(issuer=foreign_root))),
    )
