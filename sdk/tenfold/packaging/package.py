"""A package on its way: a folder, and what is posted with it."""

from __future__ import annotations

import hashlib
import os
import platform
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tenfold.errors import CannotPackage
from tenfold.models import sendable
from tenfold.packaging.config import CONFIG_NAME, write_config
from tenfold.schema import ModelSchema

ADAPTERS = Path(__file__).with_name("adapters")
FORMAT = 1
"""Of `model_metadata.tenfold` in config.yaml; adapters and this number change together."""


@dataclass(frozen=True)
class ManifestEntry:
    """One file, by its place in the package and its content. `source` is where it lies now."""

    path: str
    source: Path
    digest: str
    size: int
    executable: bool

    def to_json(self) -> dict[str, Any]:
        return {"path": self.path, "digest": self.digest, "size": self.size, "executable": self.executable}


@dataclass(frozen=True)
class Package:
    """A folder that is ready to be sent.

    `framework` is shown on the model's page. `schema` and `example` are None when nothing is known about them; a folder
    written by somebody else (`is_folder`) brings its own requirements in its config.yaml.
    """

    root: Path
    framework: str
    schema: ModelSchema | None = None
    example: Any = None
    is_folder: bool = False
    python_version: str | None = None
    requirements: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    elsewhere: Mapping[str, Path] = field(default_factory=dict)
    """Files that lie elsewhere, by their place in the package; they go before those in `root`."""

    def files(self) -> dict[str, Path]:
        """Where every file lies, by its place in the package, in order of place."""
        sources = {path.relative_to(self.root).as_posix(): path for path in _files(self.root)} | dict(self.elsewhere)
        return {place: sources[place] for place in sorted(sources, key=lambda place: place.encode("utf-8"))}

    def manifest(self) -> list[ManifestEntry]:
        """Every file with its digest, which takes reading them all."""
        return [_entry(place, source) for place, source in self.files().items()]


def own_python() -> str:
    """The version of this process, as packages name it."""
    return ".".join(platform.python_version_tuple()[:2])


def write_package(
    root: Path,
    *,
    name: str,
    adapter: str,
    settings: Mapping[str, Any],
    framework: str,
    schema: ModelSchema,
    example: Any,
    requirements: Sequence[str],
    python_version: str,
    description: str | None = None,
    concurrency: int = 1,
    helpers: Sequence[str] = (),
    environment_variables: Mapping[str, str] | None = None,
    secrets: Sequence[str] = (),
    notes: Sequence[str] = (),
) -> Package:
    """Writes config.yaml and the adapter into `root`, where data/ and packages/ may already lie.

    `helpers` are files of adapters/ that the adapter imports, besides `_fields.py`; `secrets` are names of what the
    worker may be given.
    """
    model_folder = root / "model"
    model_folder.mkdir(parents=True, exist_ok=True)
    for file in (adapter, "_fields.py", *helpers):
        target = "model.py" if file == adapter else file
        shutil.copyfile(ADAPTERS / file, model_folder / target)
    (model_folder / "__init__.py").touch()
    config: dict[str, Any] = {"model_name": name}
    if description:
        config["description"] = description
    config |= {
        "python_version": python_version,
        "requirements": list(requirements),
        "model_metadata": {
            "tenfold": {"format": FORMAT, "framework": framework, "schema": schema.to_json(), **settings},
        },
    }
    if example is not None:
        config["model_metadata"]["example_model_input"] = example
    if environment_variables:
        config["environment_variables"] = dict(environment_variables)
    if secrets:
        config["secrets"] = dict.fromkeys(secrets)
    if concurrency != 1:
        config["runtime"] = {"predict_concurrency": concurrency}
    write_config(root / CONFIG_NAME, config)
    return Package(
        root=root,
        framework=framework,
        schema=schema,
        example=example,
        python_version=python_version,
        requirements=tuple(requirements),
        notes=tuple(notes),
    )


def as_body(example: Any) -> Any:
    """An example as a request's body carries it. Raises CannotPackage."""
    try:
        return sendable(example)
    except TypeError as error:
        raise CannotPackage(f"The example cannot be written as JSON: {error}", hint="Use plain values.") from None


def as_schema(given: ModelSchema | dict[str, Any], where: str = "schema") -> ModelSchema:
    """What was given as a schema. Raises CannotPackage, which says `where` it was given."""
    try:
        return ModelSchema.of(given)
    except (KeyError, TypeError, AttributeError) as error:
        wrong = f"it lacks {error}" if isinstance(error, KeyError) else str(error)
        raise CannotPackage(
            f"{where} is not a model schema: {wrong}.",
            hint="Build it with tenfold.ModelSchema, tenfold.Field and tenfold.Output, or leave it out: it is learned.",
        ) from None


IGNORED_NAMES = frozenset({"__pycache__", ".git", ".hg", ".svn", ".venv", ".ipynb_checkpoints", ".DS_Store"})


def _files(root: Path) -> list[Path]:
    """Regular files that belong to the package: without caches, version control and what .truss_ignore names."""
    ignored = _ignore_patterns(root)
    found: list[Path] = []
    for folder, folders, names in os.walk(root):
        here = Path(folder)
        relative = here.relative_to(root)
        folders[:] = sorted(
            one
            for one in folders
            if one not in IGNORED_NAMES and not _is_ignored((relative / one).as_posix() + "/", ignored)
        )
        for one in sorted(names):
            path = here / one
            if one in IGNORED_NAMES or one.endswith(".pyc") or _is_ignored((relative / one).as_posix(), ignored):
                continue
            if path.is_file():
                found.append(path)
    return found


def _ignore_patterns(root: Path) -> list[str]:
    file = root / ".truss_ignore"
    if not file.is_file():
        return []
    lines = (line.strip() for line in file.read_text(encoding="utf-8").splitlines())
    return [line for line in lines if line and not line.startswith("#")]


def _is_ignored(path: str, patterns: Sequence[str]) -> bool:
    """Whether the last pattern that fits says so; the patterns are those of .gitignore, without `**` in the middle."""
    from fnmatch import fnmatchcase

    ignored = False
    plain = path.rstrip("/")
    for written in patterns:
        pattern, keep = (written[1:], True) if written.startswith("!") else (written, False)
        if pattern.endswith("/"):
            if not path.endswith("/"):
                continue
            pattern = pattern.rstrip("/")
        anchored = "/" in pattern.removeprefix("**/")
        pattern = pattern.removeprefix("**/").lstrip("/")
        subject = plain if anchored else plain.rpartition("/")[2]
        if fnmatchcase(subject, pattern):
            ignored = not keep
    return ignored


def _entry(place: str, source: Path) -> ManifestEntry:
    digest, size = hashlib.sha256(), 0
    with source.open("rb") as opened:
        while chunk := opened.read(1 << 20):
            digest.update(chunk)
            size += len(chunk)
    return ManifestEntry(place, source, digest.hexdigest(), size, executable=bool(source.stat().st_mode & 0o100))
