"""Code that exists only here: taken out of scripts and notebooks, or copied as files, so that it travels along.

What was defined in `__main__` becomes the module `notebook_code`: the source of each class and function that is needed,
with the imports, constants and helpers they refer to, and nothing else of the script. Values that are not constants (a
fitted model, an array) travel pickled beside it.
"""

from __future__ import annotations

import ast
import builtins
import inspect
import linecache
import shutil
import symtable
import sys
import textwrap
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any

from tenfold.errors import CannotPackage
from tenfold.packaging.origins import MAIN, LocalModule, is_importable, origin_of
from tenfold.packaging.pickling import TRAVELLING_MODULE, main_namespace, pickled

KEPT = "notebook_values.pickle"
STAND_IN = Path(__file__).parent.parent / "files.py"
SKIPPED = shutil.ignore_patterns("__pycache__", "*.pyc", ".git", ".venv", ".ipynb_checkpoints", "*.egg-info")

RESTORE = f"""
with open(__import__("pathlib").Path(__file__).with_name({KEPT!r}), "rb") as _file:
    globals().update(__import__("pickle").load(_file))
"""


@dataclass(frozen=True)
class Carried:
    """Modules that the carried code imports (beyond those asked for), and remarks for the user."""

    modules: frozenset[str]
    notes: tuple[str, ...] = ()


def carry(own: Iterable[str], modules: Iterable[str], folder: Path) -> Carried:
    """Puts into `folder` (a package's packages/) what `own` names of `__main__` and local `modules` need.

    Raises CannotPackage.
    """
    own = sorted(set(own))
    collected = _Collector(main_namespace())
    for name in own:
        collected.add(name)
    if own:
        folder.mkdir(parents=True, exist_ok=True)
        collected.write(folder)
    needed = {*modules, *collected.modules}
    copied: dict[str, LocalModule] = {}
    waiting = sorted(needed)
    while waiting:
        module = waiting.pop()
        root = module.partition(".")[0]
        if root in copied or root in (MAIN, TRAVELLING_MODULE):
            continue
        if root == "tenfold":
            _carry_stand_in(folder)
            continue
        origin = origin_of(root)
        if isinstance(origin, LocalModule):
            copied[root] = origin
            _copy(origin, folder)
            found = _imports_of_files(origin.path)
            needed |= found
            waiting.extend(sorted(found))
    local = {*copied, MAIN, TRAVELLING_MODULE, "tenfold"}
    remaining = frozenset(module for module in needed if module.partition(".")[0] not in local)
    notes = tuple(f"carries {origin.path.name}" for _, origin in sorted(copied.items()))
    return Carried(remaining, notes)


def source_of(value: type | FunctionType) -> tuple[str, ast.Module]:
    """The source of a class or function, as text and parsed. Raises CannotPackage when Python does not have it."""
    definition, lines = _definition(value)
    first = min([definition.lineno, *(decorator.lineno for decorator in definition.decorator_list)])
    text = textwrap.dedent("".join(lines[first - 1 : definition.end_lineno]))
    return text, ast.parse(text)


# --- what was defined in the script or notebook


