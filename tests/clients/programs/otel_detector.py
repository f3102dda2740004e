"""opentelemetry-resource-detector-azure: the resource of a virtual machine."""

from answers import answer_lines
from opentelemetry.resource.detector.azure.vm import AzureVMResourceDetector

answer_lines(lambda: dict(AzureVMResourceDetector().detect().attributes))
