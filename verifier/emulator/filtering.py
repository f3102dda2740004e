"""Route parameters, and the formats json and text (Azure page: Route parameters, Data format)."""

from collections.abc import Sequence

from verifier.emulator.schema import Json


class NoSuchElementError(Exception):
    """The route names no element."""


class FormatError(Exception):
    """The element is not available in the requested format. The message is the one of IMDS."""


def select(tree: Json, route: Sequence[str]) -> Json:
    """Return the element at the keys and indexes of `route`, or raise NoSuchElementError."""
    element = tree
    for step in route:
        if isinstance(element, dict) and step in element:
            element = element[step]
        elif isinstance(element, list) and step in {str(index) for index in range(len(element))}:
            element = element[int(step)]
        else:
            raise NoSuchElementError(step)
    return element


def to_text(element: Json) -> str:
    """Return the value of a leaf, or list the members: one per line, with a slash if they have members themselves."""
    if isinstance(element, dict):
        return "\n".join(_list_entry(name, member) for name, member in sorted(element.items()))
    if isinstance(element, list):
        return "\n".join(_list_entry(str(index), member) for index, member in enumerate(element))
    return str(element).lower() if isinstance(element, bool) else str(element)


def to_json(element: Json) -> dict[str, Json] | list[Json]:
    """Return `element`, or raise FormatError: "when filtering to a leaf node, format=json doesn't work"."""
    if isinstance(element, dict | list):
        return element
    raise FormatError("Bad request. A leaf node is only available with format=text")


def _list_entry(name: str, member: Json) -> str:
    return f"{name}/" if isinstance(member, dict | list) else name
