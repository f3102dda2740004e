"""The shape of a metadata tree, and the first api-version of each element."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, TypeAlias

from verifier.emulator.printable import printable

Json: TypeAlias = str | int | list["Json"] | dict[str, "Json"]

FIRST_VERSION: Final = "2017-04-02"
"""The first api-version of the elements that have no other one."""

_KINDS: Final[Mapping[type, str]] = {str: "a string", int: "an integer", bool: "true or false"}


class SchemaError(Exception):
    """A value does not have its shape. The message names the element and the fault."""


@dataclass(frozen=True, slots=True)
class Leaf:
    """A string: "all primitives will be of type string" (Azure page: Data format). A few elements have other types.

    An `is_optional` element is absent if the machine does not have it. Every other element is then empty.
    """

    introduced: str = FIRST_VERSION
    kind: type[str] | type[int] = str
    is_optional: bool = False


@dataclass(frozen=True, slots=True)
class Object:
    members: Mapping[str, "Node"]
    introduced: str = FIRST_VERSION
    is_optional: bool = False


@dataclass(frozen=True, slots=True)
class Array:
    element: "Node"
    introduced: str = FIRST_VERSION
    is_optional: bool = False


Node: TypeAlias = Leaf | Object | Array


def render(node: Node, value: Json | None, *, api_version: str) -> Json:
    """Return `value` with exactly the elements of `api_version`. Missing ones are empty (Azure page: Data format).

    `value` must have passed `validate`.
    """
    if isinstance(node, Object):
        given = value if isinstance(value, dict) else {}
        return {
            name: render(member, given.get(name), api_version=api_version)
            for name, member in node.members.items()
            if member.introduced <= api_version and (name in given or not member.is_optional)
        }
    if isinstance(node, Array):
        elements = value if isinstance(value, list) else []
        return [render(node.element, element, api_version=api_version) for element in elements]
    return "" if value is None else value


def validate(node: Node, value: object, *, path: str = "") -> Json:
    """Return `value` if it has this shape and no further members. Raises SchemaError."""
    if isinstance(node, Object):
        if not isinstance(value, dict):
            raise SchemaError(f"{path} must be a table")
        for name in value:
            if name not in node.members:
                raise SchemaError(f"unknown key {_join(path, name)}")
        return {name: validate(node.members[name], value[name], path=_join(path, name)) for name in value}
    if isinstance(node, Array):
        if not isinstance(value, list):
            raise SchemaError(f"{path} must be an array")
        return [validate(node.element, element, path=f"{path}[{n}]") for n, element in enumerate(value)]
    # `type`, because True is an int for isinstance.
    if type(value) is node.kind:
        return value
    raise SchemaError(f"{path} must be {_KINDS[node.kind]}, as in IMDS")


def without_unknown(node: Node, value: object, dropped: Callable[[str], None], *, path: str = "") -> object:
    """Return `value` without the members that `node` does not have. `dropped` gets the path of each one.

    Not checked: the shape of what remains.
    """
    if isinstance(node, Object) and isinstance(value, dict):
        for name in sorted(value.keys() - node.members.keys()):
            dropped(_join(path, name))
        return {
            name: without_unknown(member, value[name], dropped, path=_join(path, name))
            for name, member in node.members.items()
            if name in value
        }
    if isinstance(node, Array) and isinstance(value, list):
        return [
            without_unknown(node.element, element, dropped, path=f"{path}[{number}]")
            for number, element in enumerate(value)
        ]
    return value


def refuse_surrogates(value: object, *, path: str = "") -> None:
    """Raise SchemaError if a key or a text at any depth has a surrogate. JSON can write one, and UTF-8 cannot."""
    if isinstance(value, dict):
        for name, member in value.items():
            if not is_encodable(name):
                raise SchemaError(f"the key {_join(path, name)} has a lone surrogate, which UTF-8 cannot encode")
            refuse_surrogates(member, path=_join(path, name))
    elif isinstance(value, list):
        for number, element in enumerate(value):
            refuse_surrogates(element, path=f"{path}[{number}]")
    elif isinstance(value, str) and not is_encodable(value):
        raise SchemaError(f"{path} has a lone surrogate, which UTF-8 cannot encode")


def is_encodable(text: str) -> bool:
    """Return whether UTF-8 can encode the text: it has no lone surrogate."""
    return not any("\ud800" <= character <= "\udfff" for character in text)


def _join(path: str, name: str) -> str:
    """Return the path of a member. Its name is text of a file, so it is escaped."""
    return f"{path}.{printable(name)}" if path else printable(name)
