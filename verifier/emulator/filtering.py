"""Route parameters, and the two formats (Azure page: Route parameters, Data format)."""

from collections.abc import Sequence

from verifier.emulator.schema import Json


class NoSuchElementError(Exception):
    """The route leads nowhere."""


class FormatError(Exception):
    """The element cannot be told in the format that was asked for; the message is IMDS's."""


def select(tree: Json, route: Sequence[str]) -> Json:
    """The element that is reached by the keys and indexes of `route`, as of a parsed object."""
    element = tree
    for step in route:
        if isinstance(element, dict) and step in element:
            element = element[step]
        elif isinstance(element, list) and step in {str(index) for index in range(len(element))}:
            element = element[int(step)]
        else:
            raise NoSuchElementError(step)
    return element


def tell_text(element: Json) -> str:
    """A leaf's value; of anything else the names in it, a line each, those that have names in them with a slash."""
    if isinstance(element, dict):
        return "\n".join(_listed(name, member) for name, member in sorted(element.items()))
    if isinstance(element, list):
        return "\n".join(_listed(str(index), member) for index, member in enumerate(element))
    return str(element)


def check_json(element: Json) -> dict[str, Json] | list[Json]:
    """`element`, which is no leaf: "when filtering to a leaf node, format=json doesn't work"."""
    if isinstance(element, dict | list):
        return element
    raise FormatError("Bad request. A leaf node is only available with format=text")


def _listed(name: str, member: Json) -> str:
    return f"{name}/" if isinstance(member, dict | list) else name
