"""`build_commands`: run once per laid out package, before the first load there."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest

from tenfold_runtime import build

MODEL = """
    import subprocess
    class Model:
        def load(self):
            with open("made.txt") as file: self.made = file.read()
        def predict(self, inputs): return self.made
"""


def test_they_run_in_the_packages_folder_in_order_and_are_in_the_log(workers, predict) -> None:
    config = """
        environment_variables: {NAME: world}
        build_commands:
          - printf hello > made.txt
          - printf " $NAME" >> /app/made.txt; echo out; echo err >&2
          - mkdir -p /packages && echo "print('python runs', 1)" > /packages/generated.py
          - python /packages/generated.py
    """
    worker = workers.truss(MODEL, config, secrets={})
    client = worker.ready()
    assert client.health()["state"] == "ready", client.health()
    assert predict(client, 1).json() == "hello world"
    for line in ("[build] printf hello > made.txt", "[build] out", "[build] err", "[build] python runs 1"):
        assert line in worker.log()


def test_they_see_no_secret(workers, predict) -> None:
    command = "env > made.txt; cat $TENFOLD_ROOT/secrets/token >> made.txt || true"
    config = f"secrets: {{token: null}}\nbuild_commands: ['{command}']"
    client = workers.truss(MODEL, config, secrets={"token": "planted-secret"}).ready()
    seen = predict(client, 1).json()
    assert "PATH=" in seen
    assert "planted" not in seen
    assert "TENFOLD_ROOT" not in seen


def test_a_command_that_fails_fails_the_load_with_its_last_output(workers) -> None:
    config = "build_commands: ['echo first', 'for n in $(seq 40); do echo line $n; done; exit 3', 'touch never']"
    worker = workers.truss(MODEL, config)
    error = worker.ready().health()["error"]
    assert error["code"] == "load_failed"
    assert "exit code 3" in error["message"]
    assert error["message"].endswith("line 39\nline 40")
    assert "line 20\n" not in error["message"]
    assert not (worker.folder / "package" / "never").exists()


def test_what_they_install_for_editing_is_found_before_what_the_environment_has(workers, predict) -> None:
    source = """
        import packaging
        class Model:
            def predict(self, inputs): return packaging.FROM
    """
    config = """
        build_commands:
          - mkdir lib && echo "FROM = 'lib'" > lib/packaging.py
          - echo "$PWD/lib" > "$(python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/lib.pth"
    """
    client = workers.truss(source, config).ready()
    assert client.health()["state"] == "ready", client.health()
    assert predict(client, 1).json() == "lib"


def config_of(*commands: str) -> dict[str, Any]:
    return {"build_commands": list(commands), "bundled_packages_dir": "packages"}


@pytest.fixture
def restored(monkeypatch: pytest.MonkeyPatch) -> None:
    """What running them in this very process changes is put back."""
    import os
    import sys

    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setenv("PATH", os.environ["PATH"])


@pytest.mark.usefixtures("restored")
def test_they_run_once_and_again_only_when_they_failed_or_changed(tmp_path: Path) -> None:
    count = "echo x >> count"
    for commands, expected in (((count,), 1), ((count,), 1), ((count, "true"), 2), ((count, "true"), 2)):
        build.run_once(tmp_path, config_of(*commands))
        assert len((tmp_path / "count").read_text().split()) == expected
    for expected in (3, 4):
        with pytest.raises(Exception, match="exit code 1"):
            build.run_once(tmp_path, config_of(count, "false"))
        assert len((tmp_path / "count").read_text().split()) == expected


@pytest.mark.usefixtures("restored")
def test_of_many_workers_one_runs_them(tmp_path: Path) -> None:
    threads = [
        threading.Thread(target=build.run_once, args=(tmp_path, config_of("echo x >> count; sleep 0.2")))
        for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert (tmp_path / "count").read_text() == "x\n"


@pytest.mark.slow
def test_pip_installs_beside_the_environment_and_sees_what_it_has(workers, predict, environment_with, tmp_path) -> None:
    package = tmp_path / "tiny"
    package.mkdir()
    (package / "setup.py").write_text(
        "from setuptools import setup\n"
        "setup(name='tiny-of-the-test', version='1.0', py_modules=['tiny_of_the_test'], install_requires=['packaging'],"
        " entry_points={'console_scripts': ['tiny = tiny_of_the_test:main']})"
    )
    (package / "tiny_of_the_test.py").write_text("import packaging\ndef main(): print('from the script')\n")
    python = environment_with("pip", "setuptools", "wheel", "packaging")
    source = """
        import subprocess, sys, tiny_of_the_test, packaging
        class Model:
            def predict(self, inputs):
                said = subprocess.run(["tiny"], capture_output=True, text=True, check=True).stdout
                return [tiny_of_the_test.__file__, packaging.__file__, said]
    """
    config = f"build_commands: ['pip install --no-build-isolation --no-index {package}']"
    worker = workers.truss(source, config, python=python)
    client = worker.client()
    worker.wait_until(lambda: client.health()["state"] != "loading", seconds=180)
    assert client.health()["state"] == "ready", client.health()
    tiny, packaging, said = predict(client, 1).json()
    root = str(worker.folder / "package")
    assert tiny.startswith(root)
    assert not packaging.startswith(root)
    assert said == "from the script\n"
    assert "already satisfied: packaging" in worker.log()
