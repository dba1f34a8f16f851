"""A Truss folder as it is. Only what must be known here is read: the platform checks the rest, all at once."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import yaml

from tenfold.errors import CannotPackage
from tenfold.packaging.package import Package, as_body
from tenfold.schema import ModelSchema


def package_folder(
    folder: Path, _name: str, root: Path, *, example: Any = None, schema: ModelSchema | None = None, **_: Any
) -> Package:
    """The folder with what it asks to be brought in (`external_package_dirs`). Raises CannotPackage.

    What else a deploy says does not change the folder: see wishes.py, and deploying.py for requirements and Python.
    """
    config = read_config(folder)
    outside = config.get("external_package_dirs") or []
    if outside:
        folder = _gathered(folder, config, [str(one) for one in outside], root)
    metadata = config.get("model_metadata") or {}
    ours = metadata.get("tenfold") if isinstance(metadata, dict) else None
    if schema is None and isinstance(ours, dict) and isinstance(ours.get("schema"), dict):
        schema = ModelSchema.of(ours["schema"])
    if example is None and isinstance(metadata, dict):
        example = metadata.get("example_model_input")
    if example is not None:
        example = as_body(example)
    framework = (ours.get("framework") if isinstance(ours, dict) else None) or config.get("model_framework") or "custom"
    return Package(root=folder, framework=str(framework), schema=schema, example=example, is_folder=True)


def name_of(folder: Path) -> str | None:
    """The model's name as the folder says it."""
    name = read_config(folder).get("model_name")
    return name if isinstance(name, str) else None


def read_config(folder: Path) -> dict[str, Any]:
    if not folder.is_dir():
        raise CannotPackage(f"There is no folder {folder}.", hint="Name a folder with a config.yaml.")
    file = folder / "config.yaml"
    if not file.is_file():
        hint = "Rename config.yml to config.yaml." if (folder / "config.yml").is_file() else "Add one; it may be empty."
        raise CannotPackage(f"{folder} is not a model package: it has no config.yaml.", hint=hint)
    try:
        config = yaml.safe_load(file.read_text(encoding="utf-8-sig"))
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f" (line {mark.line + 1}, column {mark.column + 1})" if mark else ""
        raise CannotPackage(f"{file} cannot be read{where}: {error.problem}.", hint="Correct it.") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise CannotPackage(f"{file} cannot be read: {error}", hint="Save it as UTF-8 text.") from None
    if not isinstance(config, dict | None):
        raise CannotPackage(f"{file} does not hold keys and values.", hint="Write it as `key: value` lines.")
    return config or {}


def _gathered(folder: Path, config: dict[str, Any], outside: list[str], root: Path) -> Path:
    """A copy of the folder with the named folders' content in its packages folder."""
    made = root / "package"
    shutil.copytree(folder, made, symlinks=False, ignore=shutil.ignore_patterns("__pycache__", ".git"))
    target = made / str(config.get("bundled_packages_dir") or "packages")
    for one in outside:
        source = (folder / one).resolve()
        if not source.is_dir():
            raise CannotPackage(
                f"external_package_dirs names {one}, and there is no such folder.",
                hint="Write it relative to the folder of config.yaml.",
            )
        shutil.copytree(source, target, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__"))
    return made
