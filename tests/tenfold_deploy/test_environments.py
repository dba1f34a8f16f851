"""Environments from a local folder of wheels: resolved, locked, built once, and refused with a reason."""

import hashlib
import io
import json
import os
import shutil
import subprocess
import tarfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import uv

from tenfold_deploy import environments
from tenfold_deploy.environments import (
    EnvironmentFailed,
    EnvironmentSpec,
    Found,
    Interpreter,
    Lock,
    Tools,
    build,
    canonical_requirements,
    compile_rest,
    disk_usage,
    explain,
    find_python,
    installable_pythons,
    installed,
    is_built,
    look_around,
    own_python_version,
    prune_wheel_cache,
    python_versions,
    remove,
    resolve,
    uv_environment,
    wheel_cache,
)

AddWheel = Callable[..., None]
AddSource = Callable[..., None]


def quiet(_: str) -> None:
    pass


def wanted(*requirements: str, python: str | None = None, **more: tuple[str, ...]) -> EnvironmentSpec:
    return EnvironmentSpec(python, requirements, **more)


def locked(*requirements: str, **more: tuple[str, ...]) -> Lock:
    return resolve(wanted(*requirements, python=None, **more), on_log=quiet)


def refused(*requirements: str, python: str | None = None) -> EnvironmentFailed:
    with pytest.raises(EnvironmentFailed) as caught:
        resolve(wanted(*requirements, python=python), on_log=quiet)
    assert caught.value.hint
    return caught.value


# --- what is asked for ---


def test_equal_wishes_have_equal_digests() -> None:
    one = wanted(
        "NumPy >= 2, <3", 'scikit_learn[Tests,docs]==1.5 ; python_version >= "3.9"  # why', "", python="3.11.7"
    )
    other = wanted(
        "scikit-learn[docs,tests] == 1.5;python_version >= '3.9'", "numpy<3,>=2", "numpy<3,>=2", python="py311"
    )

    assert one == other
    assert one.digest == other.digest
    assert one.requirements == ("numpy<3,>=2", "scikit-learn[docs,tests]==1.5 ; python_version >= '3.9'")
    assert one.python_version == "3.11"
    assert wanted("numpy").digest != wanted("numpy==2").digest
    assert wanted("numpy", python=own_python_version()).digest == wanted("numpy").digest


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("-r /etc/passwd", "an option"),
        ("--index-url elsewhere", "an option"),
        ("--extra-index-url=elsewhere", "an option"),
        ("-e .", "an option"),
        ("name @ file:///etc/passwd", "an address"),
        ("git+https://user:word@host/repository.git", "an address"),
        ("https://host/package-1.0-py3-none-any.whl", "an address"),
        ("/etc/passwd", "a path"),
        ("./local", "a path"),
        ("local-1.0-py3-none-any.whl", "a path"),
        ("local.tar.gz", "a path"),
        ("numpy>>2", "not a requirement"),
        ("numpy 2", "not a requirement"),
        ("${HOME}", "not a requirement"),
        ("numpy==2 --hash=sha256:00", "not a requirement"),
        ("numpy==2\n-r x", "not a requirement"),
    ],
)
def test_only_names_and_versions_are_requirements(line: str, why: str) -> None:
    with pytest.raises(EnvironmentFailed) as caught:
        canonical_requirements([line])
    assert caught.value.code == "bad_requirement"
    assert why in caught.value.message
    assert "word" not in caught.value.message


def test_the_builder_sees_how_to_reach_indexes_and_no_secret() -> None:
    machine = {
        "PATH": "/bin",
        "HOME": "/home/me",
        "SSL_CERT_FILE": "/certificates",
        "https_proxy": "proxy:3128",
        "PIP_INDEX_URL": "main",
        "PIP_EXTRA_INDEX_URL": "second third",
        "PIP_FIND_LINKS": "/a /b",
        "UV_INDEX_PRIVATE_PASSWORD": "for the index",
        "UV_PUBLISH_TOKEN": "secret",
        "UV_PYTHON": "/other/python",
        "DATABASE_URL": "secret",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "TENFOLD_KEY": "secret",
        "PYTHONPATH": "/platform",
        "LD_PRELOAD": "/evil",
    }
    assert uv_environment(machine) == {
        "PATH": "/bin",
        "HOME": "/home/me",
        "SSL_CERT_FILE": "/certificates",
        "https_proxy": "proxy:3128",
        "UV_DEFAULT_INDEX": "main",
        "UV_INDEX": "second third",
        "UV_FIND_LINKS": "/a,/b",
        "UV_INDEX_PRIVATE_PASSWORD": "for the index",
        "UV_NO_PROGRESS": "1",
        "NO_COLOR": "1",
        "UV_PYTHON_DOWNLOADS": "never",
    }


