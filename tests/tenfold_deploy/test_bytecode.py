"""Bytecode of environments: made when they are built, taken from the store by the next, and safe from each other."""

import importlib.util
import os
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tenfold_deploy import bytecode, environments
from tenfold_deploy.bytecode import Order, encoded, imported, key_of, read_entry
from tenfold_deploy.environments import (
    EnvironmentSpec,
    Lock,
    Tools,
    build,
    compile_rest,
    disk_usage,
    is_compiled,
    prune_wheel_cache,
    resolve,
)
from tenfold_deploy.isolation import confinement, find_isolation
from tenfold_deploy.scheduler import Level

AddWheel = Callable[..., None]
Entries = Callable[[], dict[str, tuple[int, int]]]

PACKAGE = {
    "deep/__init__.py": "from .near import (\n    one,\n    two,\n)\n",
    "deep/near.py": "one = two = 1\n",
    "deep/far/__init__.py": "",
    "deep/broken.py": "def (\n",
    "deep/endless.py": f"x = {'-' * 100_000}1\n",
    "deep/tests/__init__.py": "",
    "tests/__init__.py": "",
    "deep-path.pth": "import sys; open('/nowhere/ran', 'w')\n",
}
COMPILED = {"deep.py", "tests/__init__.py", "deep/__init__.py", "deep/near.py", "deep/far/__init__.py"}
DAY = 86400


def quiet(_: str) -> None:
    pass


def locked(*requirements: str) -> Lock:
    return resolve(EnvironmentSpec(None, requirements), on_log=quiet)


def bytecode_of(environment: Path) -> dict[str, Path]:
    """The files of bytecode in an environment, by source file."""
    found = environment.glob("lib/python3*/site-packages/**/*.pyc")
    return {importlib.util.source_from_cache(str(path)).partition("site-packages/")[2]: path for path in found}


def code_of(environment: Path) -> dict[str, bytes]:
    return {name: path.read_bytes()[16:] for name, path in bytecode_of(environment).items()}


def said(environment: Path, program: str) -> str:
    python = environment / "bin" / "python"
    return subprocess.run([python, "-I", "-c", program], capture_output=True, text=True, check=True).stdout.strip()


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return tmp_path / "cache" / "tenfold-bytecode"


@pytest.fixture
def entries(store: Path) -> Entries:
    """What is in the store. An entry that is written once more is another file."""

    def look() -> dict[str, tuple[int, int]]:
        found = ((path, path.stat()) for path in store.glob("??/*"))
        return {f"{path.parent.name}{path.name}": (status.st_ino, status.st_mtime_ns) for path, status in found}

    return look


