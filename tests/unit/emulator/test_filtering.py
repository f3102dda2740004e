"""Routes select elements by exact keys and indexes, and format=text lists their members."""

import pytest

from verifier.emulator.filtering import FormatError, NoSuchElementError, select, to_json, to_text
from verifier.emulator.schema import Json

TREE: Json = {"b": [{"c": "x"}, {"c": ""}], "a": {"0": "zero"}, "t": "leaf"}


@pytest.mark.parametrize(
    ("route", "element"),
    [("", TREE), ("b", [{"c": "x"}, {"c": ""}]), ("b/1", {"c": ""}), ("b/0/c", "x"), ("b/1/c", ""), ("a/0", "zero")],
)
def test_route_follows_keys_and_indexes(route: str, element: Json) -> None:
    assert select(TREE, route.split("/") if route else []) == element


@pytest.mark.parametrize("route", ["x", "B", "b/2", "b/-1", "b/00", "b/+0", "b/\u0660", "b/c", "t/0", "t/x", "b/", ""])
def test_invalid_route_selects_no_element(route: str) -> None:
    with pytest.raises(NoSuchElementError):
        select(TREE, route.split("/"))


@pytest.mark.parametrize(
    ("route", "text"), [("", "a/\nb/\nt"), ("b", "0/\n1/"), ("b/0", "c"), ("t", "leaf"), ("b/1/c", "")]
)
def test_text_lists_members_or_shows_the_value(route: str, text: str) -> None:
    assert to_text(select(TREE, route.split("/") if route else [])) == text


@pytest.mark.parametrize("leaf", ["", "x", 80])
def test_leaf_is_not_available_as_json(leaf: Json) -> None:
    with pytest.raises(FormatError, match="format=text"):
        to_json(leaf)
