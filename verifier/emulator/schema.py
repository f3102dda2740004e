"""The shape of a metadata tree, and the first api-version of each element."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, TypeAlias

Json: TypeAlias = str | int | list["Json"] | dict[str, "Json"]

FIRST_VERSION: Final = "2017-04-02"
"""The first api-version with instance metadata."""


class SchemaError(Exception):
    """A value does not have its shape. The message names the element and the fault."""


@dataclass(frozen=True, slots=True)
class Leaf:
    """A string: "all primitives will be of type string" (Azure page: Data format). A few elements are integers."""

    introduced: str = FIRST_VERSION
    kind: type[str] | type[int] = str


@dataclass(frozen=True, slots=True)
class Object:
    members: Mapping[str, "Node"]
    introduced: str = FIRST_VERSION


@dataclass(frozen=True, slots=True)
class Array:
    element: "Node"
    introduced: str = FIRST_VERSION


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
            if member.introduced <= api_version
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
        prefix = f"{path}." if path else ""
        for name in value:
            if name not in node.members:
                raise SchemaError(f"unknown key {prefix}{name}")
        return {name: validate(node.members[name], value[name], path=f"{prefix}{name}") for name in value}
    if isinstance(node, Array):
        if not isinstance(value, list):
            raise SchemaError(f"{path} must be an array")
        return [validate(node.element, element, path=f"{path}[{n}]") for n, element in enumerate(value)]
    if type(value) is str and node.kind is str:
        return value
    if type(value) is int and node.kind is int:
        return value
    raise SchemaError(f"{path} must be {'a string' if node.kind is str else 'an integer'}, as in IMDS")
