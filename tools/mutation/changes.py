"""List the mutants of a module: each is its syntax tree with one change."""

import ast
import copy
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

#: A change is shown with the expression around it, if that is at most this long.
_SHOWN = 72
_COMPARISONS: dict[type[ast.cmpop], tuple[type[ast.cmpop], ...]] = {
    ast.Eq: (ast.NotEq,),
    ast.NotEq: (ast.Eq,),
    ast.Lt: (ast.LtE, ast.GtE),
    ast.LtE: (ast.Lt, ast.Gt),
    ast.Gt: (ast.GtE, ast.LtE),
    ast.GtE: (ast.Gt, ast.Lt),
    ast.Is: (ast.IsNot,),
    ast.IsNot: (ast.Is,),
    ast.In: (ast.NotIn,),
    ast.NotIn: (ast.In,),
}
_ARITHMETIC: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.FloorDiv,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult,
    ast.Mod: ast.Mult,
    ast.LShift: ast.RShift,
    ast.RShift: ast.LShift,
    ast.BitAnd: ast.BitOr,
    ast.BitOr: ast.BitAnd,
    ast.BitXor: ast.BitAnd,
}
_NAMES = {
    "all": "any",
    "any": "all",
    "endswith": "startswith",
    "fullmatch": "match",
    "issubset": "issuperset",
    "issuperset": "issubset",
    "lower": "upper",
    "max": "min",
    "min": "max",
    "partition": "rpartition",
    "popleft": "pop",
    "removeprefix": "removesuffix",
    "removesuffix": "removeprefix",
    "rpartition": "partition",
    "startswith": "endswith",
    "upper": "lower",
}
#: Calls whose arguments only type checkers read.
_TYPING = {"NewType", "ParamSpec", "TypeVar", "cast"}
_MARK = "XX"


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """One field of one node, or one element of a field that is a list."""

    parent: ast.AST
    field: str
    index: int | None = None

    def read(self) -> Any:  # noqa: ANN401 - a node, or the value of a field
        value = getattr(self.parent, self.field)
        return value if self.index is None else value[self.index]

    def write(self, value: object) -> None:
        if self.index is None:
            setattr(self.parent, self.field, value)
        else:
            getattr(self.parent, self.field)[self.index] = value


@dataclass(frozen=True, slots=True, kw_only=True)
class Mutant:
    """One change. `number` tells it from earlier ones of the same function with the same text."""

    function: str
    line: int
    before: str
    after: str
    number: int
    #: Python evaluates the changed code when it imports the module.
    at_import: bool
    place: Place
    replacement: object

    @property
    def key(self) -> tuple[str, str, str, int]:
        return self.function, self.before, self.after, self.number

    def apply(self) -> None:
        """Change the tree that this mutant was made from."""
        original = self.place.read()
        if isinstance(self.replacement, ast.AST) and isinstance(original, ast.AST):
            ast.copy_location(self.replacement, original)
        self.place.write(self.replacement)


@dataclass(frozen=True, slots=True)
class _Change:
    """A replacement at a place. The place that is shown has the smallest node that makes the change readable."""

    place: Place
    replacement: object
    shown: Place


def list_mutants(tree: ast.Module) -> list[Mutant]:
    """Return the mutants of a module in the order of its lines."""
    seen: Counter[tuple[str, str, str]] = Counter()
    mutants = []
    for function, at_import, change in _Walk().walk(tree):
        before, after = _texts(change)
        if before == after:
            continue
        key = (function, before, after)
        seen[key] += 1
        mutants.append(
            Mutant(
                function=function,
                line=_line(change),
                before=before,
                after=after,
                number=seen[key],
                at_import=at_import,
                place=change.place,
                replacement=change.replacement,
            )
        )
    return mutants


