"""A data scientist's notebook: an environment of its own with every framework, beside a whole installation."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ..installation import ROOT, Installation

HERE = Path(__file__).parent
OUTPUT = ROOT / "test-output"
PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"
FRAMEWORKS = (
    "lightgbm",
    "mlflow-skinny",
    "onnx",
    "onnxruntime",
    "openai",
    "pandas",
    "pillow",
    "safetensors",
    "scikit-learn",
    "skl2onnx",
    "skops",
    "tensorflow-cpu",
    "torch==2.13.0",
    "transformers",
    "xgboost-cpu",
)
SCRIPT_SECONDS = 600  # a loaded machine builds an environment of several GB in it

Notebook = Callable[..., dict[str, Any]]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.e2e)


@pytest.fixture(scope="session")
def notebook_python() -> Path:
    """The interpreter of an environment with the frameworks and the SDK: built when missing, kept for the next run."""
    digest = hashlib.sha256("\n".join((PYTHON, *FRAMEWORKS)).encode()).hexdigest()[:12]
    folder = OUTPUT / f"frameworks-venv-{digest}"
    python = folder / "bin" / "python"
    OUTPUT.mkdir(exist_ok=True)
    with (OUTPUT / "frameworks-venv.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "complete").exists():
            for old in OUTPUT.glob("frameworks-venv-*"):
                shutil.rmtree(old)
            _uv("venv", "--python", PYTHON, folder)
            _uv("pip", "install", "--python", python, "--editable", ROOT, *FRAMEWORKS, *_where_wheels_lie())
            (folder / "complete").touch()
    return python


@pytest.fixture
def run_in_notebook(notebook_python: Path, installation: Installation, tmp_path: Path) -> Iterator[Notebook]:
    """Runs a script as a data scientist would, and gives the JSON that it prints last. What it deployed is deleted.

    `run_in_notebook(text, **environment)`; the script may `import again` for what all of them do: see again.py.
    """

    def run(script: str, **environment: str) -> dict[str, Any]:
        file = tmp_path / "notebook.py"
        file.write_text(script)
        done = subprocess.run(
            [notebook_python, file],
            env={
                **installation.env,
                "PYTHONPATH": str(HERE / "notebook"),
                "TF_CPP_MIN_LOG_LEVEL": "2",
                "CUDA_VISIBLE_DEVICES": "",
                **environment,
            },
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=SCRIPT_SECONDS,
        )
        assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
        printed: dict[str, Any] = json.loads(done.stdout.rstrip().rpartition("\n")[2])
        return printed

    with installation.api() as api:
        before = _model_names(api)
        yield run
        for name in sorted(_model_names(api) - before):
            api.delete(f"/models/{name}").raise_for_status()


def _model_names(api: Any) -> set[str]:
    return {one["name"] for one in api.get("/models").raise_for_status().json()["items"]}


def _where_wheels_lie() -> list[str]:
    """pip's own setting for local wheels, which uv knows under another name; else PyTorch's builds without CUDA."""
    places = os.environ.get("PIP_FIND_LINKS", "").split()
    return [part for place in places for part in ("--find-links", place)] or ["--torch-backend", "cpu"]


def _uv(*arguments: str | Path) -> None:
    from uv import find_uv_bin  # an extra of the SDK, there where tests run

    done = subprocess.run([find_uv_bin(), *map(str, arguments)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
