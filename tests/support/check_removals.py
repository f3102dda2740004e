"""Remove one check of the pipeline at a time: the removals are read from the source, so that none is forgotten.

A check is a place at which a document can be refused, or at which a comparison decides:

- a `raise`, unless it raises again what was caught;
- a `return False` or `return None` under a condition or in an exception handler;
- each operand of a condition that can refuse alone: of an `or` if the condition refuses, of an `and` or a chained
  comparison if it accepts;
- each condition that selects certificates;
- a call that checks and whose result is not used, such as `fields.end()`;
- each rule of `leaf_profile.RULES`.

A removal compiles the function without the check, and puts the new code into the function that is in use. No other
module has to be patched, and `restored` puts the old code back.
"""

import ast
import importlib
import inspect
import re
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass, field
from functools import cache
from itertools import pairwise
from types import CodeType, FunctionType, ModuleType

import pytest

from verifier.core import leaf_profile
from verifier.core.byte_cache import ByteCache
from verifier.core.encoding import cms, der

#: The modules that a posted document passes through, in this order.
MODULES = (
    "api.json_codec",
    "api.request_bodies",
    "core.evidence",
    "core.encoding.text",
    "core.encoding.strict_json",
    "core.pipeline",
    "core.envelope",
    "core.encoding.cms",
    "core.encoding.der",
    "core.trust.certificates",
    "core.trust.extensions",
    "core.trust.distinguished_names",
    "core.signature",
    "core.names",
    "core.trust.clouds",
    "core.claims",
    "core.freshness",
    "core.unchallenged",
    "core.nonces",
    "core.chain",
    "core.leaf_profile",
    "core.trust.bundle",
    "core.policy",
    "core.policy_combinators",
    "core.vm_ids",
    "usecases.appraise",
)
#: The names of calls that check something.
_CALLS = re.compile(
    r"_?(check|verify|validate|require|confirm|run)(_.*)?|end|find|integer|whole_bytes|dotted|compare.*"
)
#: The conditions of comprehensions in these modules select certificates.
_SELECTING = ("verifier.core.chain", "verifier.core.trust.bundle")
#: Functions that return True for what is refused.
_REFUSING = frozenset({"_has_empty_list", "names", "answers_no_challenge", "is_self_issued", "is_closed"})

