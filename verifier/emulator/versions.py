"""The api-versions, and the first one of each category (Azure page: Supported API versions, Endpoint categories)."""

from typing import Final

API_VERSIONS: Final = (
    "2017-03-01",
    "2017-04-02",
    "2017-08-01",
    "2017-10-01",
    "2017-12-01",
    "2018-02-01",
    "2018-04-02",
    "2018-10-01",
    "2019-02-01",
    "2019-03-11",
    "2019-04-30",
    "2019-06-01",
    "2019-06-04",
    "2019-08-01",
    "2019-08-15",
    "2019-11-01",
    "2020-06-01",
    "2020-07-15",
    "2020-09-01",
    "2020-10-01",
    "2020-12-01",
    "2021-01-01",
    "2021-02-01",
    "2021-03-01",
    "2021-05-01",
    "2021-08-01",
    "2021-10-01",
    "2021-11-01",
    "2021-11-15",
    "2021-12-13",
    "2023-07-01",
    "2023-11-15",
    "2024-03-15",
    "2024-07-17",
    "2025-04-07",
)

NEWEST_VERSIONS: Final = API_VERSIONS[:-4:-1]
"""The three newest versions, newest first, as refusals list them (Azure page: Versioning)."""

ATTESTED_INTRODUCED: Final = "2018-10-01"
IDENTITY_INTRODUCED: Final = "2018-02-01"
INSTANCE_INTRODUCED: Final = "2017-03-01"
EXTENDED_INTRODUCED: Final = "2021-03-01"
"""The first version that cloud-init requests with `extended=true`."""

LOAD_BALANCER_INTRODUCED: Final = "2020-10-01"
SCHEDULED_EVENTS_INTRODUCED: Final = "2017-08-01"

PREVIEW_VERSION: Final = "2017-03-01"
"""The version of the preview. Its network has names of its own."""

SCHEDULED_EVENTS_VERSIONS: Final = frozenset({"2017-11-01", "2019-01-01", "2019-04-01", "2020-07-01"})
"""Further versions of scheduled events, from the page of that feature."""
