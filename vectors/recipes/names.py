"""Generate signer-name-mismatch: signers that a public authority may certify, but that belong to no Azure cloud."""

from collections.abc import Iterator

from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID, ExtensionOID
from support import documents
from support.certificates import alternative_names, make_signer

from vectors.recipes.recipe import Recipe, posted
from verifier.core.reasons import Check, Reason
from verifier.emulator import pki

_DOMAIN = "metadata.azure.com"
_NO_SAN = (ExtensionOID.SUBJECT_ALTERNATIVE_NAME,)


def recipes() -> Iterator[Recipe]:
    for name, (description, signer) in {**_common_names(), **_alternative_names(), **_usages()}.items():
        yield Recipe(
            name=name,
            description=description,
            reason=Reason.SIGNER_NAME_MISMATCH,
            check=Check.SIGNER_NAME,
            body=posted(documents.document(signer=signer)),
        )


def _common_names() -> dict[str, tuple[str, pki.Identity]]:
    """Generate faults of the common name. The alternative names are valid."""
    wrong = {
        "cn-evilmetadata": ("The common name ends like the domain, and not at a label.", "evilmetadata.azure.com"),
        "cn-hyphenated": ("The common name ends like the domain, behind a hyphen.", "evil-metadata.azure.com"),
        "cn-suffixed": ("The common name begins with the domain.", "metadata.azure.com.evil.net"),
        "cn-trailing-dot": ("The common name ends in a dot.", "metadata.azure.com."),
        "cn-leading-dot": ("The common name begins with a dot.", ".metadata.azure.com"),
        "cn-nul": ("The common name has a NUL: C sees what is before it.", "metadata.azure.com\0.evil.net"),
        "cn-nul-before": ("The common name has a NUL before the domain.", "evil.net\0.metadata.azure.com"),
        "cn-non-ascii": ("The common name has a Cyrillic letter that looks like an a.", "met\u0430data.azure.com"),
        "cn-full-width-dot": ("The common name has an ideographic full stop.", "metadata\u3002azure.com"),
        "cn-space": ("The common name begins with a space.", " metadata.azure.com"),
        "cn-parent": ("The common name is that of the domain above.", "azure.com"),
        "cn-inner-wildcard": ("The common name has a wildcard that is not a whole label.", "e*.metadata.azure.com"),
        "cn-second-wildcard": ("The common name has a wildcard that is not leftmost.", "a.*.metadata.azure.com"),
    }
    found = {
        name: (description, make_signer(common_names=(common_name,)))
        for name, (description, common_name) in wrong.items()
    }
    found["cn-twice"] = (
        "Two common names, the first of them good.",
        make_signer(common_names=(_DOMAIN, "evil.net")),
    )
    found["cn-twice-both-good"] = (
        "Two common names, both good.",
        make_signer(common_names=(_DOMAIN, "eastus.metadata.azure.com")),
    )
    return found


def _alternative_names() -> dict[str, tuple[str, pki.Identity]]:
    """Generate faults of the alternative names. The common name is valid or absent."""
    wrong = {
        "san-evilmetadata": ("ends like the domain, and not at a label", b"evilmetadata.azure.com"),
        "san-suffixed": ("begins with the domain", b"metadata.azure.com.evil.net"),
        "san-trailing-dot": ("ends in a dot", b"metadata.azure.com."),
        "san-nul": ("has a NUL", b"metadata.azure.com\0.evil.net"),
        "san-non-ascii": ("has a byte that is not ASCII", b"m\xe9tadata.azure.com"),
    }
    found = {
        name: (
            f"The common name is good; the one alternative name {description}.",
            make_signer(extensions=[alternative_names(data)]),
        )
        for name, (description, data) in wrong.items()
    }
    return found | {
        "no-name": (
            "Neither common name nor alternative name.",
            make_signer(common_names=(), without=_NO_SAN),
        ),
        "two-clouds": (
            "The common name is of the public cloud, an alternative name of the US Government's.",
            make_signer(names=(_DOMAIN, "metadata.azure.us")),
        ),
        "two-clouds-no-cn": (
            "No common name, and alternative names of two clouds.",
            make_signer(common_names=(), names=(_DOMAIN, "metadata.azure.cn")),
        ),
        "common-name-of-another-cloud": (
            "The common name is of one cloud, the alternative names of another.",
            make_signer(common_names=("metadata.azure.us",)),
        ),
    }


def _usages() -> dict[str, tuple[str, pki.Identity]]:
    """Generate faults of the usages. The names are valid."""
    encipherment = x509.KeyUsage(
        digital_signature=False,
        key_encipherment=True,
        key_cert_sign=False,
        crl_sign=False,
        content_commitment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )
    return {
        "authority": (
            "The signer is a certificate authority (basicConstraints).",
            make_signer(extensions=[x509.BasicConstraints(ca=True, path_length=None)]),
        ),
        "no-digital-signature": (
            "The signer's keyUsage lacks digitalSignature.",
            make_signer(extensions=[encipherment]),
        ),
        "no-server-auth": (
            "The signer's extendedKeyUsage lacks serverAuth.",
            make_signer(extensions=[x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH])]),
        ),
        "any-extended-key-usage": (
            "The signer's extendedKeyUsage is anyExtendedKeyUsage alone.",
            make_signer(extensions=[x509.ExtendedKeyUsage([ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE])]),
        ),
    }
