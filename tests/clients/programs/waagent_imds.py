"""waagent: the validation of IMDS that the agent reports, and the description of the image."""

from answers import answer_lines
from azurelinuxagent.common.protocol.imds import get_imds_client


def attempt() -> dict[str, object]:
    # 127.0.0.1 is in the place of the wire server, its other way to IMDS.
    client = get_imds_client("127.0.0.1")
    is_healthy, text = client.validate()
    if not is_healthy or text:
        return {"healthy": is_healthy, "text": text}
    compute = client.get_compute()
    return {"healthy": True, "image": compute.image_info, "origin": compute.image_origin, "vm": compute.vmId}


answer_lines(attempt)
