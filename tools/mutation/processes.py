"""Run the tests of one module against its mutants, each in a fork of a process that has collected the tests.

A mutant of a function replaces the code of that function, and a mutant of a module's value binds another value. A
mutant of a class or a default, and each survivor, is tried in a process that imports the changed module: the import may
have used the original, or a cache may have kept what it returned.
"""

import ast
import contextlib
import functools
import gc
import importlib.machinery
import importlib.util
import json
import mmap
import os
import resource
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import CodeType, FunctionType
from typing import Any, NoReturn

import pytest
from changes import Mutant, list_mutants

_OPTIONS = ("-q", "-x", "--no-header", "--tb=no", "--assert=plain", "--capture=no")
#: Plugins that take time and cannot kill a mutant.
_WITHOUT = ("cacheprovider", "randomly", "threadexception", "unraisableexception", "xdist")
_ARGUMENTS = (*_OPTIONS, *(argument for name in _WITHOUT for argument in ("-p", f"no:{name}")))
#: A mutant may take this many times the CPU time of the tests, and at least so many seconds.
_TIMES, _LEAST_SECONDS = 4, 5
#: Wall-clock time for each second of CPU time, because tests wait, and the machine may do other work.
_WALL = 10
_MEMORY = 8 << 30
_KILLED, _SURVIVED = 1, 0


class MutationError(Exception):
    """The tests of a module cannot be run, or fail without a mutant."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Module:
    """A module of the package, its syntax tree, and the tests that run against its mutants."""

    path: str
    tests: tuple[str, ...]
    file: str
    tree: ast.Module
    mutants: tuple[Mutant, ...]

    @property
    def name(self) -> str:
        return self.path.removesuffix(".py").replace("/", ".")


def load_module(path: str, tests: Sequence[str]) -> Module:
    """Read the installed module: that is what the tests import."""
    package, _, rest = path.partition("/")
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise MutationError(f"{package} is not installed")
    file = Path(spec.submodule_search_locations[0], rest)
    tree = ast.parse(file.read_text("utf-8"))
    return Module(path=path, tests=tuple(tests), file=str(file), tree=tree, mutants=tuple(list_mutants(tree)))


def survivors(module: Module, chosen: Sequence[int], *, jobs: int, certain: Collection[int]) -> list[int]:
    """Return which of the chosen mutants the tests do not notice. The `certain` survivors are tried only once."""
    fast = [index for index in chosen if _is_replaceable(module, module.mutants[index])]
    answer = _in_fork(lambda: _run_collected(module, fast, jobs))
    if not isinstance(answer, dict):
        raise MutationError(f"{module.path}: the tests cannot be collected, or fail without a mutant: {answer}")
    survived = set(answer["survived"])
    kept = survived & set(certain)
    left = [index for index in chosen if index not in set(fast) or index in survived - kept]
    if not left:
        return sorted(kept)
    limits = _Limits(cpu=answer["cpu"] + 10)
    works = _try([None], lambda _: _import_and_test(module, None), limits, jobs)
    if not works:
        raise MutationError(f"{module.path}: the tests fail in a fork")
    again = _try(left, lambda index: _import_and_test(module, module.mutants[index]), limits, jobs)
    return sorted([*kept, *again])


@dataclass(frozen=True, slots=True)
class _Limits:
    """How long one mutant may take, from the seconds of CPU time without a mutant."""

    cpu: float

    @property
    def cpu_seconds(self) -> int:
        return int(max(_LEAST_SECONDS, self.cpu * _TIMES)) + 1

    @property
    def wall_seconds(self) -> int:
        return self.cpu_seconds * _WALL


# --- Forks


def _in_fork(work: Callable[[], object]) -> Any:  # noqa: ANN401 - JSON
    """Return what `work` returns in a fork, or None if the fork ends without an answer."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reader)
        try:
            answer = json.dumps(work())
        except BaseException:  # noqa: BLE001 - whatever it is, it ends the fork, and the caller reports it
            answer = json.dumps(traceback.format_exc())
        with os.fdopen(writer, "w") as file:
            file.write(answer)
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as file:
        text = file.read()
    os.waitpid(child, 0)
    return json.loads(text) if text else None


def _try(chosen: Sequence[Any], work: Callable[[Any], bool], limits: _Limits, jobs: int) -> list[Any]:
    """Run `work` in a fork for each one, and return those for which it is true."""
    running: dict[int, tuple[Any, float, str]] = {}
    passed = []
    waiting = list(reversed(chosen))
    while waiting or running:
        while waiting and len(running) < jobs:
            one = waiting.pop()
            directory = tempfile.mkdtemp(prefix="mutant-")
            running[_start(functools.partial(work, one), limits, directory)] = (
                one,
                time.monotonic() + limits.wall_seconds,
                directory,
            )
        time.sleep(0.002)  # os.waitpid takes no timeout
        for child, (one, deadline, directory) in list(running.items()):
            done, status = os.waitpid(child, os.WNOHANG)
            if not done and time.monotonic() < deadline:
                continue
            with contextlib.suppress(ProcessLookupError):
                os.killpg(child, signal.SIGKILL)
            if not done:
                _, status = os.waitpid(child, 0)
            del running[child]
            shutil.rmtree(directory, ignore_errors=True)
            if os.waitstatus_to_exitcode(status) == _SURVIVED:
                passed.append(one)
    return passed


