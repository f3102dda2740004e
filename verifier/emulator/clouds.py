"""The four clouds that Azure's page tells apart, and the domain of each one's signers (Attested data: certificates)."""

from enum import StrEnum
from typing import Final


class Cloud(StrEnum):
    """By its `azEnvironment` (Azure page: Sample 5)."""

    PUBLIC = "AzurePublicCloud"
    US_GOVERNMENT = "AzureUSGovernmentCloud"
    CHINA = "AzureChinaCloud"
    GERMAN = "AzureGermanCloud"

    @property
    def domain(self) -> str:
        return _DOMAINS[self]


_DOMAINS: Final = {
    Cloud.PUBLIC: "metadata.azure.com",
    Cloud.US_GOVERNMENT: "metadata.azure.us",
    Cloud.CHINA: "metadata.azure.cn",
    Cloud.GERMAN: "metadata.microsoftazure.de",
}
