"""The Azure clouds, and the domain under which each one's metadata service signs."""

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


def cloud_of(name: bytes) -> Cloud | None:
    """Return the cloud whose domain `name` is, or lies under by whole labels; None if it is no cloud's name.

    `name` is the raw value of a common name or dNSName. ASCII case is ignored; one `*` as the whole leftmost
    label is a label like any other. Not checked: that the name resolves, or names an existing region.
    """
    lower = name.lower()
    for cloud, domain in _DOMAINS.items():
        if lower.endswith(domain.encode("ascii")):
            *labels, rest = lower[: len(lower) - len(domain)].split(b".")
            below = labels[1:] if labels[:1] == [b"*"] else labels
            if not rest and all(map(is_label, below)):
                return cloud
    return None


def is_label(label: bytes) -> bool:
    """RFC 1123 section 2.1 letters, digits and inner hyphens: no NUL, no trailing dot, no non-ASCII passes."""
    return (
        0 < len(label) <= 63  # noqa: PLR2004 - RFC 1035 section 2.3.4
        and (label.isalnum() or label.replace(b"-", b"").isalnum())
        and not label.startswith(b"-")
        and not label.endswith(b"-")
    )