def is_text(node: ast.AST | None) -> bool:
    """Whether the expression is text for people: strings with a space, and what is made of them."""
    match node:
        case ast.Constant(value=str(text)):
            found = " " in text
        case ast.JoinedStr(values=values):
            found = any(is_text(value) for value in values)
        case ast.IfExp(body=body, orelse=other):
            found = _is_text_or_empty(body) and _is_text_or_empty(other) and (is_text(body) or is_text(other))
        case ast.BinOp(left=left, op=ast.Add(), right=right):
            found = is_text(left) or is_text(right)
        case ast.BoolOp(op=ast.Or(), values=values):
            found = is_text(values[-1])
        case ast.Call(func=ast.Attribute(value=joiner, attr="join")):
            found = is_text(joiner)
        case _:
            found = False
    return found


def _is_text_or_empty(node: ast.AST) -> bool:
    return is_text(node) or (isinstance(node, ast.Constant) and node.value == "")


def _texts(change: _Change) -> tuple[str, str]:
    original = change.place.read()
    before = _show(change.shown.read())
    change.place.write(change.replacement)
    after = _show(change.shown.read())
    change.place.write(original)
    return before, after


def _show(node: object) -> str:
    """Return the code in one line, without the words of messages.

    Versions of Python differ in the quotes of nested strings.
    """
    text = ast.unparse(_Shorten().visit(copy.deepcopy(node))) if isinstance(node, ast.AST) else str(node)
    return " ".join(text.replace('"', "'").split())


class _Shorten(ast.NodeTransformer):
    """Replace text for people, so that a listed mutant does not depend on its words."""

    def visit(self, node: ast.AST) -> ast.AST:
        return ast.copy_location(ast.Constant(value="…"), node) if is_text(node) else self.generic_visit(node)


def _line(change: _Change) -> int:
    for node in (change.place.read(), change.place.parent, change.shown.read()):
        if hasattr(node, "lineno"):
            return int(node.lineno)
    return 0


