"""Where an imported module comes from: the standard library, an installed distribution, or the user's own files."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import metadata, util
from pathlib import Path

from tenfold.errors import CannotPackage

BUILT_IN = frozenset(sys.stdlib_module_names) | frozenset(sys.builtin_module_names)
MAIN = "__main__"
CYTHON = "_cython_"
"""Compiled modules keep the types of their functions in modules of such a name, which no file has."""


@dataclass(frozen=True)
class Distribution:
    """An installed package that an index has: `name==version`."""

    name: str
    version: str

    @property
    def pin(self) -> str:
        return f"{self.name}=={self.version.partition('+')[0]}"


@dataclass(frozen=True)
class LocalModule:
    """A module that exists only on this machine; `path` is its file, or the folder of its package."""

    name: str
    path: Path


Origin = Distribution | LocalModule | None


def origin_of(module: str) -> Origin:
    """What must travel (or be installed) so that `import module` works elsewhere. None: nothing, Python has it.

    Raises CannotPackage for a module that is neither installed nor a file that can be copied.
    """
    root = module.partition(".")[0]
    if is_of_python(root):
        return None
    found = _file_of(root)
    if found is None:
        raise CannotPackage(
            f"The module {root!r} is used, and cannot be imported on this machine.",
            hint=f"Install it here, or name what provides it: requirements=['{root}'].",
        )
    if not _is_installed(found):
        return _local(root, found)
    distribution = _known_distribution(root) or _looked_up(root)
    if distribution is None or _is_of_a_folder(distribution.name):
        return _local(root, found)
    return distribution


def pins_of(modules: Iterable[str]) -> dict[str, str]:
    """Pinned requirements of the modules that are installed, by distribution name; others are left out."""
    pins: dict[str, str] = {}
    for module in sorted(set(modules)):
        origin = origin_of(module)
        if isinstance(origin, Distribution):
            pins[origin.name] = origin.pin
    return pins


def pin_of_distribution(name: str) -> str:
    """The pin of an installed distribution by its own name."""
    return Distribution(_canonical(name), metadata.version(name)).pin


def is_of_python(root: str) -> bool:
    """Whether there is nothing to install for it, and nothing to carry that is not carried anyway."""
    return root in BUILT_IN or root == MAIN or root.startswith(CYTHON)


def is_importable(module: str) -> bool:
    root = module.partition(".")[0]
    return root in BUILT_IN or _file_of(root) is not None


def with_own(pins: Mapping[str, str], requirements: Iterable[str] | None) -> list[str]:
    """Pins with the user's own requirements in the place of those for the same package."""
    own = {requirement_name(line) or line: line.strip() for line in requirements or ()}
    merged = {**pins, **own}
    return [merged[name] for name in sorted(merged)]


def requirement_name(line: str) -> str | None:
    """The package that a line of requirements names; None for an option of pip, an address or a path."""
    match = re.match(r"\s*([A-Za-z0-9][A-Za-z0-9._-]*)\s*(?:$|[\[(<>=!~;@])", line)
    return _canonical(match[1]) if match else None


def without_local_version(line: str) -> str:
    """`torch==2.13.0+cpu` as `torch==2.13.0`: which build of it, is for the machine that installs it to say."""
    return re.sub(r"(===?\s*[^\s;,+]+)\+[^\s;,]+", r"\1", line)


def _file_of(root: str) -> Path | None:
    module = sys.modules.get(root)
    file = getattr(module, "__file__", None)
    if isinstance(file, str):
        return Path(file)
    folders = list(getattr(module, "__path__", []))
    if folders:
        return Path(folders[0])
    if module is not None:
        return None
    try:
        spec = util.find_spec(root)
    except (ImportError, ValueError):
        return None
    if spec is None:
        return None
    if spec.origin and spec.has_location:
        return Path(spec.origin)
    places = list(spec.submodule_search_locations or [])
    return Path(places[0]) if places else None


def _is_installed(file: Path) -> bool:
    return any(part in ("site-packages", "dist-packages") for part in file.parts)


def _local(root: str, file: Path) -> LocalModule:
    path = file.parent if file.name == "__init__.py" else file
    if path.is_file() and path.suffix != ".py":
        raise CannotPackage(
            f"The module {root!r} exists only on this machine, as {path.name}, and cannot be copied to another one.",
            hint=f"Publish {root} to a package index, or put its Python source next to your script.",
        )
    if not path.exists():
        archive = next((one for one in path.parents if one.is_file()), None)
        raise CannotPackage(
            f"The module {root!r} exists only on this machine, in {archive or path}, "
            f"{'which is an archive' if archive else 'and that file is gone'}.",
            hint="Unpack it next to your script." if archive else "Put it back, import it again, and deploy.",
        )
    return LocalModule(root, path)


ALSO_CALLED = {
    "sklearn": "scikit-learn",
    "PIL": "pillow",
    "yaml": "pyyaml",
    "cv2": "opencv-python",
    "bs4": "beautifulsoup4",
}


@cache
def _known_distribution(root: str) -> Distribution | None:
    """The distribution that is called like the module, if it has installed it: quicker than looking at all of them."""
    try:
        found = metadata.distribution(ALSO_CALLED.get(root, root))
    except metadata.PackageNotFoundError:
        return None
    record = found.read_text("RECORD") or ""
    if not re.search(rf"^{re.escape(root)}(/|\.py,|\.[\w-]+\.(so|pyd),)", record, re.MULTILINE):
        return None
    return Distribution(_canonical(found.metadata["Name"]), found.version)


def _looked_up(root: str) -> Distribution | None:
    names = _distributions().get(root)
    if not names:
        return None
    name = _best(root, names)
    return Distribution(_canonical(name), metadata.version(name))


@cache
def _is_of_a_folder(name: str) -> bool:
    """Whether it was installed out of a folder of this machine, so that no index has it (PEP 610).

    Packages of conda name a folder too: one of the machine that built them.
    """
    try:
        found = metadata.distribution(name)
        told = json.loads(found.read_text("direct_url.json") or "{}")
    except (metadata.PackageNotFoundError, ValueError):
        return False
    is_of_conda = (found.read_text("INSTALLER") or "").strip() == "conda"
    return isinstance(told, dict) and "dir_info" in told and not is_of_conda


@cache
def _distributions() -> Mapping[str, list[str]]:
    return metadata.packages_distributions()


def _best(root: str, names: list[str]) -> str:
    """One of the distributions that hold the module; the one called like it, when there is one."""
    return next((name for name in names if _canonical(name) == _canonical(root)), sorted(set(names))[0])


def _canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
