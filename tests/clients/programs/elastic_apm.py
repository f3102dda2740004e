"""elastic-apm: the cloud metadata that its agent sends with the option CLOUD_PROVIDER=azure."""

import elasticapm
from answers import answer_lines

# With `enabled`, a thread of the agent asks too, at a time of its own.
CLIENT = elasticapm.Client(service_name="matrix", cloud_provider="azure", enabled=False)

answer_lines(CLIENT.get_cloud_info)
