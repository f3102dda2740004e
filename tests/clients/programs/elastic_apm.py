"""elastic-apm: the cloud metadata that its agent sends with the option CLOUD_PROVIDER=azure."""

import elasticapm
from answers import answer_lines

CLIENT = elasticapm.Client(
    service_name="matrix", cloud_provider="azure", disable_send=True, central_config=False, metrics_interval="0ms"
)

answer_lines(CLIENT.get_cloud_info)