# --- Python versions ---


def test_the_platforms_own_python_comes_first() -> None:
    own = find_python(None)
    assert own.minor == own_python_version()
    assert find_python(f"py{own_python_version().replace('.', '')}") == own
    assert own in python_versions()


def test_a_python_that_is_not_there_names_those_that_are() -> None:
    with pytest.raises(EnvironmentFailed) as caught:
        find_python("3.99")
    assert caught.value.code == "python_unavailable"
    assert caught.value.message == "Python 3.99 is not on the platform's machine"
    assert own_python_version() in (caught.value.hint or "")


def test_a_python_too_old_for_the_worker() -> None:
    with pytest.raises(EnvironmentFailed, match=r"Python 3\.8 is too old"):
        find_python("3.8")


@pytest.mark.parametrize("version", ["2.7", "3", "three", "4.0", "3.x", ""])
def test_what_is_no_python_version(version: str) -> None:
    with pytest.raises(EnvironmentFailed) as caught:
        wanted(python=version)
    assert caught.value.code == "bad_requirement"


@pytest.mark.slow
@pytest.mark.parametrize("interpreter", python_versions(), ids=lambda interpreter: interpreter.minor)
def test_an_environment_for_every_python_on_the_machine(
    interpreter: Interpreter, tmp_path: Path, index: Path, add_wheel: AddWheel, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_wheel("greeting", "1.0")
    monkeypatch.setattr("tenfold_deploy.environments._candidates", lambda _: {interpreter.minor: [interpreter.path]})
    lock = resolve(wanted("greeting", python=interpreter.minor), on_log=quiet)
    built = build(lock, tmp_path / "environment", on_log=quiet)
    question = "import greeting, sys; print(greeting.VERSION, '%d.%d' % sys.version_info[:2])"
    answer = subprocess.run([built.python, "-I", "-c", question], capture_output=True, text=True, check=True)
    assert answer.stdout == f"1.0 {interpreter.minor}\n"


# --- resolving ---


def test_a_lock_names_every_package_with_its_hash(index: Path, add_wheel: AddWheel) -> None:
    add_wheel("greeting", "1.0")
    add_wheel("greeting", "2.0", requires=("word>=1",))
    add_wheel("word", "1.5")
    log: list[str] = []

    lock = resolve(wanted("greeting"), on_log=log.append)

    assert lock.packages == (("greeting", "2.0"), ("word", "1.5"))
    for wheel in ("greeting-2.0-py3-none-any.whl", "word-1.5-py3-none-any.whl"):
        assert f"--hash=sha256:{hashlib.sha256((index / wheel).read_bytes()).hexdigest()}" in lock.text
    assert lock.python_version == own_python_version()
    assert lock == resolve(wanted("greeting"), on_log=quiet)
    assert log[0].startswith("Resolving 1 requirement")
    assert str(index) not in lock.text


def test_nothing_asked_for_is_a_lock_too(index: Path) -> None:
    assert locked().packages == ()


def test_constraints_choose_versions_and_add_nothing(index: Path, add_wheel: AddWheel) -> None:
    add_wheel("greeting", "1.0")
    add_wheel("greeting", "2.0")
    add_wheel("word", "1.0")
    assert locked("greeting", constraints=("greeting<2", "word==1.0")).packages == (("greeting", "1.0"),)


def test_implied_packages_give_way_to_requirements(index: Path, add_wheel: AddWheel) -> None:
    add_wheel("server", "1.0", requires=("word>=2",))
    add_wheel("word", "1.0")
    add_wheel("word", "2.0")
    implied = ("server", "word>=2")

    assert locked(implied=implied).packages == (("server", "1.0"), ("word", "2.0"))
    assert locked("word", implied=implied).packages == (("server", "1.0"), ("word", "2.0"))
    assert locked("word==1.0", implied=implied).packages == (("word", "1.0"),)


def test_an_implied_package_that_no_index_has_stops_nothing(index: Path, add_wheel: AddWheel) -> None:
    add_wheel("word", "1.0")
    assert locked("word", implied=("server",)).packages == (("word", "1.0"),)


def test_a_configuration_above_the_working_folder_is_not_read(
    index: Path, add_wheel: AddWheel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_wheel("word", "1.0")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    (tmp_path / "uv.toml").write_text("this is not = [toml")
    assert locked("word").packages == (("word", "1.0"),)


def test_the_operators_own_configuration_is_read(index: Path, add_wheel: AddWheel, tmp_path: Path) -> None:
    add_wheel("word", "1.0")
    configuration = tmp_path / "home" / ".config" / "uv" / "uv.toml"
    configuration.parent.mkdir(parents=True)
    configuration.write_text("constraint-dependencies = ['word<1']\n[pip]\nno-index = true\n")
    assert refused("word").code in ("conflict", "version_not_found")


# --- refusals, by uv itself ---


def test_a_package_that_no_index_has(index: Path) -> None:
    error = refused("greeting")
    assert (error.code, error.message) == ("package_not_found", "There is no package greeting on the package index")


@pytest.mark.parametrize("requirement", ["greeting==9.0", "greeting>9"])
def test_a_version_that_no_index_has(requirement: str, index: Path, add_wheel: AddWheel) -> None:
    add_wheel("greeting", "1.0")
    error = refused(requirement)
    assert (error.code, error.message) == ("version_not_found", f"There is no {requirement} on the package index")


def test_requirements_that_contradict_each_other(index: Path, add_wheel: AddWheel) -> None:
    add_wheel("greeting", "1.0", requires=("word<2",))
    add_wheel("word", "1.0")
    add_wheel("word", "2.0")
    error = refused("greeting", "word==2.0")
    assert error.code == "conflict"
    assert "greeting" in error.message
    assert "word<2" in error.message


def test_a_package_for_another_python(index: Path, add_wheel: AddWheel) -> None:
    add_wheel("greeting", "1.0", python=">=3.99")
    error = refused("greeting")
    assert error.code == "python_mismatch"
    assert error.message == "greeting needs Python >=3.99"


def test_a_package_for_another_machine(index: Path, add_wheel: AddWheel) -> None:
    add_wheel("greeting", "1.0", tag="cp27-cp27m-win32")
    error = refused("greeting")
    assert error.code == "no_wheel"
    assert "greeting" in error.message


def test_a_package_without_a_wheel_where_only_those_are_allowed(
    index: Path, add_source: AddSource, tmp_path: Path
) -> None:
    add_source("onlysource", "1.0", "open('/nowhere/ran', 'w')")
    with pytest.raises(EnvironmentFailed) as caught:
        build(locked("onlysource"), tmp_path / "environment", on_log=quiet, tools=Tools(wheels_only=True))
    assert caught.value.code == "no_wheel"
    assert "building from source is not allowed" in caught.value.message


def test_a_package_that_does_not_build(index: Path, add_source: AddSource, tmp_path: Path) -> None:
    add_source("broken", "1.0", "raise RuntimeError('the compiler is missing')")
    with pytest.raises(EnvironmentFailed) as caught:
        build(locked("broken"), tmp_path / "environment", on_log=quiet)
    assert caught.value.code == "build_failed"
    assert caught.value.message == (
        "broken==1.0 has no ready-made wheel for this machine, and building it from source failed: "
        "RuntimeError: the compiler is missing"
    )
    assert not (tmp_path / "environment").exists()


def test_an_index_that_cannot_be_reached(index: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PIP_NO_INDEX")
    monkeypatch.delenv("UV_OFFLINE")
    monkeypatch.setenv("PIP_INDEX_URL", "http://name:word@127.0.0.1:9/simple")
    monkeypatch.setenv("UV_HTTP_RETRIES", "0")
    log: list[str] = []
    with pytest.raises(EnvironmentFailed) as caught:
        resolve(wanted("greeting"), on_log=log.append)
    assert caught.value.code == "index_unreachable"
    assert "word" not in caught.value.message + "".join(log)


def test_words_uv_has_never_used_are_passed_on() -> None:
    error = explain(["warning: nothing", "error: The moon is full", "hint: wait"])
    assert (error.code, error.message) == ("failed", "uv could not make the environment: error: The moon is full")
    assert explain([]).message == "uv could not make the environment: no output"


def test_the_drawing_of_older_uv_is_understood() -> None:
    drawn = [
        "  \u00d7 No solution found when resolving dependencies:",
        "  \u2570\u2500\u25b6 Because nothing was not found in the package registry and you",
        "      require nothing, we can conclude that your requirements are unsatisfiable.",
    ]
    assert explain(drawn).message == "There is no package nothing on the package index"


# --- building ---


def test_an_environment_is_built_once_and_then_found(index: Path, add_wheel: AddWheel, tmp_path: Path) -> None:
    add_wheel("greeting", "1.0", requires=("word",))
    add_wheel("word", "2.0")
    lock = locked("greeting")
    destination = tmp_path / "environments" / "one"
    log: list[str] = []

    first = build(lock, destination, on_log=log.append)
    shutil.rmtree(index)
    second = build(Lock(lock.text), destination, on_log=log.append)

    assert (first.reused, second.reused) == (False, True)
    assert first.python == second.python == destination / "bin" / "python"
    assert installed(destination) == [("greeting", "1.0"), ("word", "2.0")]
    assert any("greeting==1.0" in line for line in log)
    assert {path.name for path in destination.parent.iterdir()} == {"one", ".one.lock"}


def test_it_works_from_where_it_was_moved(index: Path, add_wheel: AddWheel, tmp_path: Path) -> None:
    add_wheel("greeting", "1.0")
    built = build(locked("greeting"), tmp_path / "environment", on_log=quiet)

    question = "import greeting, sys; print(sys.prefix, greeting.__file__)"
    answer = subprocess.run([built.python, "-I", "-c", question], capture_output=True, text=True, check=True, env={})
    script = subprocess.run([built.python.with_name("greeting-version")], capture_output=True, text=True, check=True)

    assert all(path.startswith(f"{tmp_path}/environment") for path in answer.stdout.split())
    assert script.stdout == "1.0\n"


def test_a_standard_library_environment_is_quick_and_holds_nothing(tmp_path: Path) -> None:
    built = build(locked(), tmp_path / "environment", on_log=quiet)

    question = "import importlib.metadata as m; print([d.name for d in m.distributions()])"
    answer = subprocess.run([built.python, "-c", question], capture_output=True, text=True, check=True, env={})

    assert answer.stdout == "[]\n"
    assert installed(tmp_path / "environment") == []
    assert built.seconds < 5


def test_many_builders_of_one_lock_build_once(index: Path, add_wheel: AddWheel, tmp_path: Path) -> None:
    add_wheel("greeting", "1.0")
    lock = locked("greeting")
    results = []
    threads = [
        threading.Thread(target=lambda: results.append(build(lock, tmp_path / "environment", on_log=quiet)))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(built.reused for built in results) == [False, True, True, True]
    assert installed(tmp_path / "environment") == [("greeting", "1.0")]


def test_a_file_that_changed_since_it_was_locked(index: Path, add_wheel: AddWheel, tmp_path: Path) -> None:
    add_wheel("greeting", "1.0")
    lock = locked("greeting")
    add_wheel("greeting", "1.0", requires=("evil",))
    shutil.rmtree(tmp_path / "cache")

    with pytest.raises(EnvironmentFailed) as caught:
        build(lock, tmp_path / "environment", on_log=quiet)

    assert caught.value.code == "hash_mismatch"
    assert not (tmp_path / "environment").exists()


def test_a_failed_build_leaves_nothing_and_the_next_one_works(index: Path, add_wheel: AddWheel, tmp_path: Path) -> None:
    add_wheel("greeting", "1.0")
    lock = locked("greeting")
    hidden = (index / "greeting-1.0-py3-none-any.whl").rename(tmp_path / "hidden")
    shutil.rmtree(tmp_path / "cache")
    destination = tmp_path / "environments" / "one"

    with pytest.raises(EnvironmentFailed):
        build(lock, destination, on_log=quiet)
    assert {path.name for path in destination.parent.iterdir()} == {".one.lock"}

    hidden.rename(index / "greeting-1.0-py3-none-any.whl")
    assert build(lock, destination, on_log=quiet).reused is False


def test_what_a_killed_builder_left_is_cleared_away(tmp_path: Path) -> None:
    abandoned = tmp_path / ".environment.building-abc"
    (abandoned / "bin").mkdir(parents=True)
    (abandoned / "bin" / "python").write_text("half")

    build(locked(), tmp_path / "environment", on_log=quiet)

    assert not abandoned.exists()


def test_a_place_with_something_else_is_not_touched(tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (other / "file").write_text("mine")
    built = tmp_path / "built"
    build(locked(), built, on_log=quiet)

    for destination, lock in ((other, locked()), (built, Lock(locked().text + "# other\n"))):
        with pytest.raises(EnvironmentFailed) as caught:
            build(lock, destination, on_log=quiet)
        assert caught.value.code == "not_an_environment"
    assert (other / "file").read_text() == "mine"
    assert is_built(built, locked())


def test_what_is_being_compiled_is_not_removed(index: Path, add_wheel: AddWheel, tmp_path: Path) -> None:
    destination = tmp_path / "one"
    build(locked(), destination, on_log=quiet)
    with environments._kept_in_place(destination) as kept:
        assert kept is not None
        assert not remove(destination, unless=lambda: False)
        assert not compile_rest(destination / "nothing")
    assert remove(destination, unless=lambda: False)
    assert not destination.exists()


# --- hostile builds ---

GOOD_BACKEND = """
import os, sys, zipfile
def prepare_metadata_for_build_wheel(folder, settings=None):
    os.mkdir(folder + "/{name}-1.0.dist-info")
    open(folder + "/{name}-1.0.dist-info/METADATA", "w").write("Metadata-Version: 2.1\\nName: {name}\\nVersion: 1.0\\n")
    return "{name}-1.0.dist-info"
def build_wheel(folder, settings=None, metadata=None):
    {extra}
    with zipfile.ZipFile(folder + "/{name}-1.0-py3-none-any.whl", "w") as wheel:
        wheel.writestr("{name}.py", "")
        wheel.writestr("{name}-1.0.dist-info/METADATA", "Metadata-Version: 2.1\\nName: {name}\\nVersion: 1.0\\n")
        wheel.writestr("{name}-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\n")
        wheel.writestr("{name}-1.0.dist-info/RECORD", "")
    return "{name}-1.0-py3-none-any.whl"
"""


def backend(name: str, extra: str) -> str:
    return GOOD_BACKEND.replace("{name}", name).replace("{extra}", extra)


def test_a_build_sees_no_secret(
    index: Path, add_source: AddSource, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = tmp_path / "seen"
    monkeypatch.setenv("CANARY_SECRET", "planted")
    add_source("curious", "1.0", backend("curious", f"open({str(seen)!r}, 'w').write(repr(dict(os.environ)))"))

    build(locked("curious"), tmp_path / "environment", on_log=quiet)

    assert "PATH" in seen.read_text()
    assert "planted" not in seen.read_text()


def running(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Path]:
    """Where a daemon of the test writes its process id; it is ended with the test."""
    path = tmp_path / "daemon.pid"
    yield path
    if path.exists() and running(int(path.read_text())):
        os.kill(int(path.read_text()), 9)


@pytest.mark.slow
def test_a_build_that_leaves_a_process_holding_its_output(
    index: Path, add_source: AddSource, tmp_path: Path, daemon: Path
) -> None:
    leave = "import time; pid = os.fork()\n"
    leave += f"    if not pid: open({str(daemon)!r}, 'w').write(str(os.getpid())); time.sleep(120)"
    add_source("sticky", "1.0", backend("sticky", leave))
    lock = locked("sticky")
    started = time.monotonic()

    with pytest.raises(EnvironmentFailed) as caught:
        build(lock, tmp_path / "environment", on_log=quiet, timeout_seconds=3)

    # uv itself waits for the output of a build to end.
    assert caught.value.code == "timed_out"
    assert time.monotonic() - started < 60
    assert not running(int(daemon.read_text()))


def test_a_build_without_an_end_is_stopped(index: Path, add_source: AddSource, tmp_path: Path) -> None:
    add_source("endless", "1.0", backend("endless", "import time; time.sleep(600)"))
    lock = locked("endless")
    started = time.monotonic()

    with pytest.raises(EnvironmentFailed) as caught:
        build(lock, tmp_path / "environments" / "one", on_log=quiet, timeout_seconds=1.5)

    assert caught.value.code == "timed_out"
    assert time.monotonic() - started < 60
    assert {path.name for path in (tmp_path / "environments").iterdir()} == {".one.lock"}


def test_a_flood_of_output_is_cut(index: Path, add_source: AddSource, tmp_path: Path) -> None:
    add_source("loud", "1.0", "print('x' * 1_000_000); print('y\\n' * 50_000); raise RuntimeError('enough')")
    log: list[str] = []
    with pytest.raises(EnvironmentFailed) as caught:
        build(locked("loud"), tmp_path / "environment", on_log=log.append)
    assert caught.value.code == "build_failed"
    assert len(log) <= 20_003
    assert max(map(len, log)) <= 4_000


# --- building again, removing ---


def test_made_anew_from_the_same_lock_while_it_is_in_use(index: Path, add_wheel: AddWheel, tmp_path: Path) -> None:
    add_wheel("greeting", "1.0")
    add_wheel("word", "1.0")
    lock, destination = locked("greeting", "word"), tmp_path / "environments" / "one"
    python = build(lock, destination, on_log=quiet).python
    module = next(destination.glob("lib/python3*/site-packages/greeting.py"))
    module.write_text("raise ImportError('damaged')")
    program = (
        "import word, sys; print('in', flush=True); sys.stdin.readline(); import greeting; print(greeting.VERSION)"
    )
    with subprocess.Popen(
        [python, "-I", "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as running:
        assert running.stdout is not None
        assert running.stdout.readline() == "in\n"
        again = build(lock, destination, on_log=quiet, anew=True)
        output, _ = running.communicate("go\n")

    assert (again.reused, again.python) == (False, python)
    assert output == "1.0\n"
    other = build(lock, tmp_path / "environments" / "two", on_log=quiet)  # the cache had the damaged file as well
    question = [other.python, "-I", "-c", "import greeting; print(greeting.VERSION)"]
    assert subprocess.run(question, capture_output=True, text=True, check=True).stdout == "1.0\n"
    assert is_built(destination, lock)
    assert {path.name for path in destination.parent.iterdir()} == {"one", ".one.lock", "two", ".two.lock"}


def test_made_anew_without_the_system_knowing_how_to_swap(
    index: Path, add_wheel: AddWheel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_wheel("greeting", "1.0")
    lock, destination = locked("greeting"), tmp_path / "one"
    build(lock, destination, on_log=quiet)
    (destination / "tenfold-environment.json").write_text("damaged")
    monkeypatch.setattr("tenfold_deploy.environments._exchange", lambda *_: False)
    build(lock, destination, on_log=quiet, anew=True)
    assert is_built(destination, lock)
    assert {path.name for path in tmp_path.iterdir() if "one" in path.name} == {"one", ".one.lock"}


def test_what_cannot_be_made_anew_stays_as_it_was(index: Path, add_wheel: AddWheel, tmp_path: Path) -> None:
    add_wheel("greeting", "1.0")
    lock, destination = locked("greeting"), tmp_path / "environments" / "one"
    build(lock, destination, on_log=quiet)
    shutil.rmtree(index)
    shutil.rmtree(tmp_path / "cache")
    with pytest.raises(EnvironmentFailed):
        build(lock, destination, on_log=quiet, anew=True)
    assert is_built(destination, lock)
    assert installed(destination) == [("greeting", "1.0")]
    assert {path.name for path in destination.parent.iterdir()} == {"one", ".one.lock"}


def test_removed_with_what_was_broken_off_unless_somebody_needs_it(tmp_path: Path) -> None:
    folder = tmp_path / "environments"
    build(locked(), folder / "one", on_log=quiet)
    (folder / ".one.building-abc").mkdir()
    (folder / ".two.removed-1-2").mkdir()
    assert look_around(folder) == [Found(folder / "one", True), Found(folder / "two", True)]

    assert remove(folder / "one", unless=lambda: True) is False
    assert look_around(folder) == [Found(folder / "one", False), Found(folder / "two", True)]
    assert is_built(folder / "one", locked())

    assert remove(folder / "one", unless=lambda: False) is True
    assert remove(folder / "two", unless=lambda: False) is True
    assert look_around(folder) == []
    assert look_around(tmp_path / "nothing") == []


def test_what_is_being_built_is_not_removed(tmp_path: Path) -> None:
    answers = []

    def while_building(line: str) -> None:
        answers.append(remove(tmp_path / "one", unless=lambda: False))

    build(locked(), tmp_path / "one", on_log=while_building)
    assert answers
    assert set(answers) == {False}
    assert is_built(tmp_path / "one", locked())


# --- disk and wheel cache ---


def test_a_file_with_two_names_takes_its_space_once(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "one").write_bytes(b"x" * 1_000_000)
    alone = disk_usage(folder)
    assert alone >= 1_000_000
    (folder / "two").hardlink_to(folder / "one")
    (folder / "three").symlink_to(folder / "one")
    assert disk_usage(folder) < alone + 100_000
    assert disk_usage(tmp_path / "nothing") == 0


def test_wheels_go_to_the_cache_of_the_installation_unless_the_machine_has_one(
    index: Path, add_wheel: AddWheel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tools = Tools(wheel_cache=tmp_path / "wheels")
    assert wheel_cache(tools) == tmp_path / "cache"
    monkeypatch.delenv("UV_CACHE_DIR")
    assert wheel_cache(tools) == tmp_path / "wheels"
    add_wheel("greeting", "1.0")
    lock = resolve(wanted("greeting"), on_log=quiet, tools=tools)
    build(lock, tmp_path / "one", on_log=quiet, tools=tools)
    assert disk_usage(tmp_path / "wheels") > 0

    prune_wheel_cache(tools, everything=True)
    assert not list((tmp_path / "wheels").rglob("greeting.py"))
    prune_wheel_cache(tools)
    question = "import greeting; print(greeting.VERSION)"
    python = tmp_path / "one" / "bin" / "python"
    assert subprocess.run([python, "-I", "-c", question], capture_output=True, text=True, check=True).stdout == "1.0\n"


# --- Python versions that are fetched ---


def test_versions_to_fetch_are_known_without_asking_anybody(tmp_path: Path) -> None:
    versions = installable_pythons(Tools(pythons=tmp_path, python_downloads=True))
    assert len(versions) >= 3
    assert all(version.count(".") == 2 and version.replace(".", "").isdigit() for version in versions)
    assert versions == sorted(versions, key=lambda version: [int(part) for part in version.split(".")])
    assert installable_pythons(Tools(pythons=tmp_path)) == []


def test_a_version_that_is_missing_is_fetched_where_that_is_allowed(
    index: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From a list and an archive of our own: a Python 3.15 that is a script, and answers the one question."""
    archive, listing = tmp_path / "python.tar.gz", tmp_path / "list.json"
    script = f'#!/bin/sh\ncase "$*" in *version_info*) echo 3.15.2;; *) exec {find_python(None).path} "$@";; esac\n'
    with tarfile.open(archive, "w:gz") as made:
        member = tarfile.TarInfo("python/bin/python3.15")
        member.size, member.mode = len(script), 0o755
        made.addfile(member, io.BytesIO(script.encode()))
        settings = b"# system configuration generated and used by the sysconfig module\nbuild_time_vars = {}\n"
        member = tarfile.TarInfo("python/lib/python3.15/_sysconfigdata__linux_x86_64-linux-gnu.py")
        member.size = len(settings)
        made.addfile(member, io.BytesIO(settings))
    known = json.loads(
        subprocess.run(
            [uv.find_uv_bin(), "python", "list", "--only-downloads", "--output-format", "json", "3.15"],
            capture_output=True,
            check=True,
        ).stdout
    )[0]
    entry = {
        "name": "cpython",
        "arch": {"family": known["arch"], "variant": None},
        "os": known["os"],
        "libc": known["libc"],
        "major": 3,
        "minor": 15,
        "patch": 2,
        "prerelease": "",
        "url": archive.as_uri(),
        "sha256": hashlib.sha256(archive.read_bytes()).hexdigest(),
        "variant": None,
    }
    listing.write_text(json.dumps({"ours": entry}))
    monkeypatch.setenv("UV_PYTHON_DOWNLOADS_JSON_URL", listing.as_uri())
    monkeypatch.delenv("UV_OFFLINE")
    with pytest.raises(EnvironmentFailed, match=r"Python 3\.15 is not on the platform's machine"):
        resolve(wanted(python="3.15"), on_log=quiet, tools=Tools(pythons=tmp_path / "pythons"))
    log: list[str] = []
    tools = Tools(pythons=tmp_path / "pythons", python_downloads=True)
    lock = resolve(wanted(python="3.15"), on_log=log.append, tools=tools)
    assert lock.python_version == "3.15"
    assert "Python 3.15 is not on this machine; fetching it" in log
    assert find_python("3.15", tools).path.is_relative_to(tmp_path / "pythons")
