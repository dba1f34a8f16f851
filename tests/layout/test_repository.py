"""What holds for the repository as a whole."""

from __future__ import annotations

import ast
import json
import re
import runpy
import shlex
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

from tenfold_platform.openapi import DEFAULT_FILE, render

ROOT = Path(__file__).resolve().parents[2]
STUDIO = ROOT / "views" / "studio"

# assembled, so that this file does not hold what it looks for
REGISTRIES = ["pypi" + ".org", "pythonhosted" + ".org", "registry.npmjs" + ".org", "registry.yarnpkg" + ".com"]
MARKERS = ["TO" + "DO", "FIX" + "ME", "X" + "XX", "NotImplemented" + "Error"]
MACHINE_PATH = re.compile(r"(?<![\w.-])/(?:root|work|home/\w+|Users/\w+)/[\w.-]")
DEFAULT_SECRET = re.compile(
    r"""(?i)\b\w*(?:password|passwd|secret|signing_key|api_key)\w*\s*[:=]\s*["'](?:admin|changeme|change-me|default|"""
    r"""password|postgres|secret|tenfold|root|12345\w*)["']"""
)
TEXT_SUFFIXES = {
    ".py",
    ".ts",
    ".tsx",
    ".css",
    ".md",
    ".yaml",
    ".yml",
    ".toml",
    ".json",
    ".sh",
    ".html",
    ".mako",
    "",
}


@cache
def files() -> tuple[Path, ...]:
    """Every file that is in the repository, or about to be: what git does not ignore."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    return tuple(ROOT / name for name in listed.split("\0") if name and (ROOT / name).is_file())


@cache
def texts() -> dict[Path, str]:
    found = {}
    for path in files():
        if path.suffix in TEXT_SUFFIXES:
            try:
                found[path] = path.read_text(encoding="utf-8")
            except UnicodeDecodeError:
                continue
    return found


WAYS_OUT = frozenset({"skip", "skipif", "skipIf", "skipUnless", "skipTest", "SkipTest", "xfail", "importorskip"})
FROM = re.compile(r"pytest|unittest|\bmark\b|\bself\b")


def lines_matching(pattern: re.Pattern[str], *, without: tuple[Path, ...] = ()) -> list[str]:
    return [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()[:120]}"
        for path, text in texts().items()
        if path not in without and pattern.search(text)
        for number, line in enumerate(text.splitlines(), 1)
        if pattern.search(line)
    ]


def test_the_platform_folder_is_no_package() -> None:
    """It would shadow the standard library's module `platform`."""
    assert not (ROOT / "platform" / "__init__.py").exists()


def test_test_folders_are_no_packages() -> None:
    assert [str(path) for path in files() if path.name == "__init__.py" and (ROOT / "tests") in path.parents] == []


def test_no_file_names_a_package_registry() -> None:
    pattern = re.compile("|".join(map(re.escape, REGISTRIES)))
    assert lines_matching(pattern) == []


def test_no_file_names_a_path_of_somebodys_machine() -> None:
    assert lines_matching(MACHINE_PATH, without=(Path(__file__),)) == []


def test_no_file_holds_a_default_secret() -> None:
    without_tests = tuple(path for path in texts() if (ROOT / "tests") in path.parents or ".test." in path.name)
    assert lines_matching(DEFAULT_SECRET, without=without_tests) == []


def test_nothing_is_left_unfinished() -> None:
    pattern = re.compile(rf"\b(?:{'|'.join(MARKERS)})\b")
    assert lines_matching(pattern) == []


def test_every_test_runs_and_is_expected_to_pass() -> None:
    """Looked for in the syntax, by name, however it was imported."""
    found = [
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for path in (ROOT / "tests").rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if (isinstance(node, ast.Attribute) and node.attr in WAYS_OUT and FROM.search(ast.unparse(node)))
        or (isinstance(node, ast.alias) and node.name in WAYS_OUT)
    ]
    assert found == []


def test_the_lock_of_the_studio_names_no_hosts() -> None:
    lock = json.loads((STUDIO / "package-lock.json").read_text())
    assert [name for name, package in lock["packages"].items() if "resolved" in package] == []


def test_the_licence_is_the_one_that_is_declared() -> None:
    assert 'license = "Apache-2.0"' in (ROOT / "pyproject.toml").read_text()
    assert json.loads((STUDIO / "package.json").read_text())["license"] == "Apache-2.0"
    assert "Apache License" in (ROOT / "LICENSE").read_text()


def test_the_two_commands_that_readers_need_come_first() -> None:
    opening = (ROOT / "README.md").read_text()[:400]
    assert opening.index("./dev up") < opening.index("./dev test")
    assert (ROOT / "dev").stat().st_mode & 0o111


def test_what_needs_a_browser_or_an_installation_lies_where_dev_looks() -> None:
    folders = runpy.run_path(str(ROOT / "dev"))["E2E"]
    mark = "mark." + "e2e"  # in two parts, so that this file does not hold it
    marked = [path for path in (ROOT / "tests").rglob("*.py") if mark in path.read_text()]
    assert marked
    assert [path for path in marked if not any(path.is_relative_to(ROOT / folder) for folder in folders)] == []


def test_the_openapi_document_is_fresh() -> None:
    """`./dev gen` writes it."""
    assert DEFAULT_FILE.exists()
    assert DEFAULT_FILE.read_text(encoding="utf-8") == render()


@pytest.mark.slow
def test_the_import_contracts_hold() -> None:
    done = subprocess.run(
        [str(Path(sys.executable).with_name("lint-imports")), "--no-cache"], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.slow
def test_the_types_of_the_studio_are_fresh(tmp_path: Path) -> None:
    """What `./dev gen` would write is what is there. `npm run gen` says from what, and where to."""
    script = shlex.split(json.loads((STUDIO / "package.json").read_text())["scripts"]["gen"])
    generator, *words = script
    where = next(index + 1 for index, word in enumerate(words) if word in ("-o", "--output"))
    committed = (STUDIO / words[where]).read_bytes()
    made = tmp_path / Path(words[where]).name
    words[where] = str(made)
    command = [str(STUDIO / "node_modules" / ".bin" / generator), *words]
    done = subprocess.run(command, cwd=STUDIO, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert made.read_bytes() == committed
