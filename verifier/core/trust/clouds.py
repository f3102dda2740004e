"""The Azure clouds, and the domain under which each one's metadata service signs."""

import re
from enum import StrEnum


class Cloud(StrEnum):
    """Values are the `azEnvironment` names of the metadata service."""

    PUBLIC = "AzurePublicCloud"
    US_GOVERNMENT = "AzureUSGovernmentCloud"
    CHINA = "AzureChinaCloud"
    GERMANY = "AzureGermanCloud"

    @property
    def domain(self) -> str:
        return _DOMAINS[self]


#: The clouds that a service serves unless its settings name others. Azure Germany closed in 2021.
SERVED_BY_DEFAULT = frozenset({Cloud.PUBLIC, Cloud.US_GOVERNMENT, Cloud.CHINA})

# Azure page, "Attested data", table of certificates by cloud.
_DOMAINS = {
    Cloud.PUBLIC: "metadata.azure.com",
    Cloud.US_GOVERNMENT: "metadata.azure.us",
    Cloud.CHINA: "metadata.azure.cn",
    Cloud.GERMANY: "metadata.microsoftazure.de",
}


# What may stand before a domain: labels of RFC 1123 section 2.1 (letters, digits and inner hyphens, of at most 63, RFC
# 1035 section 2.3.4), each with its dot. No NUL, no empty label and no non-ASCII passes.
_LABEL = rb"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_LABELS_BEFORE = re.compile(rb"(?:\*\.)?(?:" + _LABEL + rb"\.)*")
_ONE_LABEL = re.compile(_LABEL, re.IGNORECASE)
_CLOUDS_BY_DOMAIN = {domain.encode("ascii"): cloud for cloud, domain in _DOMAINS.items()}


def cloud_of(name: bytes) -> Cloud | None:
    """Return the cloud whose domain `name` is, or lies under by whole labels; None when it is no cloud's name.

    `name` is the raw value of a common name or dNSName. ASCII case is ignored; one `*` as the whole leftmost
    label is a label like any other. Not checked: that the name resolves, or names an existing region.
    """
    lower = name.lower()
    for domain, cloud in _CLOUDS_BY_DOMAIN.items():
        if lower.endswith(domain) and _LABELS_BEFORE.fullmatch(lower, 0, len(lower) - len(domain)):
            return cloud
    return None


def is_label(label: bytes) -> bool:
    """Tell whether these bytes are one label of a host name (RFC 1123 section 2.1)."""
    return _ONE_LABEL.fullmatch(label) is not None
