"""List the Azure clouds, and the domain under which the metadata service of each cloud signs."""

from enum import StrEnum

from verifier.core.bounds import MAX_HOST_NAME_BYTES


class Cloud(StrEnum):
    """Name an Azure cloud. The values are the `azEnvironment` names of the metadata service."""

    PUBLIC = "AzurePublicCloud"
    US_GOVERNMENT = "AzureUSGovernmentCloud"
    CHINA = "AzureChinaCloud"
    GERMANY = "AzureGermanCloud"

    @property
    def domain(self) -> str:
        return _DOMAINS[self]


#: The clouds that a service serves if its settings name no others. Azure Germany closed in 2021.
SERVED_BY_DEFAULT = frozenset({Cloud.PUBLIC, Cloud.US_GOVERNMENT, Cloud.CHINA})

# Azure page, "Attested data", table of certificates by cloud.
_DOMAINS = {
    Cloud.PUBLIC: "metadata.azure.com",
    Cloud.US_GOVERNMENT: "metadata.azure.us",
    Cloud.CHINA: "metadata.azure.cn",
    Cloud.GERMANY: "metadata.microsoftazure.de",
}


def cloud_of(name: bytes) -> Cloud | None:
    """Return the cloud whose domain `name` equals, or is a subdomain of. Return None if there is none.

    `name` is the raw value of a common name or dNSName, of at most MAX_HOST_NAME_BYTES. ASCII case is ignored. `*` may
    be the whole leftmost label.
    Not checked: that the name resolves, or that the region exists.
    """
    if len(name) > MAX_HOST_NAME_BYTES:
        return None
    lower = name.lower()
    for cloud, domain in _DOMAINS.items():
        if lower.endswith(domain.encode("ascii")):
            *labels, rest = lower[: len(lower) - len(domain)].split(b".")
            below = labels[1:] if labels[:1] == [b"*"] else labels
            if not rest and all(map(is_label, below)):
                return cloud
    return None


def is_label(label: bytes) -> bool:
    """Return whether these bytes are one label of a host name: letters, digits, inner hyphens (RFC 1123 2.1)."""
    return (
        0 < len(label) <= 63  # noqa: PLR2004 - RFC 1035 section 2.3.4
        and (label.isalnum() or label.replace(b"-", b"").isalnum())
        and not label.startswith(b"-")
        and not label.endswith(b"-")
    )
