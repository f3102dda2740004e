"""The shape of a metadata tree, and from which api-version on it has each element."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, TypeAlias

Json: TypeAlias = str | int | list["Json"] | dict[str, "Json"]

ALWAYS: Final = "2017-04-02"
"""The api-version that brought instance metadata: whatever names no other has been there since."""


class SchemaError(Exception):
    """A value is not of its shape; the message names the place and the fault."""


@dataclass(frozen=True, slots=True)
class Leaf:
    """A string: "all primitives will be of type string" (Azure page: Data format). `kind` int is for the few others."""

    introduced: str = ALWAYS
    kind: type[str] | type[int] = str


@dataclass(frozen=True, slots=True)
class Object:
    members: Mapping[str, "Node"]
    introduced: str = ALWAYS


@dataclass(frozen=True, slots=True)
class Array:
    element: "Node"
    introduced: str = ALWAYS


Node: TypeAlias = Leaf | Object | Array


def render(node: Node, value: Json | None, *, api_version: str) -> Json:
    """`value` with the elements of `api_version` and no others; what it lacks is empty (Azure page: Data format).

    `value` was held against the shape before.
    """
    if isinstance(node, Object):
        given = value if isinstance(value, dict) else {}
        return {
            name: render(member, given.get(name), api_version=api_version)
            for name, member in node.members.items()
            if member.introduced <= api_version
        }
    if isinstance(node, Array):
        elements = value if isinstance(value, list) else []
        return [render(node.element, element, api_version=api_version) for element in elements]
    return "" if value is None else value


def check(node: Node, value: object, *, place: str) -> Json:
    """`value`, which is of this shape and has nothing that is not in it. Raises SchemaError."""
    if isinstance(node, Object):
        if not isinstance(value, dict):
            raise SchemaError(f"{place} must be a table")
        unknown = sorted(set(value) - set(node.members))
        if unknown:
            raise SchemaError(f"{place}: unknown key {', '.join(unknown)}")
        return {name: check(node.members[name], value[name], place=f"{place}.{name}") for name in value}
    if isinstance(node, Array):
        if not isinstance(value, list):
            raise SchemaError(f"{place} must be an array")
        return [check(node.element, element, place=f"{place}[{n}]") for n, element in enumerate(value)]
    if type(value) is str and node.kind is str:
        return value
    if type(value) is int and node.kind is int:
        return value
    raise SchemaError(f"{place} must be {'a string' if node.kind is str else 'an integer'}, as IMDS answers it")
