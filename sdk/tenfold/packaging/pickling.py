"""Pickles that load elsewhere: what was defined in a script or notebook is named by the module it travels in."""

from __future__ import annotations

import io
import pickle
import pkgutil
import sys
from collections.abc import Iterator
from types import BuiltinFunctionType, FunctionType, ModuleType
from typing import Any

from tenfold.errors import CannotPackage
from tenfold.packaging.origins import MAIN

TRAVELLING_MODULE = "notebook_code"
"""The name under which a package has what was defined in `__main__`."""


class Pickled:
    """The bytes of an object, the modules it needs, and which names of `__main__` it refers to."""

    def __init__(self, data: bytes, modules: frozenset[str], own: frozenset[str]) -> None:
        self.data = data
        self.modules = modules
        self.own = own


def pickled(value: Any, what: str) -> Pickled:
    """Pickles `value`, which messages call `what`. Raises CannotPackage that names the part that cannot travel."""
    buffer = io.BytesIO()
    pickler = _Pickler(buffer)
    try:
        pickler.dump(value)
    except CannotPackage as refusal:
        where = _guilty(value, what)
        raise CannotPackage(f"{where}: {refusal.message}", hint=refusal.hint) from None
    except Exception as error:  # __reduce__ of any class may raise anything
        where = _guilty(value, what)
        raise CannotPackage(
            f"{where} cannot be pickled: {error}",
            hint="Make it in load() instead, or leave it out with __getstate__.",
        ) from error
    return Pickled(buffer.getvalue(), frozenset(pickler.modules), frozenset(pickler.own))


class _Pickler(pickle.Pickler):
    def __init__(self, file: io.BytesIO) -> None:
        super().__init__(file, protocol=5)
        self.modules: set[str] = set()
        self.own: set[str] = set()

    def reducer_override(self, value: Any) -> Any:
        if isinstance(value, FunctionType):
            _check_function(value)
        elif not isinstance(value, type):
            if isinstance(value, BuiltinFunctionType) and value.__module__:
                self.modules.add(value.__module__)
            else:
                self.modules.add(type(value).__module__)
            return NotImplemented
        module = value.__module__
        self.modules.add(module)
        if module != MAIN:
            return NotImplemented
        if "<locals>" in value.__qualname__:
            raise CannotPackage(
                f"the class {value.__qualname__} is defined inside a function",
                hint="Define it at the top of your script or notebook.",
            )
        self.own.add(value.__qualname__.partition(".")[0])
        return pkgutil.resolve_name, (f"{TRAVELLING_MODULE}:{value.__qualname__}",)


def _check_function(function: FunctionType) -> None:
    code = function.__code__
    line = f"{code.co_filename}, line {code.co_firstlineno}"
    if function.__name__ == "<lambda>":
        raise CannotPackage(
            f"a lambda cannot travel ({line})",
            hint="Write it as a function with a name: `def prepare(x): ...`, and use that.",
        )
    if "<locals>" in function.__qualname__:
        raise CannotPackage(
            f"the function {function.__name__} is defined inside another one ({line})",
            hint="Define it at the top of your script or notebook.",
        )


def _guilty(value: Any, what: str) -> str:
    """The path to the smallest part that does not pickle."""
    seen: set[int] = set()
    path = what
    while id(value) not in seen:
        seen.add(id(value))
        for name, part in _parts(value):
            if not _pickles(part):
                path, value = f"{path}{name}", part
                break
        else:
            break
    return path


def _parts(value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        yield from ((f"[{key!r}]", part) for key, part in value.items())
    elif isinstance(value, list | tuple | set | frozenset):
        yield from ((f"[{index}]", part) for index, part in enumerate(value))
    elif not isinstance(value, type | FunctionType | ModuleType):
        state = getattr(value, "__dict__", None)
        if isinstance(state, dict):
            yield from ((f".{name}", part) for name, part in state.items())


def _pickles(value: Any) -> bool:
    try:
        _Pickler(io.BytesIO()).dump(value)
    except Exception:  # as above
        return False
    return True


def main_namespace() -> dict[str, Any]:
    """What the script or notebook has defined."""
    return vars(sys.modules[MAIN])
