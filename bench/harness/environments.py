"""One virtual environment per system, built by uv when it is missing and kept for the next run."""

from __future__ import annotations

import hashlib
import os
import platform
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from harness.processes import run

ROOT = Path(__file__).resolve().parents[2]
TORCH = "torch==2.13.0"


def model_requirements() -> list[str]:
    """What a server needs besides itself to serve the benchmark's models: the same versions everywhere."""
    import joblib
    import sklearn

    return [f"scikit-learn=={sklearn.__version__}", f"joblib=={joblib.__version__}", "numpy", TORCH]


def environment(cache: Path, name: str, requirements: Sequence[str], *, editable: Path | None = None) -> Path:
    """The python of the environment `name`. Raises CalledProcessError when it cannot be installed."""
    from uv import find_uv_bin

    asked = [*requirements, *(["--editable", str(editable)] if editable else [])]
    digest = hashlib.sha256("\n".join((platform.python_version(), *asked)).encode()).hexdigest()[:10]
    folder = cache / f"{name}-{digest}"
    python = folder / "bin" / "python"
    if (folder / "complete").exists():
        return python
    print(f"building the environment of {name} in {folder} (once)", file=sys.stderr, flush=True)
    for old in cache.glob(f"{name}-??????????"):
        shutil.rmtree(old)
    uv = find_uv_bin()
    run([uv, "venv", "--quiet", "--python", sys.executable, str(folder)])
    run([uv, "pip", "install", "--quiet", "--python", str(python), *asked, *_torch_places()])
    (folder / "complete").touch()
    return python


def _torch_places() -> list[str]:
    """pip's own setting for local wheels, which uv knows under another name; else PyTorch's builds without CUDA."""
    places = os.environ.get("PIP_FIND_LINKS", "").split()
    return [part for place in places for part in ("--find-links", place)] or ["--torch-backend", "cpu"]
