"""Environments as a person meets them: versions that exclude each other side by side, names, repairs; and secrets."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import httpx
import pytest

from .conftest import Installation, wait_for

pytestmark = pytest.mark.e2e

PLANTED = "planted-5d41-in-a-secret"

VERSIONS = """
import importlib.metadata


class Model:
    def predict(self, inputs):
        return {name: importlib.metadata.version(name) for name in inputs["packages"]}
"""

PYDANTIC = """
import pydantic


class Row(pydantic.BaseModel):
    x: int


class Model:
    def predict(self, inputs):
        row = Row(**inputs)
        dump = row.model_dump if pydantic.VERSION >= "2" else row.dict
        return {"version": pydantic.VERSION, "row": dump()}
"""

TREE = """
import numpy
import sklearn
from sklearn.tree import DecisionTreeClassifier


class Model:
    def load(self):
        self.tree = DecisionTreeClassifier(random_state=0).fit([[0.0], [1.0]], [0, 1])

    def predict(self, inputs):
        return {"version": sklearn.__version__, "predictions": self.tree.predict(numpy.asarray(inputs)).tolist()}
"""

HUB = """
import base64


class Model:
    def __init__(self, secrets, environment):
        self.secrets, self.environment = secrets, environment

    def load(self):
        token = self.secrets["HUB_TOKEN"]
        print("signed in with", token, base64.b64encode(f"user:{token}".encode()).decode())

    def predict(self, inputs):
        return {"length": len(self.secrets["HUB_TOKEN"]), "environment": self.environment}
