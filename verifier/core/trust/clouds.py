"""List the Azure clouds, and the domain under which the metadata service of each cloud signs."""

import re
from enum import StrEnum


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


# The labels that may precede a domain, each with its dot. RFC 1123 section 2.1 allows letters, digits and inner
# hyphens, and RFC 1035 section 2.3.4 at most 63 of them. NUL, empty labels and non-ASCII bytes do not match.
_LABEL = rb"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_LABELS_BEFORE = re.compile(rb"(?:\*\.)?(?:" + _LABEL + rb"\.)*")
_ONE_LABEL = re.compile(_LABEL, re.IGNORECASE)
_CLOUDS_BY_DOMAIN = {domain.encode("ascii"): cloud for cloud, domain in _DOMAINS.items()}


def cloud_of(name: bytes) -> Cloud | None:
    """Return the cloud whose domain `name` equals, or is a subdomain of. Return None if there is none.

    `name` is the raw value of a common name or dNSName. ASCII case is ignored. `*` may be the whole leftmost label.
    Not checked: that the name resolves, or that the region exists.
    """
    lower = name.lower()
    for domain, cloud in _CLOUDS_BY_DOMAIN.items():
        if lower.endswith(domain) and _LABELS_BEFORE.fullmatch(lower, 0, len(lower) - len(domain)):
            return cloud
    return None


def is_label(label: bytes) -> bool:
    """Return whether these bytes are one label of a host name (RFC 1123 section 2.1)."""
    return _ONE_LABEL.fullmatch(label) is not None
