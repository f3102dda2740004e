"""The four Azure clouds, and the domain of each cloud's signers (Azure page: Attested data, certificates)."""

from enum import StrEnum
from typing import Final


class AzureCloud(StrEnum):
    """A cloud, by its `azEnvironment` (Azure page: Sample 5)."""

    PUBLIC = "AzurePublicCloud"
    US_GOVERNMENT = "AzureUSGovernmentCloud"
    CHINA = "AzureChinaCloud"
    GERMAN = "AzureGermanCloud"

    @property
    def domain(self) -> str:
        return _DOMAINS[self]


_DOMAINS: Final = {
    AzureCloud.PUBLIC: "metadata.azure.com",
    AzureCloud.US_GOVERNMENT: "metadata.azure.us",
    AzureCloud.CHINA: "metadata.azure.cn",
    AzureCloud.GERMAN: "metadata.microsoftazure.de",
}
