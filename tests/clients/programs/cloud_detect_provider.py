"""cloud-detect: whether IMDS says that this is Azure, within two seconds."""

import asyncio

from answers import answer_lines
from cloud_detect.providers import AzureProvider

# `cloud_detect.provider` also reads the vendor of the hardware, so on a machine in Azure it never fails.
answer_lines(lambda: asyncio.run(asyncio.wait_for(AzureProvider().check_metadata_server(), timeout=2)))
