"""newrelic: what its agent reports about the cloud when it connects."""

from answers import answer_lines
from newrelic.common.utilization import AzureUtilization

answer_lines(AzureUtilization.detect)