def _start(work: Callable[[], bool], limits: _Limits, directory: str) -> int:
    child = os.fork()
    if child:
        return child
    code = _KILLED
    with contextlib.suppress(BaseException):
        os.setpgid(0, 0)
        resource.setrlimit(resource.RLIMIT_CPU, (limits.cpu_seconds, limits.cpu_seconds + 1))
        resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
        os.environ["PYTEST_DEBUG_TEMPROOT"] = os.environ["TMPDIR"] = tempfile.tempdir = directory
        _silence()
        code = _SURVIVED if work() else _KILLED
    os._exit(code)


def _silence() -> None:
    null = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(null, descriptor)


# --- Mutants of functions, in a process that has collected the tests


def _run_collected(module: Module, chosen: Sequence[int], jobs: int) -> object:
    loop = _Loop(module, chosen, jobs)
    with tempfile.TemporaryDirectory(prefix="mutants-") as directory, Path(os.devnull).open("w") as null:
        os.environ["PYTEST_DEBUG_TEMPROOT"] = directory
        saved = os.dup(1)
        os.dup2(null.fileno(), 1)
        status = pytest.main([*_ARGUMENTS, *module.tests], plugins=[loop])
        os.dup2(saved, 1)
    return loop.answer or loop.failure or f"pytest ended with status {int(status)}"


class _Loop:
    """Run the collected tests: once as they are, once more in a fork, and once in a fork for each mutant."""

    def __init__(self, module: Module, chosen: Sequence[int], jobs: int) -> None:
        self._module = module
        self._chosen = chosen
        self._jobs = jobs
        self.answer: dict[str, Any] | None = None
        self.failure = ""

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed and not self.failure:
            self.failure = f"{report.nodeid} fails"

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.failed and not self.failure:
            self.failure = f"{report.nodeid} is not collected: {report.longreprtext}"

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        if session.testsfailed or not session.items:
            return True
        calls = _Calls(self._module.file, len(session.items))
        started = time.process_time()
        if _run_tests(session, session.items, calls.record):
            return True
        limits = _Limits(cpu=time.process_time() - started)
        _clear_caches()
        functions = _functions(self._module.file)
        gc.collect()
        gc.freeze()
        if not _try([None], lambda _: _run_tests(session, session.items) is None, limits, 1):
            self.failure = "the tests fail when they run for the second time in one process"
            return True

        def survives(index: int) -> bool:
            mutant = self._module.mutants[index]
            if mutant.at_import:
                _replace_values(self._module, mutant)
                return calls.run(session, session.items)
            _replace_code(functions, _compiled(self._module, mutant))
            return calls.run(session, calls.of(session.items, mutant.function))

        self.answer = {"cpu": limits.cpu, "survived": _try(self._chosen, survives, limits, self._jobs)}
        return True


def _run_tests(
    session: pytest.Session,
    items: Sequence[pytest.Item],
    around: Callable[[pytest.Item], contextlib.AbstractContextManager[None]] | None = None,
) -> pytest.Item | None:
    """Run the tests until one fails, and return that one."""
    for item, following in zip(items, [*items[1:], None], strict=True):
        with around(item) if around else contextlib.nullcontext():
            item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
        if session.testsfailed:
            return item
    return None


class _Calls:
    """Which tests call which functions of a file, and how long each test takes."""

    def __init__(self, file: str, count: int) -> None:
        self._file = file
        #: How many mutants each test killed. All forks share this memory.
        self._kills = mmap.mmap(-1, count)
        self._called: dict[pytest.Item, set[str]] = {}
        self._seconds: dict[pytest.Item, float] = {}

    @contextlib.contextmanager
    def record(self, item: pytest.Item) -> Iterator[None]:
        called = self._called.setdefault(item, set())
        file = self._file

        def see(frame: Any, event: str, _: object) -> None:  # noqa: ANN401 - a frame
            if event == "call" and frame.f_code.co_filename == file:
                called.add(frame.f_code.co_qualname.replace(".<locals>", ""))

        started = time.process_time()
        sys.setprofile(see)
        try:
            yield
        finally:
            sys.setprofile(None)
            self._seconds[item] = time.process_time() - started

    def of(self, items: Sequence[pytest.Item], function: str) -> list[pytest.Item]:
        """Return the tests that call the function."""
        return [item for item in items if function in self._called[item]]

    def run(self, session: pytest.Session, items: Sequence[pytest.Item]) -> bool:
        """Run the tests until one fails: first those that killed other mutants, then the fast ones."""
        places = {item: place for place, item in enumerate(session.items)}
        ordered = sorted(items, key=lambda item: (-self._kills[places[item]], self._seconds[item]))
        killer = _run_tests(session, ordered)
        if killer is not None:
            self._kills[places[killer]] = min(self._kills[places[killer]] + 1, 255)
        return killer is None


