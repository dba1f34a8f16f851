"""An app's code in a worker.

Bundles loaded on demand, each in a namespace of its own, and their functions called in steps.
"""

from __future__ import annotations

import asyncio
import builtins
import importlib
import importlib.abc
import importlib.machinery
import importlib.util
import inspect
import json
import logging
import re
import sys
import threading
import time
from collections import OrderedDict
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any, Awaitable, Callable, Dict, List, Mapping, Optional, Sequence, Tuple

from tenfold_runtime import streams
from tenfold_runtime.annotations import Check, checker, hints, schema_of
from tenfold_runtime.answers import Answer, Output
from tenfold_runtime.encoding import decode_json, encode_json
from tenfold_runtime.faults import Fault, bad_input, user_fault
from tenfold_runtime.frames import Frame
from tenfold_runtime.threads import Interrupted, Threads, UserLoop, is_async

_THREADS = 64
_BUNDLES_KEPT = 64
_DIGEST = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,127}")
_CODE = "tenfold_code_"
_PACKAGES = "tenfold_packages_"
_SPECIAL = ("block_input", "env", "context")


class Context:
    """What a function may ask for as `context`: which request and step it is part of, and a logger."""

    def __init__(self, request_id: Optional[str], step: str) -> None:
        self.request_id = request_id
        self.step = step
        self.logger = logging.getLogger("tenfold")


class CodeHost:
    """Answers `call` and `describe` for any number of bundles below one folder. Lives on the worker's event loop."""

    kind = "code"
    reads_requests = True
    places = None

    def __init__(self, folder: Path, loop: asyncio.AbstractEventLoop) -> None:
        self._bundles = Bundles(folder)
        self._threads = Threads(loop, limit=_THREADS)
        self._user_loop = UserLoop(loop)
        self._since = time.time()
        _log_to_stderr()

    def submit(self, *_: object) -> None:
        """Steps are not put together."""

    async def loaded(self) -> None:
        """There is nothing to load before it is asked."""

    async def health(self) -> Dict[str, Any]:
        return {"state": "ready", "since": self._since}

    def operations(self) -> Mapping[str, Callable[[Frame, Output], Awaitable[Answer]]]:
        return {"call": self.call, "describe": self.describe}

    def close(self) -> None:
        """Nothing of it outlives the worker's process."""

    async def call(self, frame: Frame, _: Output) -> Answer:
        """Runs the frame's steps one after the other, until one fails."""
        header = frame.header
        steps = _read_steps(header)
        values = await self._threads.run(partial(_read_values, frame.payload))
        bundle = await self._threads.run(partial(self._bundles.get, header.get("code")))
        run = _Run(bundle, steps, values, _text_mapping(header.get("env")), header.get("request_id"))
        waiting = await self._threads.run(run.advance)
        while waiting is not None:
            await self._user_loop.run(waiting)
            waiting = await self._threads.run(run.advance)
        return Answer(b'{"results":[' + b",".join(run.results) + b"]}")

    async def describe(self, frame: Frame, _: Output) -> Answer:
        """Says what the targets' signatures and docstrings tell."""
        targets = frame.header.get("targets")
        if not isinstance(targets, list) or not all(isinstance(target, str) for target in targets):
            raise bad_input("describe needs targets: a list of strings such as code/text.py:clean.")
        bundle = await self._threads.run(partial(self._bundles.get, frame.header.get("code")))
        answer: Answer = await self._threads.run(
            lambda: Answer.of({"functions": [bundle.describe(t) for t in targets]})
        )
        return answer


