"""A package's `build_commands`: run once in the folder it is laid out in, before its first load there.

They run in the package's folder, as the worker's user, without secrets. `python` and `pip` are those of a small
virtual environment inside the package that stands on the model's own: what it has counts as installed, what the
commands add comes before it, and the shared environment stays as it is.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import site
import subprocess
import sys
import sysconfig
import time
from collections import deque
from pathlib import Path
from typing import Any, Deque, Dict, Iterator, List, Mapping

from tenfold_runtime import streams
from tenfold_runtime.faults import load_failed
from tenfold_runtime.places import in_package

_FOLDER = ".tenfold/built"
_MARKER = "done.json"
_LAST_LINES = 20


def run_once(root: Path, config: Mapping[str, Any]) -> None:
    """Runs them where they have not run yet, and puts what they installed first on the import path.

    Of several workers of one folder one runs them, the others wait. Raises Fault `load_failed` with the last output
    of the command that failed; the next worker tries again.
    """
    commands = [str(command) for command in config["build_commands"] or ()]
    if not commands:
        return
    folder = root / _FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    environment = _environment(folder)
    wanted = {"commands": hashlib.sha256(json.dumps(commands).encode()).hexdigest(), "python": sys.version}
    with _alone(folder):
        if _done(folder) != wanted:
            _make_venv(folder)
            for command in commands:
                _run(in_package(command, root, config), root, environment)
            (folder / _MARKER).write_text(json.dumps(wanted), "utf-8")
    _put_first_on_path(_site_packages(folder))
    os.environ["PATH"] = environment["PATH"]


def _put_first_on_path(folder: str) -> None:
    """With what its .pth files name (`pip install -e`), which `site` by itself would put last."""
    others = list(sys.path)
    sys.path.insert(0, folder)
    site.addsitedir(folder)
    named = [path for path in sys.path if path not in others and path != folder]
    sys.path[:] = [folder, *named, *others]


def _run(command: str, root: Path, environment: Mapping[str, str]) -> None:
    streams.report(f"[build] {command}")
    started = time.monotonic()
    last: Deque[str] = deque(maxlen=_LAST_LINES)
    process = subprocess.Popen(
        ["/bin/sh", "-c", command],
        cwd=root,
        env=dict(environment),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        errors="replace",
    )
    assert process.stdout is not None
    with process.stdout as output:
        for line in output:
            last.append(line.rstrip("\n"))
            streams.report(f"[build] {line}")
    code = process.wait()
    if code != 0:
        shown = "\n".join(last) or "(it printed nothing)"
        raise load_failed(
            f"The build command `{command}` failed with exit code {code}. Its last output:\n{shown}",
            hint="Correct build_commands in config.yaml. They run in the package's folder, without a container.",
        )
    streams.report(f"[build] done in {time.monotonic() - started:.1f} s")


def _environment(folder: Path) -> Dict[str, str]:
    """The worker's own, with the small environment first; nothing in it leads to a secret."""
    left_out = ("TENFOLD_ROOT", "PYTHONPATH")
    environment = {name: value for name, value in os.environ.items() if name not in left_out}
    path = f"{folder / 'venv' / 'bin'}:{os.environ.get('PATH', '/usr/bin:/bin')}"
    return {
        **environment,
        "PATH": path,
        "VIRTUAL_ENV": str(folder / "venv"),
        "PIP_NO_INPUT": "1",
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        "PYTHONUNBUFFERED": "1",
    }


def _make_venv(folder: Path) -> None:
    venv = folder / "venv"
    if not (venv / "bin" / "python").exists():
        made = subprocess.run(
            [sys.executable, "-I", "-m", "venv", "--without-pip", str(venv)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            errors="replace",
            check=False,
        )
        if made.returncode != 0:
            raise load_failed(f"The place for what build_commands install could not be made: {made.stdout.strip()}")
    parents = [path for path in _own_site_packages() if os.path.isdir(path)]
    (Path(_site_packages(folder)) / "_model_environment.pth").write_text("".join(f"{path}\n" for path in parents))
    pip = venv / "bin" / "pip"
    pip.write_text('#!/bin/sh\nexec "$(dirname "$0")/python" -m pip "$@"\n')
    pip.chmod(0o755)


def _own_site_packages() -> List[str]:
    return list(dict.fromkeys(sysconfig.get_path(name) for name in ("purelib", "platlib")))


def _site_packages(folder: Path) -> str:
    version = f"python{sys.version_info[0]}.{sys.version_info[1]}"
    return str(folder / "venv" / "lib" / version / "site-packages")


def _done(folder: Path) -> Any:
    try:
        return json.loads((folder / _MARKER).read_text("utf-8"))
    except (OSError, ValueError):
        return None


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    with open(folder / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
