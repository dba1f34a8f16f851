"""A model's package on disk: its configuration, and its class, imported as the package's author expects."""

from __future__ import annotations

import importlib
import importlib.machinery
import importlib.util
import json
import linecache
import os
import sys
from pathlib import Path
from typing import Any, Dict, Iterator, List, Mapping, Optional

from tenfold_runtime.faults import load_failed

_DEFAULTS: Dict[str, Any] = {
    "model_module_dir": "model",
    "model_class_filename": "model.py",
    "model_class_name": "Model",
    "data_dir": "data",
    "bundled_packages_dir": "packages",
    "model_metadata": {},
    "environment_variables": {},
    "secrets": {},
    "build_commands": [],
    "docker_server": None,
    "runtime": {"predict_concurrency": 1, "streaming_read_timeout": 60, "enable_debug_logs": False},
}


def read_config(root: Path) -> Dict[str, Any]:
    """The package's configuration, as the platform normalised it, else as its author wrote it, with every default the
    worker needs.
    """
    config = {**_DEFAULTS, **_written_config(root)}
    config["runtime"] = {**_DEFAULTS["runtime"], **(config["runtime"] or {})}
    return config


def _written_config(root: Path) -> Dict[str, Any]:
    normalised = root / ".tenfold" / "config.json"
    if normalised.is_file():
        return _mapping(json.loads(normalised.read_text("utf-8")), normalised.name)
    written = root / "config.yaml"
    if not written.is_file():
        return {}
    try:
        import yaml  # type: ignore[import-untyped,unused-ignore]  # where the user's environment has it
    except ImportError:
        return {}
    return _mapping(yaml.safe_load(written.read_text("utf-8")) or {}, written.name)


def _mapping(value: Any, name: str) -> Dict[str, Any]:
    if not isinstance(value, dict):
        raise load_failed(f"{name} must hold a mapping of settings.")
    return {str(key): item for key, item in value.items() if item is not None}


def enter(root: Path, config: Mapping[str, Any]) -> None:
    """Makes the package the place where its code runs: the working folder, and first on the import path."""
    os.chdir(root)
    for folder in (root / str(config["bundled_packages_dir"]), root):
        if str(folder) not in sys.path:
            sys.path.insert(0, str(folder))


def model_class(root: Path, config: Mapping[str, Any], inside: Optional[str] = None) -> Any:
    """The class that the package says is the model. Raises Fault `load_failed` when there is no such file or class.

    Its folders are imported under their own names, or (`inside`) below a module of that name, which is made for them.
    """
    folder, filename, name = (
        str(config[key]) for key in ("model_module_dir", "model_class_filename", "model_class_name")
    )
    path = root / folder / filename
    if not path.is_file():
        raise load_failed(
            f"The package has no {os.path.join(folder, filename)}.",
            hint="Put the model's class there, or set model_module_dir and model_class_filename in config.yaml.",
        )
    module = _import_file(root, path, inside)
    found = getattr(module, name, None)
    if found is None:
        classes = [
            key
            for key, value in vars(module).items()
            if isinstance(value, type) and value.__module__ == module.__name__
        ]
        there = f" It defines {', '.join(classes)}." if classes else ""
        raise load_failed(
            f"{os.path.join(folder, filename)} has no class {name}.{there}",
            hint="Name the class so, or set model_class_name in config.yaml.",
        )
    return found


def forget(root: Path, inside: str) -> None:
    """Takes a package that was imported `inside` a module out of the import system."""
    for name in [name for name in sys.modules if name == inside or name.startswith(f"{inside}.")]:
        del sys.modules[name]
    for known in (sys.path_importer_cache, linecache.cache):
        for path in [path for path in known if path.startswith(f"{root}{os.sep}")]:
            known.pop(path, None)


def _import_file(root: Path, path: Path, inside: Optional[str]) -> Any:
    parts = list(path.relative_to(root).with_suffix("").parts)
    if not all(part.isidentifier() for part in parts):
        raise load_failed(
            f"{path.relative_to(root)} cannot be imported: its folders and file need names that Python accepts."
        )
    above = [] if inside is None else [_made_module(inside)]
    for depth in range(1, len(parts)):
        _import_folder(".".join(above + parts[:depth]), root.joinpath(*parts[:depth]))
    return importlib.import_module(".".join(above + parts))


def _made_module(name: str) -> str:
    """A module that holds others and finds none by itself."""
    if name not in sys.modules:
        spec = importlib.machinery.ModuleSpec(name, None, is_package=True)
        sys.modules[name] = importlib.util.module_from_spec(spec)
    return name


def _import_folder(name: str, folder: Path) -> None:
    """Imports the package's own folder under its name, whatever else of that name the environment has installed."""
    if name in sys.modules:
        return
    script = folder / "__init__.py"
    if script.is_file():
        spec = importlib.util.spec_from_file_location(name, script, submodule_search_locations=[str(folder)])
    else:
        spec = importlib.machinery.ModuleSpec(name, None, is_package=True)
        spec.submodule_search_locations = [str(folder)]
    if spec is None:
        raise load_failed(f"{script} cannot be imported.")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    if spec.loader is not None:
        try:
            spec.loader.exec_module(module)
        except BaseException:
            del sys.modules[name]
            raise
    parent, _, last = name.rpartition(".")
    if parent:
        setattr(sys.modules[parent], last, module)


class SecretNotFound(KeyError):
    """A secret that the model asks for and is not given. Says which, and where to set it."""

    def __str__(self) -> str:
        return str(self.args[0])


class Secrets(Mapping[str, str]):
    """The secrets a model declared, by name. Each is one file in a folder that only this worker can read."""

    def __init__(self, folder: Path | None, declared: Mapping[str, Any]) -> None:
        self._folder = folder
        self._declared = declared

    def __getitem__(self, name: str) -> str:
        if name in self._names():
            return (self._folder / name).read_text("utf-8")  # type: ignore[operator]
        if name in self._declared:
            raise SecretNotFound(
                f"Secret {name!r} is declared, but has no value in this workspace. "
                f"Set it with `tenfold secrets set {name}`, then deploy again, or restart the model if it was running."
            )
        raise SecretNotFound(
            f"Secret {name!r} is not declared. Add `{name}: null` under secrets in config.yaml, deploy again, "
            f"and set its value with `tenfold secrets set {name}`."
        )

    def __iter__(self) -> Iterator[str]:
        return iter(self._names())

    def __len__(self) -> int:
        return len(self._names())

    def __repr__(self) -> str:
        return f"Secrets({', '.join(self._names())})"

    def _names(self) -> List[str]:
        return sorted(os.listdir(self._folder)) if self._folder is not None and self._folder.is_dir() else []


class LazyDataResolver:
    """What Truss hands to models that wait for their weights.

    Here they are in the data folder before the worker starts.
    """

    def __init__(self, data_dir: Path) -> None:
        self._data_dir = data_dir

    def block_until_download_complete(self, *_: object, **__: object) -> Path:
        return self._data_dir