class Bundles:
    """The bundles that are loaded, at most 64 of them: the least recently used one goes first."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._loaded: "OrderedDict[str, Bundle]" = OrderedDict()
        self._lock = threading.Lock()
        _install_importing()

    def get(self, digest: Any) -> Bundle:
        """Raises Fault `code_missing` when the bundle is not on this machine."""
        if not isinstance(digest, str) or not _DIGEST.fullmatch(digest):
            raise bad_input("code must be the digest of a bundle.")
        with self._lock:
            if digest not in self._loaded:
                folder = self._folder / digest
                if not (folder / "code").is_dir():
                    raise Fault("code_missing", f"The code bundle {digest[:12]} is not on this machine.", status=404)
                self._loaded[digest] = Bundle(digest, folder)
                if len(self._loaded) > _BUNDLES_KEPT:
                    self._loaded.popitem(last=False)[1].unload()
            self._loaded.move_to_end(digest)
            return self._loaded[digest]


class Bundle:
    """One release's code: `code/` and `packages/` of one folder, importable by each other and by nobody else.

    Its modules live in sys.modules under names of their own. The import statement inside of them looks into the
    bundle first, so two bundles with the same file names never meet.
    """

    def __init__(self, digest: str, folder: Path) -> None:
        self._folder = folder
        self._code = _CODE + digest
        self._packages = _PACKAGES + digest
        self._tops = {self._packages: _names_in(folder / "packages"), self._code: _names_in(folder / "code")}
        self._functions: Dict[str, Function] = {}
        self.builtins = {**vars(builtins), "__import__": self._import}
        _bundles_by_root[self._code] = _bundles_by_root[self._packages] = self
        importlib.invalidate_caches()
        for root, path in ((self._code, folder / "code"), (self._packages, folder / "packages")):
            spec = importlib.machinery.ModuleSpec(root, None, is_package=True)
            spec.submodule_search_locations = [str(path)]
            sys.modules[root] = importlib.util.module_from_spec(spec)

    def unload(self) -> None:
        for root in (self._code, self._packages):
            _bundles_by_root.pop(root, None)
            for name in [name for name in list(sys.modules) if name == root or name.startswith(f"{root}.")]:
                sys.modules.pop(name, None)

    def function(self, target: str) -> Function:
        """Raises Fault: `unknown_target`, or `user_error` when the module raises while it is imported."""
        found = self._functions.get(target)
        if found is None:
            try:
                found = self._functions[target] = Function(target, self._find(target))
            except Interrupted:
                raise
            except BaseException as error:  # an annotation, too, is code of the user's
                raise user_fault(error) from None
        return found

    def describe(self, target: str) -> Dict[str, Any]:
        try:
            return {"target": target, "ok": True, **self.function(target).describe()}
        except Fault as fault:
            return {"target": target, "ok": False, "error": self.cleaned(fault).to_json()}

    def cleaned(self, fault: Fault) -> Fault:
        """The fault with the names that the author knows in the place of those that keep bundles apart."""
        fault.message = self._own_names(fault.message)
        fault.hint = fault.hint and self._own_names(fault.hint)
        fault.traceback = fault.traceback and self._own_names(fault.traceback)
        return fault

    def mapped(self, name: str, fromlist: Sequence[str] = ()) -> Optional[Tuple[str, str]]:
        """Where in sys.modules this bundle's modules find what they call `name`, and what they call its first part.

        None for what is not the bundle's.
        """
        top, _, rest = name.partition(".")
        for root, tops in self._tops.items():
            if top in tops:
                return f"{root}.{name}", f"{root}.{top}"
        inside = [rest.partition(".")[0]] if rest else list(fromlist)
        if top == "code" and any(part in self._tops[self._code] for part in inside):
            return f"{self._code}.{rest}" if rest else self._code, self._code
        return None

    def _import(
        self,
        name: str,
        globals: Optional[Mapping[str, Any]] = None,
        locals: Optional[Mapping[str, Any]] = None,
        fromlist: Optional[Sequence[str]] = (),
        level: int = 0,
    ) -> ModuleType:
        mapped = self.mapped(name, fromlist or ()) if level == 0 else None
        if mapped is None:
            return __import__(name, globals, locals, fromlist or (), level)
        if fromlist:
            return __import__(mapped[0], globals, locals, fromlist, 0)
        importlib.import_module(mapped[0])
        return sys.modules[mapped[1]]

    def _find(self, target: str) -> Callable[..., Any]:
        path, _, name = target.partition(":")
        parts = path.split("/")
        safe = all(part and not part.startswith(".") and "\\" not in part for part in parts)
        if len(parts) < 2 or parts[0] != "code" or not path.endswith(".py") or not safe or not name.isidentifier():
            message = f"{target!r} does not name a function: write it as code/FILE.py:FUNCTION."
            raise Fault("unknown_target", message, status=404, source="input")
        if not self._folder.joinpath(*parts).is_file():
            raise Fault("unknown_target", f"There is no file {path}.", status=404, source="input")
        module = self._imported(".".join([self._code, *parts[1:]])[: -len(".py")])
        function: Any = getattr(module, name, None)
        if not callable(function):
            defined = [
                key
                for key, value in vars(module).items()
                if inspect.isfunction(value) and value.__module__ == module.__name__
            ]
            there = f" It defines {', '.join(defined)}." if defined else ""
            raise Fault("unknown_target", f"{path} has no function {name}.{there}", status=404, source="input")
        found: Callable[..., Any] = function
        return found

    def _imported(self, name: str) -> ModuleType:
        try:
            return importlib.import_module(name)
        except Interrupted:
            raise
        except BaseException as error:
            raise user_fault(error) from None

    def _own_names(self, text: str) -> str:
        for prefix, name in (
            (f"{self._code}.", ""),
            (f"{self._packages}.", ""),
            (self._code, "code"),
            (f"{self._folder}/", ""),
        ):
            text = text.replace(prefix, name)
        return text


class Function:
    """A function of a bundle, with what its signature says about its arguments."""

    def __init__(self, target: str, function: Callable[..., Any]) -> None:
        self.target = target
        self.function = function
        self.is_async = is_async(function)
        self._hints = hints(function)
        try:
            self._parameters = list(inspect.signature(function).parameters.values())
        except (TypeError, ValueError):  # compiled code may not tell
            self._parameters = []
        self._takes_any = any(p.kind is p.VAR_KEYWORD for p in self._parameters) or not _has_signature(function)
        self._named = [p for p in self._parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]
        self._takes_block = bool(self._named) and self._named[0].name == "block_input"
        self._checks: Dict[str, Check] = {}
        for parameter in self._named:
            annotation = self._hints.get(parameter.name, inspect.Parameter.empty)
            check = (
                None if annotation is inspect.Parameter.empty else checker(annotation, light=True, path=parameter.name)
            )
            if check is not None:
                self._checks[parameter.name] = check
        unreachable = [p.name for p in self._parameters if p.kind is p.POSITIONAL_ONLY and p.default is p.empty]
        if unreachable:
            raise Fault(
                "user_error",
                f"{target} takes {', '.join(unreachable)} by position only; arguments are passed by name.",
                source="user",
                hint="Remove the / from its signature.",
            )

    def bound(self, arguments: Mapping[str, Any], env: Mapping[str, str], context: Context) -> Dict[str, Any]:
        """Keyword arguments for one call.

        Raises Fault `bad_input` naming what is missing, unknown or of the wrong type.
        """
        names = {parameter.name for parameter in self._named}
        special = {"env": dict(env), "context": context}
        if self._takes_block:
            given: Dict[str, Any] = {"block_input": dict(arguments), **special}
            return {name: value for name, value in given.items() if name in names}
        unknown = [name for name in arguments if name not in names]
        if unknown and not self._takes_any:
            raise self._misfit(
                f"{self.target} has no parameter {unknown[0]!r}; {self._takes()}.", unknown[0], "unknown"
            )
        values = {name: value for name, value in special.items() if name in names and name not in arguments}
        values.update(arguments)
        for parameter in self._named:
            if parameter.default is parameter.empty and parameter.name not in values:
                message = f"{self.target} needs {parameter.name!r}; {self._takes()}."
                raise self._misfit(message, parameter.name, "missing")
        return {name: self._checks[name](value) if name in self._checks else value for name, value in values.items()}

    def describe(self) -> Dict[str, Any]:
        returns = self._hints.get("return", inspect.Parameter.empty)
        return {
            "parameters": [self._described(parameter) for parameter in self._named],
            "returns": _annotation_name(returns),
            "returns_schema": schema_of(returns),
            "doc": inspect.getdoc(self.function),
            "takes_block_input": self._takes_block,
        }

    def _described(self, parameter: inspect.Parameter) -> Dict[str, Any]:
        annotation = self._hints.get(parameter.name, inspect.Parameter.empty)
        required = parameter.default is parameter.empty and parameter.name not in _SPECIAL
        return {
            "name": parameter.name,
            "type": _annotation_name(annotation),
            "schema": schema_of(annotation),
            "required": required,
        }

    def _takes(self) -> str:
        names = [parameter.name for parameter in self._named if parameter.name not in _SPECIAL]
        return f"it takes {', '.join(names)}" if names else "it takes no arguments"

    def _misfit(self, message: str, field: str, problem: str) -> Fault:
        return bad_input(message, details={"field": field, "message": problem})


class _Run:
    """The steps of one call, in order. `results` holds one JSON object per step that ran."""

    def __init__(
        self,
        bundle: Bundle,
        steps: List[Dict[str, Any]],
        values: Dict[str, Any],
        env: Mapping[str, str],
        request_id: Any,
    ) -> None:
        self.results: List[bytes] = []
        self._bundle = bundle
        self._steps = steps
        self._values = values
        self._env = env
        self._request_id = request_id if isinstance(request_id, str) else None
        self._next = 0
        self._failed = False

    def advance(self) -> Optional[Callable[[], Awaitable[None]]]:
        """Runs plain functions until the steps are done (None) or the next is a coroutine function, which is
        answered.
        """
        while self._next < len(self._steps) and not self._failed:
            step = self._steps[self._next]
            self._next += 1
            started = time.time(), time.perf_counter()
            with streams.recorded() as log:
                try:
                    function, arguments = self._prepared(step)
                    if function.is_async:
                        return partial(self._awaited, step, function, arguments, log)
                    output = self._finished(function.function(**arguments))
                    if inspect.isawaitable(output) or inspect.isasyncgen(output):
                        return partial(self._awaited, step, lambda value=output: value, {}, log)
                    self._succeed(step, started, log, output)
                except Interrupted:
                    raise
                except BaseException as error:
                    self._fail(step, started, log, error)
        return None

    async def _awaited(
        self, step: Dict[str, Any], function: Any, arguments: Dict[str, Any], log: streams.StepLog
    ) -> None:
        started = time.time(), time.perf_counter()
        with streams.recorded(log):
            try:
                call = function.function if isinstance(function, Function) else function
                output = call(**arguments)
                if inspect.isawaitable(output):
                    output = await output
                if inspect.isasyncgen(output):
                    output = [part async for part in output]
                self._succeed(step, started, log, self._finished(output))
            except asyncio.CancelledError:
                raise
            except BaseException as error:
                self._fail(step, started, log, error)

    def _prepared(self, step: Dict[str, Any]) -> Tuple[Function, Dict[str, Any]]:
        function = self._bundle.function(step["target"])
        arguments = {name: self._resolved(name, value) for name, value in step["arguments"].items()}
        return function, function.bound(arguments, self._env, Context(self._request_id, step["name"]))

    def _resolved(self, name: str, value: Any) -> Any:
        if not isinstance(value, dict) or list(value) != ["$ref"]:
            return value
        reference = value["$ref"]
        if reference not in self._values:
            known = ", ".join(self._values) or "nothing"
            raise bad_input(f"{name} refers to {reference!r}, but there is only {known}.")
        held = self._values[reference]
        if isinstance(held, bytes):
            held = self._values[reference] = json.loads(held)
        return held

    def _finished(self, output: Any) -> Any:
        return list(output) if inspect.isgenerator(output) else output

    def _succeed(self, step: Dict[str, Any], started: Tuple[float, float], log: streams.StepLog, output: Any) -> None:
        body, warnings = encode_json(output)
        self._values[step["name"]] = body
        fields = {**_timing(step, started, log), "ok": True}
        if warnings:
            fields["warnings"] = warnings
        self.results.append(json.dumps(fields).encode("ascii")[:-1] + b',"output":' + body + b"}")

    def _fail(
        self, step: Dict[str, Any], started: Tuple[float, float], log: streams.StepLog, error: BaseException
    ) -> None:
        fault = self._bundle.cleaned(user_fault(error))
        if fault.traceback:
            streams.report(fault.traceback)
        self.results.append(
            json.dumps({**_timing(step, started, log), "ok": False, "error": fault.to_json()}).encode("ascii")
        )
        self._failed = True


_bundles_by_root: Dict[str, Bundle] = {}


class _Finder(importlib.abc.MetaPathFinder):
    """Finds the modules of bundles, and gives them the bundle's own import statement."""

    def find_spec(
        self, fullname: str, path: Optional[Sequence[str]], target: Optional[ModuleType] = None
    ) -> Optional[importlib.machinery.ModuleSpec]:
        bundle = _bundles_by_root.get(fullname.partition(".")[0])
        if bundle is None:
            return None
        spec = importlib.machinery.PathFinder.find_spec(fullname, path, target)
        if spec is not None and isinstance(spec.loader, importlib.machinery.SourceFileLoader):
            spec.loader = _Loader(fullname, spec.loader.path, bundle)
        return spec