class _Collector:
    """Follows names from the ones asked for to everything they refer to."""

    def __init__(self, namespace: Mapping[str, Any]) -> None:
        self._namespace = namespace
        self._imports: dict[str, str] = {}
        self._constants: dict[str, str] = {}
        self._definitions: dict[str, str] = {}
        self._needs_first: dict[str, set[str]] = {}
        self._values: dict[str, Any] = {}
        self._asked_by: dict[str, str] = {}
        self.modules: set[str] = set()

    def add(self, name: str, asked_by: str = "") -> None:
        if any(name in known for known in (self._imports, self._constants, self._definitions, self._values)):
            return
        if name not in self._namespace:
            return  # a builtin, or a name that only exists when the code runs: Python will say so
        value = self._namespace[name]
        self._asked_by[name] = asked_by
        if isinstance(value, ModuleType):
            self._import_module(name, value)
        elif isinstance(value, type | FunctionType):
            self._add_definition(name, value)
        elif _is_constant(value):
            self._constants[name] = f"{name} = {value!r}"
        else:
            self._add_value(name, value)

    def write(self, folder: Path) -> None:
        kept, own = self._pickle_values()
        head = ["from __future__ import annotations", "", *sorted(set(self._imports.values()))]
        parts = ["\n".join(head), "\n".join(self._constants.values())]
        ordered = self._in_order()
        restore_last = bool(own)
        if kept and not restore_last:
            parts.append(RESTORE.strip())
        parts += [self._definitions[name].rstrip() for name in ordered]
        if kept and restore_last:
            parts.append(RESTORE.strip())
        text = "\n\n\n".join(part for part in parts if part) + "\n"
        (folder / f"{TRAVELLING_MODULE}.py").write_text(text, encoding="utf-8")
        if kept:
            (folder / KEPT).write_bytes(kept)

    def _pickle_values(self) -> tuple[bytes, frozenset[str]]:
        """The values that travel pickled, and which own classes and functions they are made of."""
        if not self._values:
            return b"", frozenset()
        own: set[str] = set()
        while True:  # what a value is made of may refer to further values
            known = len(self._values)
            made = pickled(dict(self._values), "the globals")
            own |= made.own
            self.modules |= made.modules
            for name in sorted(made.own):
                self.add(name)
            if len(self._values) == known:
                return made.data, frozenset(own)

    def _import_module(self, name: str, module: ModuleType) -> None:
        path = module.__name__
        root, _, last = path.rpartition(".")
        self.modules.add(path)
        if path == name:
            self._imports[name] = f"import {path}"
        elif root and last == name:
            self._imports[name] = f"from {root} import {last}"
        else:
            self._imports[name] = f"import {path} as {name}"

    def _add_definition(self, name: str, value: type | FunctionType) -> None:
        if value.__module__ != MAIN:
            self._import_name(name, value)
            return
        if isinstance(value, FunctionType) and value.__name__ == "<lambda>":
            code = value.__code__
            raise CannotPackage(
                f"{name} is a lambda ({code.co_filename}, line {code.co_firstlineno}), and cannot travel.",
                hint=f"Write it as a function: `def {name}(...): ...`.",
            )
        if value.__name__ != name:
            self.add(value.__name__, name)
            self._constants.setdefault(name, "")
            self._definitions[name] = f"{name} = {value.__name__}"
            self._needs_first[name] = {value.__name__}
            return
        text, tree = source_of(value)
        self._definitions[name] = text
        self._needs_first[name] = _names_at_definition(tree)
        for used in sorted(_names(tree)):
            if used != name:
                self.add(used, name)
        self.modules |= imports_of(tree, name)

    def _import_name(self, name: str, value: type | FunctionType) -> None:
        if hasattr(builtins, value.__name__) and getattr(builtins, value.__name__) is value:
            return
        module = _public_home(value)
        original = value.__qualname__
        if "." in original or module is None:
            self._add_value(name, value)
            return
        self.modules.add(module)
        suffix = "" if original == name else f" as {name}"
        self._imports[name] = f"from {module} import {original}{suffix}"

    def _add_value(self, name: str, value: Any) -> None:
        asked_by = self._asked_by.get(name)
        what = f"the global {name!r}" + (f" that {asked_by} uses" if asked_by else "")
        self._values[name] = value
        made = pickled(value, what)
        self.modules |= made.modules
        for own in sorted(made.own):
            self.add(own, name)

    def _in_order(self) -> list[str]:
        """Definitions after those that they need while they are defined: bases, decorators, defaults."""
        done: list[str] = []

        def place(name: str, above: tuple[str, ...]) -> None:
            if name in done or name in above:
                return
            for first in sorted(self._needs_first.get(name, ())):
                if first in self._definitions:
                    place(first, (*above, name))
            done.append(name)

        for name in self._definitions:
            place(name, ())
        return done


def _is_constant(value: Any) -> bool:
    """Whether its repr, read again, is the same value."""
    try:
        text = repr(value)
        again = ast.literal_eval(text) if len(text) < 10_000 else None
        return type(again) is type(value) and bool(again == value)
    except Exception:  # repr and == of any object may raise
        return False


def _public_home(value: type | FunctionType) -> str | None:
    """The shortest module path that offers it: `sklearn.linear_model`, not `sklearn.linear_model._logistic`."""
    parts = value.__module__.split(".")
    for count in range(1, len(parts) + 1):
        module = sys.modules.get(".".join(parts[:count]))
        if module is not None and getattr(module, value.__name__, None) is value:
            return ".".join(parts[:count])
    return None


def _definition(value: type | FunctionType) -> tuple[ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef, list[str]]:
    filename, line = _place(value)
    lines = linecache.getlines(filename) if filename else []
    if lines:
        for node in ast.walk(ast.parse("".join(lines))):
            if not isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                continue
            first = min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])
            if node.name == value.__name__ and first <= line <= (node.end_lineno or first):
                return node, lines
    raise CannotPackage(
        f"The source of {value.__qualname__} cannot be found.",
        hint="Define it in a file or a notebook cell, not in an interactive prompt.",
    )