@pytest.fixture
def change_compiler(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Puts lines of code above the program that compiles."""
    original, above = Path(bytecode.__file__).read_text(), "from __future__ import annotations\n"

    def change(lines: str) -> None:
        changed = tmp_path / "changed-bytecode.py"
        changed.write_text(original.replace(above, above + lines, 1))
        monkeypatch.setattr(bytecode, "__file__", str(changed))

    return change


# --- what a build compiles ---


def test_packages_are_compiled_when_they_are_built(index: Path, add_wheel: AddWheel, tmp_path: Path) -> None:
    add_wheel("deep", "1.0", more=PACKAGE)
    destination = tmp_path / "environment"
    log: list[str] = []

    built = build(locked("deep"), destination, on_log=log.append)

    found = bytecode_of(destination)
    assert set(found) == COMPILED
    assert is_compiled(destination)
    assert any(line.startswith("Compiled for ") for line in log)
    for name, path in found.items():
        source = Path(importlib.util.source_from_cache(str(path)))
        content = path.read_bytes()
        assert content[:4] == importlib.util.MAGIC_NUMBER
        assert content[4:8] == bytes(4)
        assert int.from_bytes(content[8:12], "little") == int(source.stat().st_mtime)
        assert source == next(destination.glob("lib/python3*/site-packages")) / name
    assert not list((tmp_path / "cache").rglob("*.pyc"))
    question = [str(built.python), "-I", "-v", "-c", "import deep.near"]
    told = subprocess.run(question, capture_output=True, text=True).stderr
    assert f"# code object from {str(found['deep/near.py'])!r}" in told


def test_what_a_build_has_no_time_to_compile_is_compiled_later(
    index: Path, add_wheel: AddWheel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(environments, "_BYTECODE_SECONDS", -1.0)
    add_wheel("deep", "1.0", more=PACKAGE)
    lock, destination = locked("deep"), tmp_path / "environment"
    build(lock, destination, on_log=quiet)
    assert bytecode_of(destination) == {}
    assert not is_compiled(destination)
    size = disk_usage(destination)

    assert compile_rest(destination)
    assert set(bytecode_of(destination)) == COMPILED
    assert is_compiled(destination)
    assert disk_usage(destination) > size
    times = {name: path.stat().st_mtime_ns for name, path in bytecode_of(destination).items()}
    assert compile_rest(destination)
    (destination / environments.BYTECODE_MARKER).unlink()
    assert compile_rest(destination)
    assert {name: path.stat().st_mtime_ns for name, path in bytecode_of(destination).items()} == times

    build(lock, destination, on_log=quiet, anew=True)
    assert not is_compiled(destination)
    assert not compile_rest(tmp_path / "gone")


def test_what_is_imported_first_is_compiled_first() -> None:
    files = ["a.py", "b/__init__.py", "b/c.py", "b/d/__init__.py", "b/d/e.py", "b/d/z/f.py", "b/d/z/__init__.py"]
    order = Order(files)
    assert [order.pop(), order.pop()] == ["a.py", "b/__init__.py"]
    order.learn(imported(b"import os, sys\nfrom .d.z import f as g  # and more\n", "b/__init__.py"))
    assert [order.pop() for _ in range(3)] == ["b/d/__init__.py", "b/d/z/__init__.py", "b/d/z/f.py"]
    assert [order.pop() for _ in range(3)] == ["b/c.py", "b/d/e.py", None]


@pytest.mark.parametrize(
    ("line", "modules"),
    [
        ("import a.b as c, d", ["a.b", "d"]),
        ("from . import x, y as z", ["p.q", "p.q.x", "p.q.y"]),
        ("from ..r import (  # why\n  s,\n  t\n)", ["p.r", "p.r.s", "p.r.t"]),
        ("from a import *", ["a", "a.*"]),
        ("    import inside", []),
    ],
)
def test_imports_are_told_from_how_lines_begin(line: str, modules: list[str]) -> None:
    assert imported(f"x = 1\n{line}\n".encode(), "p/q/module.py") == modules


COMPILES_ITSELF_ONLY = """
import builtins
def compile(text, *more, **options):
    return builtins.compile(text, *more, **options) if b"def _warm_up" in text else os._exit(1)
"""
NASTY = """
import builtins, stat
def compile(text, *more, **options):
    if not text.startswith(b"# "):
        return builtins.compile(text, *more, **options)
    mine = next(number for number in range(3, 64) if is_pipe(number))
    if text.startswith(b"# crash"):
        os.kill(os.getpid(), signal.SIGSEGV)
    if text.startswith(b"# silence"):
        os.close(mine)
        time.sleep(600)
    if text.startswith(b"# flood"):
        os.write(mine, b"\\xff" * 4096)
        time.sleep(600)
    if text.startswith(b"# linger") and os.fork() == 0:
        time.sleep(600)
    return builtins.compile(text, *more, **options)
def is_pipe(number):
    with contextlib.suppress(OSError):
        return stat.S_ISFIFO(os.fstat(number).st_mode)
"""


def test_sources_that_are_too_much_for_the_compiler_are_passed_over(
    index: Path, add_wheel: AddWheel, tmp_path: Path, change_compiler: Callable[[str], None], entries: Entries
) -> None:
    kinds = ("crash", "silence", "flood", "linger", "fine")
    add_wheel("nasty", "1.0", more={f"{kind}.py": f"# {kind}\n" for kind in kinds})
    change_compiler(NASTY)
    destination = tmp_path / "environment"
    build(locked("nasty"), destination, on_log=quiet, tools=Tools(isolation="strict"))
    assert is_compiled(destination)
    assert set(bytecode_of(destination)) == {"nasty.py", "linger.py", "fine.py"}
    assert len(entries()) == 3


# --- the store ---


def test_the_next_environment_takes_everything_from_the_store(
    index: Path,
    add_wheel: AddWheel,
    tmp_path: Path,
    change_compiler: Callable[[str], None],
    entries: Entries,
) -> None:
    add_wheel("deep", "1.0", more=PACKAGE | {"loud.py": "def f():\n    raise ValueError('loud')\n"})
    lock, one, two = locked("deep"), tmp_path / "one", tmp_path / "two"
    build(lock, one, on_log=quiet)
    stored = entries()
    assert len(stored) == len(COMPILED | {"loud.py"}) - 1  # two files are empty

    change_compiler(COMPILES_ITSELF_ONLY)
    build(lock, two, on_log=quiet)

    assert is_compiled(two)
    assert code_of(two) == code_of(one)
    assert entries() == stored
    shutil.rmtree(one)
    assert said(two, "import deep.near; print(deep.near.__cached__)") == str(bytecode_of(two)["deep/near.py"])
    traceback = "import loud, traceback\ntry: loud.f()\nexcept ValueError: print(traceback.format_exc())"
    source = next(two.glob("lib/python3*/site-packages/loud.py"))
    assert f'File "{source}", line 2, in f\n    raise ValueError' in said(two, traceback)


def test_under_strict_isolation_the_store_is_filled_and_read_as_well(
    index: Path, add_wheel: AddWheel, tmp_path: Path, change_compiler: Callable[[str], None], entries: Entries
) -> None:
    add_wheel("deep", "1.0", more=PACKAGE)
    lock, tools = locked("deep"), Tools(isolation="strict")
    build(lock, tmp_path / "one", on_log=quiet, tools=tools)
    assert len(entries()) == len(COMPILED) - 1
    change_compiler(COMPILES_ITSELF_ONLY)
    build(lock, tmp_path / "two", on_log=quiet, tools=tools)
    assert set(bytecode_of(tmp_path / "two")) == COMPILED


def test_a_damaged_entry_is_compiled_again(
    index: Path, add_wheel: AddWheel, tmp_path: Path, store: Path, entries: Entries
) -> None:
    add_wheel("deep", "1.0", more=PACKAGE)
    lock = locked("deep")
    build(lock, tmp_path / "one", on_log=quiet)
    for number, path in enumerate(sorted(store.glob("??/*"))):
        content = path.read_bytes()
        path.write_bytes([content[:-1], content[:32], b"", content[:-1] + b"?"][number % 4])

    build(lock, tmp_path / "two", on_log=quiet)

    assert code_of(tmp_path / "two") == code_of(tmp_path / "one")
    assert all(read_entry(str(path)) for path in store.glob("??/*"))


def test_pythons_do_not_take_each_others(
    index: Path, add_wheel: AddWheel, tmp_path: Path, change_compiler: Callable[[str], None], entries: Entries
) -> None:
    add_wheel("deep", "1.0", more=PACKAGE)
    lock = locked("deep")
    build(lock, tmp_path / "one", on_log=quiet)
    count = len(entries())
    change_compiler("import sys; sys.implementation.cache_tag = 'other-1'\n")
    build(lock, tmp_path / "two", on_log=quiet)
    assert len(entries()) == 2 * count
    names = {path.name.split(".", 1)[1] for path in bytecode_of(tmp_path / "two").values()}
    assert names == {"other-1.pyc"}


def test_what_is_built_anew_takes_nothing_and_replaces_what_there_is(
    index: Path, add_wheel: AddWheel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, entries: Entries
) -> None:
    add_wheel("deep", "1.0", more=PACKAGE)
    lock, destination = locked("deep"), tmp_path / "environment"
    build(lock, destination, on_log=quiet)
    first = entries()

    build(lock, destination, on_log=quiet, anew=True)
    second = entries()
    assert first.keys() == second.keys()
    assert all(first[name] != second[name] for name in first)

    monkeypatch.setattr(environments, "_BYTECODE_SECONDS", -1.0)
    build(lock, destination, on_log=quiet, anew=True)
    assert entries() == second
    assert compile_rest(destination)
    third = entries()
    assert first.keys() == third.keys()
    assert all(second[name] != third[name] for name in first)


def test_what_nobody_needs_for_a_month_goes(
    index: Path, add_wheel: AddWheel, tmp_path: Path, store: Path, entries: Entries
) -> None:
    add_wheel("deep", "1.0", more=PACKAGE)
    add_wheel("other", "2.0")
    build(locked("deep"), tmp_path / "deep", on_log=quiet)
    build(locked("other"), tmp_path / "other", on_log=quiet)
    assert len(entries()) == len(COMPILED)
    then = time.time() - 31 * DAY
    for path in store.rglob("*"):
        os.utime(path, (then, then))

    build(locked("other"), tmp_path / "again", on_log=quiet)

    source = next((tmp_path / "other").glob("lib/python3*/site-packages/other.py"))
    assert set(entries()) == {key_of(source.read_bytes()).hex()}
    assert next(store.glob("??/*")).stat().st_mtime > time.time() - DAY


def test_the_store_is_emptied_with_the_wheels(
    index: Path, add_wheel: AddWheel, tmp_path: Path, store: Path, entries: Entries
) -> None:
    add_wheel("deep", "1.0", more=PACKAGE)
    lock = locked("deep")
    for number, everything in enumerate((False, True)):
        build(lock, tmp_path / f"before-{number}", on_log=quiet)
        assert len(entries()) == len(COMPILED) - 1
        prune_wheel_cache(Tools(), everything=everything)
        assert not store.exists()
        build(lock, tmp_path / f"after-{number}", on_log=quiet)
        assert set(bytecode_of(tmp_path / f"after-{number}")) == COMPILED


def test_an_environment_is_compiled_where_there_can_be_no_store(
    index: Path, add_wheel: AddWheel, tmp_path: Path, store: Path
) -> None:
    add_wheel("deep", "1.0", more=PACKAGE)
    store.parent.mkdir()
    store.write_text("not a folder")
    build(locked("deep"), tmp_path / "environment", on_log=quiet)
    assert set(bytecode_of(tmp_path / "environment")) == COMPILED


# --- one that gets the better of the compiler ---

# Expressions that are true when the canary sings; one that raises is silent. `w` is the world.
CANARIES = {
    "what its parent tells the store": "any([tell(pid) for pid in w['others'] or [os.getppid()]])",
    "the descriptors of its parent": "len([number for number in range(3, 64) if is_pipe(number)]) > 1",
    "the memory of its parent": "os.open(f'/proc/{os.getppid()}/mem', os.O_RDWR) > 0",
    "an entry of the store": "os.open(w['entry'], os.O_WRONLY) > 0",
    "an entry that is renamed": "os.rename(w['entry'], w['entry'] + '-') is None",
    "an entry more in the store": "os.open(w['store'] + '/aa', os.O_WRONLY | os.O_CREAT) > 0",
    "reading the store": "os.listdir(w['store']) != []",
    "the source of another": "os.open('victim.py', os.O_WRONLY) > 0",
    "a file more in its environment": "os.open('planted.py', os.O_WRONLY | os.O_CREAT) > 0",
}
HOSTILE = """
import builtins, stat
w = WORLD
def compile(text, *more, **options):
    if not text.startswith(b"# hostile"):
        return builtins.compile(text, *more, **options)
    return builtins.compile(f"SANG = {[name for name, canary in CANARIES.items() if sings(canary)]}", *more, **options)
def sings(canary):
    try: return bool(eval(canary))
    except Exception: return False
def is_pipe(number):
    try: return stat.S_ISFIFO(os.fstat(number).st_mode)
    except OSError: return False
def tell(pid):
    told, own = False, [os.fstat(number).st_ino for number in range(3, 64) if is_pipe(number)]
    for number in range(64 if pid != os.getpid() else 0):
        try:
            with open(f"/proc/{pid}/fd/{number}", "wb", buffering=0, opener=at_once) as opened:
                if is_pipe(opened.fileno()) and os.fstat(opened.fileno()).st_ino not in own:
                    told = opened.write(w["forged"]) is not None or told
        except OSError:  # nobody reads it, or no longer
            continue
    return told
def at_once(path, flags):
    return os.open(path, os.O_WRONLY | os.O_NONBLOCK)
"""


Attack = Callable[[Level], set[str]]


@pytest.fixture
def attack(
    index: Path, add_wheel: AddWheel, tmp_path: Path, change_compiler: Callable[[str], None], store: Path
) -> Attack:
    """Builds an environment in which one source text takes over the process that compiles it. Says what it could do."""
    add_wheel("victim", "1.0")
    add_wheel("hostile", "2.0", more={"sang.py": "# hostile\n"})
    build(locked("victim"), tmp_path / "one", on_log=quiet)
    victim = key_of(next((tmp_path / "one").glob("lib/python3*/site-packages/victim.py")).read_bytes())

    def attack(level: Level) -> set[str]:
        world = {
            "store": str(store),
            "entry": bytecode.entry_path(str(store), victim),
            "forged": encoded(victim, b"forged"),
            "others": list(range(1, 64)) if level == "strict" else [],  # all there are in the sandbox
        }
        change_compiler(f"CANARIES = {CANARIES!r}{HOSTILE.replace('WORLD', repr(world))}")
        build(locked("victim", "hostile"), tmp_path / "two", on_log=quiet, tools=Tools(isolation=level))
        return set(filter(None, said(tmp_path / "two", "import sang; print(*sang.SANG, sep=',')").split(",")))

    return attack


@pytest.fixture
def change_guards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Puts lines of code below the module that confines the compilers."""

    def change(lines: str) -> None:
        copy = tmp_path / "changed" / "confinement.py"
        copy.parent.mkdir()
        copy.write_text(Path(confinement.__file__).read_text() + lines)
        monkeypatch.setattr(confinement, "__file__", str(copy))

    return change


NO_LANDLOCK = "\ndef landlock_abi():\n    raise OSError\n"
IN_REACH_WITHOUT_LANDLOCK = {"reading the store", "the source of another", "a file more in its environment"}


@pytest.mark.parametrize("level", ["strict", "none"])
def test_a_source_that_takes_its_compiler_over_reaches_nothing(
    attack: Attack, tmp_path: Path, entries: Entries, store: Path, level: Level
) -> None:
    assert level == "none" or find_isolation("none").level == "strict", find_isolation("none").missing
    before = {place: place.read_bytes() for place in store.glob("??/*")}
    assert attack(level) == set()
    assert {place: place.read_bytes() for place in before} == before
    assert len(entries()) == len(before) + 2
    assert said(tmp_path / "two", "import victim; print(victim.VERSION)") == "1.0"


def test_in_a_sandbox_without_landlock_it_reaches_no_code_of_others(
    attack: Attack, change_guards: Callable[[str], None], store: Path
) -> None:
    change_guards(NO_LANDLOCK)
    before = {place: place.read_bytes() for place in store.glob("??/*")}
    assert attack("strict") == IN_REACH_WITHOUT_LANDLOCK
    assert {place: place.read_bytes() for place in before} == before


def test_without_a_guard_it_says_what_the_code_of_another_is(
    attack: Attack, change_guards: Callable[[str], None], store: Path
) -> None:
    change_guards(NO_LANDLOCK + "def hide_memory():\n    pass\n")
    victim = str(next(store.glob("??/*")))
    assert attack("strict") == IN_REACH_WITHOUT_LANDLOCK | {"what its parent tells the store"}
    assert read_entry(victim) == b"forged"