class _Loader(importlib.machinery.SourceFileLoader):
    def __init__(self, fullname: str, path: str, bundle: Bundle) -> None:
        super().__init__(fullname, path)
        self._bundle = bundle

    def exec_module(self, module: ModuleType) -> None:
        vars(module)["__builtins__"] = self._bundle.builtins
        super().exec_module(module)


def _install_importing() -> None:
    """Makes bundles importable, and importlib.import_module in a bundle's code mean what its import statement means."""
    if any(isinstance(finder, _Finder) for finder in sys.meta_path):
        return
    sys.meta_path.insert(0, _Finder())
    plain = importlib.import_module

    def import_module(name: str, package: Optional[str] = None) -> ModuleType:
        caller = sys._getframe(1).f_globals.get("__name__", "")
        bundle = _bundles_by_root.get(str(caller).partition(".")[0])
        mapped = bundle.mapped(name) if bundle is not None and not name.startswith(".") else None
        return plain(mapped[0] if mapped else name, package)

    importlib.import_module = import_module


def _log_to_stderr() -> None:
    logger = logging.getLogger("tenfold")
    if not logger.handlers:
        handler = logging.StreamHandler(sys.stderr)
        handler.setFormatter(logging.Formatter("%(levelname)s %(message)s"))
        logger.addHandler(handler)
        logger.setLevel(logging.INFO)
        logger.propagate = False


