"""The format of data: a later one is explained, and everything else is left to the reader."""

import pytest

from verifier.core.encoding.formats import explain_newer_format


@pytest.mark.parametrize("found", [None, 0, 1, 2, True, 3.0, "3", [3]])
def test_what_is_not_a_later_format_is_not_explained(found: object) -> None:
    assert explain_newer_format("manifest.toml", found, 2) is None


@pytest.mark.parametrize(
    ("found", "named"), [(3, "format 3"), (10**9, "format 1000000000"), (10**9 + 1, "a later format")]
)
def test_a_later_format_is_named_within_bounds(found: int, named: str) -> None:
    assert explain_newer_format("manifest.toml", found, 2) == (
        f"manifest.toml has {named}, and this release knows format 2: update imds-verifier"
    )


def test_true_is_no_format() -> None:
    assert explain_newer_format("manifest.toml", True, 0) is None  # noqa: FBT003 - the value that is tested
