"""Where things are that a Truss folder expects at absolute paths of its container.

A worker has no root of its own: what a container has at `/packages`, `/secrets/<name>`, `/app` or a weights'
`mount_location` is found below the folder that TENFOLD_ROOT names. Code that writes
`os.environ.get("TENFOLD_ROOT", "") + "/secrets/token"` works in both.

The functions that name places inside a package are used by the platform as well, which puts the files there.
"""

from __future__ import annotations

import contextlib
import os
import re
from pathlib import Path
from typing import Any, Dict, Iterator, Mapping, Optional, Tuple

ROOT_VARIABLE = "TENFOLD_ROOT"
_APP = "/app"


def mounted_path(mount_location: str) -> str:
    """Where in the package the weights are that a container has at an absolute path."""
    inside = os.path.normpath(mount_location)
    for prefix in (f"{_APP}/", "/packages/"):
        if inside.startswith(prefix):
            return inside[len(_APP) + 1 :] if prefix.startswith(_APP) else inside.lstrip("/")
    return f"weights/{inside.lstrip('/')}"


def cache_path(entry: Mapping[str, Any]) -> str:
    """Where in the package the files of one `model_cache` entry are."""
    if entry.get("use_volume") and entry.get("volume_folder"):
        return f"model_cache/{str(entry['volume_folder']).strip('/')}"
    return f"model_cache/{_hub_name(str(entry.get('repo_id')))}/{_revision(entry)}"


def prepare(root: Path, config: Mapping[str, Any], secrets: Optional[Path]) -> None:
    """Makes the stand-in root and the Hugging Face cache in HOME, of links, and sets TENFOLD_ROOT.

    A HOME that cannot be written to leaves both out: nothing but such paths depends on them.
    """
    home = os.environ.get("HOME")
    if not home or not os.path.isdir(home):
        return
    with contextlib.suppress(OSError):
        stand_in = Path(home, ".tenfold-root")
        for name, target in _stand_ins(root, config, secrets).items():
            _link(stand_in / name, target)
        os.environ[ROOT_VARIABLE] = str(stand_in)
    with contextlib.suppress(OSError):
        for name, revision, target in _hub_entries(root, config):
            repository = Path(home, ".cache", "huggingface", "hub", name)
            _link(repository / "snapshots" / revision, target)
            (repository / "refs").mkdir(parents=True, exist_ok=True)
            (repository / "refs" / revision).write_text(revision, "utf-8")


def in_package(command: str, root: Path, config: Mapping[str, Any]) -> str:
    """A command of the package with the container's folders in it replaced by the package's own."""
    command = re.sub(r"(?<![\w./-])/app(?=/|\s|$)", str(root), command)
    return re.sub(r"(?<![\w./-])/packages(?=/|\s|$)", str(root / str(config["bundled_packages_dir"])), command)


def _stand_ins(root: Path, config: Mapping[str, Any], secrets: Optional[Path]) -> Dict[str, Path]:
    found = {"app": root, "packages": root / str(config["bundled_packages_dir"])}
    if secrets is not None:
        found["secrets"] = secrets
    for weights in config.get("weights") or ():
        location = os.path.normpath(str(weights.get("mount_location") or "/"))
        target = mounted_path(location)
        if target.startswith("weights/"):
            found[location.lstrip("/")] = root / target
    return found


def _hub_entries(root: Path, config: Mapping[str, Any]) -> Iterator[Tuple[str, str, Path]]:
    for entry in config.get("model_cache") or ():
        if not entry.get("use_volume") and entry.get("repo_id"):
            yield _hub_name(str(entry["repo_id"])), _revision(entry), root / cache_path(entry)


def _hub_name(repository: str) -> str:
    return "models--" + repository.replace("/", "--")


def _revision(entry: Mapping[str, Any]) -> str:
    return str(entry.get("revision") or "main").replace("/", "--")


def _link(path: Path, target: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with contextlib.suppress(FileNotFoundError):
        path.unlink()
    path.symlink_to(target)
