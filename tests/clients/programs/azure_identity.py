"""azure-identity: a token of the managed identity that the variable CLIENT_ID names, for Azure Resource Manager."""

import os

from answers import answer_lines
from azure.identity import ManagedIdentityCredential


def attempt() -> dict[str, object]:
    # Its own options: two retries without a wait, and half a second for a response.
    options = {"retry_total": 2, "retry_backoff_factor": 0, "retry_backoff_max": 0, "read_timeout": 0.5}
    with ManagedIdentityCredential(client_id=os.environ["CLIENT_ID"], **options) as credential:
        token = credential.get_token("https://management.azure.com/.default")
    return {"token": token.token, "expires_on": token.expires_on}


answer_lines(attempt)
