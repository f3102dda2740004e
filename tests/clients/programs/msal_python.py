"""msal: a token of the system-assigned identity. msal itself does not retry; that is up to the session."""

from typing import Any

import msal
import requests
from answers import answer_lines


class Session(requests.Session):
    """A session whose requests wait at most half a second for a response."""

    def get(self, *arguments: Any, **options: Any) -> requests.Response:  # noqa: ANN401 - those of requests
        return super().get(*arguments, **{"timeout": 0.5, **options})


def attempt() -> object:
    with Session() as session:
        client = msal.ManagedIdentityClient(msal.SystemAssignedManagedIdentity(), http_client=session)
        return client.acquire_token_for_client(resource="https://management.azure.com")


answer_lines(attempt)