def _read_steps(header: Mapping[str, Any]) -> List[Dict[str, Any]]:
    steps = header.get("steps")
    if not isinstance(steps, list) or not steps:
        raise bad_input("call needs steps: a list of {name, target, arguments}.")
    return [_read_step(index, step) for index, step in enumerate(steps)]


def _read_step(index: int, step: Any) -> Dict[str, Any]:
    if not isinstance(step, dict) or not isinstance(step.get("target"), str):
        raise bad_input(f"steps[{index}] must be an object with a target.")
    arguments = step.get("arguments") or {}
    if not isinstance(arguments, dict):
        raise bad_input(f"steps[{index}].arguments must be an object.")
    return {"name": str(step.get("name") or step["target"]), "target": step["target"], "arguments": arguments}


def _read_values(payload: bytes) -> Dict[str, Any]:
    values = decode_json(payload) if payload else {}
    if not isinstance(values, dict):
        raise bad_input("The payload of a call must be a JSON object: the values that arguments refer to.")
    return values


def _text_mapping(value: Any) -> Dict[str, str]:
    return {str(name): str(item) for name, item in value.items()} if isinstance(value, dict) else {}


def _timing(step: Mapping[str, Any], started: Tuple[float, float], log: streams.StepLog) -> Dict[str, Any]:
    return {
        "name": step["name"],
        "started_at": started[0],
        "seconds": round(time.perf_counter() - started[1], 6),
        "logs": log.text(),
    }


def _names_in(folder: Path) -> frozenset[str]:
    """The top-level names that can be imported from a folder."""
    if not folder.is_dir():
        return frozenset()
    suffixes = (".py", *importlib.machinery.EXTENSION_SUFFIXES)
    names = set()
    for entry in folder.iterdir():
        if entry.is_dir():
            names.add(entry.name)
        elif entry.name.endswith(suffixes):
            names.add(entry.name.partition(".")[0])
    return frozenset(name for name in names if name.isidentifier() and name != "__init__")


def _has_signature(function: Callable[..., Any]) -> bool:
    try:
        inspect.signature(function)
    except (TypeError, ValueError):
        return False
    return True


def _annotation_name(annotation: Any) -> Optional[str]:
    if annotation is inspect.Parameter.empty:
        return None
    if isinstance(annotation, type) and not getattr(annotation, "__args__", None):
        return annotation.__name__
    return str(annotation).replace("typing.", "")