"""


def write_package(folder: Path, source: str, **config: Any) -> Path:
    (folder / "model").mkdir(parents=True)
    (folder / "model" / "model.py").write_text(source)
    (folder / "config.yaml").write_text(json.dumps(config))
    return folder


def predict(installation: Installation, model: str, body: Any) -> Any:
    answer = httpx.post(
        f"{installation.gateway}/v1/default/models/{model}/predict",
        json=body,
        headers={"Authorization": f"Bearer {installation.profile['key']}"},
        timeout=60,
    )
    assert answer.status_code == 200, answer.text
    return answer.json()


def deploy(installation: Installation, folder: Path, name: str) -> None:
    installation.tenfold("deploy", folder, "--name", name, "--no-app")


def test_two_lines_of_pydantic_and_two_of_scikit_learn_predict_side_by_side(
    installation: Installation, tmp_path: Path
) -> None:
    wanted = {
        "rows-one": (PYDANTIC, ["pydantic==1.10.*"]),
        "rows-two": (PYDANTIC, ["pydantic==2.*"]),
        "tree-old": (TREE, ["scikit-learn==1.5.2"]),
        "tree-new": (TREE, ["scikit-learn==1.7.2"]),
    }
    for name, (source, requirements) in wanted.items():
        deploy(installation, write_package(tmp_path / name, source, requirements=requirements), name)
    for _ in range(2):  # each again, after the others were called
        one, two = (predict(installation, name, {"x": "7"}) for name in ("rows-one", "rows-two"))
        assert (one["version"].split(".")[0], two["version"].split(".")[0]) == ("1", "2")
        assert one["row"] == two["row"] == {"x": 7}
        old, new = (predict(installation, name, [[0.2], [0.9]]) for name in ("tree-old", "tree-new"))
        assert (old["version"], new["version"]) == ("1.5.2", "1.7.2")
        assert old["predictions"] == new["predictions"] == [0, 1]


def test_a_named_environment_is_made_used_edited_and_repaired(installation: Installation, tmp_path: Path) -> None:
    requirements = tmp_path / "requirements.txt"
    requirements.write_text("colorama==0.4.5  # an old one\n")
    said = installation.tenfold("environments", "set", "tools", "--requirements", requirements).stdout
    assert "+ colorama==0.4.5" in said
    assert "tools is ready: 1 requirement." in said
    first = json.loads(installation.tenfold("environments", "show", "tools", "--json").stdout)
    assert [package["name"] for package in first["packages"]] == ["colorama"]
    assert "--hash=sha256:" in installation.tenfold("environments", "show", "tools", "--lock").stdout

    release_app(installation, tmp_path / "app")
    assert call_worklet(installation) == {"version": "0.4.5"}

    requirements.write_text("colorama==0.4.6\n")
    installation.tenfold("environments", "set", "tools", "-r", requirements)
    assert call_worklet(installation) == {"version": "0.4.5"}  # a release pins its environment
    installation.tenfold("app", "release", "toolbox")
    wait_for(lambda: call_worklet(installation) == {"version": "0.4.6"}, 60)

    refused = installation.tenfold("environments", "set", "tools", "-r", broken(tmp_path), check=False)
    assert refused.returncode == 1
    assert "colorama==99" in refused.stderr
    assert call_worklet(installation) == {"version": "0.4.6"}

    second = json.loads(installation.tenfold("environments", "show", "tools", "--json").stdout)
    folder = installation.data / "environments" / workspace_folder(installation) / second["lock_digest"]
    damaged = next(folder.glob("lib/python3*/site-packages/colorama/__init__.py"))
    damaged.write_text("raise ImportError('damaged')")
    installation.tenfold("environments", "rebuild", second["id"])
    assert "damaged" not in damaged.read_text()
    assert call_worklet(installation) == {"version": "0.4.6"}


def broken(folder: Path) -> Path:
    file = folder / "broken.txt"
    file.write_text("colorama==99\n")
    return file


def workspace_folder(installation: Installation) -> str:
    return next(path.name for path in (installation.data / "environments").iterdir() if len(path.name) == 36)


def release_app(installation: Installation, folder: Path) -> None:
    """An app whose code runs in the environment `tools`."""
    files = {
        "app.yaml": "app: 1\nname: toolbox\nenvironment: tools\n",
        "code/tools.py": "import importlib.metadata\n\n\ndef version() -> str:\n"
        '    return importlib.metadata.version("colorama")\n',
        "worklets/version.yaml": "worklet: 1\nname: version\noutput: {version: str}\nnodes:\n"
        "  ask: {pre: code/tools.py:version}\nreturn: {version: =ask}\ntriggers: {api: {http: true}}\n",
    }
    for path, text in files.items():
        file = folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    installation.tenfold("app", "push", folder)


def call_worklet(installation: Installation) -> Any:
    answer = httpx.post(
        f"{installation.gateway}/v1/default/apps/toolbox/worklets/version",
        json={},
        headers={"Authorization": f"Bearer {installation.profile['key']}"},
        timeout=60,
    )
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_a_secret_reaches_the_model_that_declares_it_and_nothing_else(
    installation: Installation, tmp_path: Path
) -> None:
    token = tmp_path / "token"
    token.write_text(PLANTED + "\n")
    installation.tenfold("secrets", "set", "HUB_TOKEN", "--file", token)
    package = write_package(tmp_path / "hub", HUB, secrets={"HUB_TOKEN": None})
    deploy(installation, package, "hub")
    assert predict(installation, "hub", {}) == {"length": len(PLANTED), "environment": {"name": "production"}}
    log = wait_for(lambda: installation.tenfold("logs", "hub").stdout.partition("signed in with ")[2], 30)
    assert log.startswith("[secret] ")
    token.unlink()

    with installation.api() as api:
        answers = [
            api.get(path).text for path in ("/secrets", "/models/hub", "/models/hub/versions/1", "/environments")
        ]
    assert PLANTED not in "".join(answers)
    assert files_with(PLANTED, installation.data) == secrets_of_running_workers(installation)

    token.write_text("another")
    installation.tenfold("secrets", "set", "HUB_TOKEN", "--file", token)
    assert predict(installation, "hub", {})["length"] == len(PLANTED)
    with installation.api() as api:
        api.post("/models/hub/versions/1/restart").raise_for_status()
    wait_for(lambda: predict(installation, "hub", {})["length"] == len("another"), 60)


def test_a_declared_secret_that_nobody_set_is_named(installation: Installation, tmp_path: Path) -> None:
    package = write_package(tmp_path / "hub", HUB, secrets={"HUB_TOKEN": None, "NEVER_SET": None})
    shutil.copytree(package, tmp_path / "needy")
    source = (package / "model" / "model.py").read_text().replace("HUB_TOKEN", "NEVER_SET")
    (tmp_path / "needy" / "model" / "model.py").write_text(source)
    failed = installation.tenfold("deploy", tmp_path / "needy", "--name", "needy", "--no-app", check=False)
    assert failed.returncode == 1
    assert "NEVER_SET" in failed.stdout + failed.stderr
    with installation.api() as api:
        version = api.get("/models/needy/versions/1").json()
    assert "NEVER_SET" in version["reason"]
    assert ("secrets.NEVER_SET", "secret_missing") in {(one["path"], one["code"]) for one in version["warnings"]}


def files_with(text: str, folder: Path) -> set[str]:
    """Of the whole data folder, the database's own files and logs included."""
    done = subprocess.run(
        ["grep", "-rlaF", "--exclude-dir=environments", "--exclude-dir=wheels", text, folder],
        capture_output=True,
        text=True,
    )
    return {line for line in done.stdout.splitlines() if Path(line).exists()}


def secrets_of_running_workers(installation: Installation) -> set[str]:
    """Where a worker reads them from: a folder of its own that goes with it. A worker's own log is on its disk, too."""
    replicas = installation.data / "workers" / "replicas"
    return {str(path) for path in [*replicas.glob("*/secrets/HUB_TOKEN"), *replicas.glob("*/log.*")]} & files_with(
        PLANTED, replicas
    )
