"""A Truss folder as it is. Only what must be known here is read: the platform checks the rest, all at once."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from tenfold.errors import CannotPackage
from tenfold.packaging.config import read_config
from tenfold.packaging.package import Package, as_body, as_schema
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
        schema = as_schema(ours["schema"], "model_metadata.tenfold.schema in config.yaml")
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
