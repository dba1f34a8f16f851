"""`import tenfold` is quick, and needs nothing but the base requirements."""

from __future__ import annotations

import json
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
NEVER = (
    "fastapi",
    "starlette",
    "sqlalchemy",
    "psycopg",
    "celery",
    "redis",
    "uvicorn",
    "alembic",
    "tenfold_platform",
    "tenfold_deploy",
    "numpy",
    "pandas",
    "sklearn",
    "skops",
    "torch",
    "tensorflow",
    "PIL",
)
EVERY_NAME = "import tenfold\nfor name in tenfold.__all__: getattr(tenfold, name)\nimport tenfold.cli.command\n"


def modules_after(code: str) -> set[str]:
    """The top-level modules that a fresh interpreter has loaded after running `code`."""
    report = "\nimport json, sys; print(json.dumps(sorted({name.partition('.')[0] for name in sys.modules})))"
    done = subprocess.run([sys.executable, "-c", code + report], capture_output=True, text=True, check=True)
    return set(json.loads(done.stdout.splitlines()[-1]))


def test_import_tenfold_brings_nothing_but_itself() -> None:
    added = modules_after("import tenfold") - modules_after("pass")
    assert added & {*NEVER, "httpx", "pydantic", "yaml", "rich", "typer"} == set()
    assert "tenfold" in added


def test_the_whole_sdk_brings_no_server_and_no_framework() -> None:
    assert modules_after(EVERY_NAME) & set(NEVER) == set()


def test_deploying_a_function_brings_no_framework() -> None:
    code = (
        "import tempfile, pathlib\n"
        "from tenfold.packaging.detect import detect\n"
        "from tenfold.packaging.callables import package_callable\n"
        "import textwrap as chosen\n"
        "detect(chosen.dedent)\n"
    )
    assert modules_after(code) & set(NEVER) == set()


def test_import_tenfold_takes_less_than_half_a_second() -> None:
    """Of this process's own time: a busy machine does not count."""
    code = (
        "import time; began = time.process_time(); import tenfold; tenfold.deploy; tenfold.__all__\n"
        "print(time.process_time() - began)"
    )
    alone = "import time; began = time.process_time(); import tenfold\nprint(time.process_time() - began)"
    runs = [float(subprocess.check_output([sys.executable, "-c", alone], text=True)) for _ in range(3)]
    assert min(runs) < 0.5
    first_use = [float(subprocess.check_output([sys.executable, "-c", code], text=True)) for _ in range(3)]
    assert min(first_use) < 2.0


def test_platform_folder_never_shadows_the_standard_library() -> None:
    assert not (ROOT / "platform" / "__init__.py").exists()
    import platform

    assert platform.python_version()


@pytest.mark.slow
def test_the_base_requirements_are_enough(tmp_path: Path) -> None:
    """A clean environment with the base requirements and the packages of this repository, nothing else."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    environment = tmp_path / "environment"
    uv = [sys.executable, "-m", "uv"]
    subprocess.run([*uv, "venv", "--quiet", "--python", sys.executable, str(environment)], check=True)
    python = environment / "bin" / "python"
    install = [*uv, "pip", "install", "--quiet", "--python", str(python), *project["dependencies"]]
    subprocess.run(install, check=True)
    site = next(environment.glob("lib/python3*/site-packages"))
    sources = [ROOT / folder for folder in ("sdk", "worklets", "views")]
    (site / "sources.pth").write_text("\n".join(map(str, sources)) + "\n")
    metadata = site / f"tenfold-{project['version']}.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: tenfold\nVersion: {project['version']}\n")
    subprocess.run([str(python), "-c", EVERY_NAME], check=True, cwd=tmp_path)
    begin = "import time; began = time.process_time(); import tenfold; print(time.process_time() - began)"
    assert float(subprocess.check_output([str(python), "-c", begin], text=True, cwd=tmp_path)) < 0.5
    started = subprocess.run(
        [str(python), "-c", "from tenfold.cli import main; main()", "up"],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
    )
    assert started.returncode == 1
    assert "pip install 'tenfold[server]'" in started.stderr
    checked = subprocess.run(
        [str(python), "-c", "from tenfold.cli import main; main()", "app", "check", str(ROOT / "examples" / "triage")],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
    )
    assert checked.returncode == 0, checked.stderr