def _place(value: type | FunctionType) -> tuple[str | None, int]:
    """The file (or notebook cell) and a line within the definition."""
    if isinstance(value, FunctionType):
        plain = inspect.unwrap(value)
        return plain.__code__.co_filename, plain.__code__.co_firstlineno
    for member in vars(value).values():
        function = getattr(member, "__func__", getattr(member, "fget", member))
        function = inspect.unwrap(function) if callable(function) else function
        if not isinstance(function, FunctionType) or not function.__qualname__.startswith(f"{value.__qualname__}."):
            continue
        if linecache.getlines(function.__code__.co_filename):  # a dataclass has methods that nobody has written
            return function.__code__.co_filename, function.__code__.co_firstlineno
    try:
        return inspect.getsourcefile(value), inspect.getsourcelines(value)[1]
    except (OSError, TypeError):
        return None, 0


def _names(tree: ast.AST) -> set[str]:
    """Every global name that the code refers to, names in annotations given as text included.

    An argument or a variable of a function is none, whatever the notebook has under its name.
    """
    found = set(_global_names(symtable.symtable(ast.unparse(tree), "<carried>", "exec")))
    for node in ast.walk(tree):
        annotation = getattr(node, "annotation", None) or getattr(node, "returns", None)
        if isinstance(annotation, ast.Constant) and isinstance(annotation.value, str):
            try:
                annotation = ast.parse(annotation.value)
            except SyntaxError:
                continue
        if isinstance(annotation, ast.AST):
            found |= {inner.id for inner in ast.walk(annotation) if isinstance(inner, ast.Name)}
    return found


def _global_names(table: symtable.SymbolTable) -> Iterator[str]:
    is_module = table.get_type() == "module"
    for symbol in table.get_symbols():
        if symbol.is_referenced() and (is_module or symbol.is_global()):
            yield symbol.get_name()
    for child in table.get_children():
        yield from _global_names(child)


def _names_at_definition(tree: ast.Module) -> set[str]:
    """Names that must be there before the definition runs."""
    found: set[str] = set()
    for node in tree.body:
        if isinstance(node, ast.ClassDef):
            heads: list[ast.AST] = [*node.bases, *node.keywords, *node.decorator_list, *node.body]
            for part in heads:
                if isinstance(part, ast.FunctionDef | ast.AsyncFunctionDef):
                    found |= _names_of_head(part)
                else:
                    found |= _names(part)
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            found |= _names_of_head(node)
    return found


def _names_of_head(function: ast.FunctionDef | ast.AsyncFunctionDef) -> set[str]:
    heads = [*function.decorator_list, *function.args.defaults, *filter(None, function.args.kw_defaults)]
    return {name for head in heads for name in _names(head)}


# --- imports


def imports_of(tree: ast.AST, where: str = "") -> set[str]:
    """Absolute imports anywhere in the code. One that cannot be imported here may fail only inside `try`."""
    found: set[str] = set()
    optional = {id(inner) for node in ast.walk(tree) if isinstance(node, ast.Try) for inner in ast.walk(node)}
    for node in ast.walk(tree):
        for module in _imported(node):
            if is_importable(module):
                found.add(module)
            elif id(node) not in optional:
                raise CannotPackage(
                    f"{where or 'The code'} imports {module!r}, which cannot be imported on this machine.",
                    hint=f"Install it here, so that its version is known (line {getattr(node, 'lineno', '?')}).",
                )
    return found


def _imported(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module and node.module != "__future__":
        yield node.module


def _imports_of_files(path: Path) -> set[str]:
    files = sorted(path.rglob("*.py")) if path.is_dir() else [path]
    found: set[str] = set()
    for file in files:
        try:
            tree = ast.parse(file.read_text(encoding="utf-8"), filename=str(file))
        except (SyntaxError, UnicodeDecodeError):
            continue
        for node in ast.walk(tree):
            found |= {module for module in _imported(node) if is_importable(module) or _is_beside(module, file)}
    return found


def _is_beside(module: str, file: Path) -> bool:
    root = module.partition(".")[0]
    return (file.parent / f"{root}.py").is_file() or (file.parent / root / "__init__.py").is_file()


# --- copying


def _copy(module: LocalModule, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    if module.path.is_dir():
        shutil.copytree(module.path, folder / module.name, ignore=SKIPPED, dirs_exist_ok=True)
    else:
        shutil.copyfile(module.path, folder / f"{module.name}.py")


def _carry_stand_in(folder: Path) -> None:
    """`import tenfold` of carried code finds the types for files and images, and nothing of the SDK."""
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(STAND_IN, folder / "tenfold.py")