_WORDING = "it only chooses the sentence of a refusal"
_LOADING = "it runs when the trust directory is loaded: tests/unit/core/trust and tests/unit/adapters/trust"
_SETTINGS = "it runs when the settings are read: tests/unit/adapters/settings and tests/unit/core/test_policy.py"
_CACHE = "it is part of a cache, and decides nothing"
_OTHER_REQUESTS = "no posted document passes it"
#: Functions in these modules that do not decide about a posted document, with the reason.
OUTSIDE = {
    "api.json_codec._pin_status": "it writes the answer for a document that was accepted",
    "api.json_codec.parse_request": _OTHER_REQUESTS,
    "api.json_codec.read_nonce_request": _OTHER_REQUESTS,
    "api.json_codec.readiness_json": _OTHER_REQUESTS,
    "api.request_bodies.parse_body": _OTHER_REQUESTS,
    "core.evidence._fault_of_pem": _WORDING,
    "core.evidence.refuse_other_answers": _WORDING,
    "core.evidence.from_imds_answer": _OTHER_REQUESTS,
    "core.evidence._from_json": _OTHER_REQUESTS,
    "core.encoding.strict_json._explain": _WORDING,
    "core.pipeline.appraise_archived": _OTHER_REQUESTS,
    "core.trust.certificates.Certificate.find_read": _CACHE,
    "core.trust.certificates.Certificate.from_pem": _LOADING,
    "core.trust.certificates.Certificate.remember_signer": _CACHE,
    "core.trust.certificates._weigh": _CACHE,
    "core.chain._fault_of_signer": _WORDING,
    "core.chain._take_authority": _CACHE,
    "core.trust.bundle.CloudTrust.__post_init__": _LOADING,
    "core.trust.bundle.CloudTrust.entry": _CACHE,
    "core.trust.bundle.CloudTrust.next_change": _CACHE,
    "core.trust.bundle.TrustBundle.__post_init__": _LOADING,
    "core.trust.bundle.TrustBundle.of": _LOADING,
    "core.trust.bundle.TrustBundle.open_clouds": _OTHER_REQUESTS,
    "core.trust.bundle.TrustBundle.planned_times": _OTHER_REQUESTS,
    "core.trust.bundle.TrustedCertificate.__post_init__": _LOADING,
    "core.trust.bundle.TrustedCertificate.next_change": _CACHE,
    "core.trust.bundle.TrustedCertificate.usable_from": _CACHE,
    "core.trust.bundle.TrustedCertificate.usable_until": "it only chooses between active and expiring",
    "core.trust.bundle.oddities_of": _LOADING,
    "core.policy.ClaimIn.__post_init__": _SETTINGS,
    "core.policy.CloudIn.__post_init__": _SETTINGS,
    "core.policy.MaximumAge.__post_init__": _SETTINGS,
    "core.policy_combinators.AllOf.__init__": _SETTINGS,
    "core.policy_combinators.AnyOf.__init__": _SETTINGS,
    "core.vm_ids.parse_vm_id": _SETTINGS,
    "core.vm_ids.swap_bytes": _WORDING,
    "usecases.appraise.Verifier.issue_nonce": _OTHER_REQUESTS,
    "usecases.appraise.Verifier._report_nonconforming": "it reports a refused document",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Removal:
    """One check, and how to remove it. `name` has the module, the function, and the source of the check."""

    name: str
    module: str
    #: The outermost function that contains the check, by its qualified name.
    function: str
    tree: ast.Module = field(repr=False)
    #: The line of the check, and the last line of the function.
    line: int
    last_line: int = 0
    #: The lines of the refusals that the check guards.
    refusals: frozenset[int] = frozenset()
    rule: str = ""

    def __str__(self) -> str:
        return self.name


def functions() -> set[str]:
    """Return the names of all functions of MODULES."""
    return {f"{name}.{function}" for name in MODULES for function, _ in _functions(source_tree(f"verifier.{name}"))}


def removals() -> list[Removal]:
    """Return every removal, in the order of MODULES and of the source, without those in functions of OUTSIDE."""
    found = [removal for name in MODULES for removal in _removals_in(f"verifier.{name}")]
    return [*found, *(_rule(clause) for clause in leaf_profile.RULES)]


def _rule(clause: str) -> Removal:
    name = f"core.leaf_profile.RULES: the rule of RFC 5280 {clause}"
    return Removal(name=name, module="", function="", tree=ast.Module([], []), line=0, rule=clause)


def source_lines() -> dict[str, str]:
    """Return the name of each checked module by the file of its code."""
    modules = (importlib.import_module(f"verifier.{name}") for name in MODULES)
    return {module.__file__ or "": module.__name__ for module in modules}


@cache
def source_tree(module: str) -> ast.Module:
    return ast.parse(inspect.getsource(importlib.import_module(module)))


def _removals_in(module: str) -> Iterator[Removal]:
    tree = source_tree(module)
    names: Counter[str] = Counter()
    for function, node in _functions(tree):
        if f"{module.removeprefix('verifier.')}.{function}" in OUTSIDE:
            continue
        for place, description in _checks(node, module):
            name = f"{module.removeprefix('verifier.')}.{function}: {description}"
            names[name] += 1
            if names[name] > 1:
                name = f"{name} (number {names[name]})"
            changed = deepcopy(tree)
            _remove(changed, place)
            yield Removal(
                name=name,
                module=module,
                function=function,
                tree=changed,
                line=place.node.lineno,
                last_line=node.end_lineno or 0,
                refusals=_refusals(node, place.node),
            )


def _functions(tree: ast.Module) -> Iterator[tuple[str, ast.FunctionDef]]:
    """Yield the functions of a module and the methods of its classes, without functions inside functions."""
    for statement in tree.body:
        match statement:
            case ast.FunctionDef(name=name):
                yield name, statement
            case ast.ClassDef(name=name, body=body):
                yield from ((f"{name}.{one.name}", one) for one in body if isinstance(one, ast.FunctionDef))


@dataclass(frozen=True, slots=True)
class _Place:
    """Name a node by its type and position, so that it can be found in a copy of the tree."""

    node: ast.stmt | ast.expr
    kind: str
    index: int = 0

    @property
    def key(self) -> tuple[type, int, int, int | None]:
        return (type(self.node), self.node.lineno, self.node.col_offset, self.node.end_col_offset)


def _checks(function: ast.FunctionDef, module: str) -> Iterator[tuple[_Place, str]]:
    guards = _guards(function)
    for node in ast.walk(function):
        guard = guards.get(node, "")
        match node:
            case ast.Raise(exc=ast.expr()):
                yield _Place(node, "skip"), f"{guard or 'otherwise'}: refuse"
            case ast.Return(value=ast.Constant(value=None | False)) if guard:
                yield _Place(node, "skip"), f"{guard}: {ast.unparse(node)}"
            case ast.Expr(value=ast.Call(func=ast.Name(id=name) | ast.Attribute(attr=name))) if _CALLS.fullmatch(name):
                yield _Place(node, "skip"), f"call {_short(node)}"
            case ast.If(test=test, body=body) if any(map(_refuses, body)):
                yield from _operands(test, is_refusing=True)
            case ast.Return(value=ast.expr() as value):
                yield from _operands(value, is_refusing=function.name in _REFUSING)
            case ast.ListComp() | ast.GeneratorExp() if module in _SELECTING:
                for condition in (condition for generator in node.generators for condition in generator.ifs):
                    yield _Place(condition, "true"), f"only if {_short(condition)}"
                    yield from _operands(condition, is_refusing=False)


def _refusals(function: ast.FunctionDef, check: ast.AST) -> frozenset[int]:
    """Return the lines of the refusals below the innermost `if` whose condition contains the check."""
    for node in ast.walk(function):
        if isinstance(node, ast.If) and check in ast.walk(node.test):
            return frozenset(statement.lineno for statement in node.body)
    return frozenset()


def _refuses(statement: ast.stmt) -> bool:
    match statement:
        case ast.Raise() | ast.Return(value=ast.Constant(value=None | False)):
            return True
    return False


def _operands(condition: ast.expr, *, is_refusing: bool) -> Iterator[tuple[_Place, str]]:
    """Yield the operands of the condition without which it refuses less."""
    match condition:
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            yield from _operands(operand, is_refusing=not is_refusing)
        case ast.BoolOp(op=op, values=values):
            for index, value in enumerate(values):
                if isinstance(op, ast.Or) is is_refusing:
                    yield _Place(condition, "operand", index), f"operand {_short(value)} of {_short(condition)}"
                yield from _operands(value, is_refusing=is_refusing)
        case ast.Compare(left=left, comparators=[_, _, *_] as others) if not is_refusing:
            terms = [left, *others]
            for index, (one, another) in enumerate(pairwise(terms)):
                half = f"{_short(one)} with {_short(another)}"
                yield _Place(condition, "half", index), f"comparison of {half} in {_short(condition)}"


def _short(node: ast.AST) -> str:
    text = ast.unparse(node)
    return f"`{text if len(text) <= 100 else text[:97] + '...'}`"


def _guards(function: ast.FunctionDef) -> dict[ast.AST, str]:
    """Return the condition under which each statement runs: an `if`, an `except` or a `case`. It may be empty."""
    found: dict[ast.AST, str] = {}

    def visit(node: ast.AST, guard: str) -> None:
        found[node] = guard
        match node:
            case ast.If(test=test, body=body, orelse=orelse):
                inside = [(one, f"if {_short(test)}") for one in body]
                outside = [(one, f"if not {_short(test)}") for one in orelse]
                for child, condition in (*inside, *outside):
                    visit(child, condition)
                visit(test, guard)
            case ast.ExceptHandler(body=body):
                caught = "anything" if node.type is None else _short(node.type)
                for child in body:
                    visit(child, f"except {caught}")
            case ast.match_case(pattern=pattern, body=body):
                condition = f"case {_short(pattern)}{f' if {_short(node.guard)}' if node.guard else ''}"
                for child in body:
                    visit(child, condition)
            case _:
                for part in ast.iter_child_nodes(node):
                    visit(part, guard)

    visit(function, "")
    return found


class _Remover(ast.NodeTransformer):
    def __init__(self, place: _Place) -> None:
        self._place = place
        self.done = False

    def visit(self, node: ast.AST) -> ast.AST:
        visited: ast.AST = super().visit(node)
        place = self._place
        if self.done or not isinstance(node, ast.stmt | ast.expr):
            return visited
        if (type(node), node.lineno, node.col_offset, node.end_col_offset) != place.key:
            return visited
        self.done = True
        return ast.copy_location(_without(node, place), node)


def _without(node: ast.stmt | ast.expr, place: _Place) -> ast.stmt | ast.expr:
    match place.kind, node:
        case "operand", ast.BoolOp(op=op, values=values):
            left = [value for index, value in enumerate(values) if index != place.index]
            return ast.BoolOp(op=op, values=left) if len(left) > 1 else left[0]
        case "half", ast.Compare(left=left, ops=ops, comparators=comparators):
            terms = [left, *comparators]
            halves: list[ast.expr] = [
                ast.Compare(left=terms[index], ops=[op], comparators=[terms[index + 1]])
                for index, op in enumerate(ops)
                if index != place.index
            ]
            return ast.BoolOp(op=ast.And(), values=halves) if len(halves) > 1 else halves[0]
        case "true", ast.expr():
            return ast.Constant(value=True)
        case _, ast.stmt():
            # The statement stays in the code, so that the function keeps its free variables.
            return ast.If(test=ast.Name(id="__debug__", ctx=ast.Load()), body=[ast.Pass()], orelse=[node])
    raise TypeError(place.kind)


def _remove(tree: ast.Module, place: _Place) -> None:
    remover = _Remover(place)
    remover.visit(tree)
    if not remover.done:
        raise LookupError(ast.unparse(place.node))
    ast.fix_missing_locations(tree)


@contextmanager
def removed(removal: Removal) -> Iterator[None]:
    """Remove the check until the context ends."""
    with pytest.MonkeyPatch.context() as patch:
        if removal.rule:
            patch.delitem(leaf_profile.RULES, removal.rule)
            yield
            return
        module = importlib.import_module(removal.module)
        function = _function(module, removal.function)
        changed = compile(removal.tree, module.__file__ or "", "exec", dont_inherit=True)
        patch.setattr(function, "__code__", _code(changed, removal.function))
        _forget()
        yield
    _forget()


@contextmanager
def without_caches() -> Iterator[None]:
    """Let no cache remember what it has seen, until the context ends.

    A removed check would not be reached, and what passes without it would be found afterwards.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ByteCache, "find", lambda _cache, _key: None)
        patch.setattr(ByteCache, "take", lambda _cache, _key: None)
        patch.setattr(ByteCache, "keep", lambda _cache, _key, _value: None)
        yield


def _forget() -> None:
    der.dotted.cache_clear()
    cms._read_algorithm.cache_clear()  # noqa: SLF001 - a cache of the process


def _function(module: ModuleType, name: str) -> FunctionType:
    """Return the function that runs, under what decorators put around it."""
    *classes, last = name.split(".")
    owner: object = module
    for one in classes:
        owner = getattr(owner, one)
    found = inspect.getattr_static(owner, last)
    found = getattr(found, "fget", None) or getattr(found, "__func__", None) or found
    unwrapped = inspect.unwrap(found)
    if not isinstance(unwrapped, FunctionType):
        raise TypeError(f"{name} is not a function")
    return unwrapped


def _code(compiled: CodeType, name: str) -> CodeType:
    for part in name.split("."):
        [compiled] = [one for one in compiled.co_consts if isinstance(one, CodeType) and one.co_name == part]
    return compiled