class _Walk:
    """Walk a tree with the names of the functions around each node."""

    def __init__(self) -> None:
        self._scope: list[str] = []
        self._in_function = False

    def walk(self, node: ast.AST) -> Iterator[tuple[str, bool, _Change]]:
        for place in _children(node):
            child = place.read()
            for change in _changes_at(place):
                yield ".".join(self._scope), not self._in_function, change
            if _is_left_out(place):
                continue
            if isinstance(child, ast.ClassDef):
                yield from self._enter(child.name, child, in_function=self._in_function)
            elif isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
                yield from self._function(child)
            else:
                yield from self.walk(child)

    def _function(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> Iterator[tuple[str, bool, _Change]]:
        body = ast.Module(body=node.body, type_ignores=[])
        yield from self._enter(node.name, node.args, in_function=self._in_function)
        yield from self._enter(node.name, body, in_function=True)

    def _enter(self, name: str, node: ast.AST, *, in_function: bool) -> Iterator[tuple[str, bool, _Change]]:
        outer, self._in_function = self._in_function, in_function
        self._scope.append(name)
        yield from self.walk(node)
        self._scope.pop()
        self._in_function = outer


def _children(node: ast.AST) -> Iterator[Place]:
    for name, value in ast.iter_fields(node):
        if isinstance(value, list):
            yield from (
                Place(parent=node, field=name, index=index)
                for index, one in enumerate(value)
                if isinstance(one, ast.AST)
            )
        elif isinstance(value, ast.AST):
            yield Place(parent=node, field=name)


def _is_left_out(place: Place) -> bool:
    """Whether no change is made below: types, decorators, docstrings, text for people, and the names of `__all__`."""
    node = place.read()
    if place.field == "format_spec" or (isinstance(place.parent, ast.JoinedStr) and isinstance(node, ast.Constant)):
        return True
    defines = isinstance(place.parent, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef | ast.arg | ast.AnnAssign)
    if defines and place.field in {"annotation", "returns", "decorator_list", "bases", "keywords"}:
        return True
    match node:
        case ast.Call(func=ast.Name(id=name)):
            return name in _TYPING
        case (
            ast.Expr(value=ast.Constant())
            | ast.Assign(targets=[ast.Name(id="__all__")])
            | ast.If(test=ast.Name(id="TYPE_CHECKING"), orelse=[])
        ):
            return True
        case _:
            return is_text(node)


def _changes_at(place: Place) -> Iterator[_Change]:
    if _is_left_out(place):
        return
    node = place.read()
    shown = _shown(place)
    for change in _CHANGES:
        for replacement in change(node):
            yield _Change(place, replacement, shown)
    yield from _inner_changes(node, place)


def _shown(place: Place) -> Place:
    """Return the expression around the place, if it is short, and else the place."""
    parent = place.parent
    if isinstance(parent, ast.expr | ast.keyword) and len(ast.unparse(parent)) <= _SHOWN:
        return Place(parent=_Holder(parent), field="held")
    return place


class _Holder(ast.AST):
    """Hold one node, so that it has a place."""

    _fields = ("held",)

    def __init__(self, held: ast.AST) -> None:
        super().__init__()
        self.held = held


def _inner_changes(node: ast.AST, place: Place) -> Iterator[_Change]:
    """Changes to a part of the node, shown as that part or as the whole node."""
    yield from _argument_changes(node, place)
    yield from _condition_changes(node)
    match node:
        case ast.For():
            source = Place(parent=node, field="iter")
            yield _Change(source, ast.Tuple(elts=[], ctx=ast.Load()), source)
        case ast.Slice(lower=lower, upper=upper):
            for name, bound in (("lower", lower), ("upper", upper)):
                if bound is not None:
                    yield _Change(Place(parent=node, field=name), None, place)
        case ast.ExceptHandler(type=ast.Tuple(elts=[*kinds])):
            caught = Place(parent=node, field="type")
            for kind in kinds:
                fewer = ast.Tuple(elts=[one for one in kinds if one is not kind], ctx=ast.Load())
                yield _Change(caught, fewer, caught)
        case ast.Attribute(attr=name) | ast.Name(id=name) if name in _NAMES and _is_called(place):
            field = "attr" if isinstance(node, ast.Attribute) else "id"
            yield _Change(Place(parent=node, field=field), _NAMES[name], place)
        case _:
            return


def _argument_changes(node: ast.AST, place: Place) -> Iterator[_Change]:
    match node:
        case ast.Call(func=ast.Name(id="isinstance" | "len")):
            return  # None is a TypeError there, which any test notices
        case ast.Call(args=args, keywords=keywords):
            for index, argument in enumerate(args):
                yield from _to_none(Place(parent=node, field="args", index=index), argument, place)
            for index, keyword in enumerate(keywords):
                if keyword.arg is not None:
                    shown = Place(parent=node, field="keywords", index=index)
                    yield from _to_none(Place(parent=keyword, field="value"), keyword.value, shown)
        case _:
            return


def _condition_changes(node: ast.AST) -> Iterator[_Change]:
    match node:
        case ast.If() | ast.While() | ast.IfExp():
            condition = Place(parent=node, field="test")
        case ast.match_case(guard=ast.expr()):
            condition = Place(parent=node, field="guard")
        case _:
            return
    if _is_plain(condition.read()):
        yield _Change(condition, _not(condition.read()), condition)


def _is_called(place: Place) -> bool:
    return isinstance(place.parent, ast.Call) and place.field == "func"


def _to_none(place: Place, argument: ast.AST, shown: Place) -> Iterator[_Change]:
    if not is_text(argument) and not isinstance(argument, ast.Constant | ast.Starred | ast.GeneratorExp):
        yield _Change(place, ast.Constant(value=None), shown)


def _comparisons(node: ast.AST) -> Iterator[ast.AST]:
    if isinstance(node, ast.Compare):
        for index, operator in enumerate(node.ops):
            for other in _COMPARISONS[type(operator)]:
                operators = [*node.ops[:index], other(), *node.ops[index + 1 :]]
                yield ast.Compare(left=node.left, ops=operators, comparators=node.comparators)


def _conditions(node: ast.AST) -> Iterator[ast.AST]:
    match node:
        case ast.BoolOp(op=operator, values=values):
            for value in values:
                rest = [one for one in values if one is not value]
                yield rest[0] if len(rest) == 1 else ast.BoolOp(op=operator, values=rest)
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            yield operand
        case ast.comprehension(target=target, iter=source, ifs=[_, *_] as ifs, is_async=is_async):
            for condition in ifs:
                rest = [one for one in ifs if one is not condition]
                yield ast.comprehension(target=target, iter=source, ifs=rest, is_async=is_async)
        case _:
            return


def _is_plain(test: ast.expr) -> bool:
    """Whether no other change turns the condition around."""
    return not isinstance(test, ast.Compare | ast.BoolOp | ast.UnaryOp | ast.Constant)


def _not(test: ast.expr) -> ast.expr:
    return ast.UnaryOp(op=ast.Not(), operand=test)


def _arithmetic(node: ast.AST) -> Iterator[ast.AST]:
    match node:
        case ast.BinOp(left=left, op=operator, right=right) if type(operator) in _ARITHMETIC:
            yield ast.BinOp(left=left, op=_ARITHMETIC[type(operator)](), right=right)
        case ast.AugAssign(target=target, op=operator, value=value) if type(operator) in _ARITHMETIC:
            yield ast.AugAssign(target=target, op=_ARITHMETIC[type(operator)](), value=value)
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            yield operand
        case _:
            return


def _constants(node: ast.AST) -> Iterator[ast.AST]:
    if not isinstance(node, ast.Constant):
        return
    match node.value:
        case bool():
            yield ast.Constant(value=not node.value)
        case int() | float():
            yield ast.Constant(value=node.value + 1)
            yield ast.Constant(value=node.value - 1)
        case str():
            yield ast.Constant(value=f"{_MARK}{node.value}{_MARK}" if node.value else _MARK)
        case bytes():
            yield ast.Constant(value=_MARK.encode() + node.value)
        case _:
            return


def _strings(node: ast.AST) -> Iterator[ast.AST]:
    if isinstance(node, ast.JoinedStr):
        yield ast.Constant(value=_MARK)


def _statements(node: ast.AST) -> Iterator[ast.AST]:
    match node:
        case ast.Raise(exc=ast.expr()) | ast.Expr(value=ast.Call()) | ast.Delete():
            yield ast.Pass()
        case ast.Assign(targets=[ast.Attribute() | ast.Subscript()]):
            yield ast.Pass()
        case ast.Return(value=ast.expr() as value) if not _is_truth(value):
            yield ast.Return(value=ast.Constant(value=None))
        case ast.Expr(value=ast.Yield(value=ast.expr())):
            yield ast.Expr(value=ast.Yield(value=ast.Constant(value=None)))
        case ast.Continue():
            yield ast.Break()
        case ast.Break():
            yield ast.Continue()
        case ast.ExceptHandler(type=kind, name=name, body=body) if not _raises_again(body):
            yield ast.ExceptHandler(type=kind, name=name, body=[ast.Raise()])
        case ast.Lambda(args=args, body=body) if not isinstance(body, ast.Constant):
            yield ast.Lambda(args=args, body=ast.Constant(value=None))
        case _:
            return


def _is_truth(value: ast.expr) -> bool:
    """Whether the value is a truth value, or None already: other changes turn it around."""
    match value:
        case ast.Constant(value=None | True | False) | ast.Compare() | ast.BoolOp() | ast.UnaryOp(op=ast.Not()):
            return True
        case ast.Call(func=ast.Name(id="any" | "all" | "isinstance" | "bool")):
            return True
        case _:
            return is_text(value)


def _raises_again(body: Sequence[ast.stmt]) -> bool:
    return isinstance(body[-1], ast.Raise) and body[-1].exc is None


_CHANGES: tuple[Callable[[ast.AST], Iterator[ast.AST]], ...] = (
    _comparisons,
    _conditions,
    _arithmetic,
    _constants,
    _strings,
    _statements,
)