def _clear_caches() -> None:
    """Forget what the caches of the package keep from the run without a mutant."""
    for found in gc.get_objects():
        if isinstance(found, functools._lru_cache_wrapper) and str(found.__module__).startswith("verifier."):  # noqa: SLF001 - the type of cached functions has no other name
            found.cache_clear()
        elif type(found).__name__ == "ByteCache":
            found._kept.clear()  # noqa: SLF001 - the package needs no way to clear its caches
            found._total = 0  # noqa: SLF001 - as above


def _functions(file: str) -> list[FunctionType]:
    return [
        found for found in gc.get_objects() if isinstance(found, FunctionType) and found.__code__.co_filename == file
    ]


def _replace_code(functions: Sequence[FunctionType], compiled: CodeType) -> None:
    """Give each function its code from the compiled module."""
    codes = {(code.co_qualname, code.co_firstlineno): code for code in _nested(compiled)}
    for function in functions:
        code = codes.get((function.__code__.co_qualname, function.__code__.co_firstlineno))
        if code is not None and code != function.__code__:
            # A function that uses fewer variables of the function around it does not fit: the second try decides.
            with contextlib.suppress(ValueError):
                function.__code__ = code


def _statement(module: Module, mutant: Mutant) -> ast.stmt:
    """Return the statement of the module that the mutant changes."""
    for index, statement in enumerate(module.tree.body):
        if mutant.place.parent is module.tree and mutant.place.index == index:
            return statement
        if any(node is mutant.place.parent for node in ast.walk(statement)):
            return statement
    raise MutationError(f"{module.path}: no statement has the mutant {mutant.key}")


def _is_replaceable(module: Module, mutant: Mutant) -> bool:
    """Whether the mutant can be put in place after the import: a function's code, or the value of a name."""
    if not mutant.at_import:
        return True
    match _statement(module, mutant):
        case ast.Assign(targets=[ast.Name()]) | ast.AnnAssign(target=ast.Name(), value=ast.expr()):
            return True
        case _:
            return False


def _replace_values(module: Module, mutant: Mutant) -> None:
    """Compute the changed value, then those of later statements that use it, and bind each in every module."""
    first = _statement(module, mutant)
    mutant.apply()
    changed: set[str] = set()
    for statement in module.tree.body[module.tree.body.index(first) :]:
        if not isinstance(statement, ast.Assign | ast.AnnAssign):
            continue
        used = {node.id for node in ast.walk(statement) if isinstance(node, ast.Name)}
        if statement is first or used & changed:
            name = _rebind(module, statement)
            changed.add(name)


def _rebind(module: Module, statement: ast.Assign | ast.AnnAssign) -> str:
    [target] = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
    name = ast.unparse(target)
    values = dict(vars(sys.modules[module.name]))
    old = values.get(name)
    code = ast.fix_missing_locations(ast.Module(body=[statement], type_ignores=[]))
    exec(compile(code, module.file, "exec", dont_inherit=True), values)  # noqa: S102 - the module's own statement
    for other in list(sys.modules.values()):
        if getattr(other, "__dict__", {}).get(name, values) is old:
            setattr(other, name, values[name])
    return name


def _nested(code: CodeType) -> Iterator[CodeType]:
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield constant
            yield from _nested(constant)


def _compiled(module: Module, mutant: Mutant | None) -> CodeType:
    if mutant is not None:
        mutant.apply()
    compiled: CodeType = compile(ast.fix_missing_locations(module.tree), module.file, "exec", dont_inherit=True)
    return compiled


# --- Mutants of what runs at the import, and survivors


def _import_and_test(module: Module, mutant: Mutant | None) -> bool:
    """Run the tests in this process, which has not imported the package, with the changed module."""
    sys.meta_path.insert(0, _Finder(module.name, _compiled(module, mutant)))
    return pytest.main([*_ARGUMENTS, *module.tests]) == pytest.ExitCode.OK


class _Finder:
    """Find one module with other code."""

    def __init__(self, name: str, code: CodeType) -> None:
        self._name = name
        self._code = code

    def find_spec(self, name: str, path: Sequence[str] | None, target: object = None) -> Any:  # noqa: ANN401, ARG002 - the interface of finders
        if name != self._name:
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, path)
        if spec is None or spec.origin is None:
            return None
        spec.loader = _Loader(name, spec.origin, self._code)
        return spec


class _Loader(importlib.machinery.SourceFileLoader):
    def __init__(self, name: str, path: str, code: CodeType) -> None:
        super().__init__(name, path)
        self._code = code

    def get_code(self, fullname: str) -> CodeType:  # noqa: ARG002 - the interface of loaders
        return self._code


def end(message: str) -> NoReturn:
    sys.exit(f"mutants: {message}")
