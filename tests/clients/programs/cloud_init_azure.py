"""cloud-init: the metadata that its data source for Azure crawls, with a fallback to an older api-version."""

from answers import answer_lines
from cloudinit.helpers import Paths
from cloudinit.sources.DataSourceAzure import DataSourceAzure

SOURCE = DataSourceAzure({}, None, Paths({"cloud_dir": "/nonexistent", "run_dir": "/nonexistent"}))

# One retry, after a second.
answer_lines(lambda: SOURCE.get_imds_data_with_api_fallback(retries=1))
