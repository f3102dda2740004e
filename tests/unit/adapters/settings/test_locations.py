"""The line of a setting."""

import pytest

from verifier.adapters.settings.locations import line_in, line_of

TEXT = """\
# port = 1
port = 2
clouds = [
  "AzurePublicCloud",
]
tenants.fabrikam.rate = "1/minute"

[policies.gold]  # rules
skus = ["x"]
[tenants."contoso"]
  rate = "1/minute"
[[policies.all.allOf]]
skus = []
"""


@pytest.mark.parametrize(
    ("place", "line"),
    [
        (("port",), 2),
        (("clouds", "0"), 3),
        (("policies", "gold", "skus", "0"), 9),
        (("policies", "gold", "sku"), 8),
        (("tenants", "contoso", "rate"), 11),
        (("tenants", "contoso", "keys"), 10),
        (("tenants", "fabrikam", "rate"), 6),
        (("policies", "all", "allOf", "0", "skus"), 12),
        (("host",), None),
        ((), None),
    ],
)
def test_is_found(place: tuple[str, ...], line: int | None) -> None:
    assert line_of(TEXT, place) == line


def test_is_read_from_an_error_of_the_parser() -> None:
    assert line_in("Expected '=' after a key (at line 12, column 3)") == 12
    assert line_in("Invalid value (at end of document)") is None
