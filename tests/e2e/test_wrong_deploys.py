"""Every row of docs/reference/deploy-problems.md, done by a user on a running installation: what is said is what the
page says, and nothing half-made is left."""

from __future__ import annotations

import io
import re
import sys
import tarfile
import tempfile
import textwrap
import zipfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

import httpx
import pytest
from rich.console import Console

import tenfold
from tenfold.client import Client
from tenfold.credentials import Profile
from tenfold.errors import DeployFailed, TenfoldError, problem_line
from tenfold.progress import PlainProgress

from ..installation import TLS, running
from .conftest import ROOT, Installation, wait_for

pytestmark = pytest.mark.e2e

PAGE = ROOT / "docs" / "reference" / "deploy-problems.md"
NOTEBOOK = """
import threading

import pandas as pd
from sklearn.linear_model import LinearRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

table = pd.DataFrame({"a": [1.0, 2.0, 3.0], "b": [2.0, 4.0, 7.0]})
unfitted = LinearRegression()
line = LinearRegression().fit(table, [1.0, 2.0, 3.0])
rows = LinearRegression().fit(table.to_numpy(), [1.0, 2.0, 3.0])
pipeline = make_pipeline(FunctionTransformer(lambda x: x), LinearRegression()).fit(table, [1.0, 2.0, 3.0])
shout = lambda text: text.upper()


class Locked:
    def __init__(self):
        self.lock = threading.Lock()

    def predict(self, x: int):
        return x


class Logged:
    def __init__(self):
        self.log = open(__file__)

    def predict(self, x: int):
        return x


class AsksNothing:
    def predict(self):
        return 1


class Runs:
    def run(self, x):
        return x


class Sized:
    def __init__(self, size):
        self.size = size

    def predict(self, x):
        return x


def anything(*values):
    return values


def times(x: int, n: int = 2) -> int:
    return x * n


def outer():
    def inner(x: int):
        return x

    return inner


def needs_what_is_not_here(x: int):
    import module_that_nobody_has

    return module_that_nobody_has.go(x)


def needs_what_is_in_an_archive(x: int):
    import only_in_an_archive

    return only_in_an_archive.go(x)


def divides(x: int) -> float:
    return 1 / x


inner = outer()
logged = Logged()
"""
OURS = "model_metadata: {tenfold: {}}\n"  # asks for nothing beside what it requires
GOOD = "class Model:\n    def predict(self, inputs):\n        return inputs\n"


@dataclass(frozen=True)
class Row:
    """One row of the page."""

    done: str
    said: str
    step: str
    where: str


def rows_of(heading: str) -> list[Row]:
    """The table below a heading of the page, as people read it: without code marks and backslashes."""
    section = PAGE.read_text().partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("| ")][2:]
    cells = [re.split(r"(?<!\\) \| ", line.strip("| ")) for line in lines]
    return [Row(*(plain(re.sub(r"\\([\\|*_<>\[])", r"\1", cell)) for cell in row)) for row in cells]


def plain(text: str) -> str:
    """In one line, without code marks."""
    return " ".join(text.replace("`", "").split())


def fits(pattern: str, text: str) -> bool:
    """Whether the page's words are the very words, `…` standing for what varies."""
    parts = [re.escape(part) for part in pattern.split("…")]
    return re.fullmatch(".*?".join(parts), plain(text)) is not None


@dataclass
class Desk:
    """A data scientist's: a notebook, a client, a folder to write to."""

    installation: Installation
    profile: Profile
    folder: Path
    notebook: ModuleType
    clients: list[Client] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)
    shown: io.StringIO = field(default_factory=io.StringIO)

    def client(self, **changes: Any) -> Client:
        transport = _Counted(self.requests)
        told = {**vars(self.profile), **changes}
        made = Client(Profile(**told), transport=transport, sleep=lambda _: None)
        self.clients.append(made)
        return made

    def deploy(self, model: Any, name: str | None, client: Client | None = None, **options: Any) -> Any:
        progress = PlainProgress(Console(file=self.shown, width=1000, highlight=False))
        return tenfold.deploy(model, name, client=client or self.client(), progress=progress, **options)

    def write(self, config: str = "", code: str = GOOD, **files: str) -> Path:
        """A package's folder."""
        root = self.folder / "package"
        wanted = {"config.yaml": f"{config}{OURS}", "model/model.py": textwrap.dedent(code), **files}
        for place, text in wanted.items():
            (root / place).parent.mkdir(parents=True, exist_ok=True)
            (root / place).write_text(text)
        return root

    def model(self, name: str) -> dict[str, Any] | None:
        with self.installation.api() as api:
            answer = api.get(f"/models/{name}")
        return answer.json() if answer.status_code == 200 else None

    def versions(self, name: str) -> list[dict[str, Any]]:
        with self.installation.api() as api:
            answer = api.get(f"/models/{name}/versions")
        return list(answer.json()["items"]) if answer.status_code == 200 else []


class _Counted(httpx.HTTPTransport):
    """Notes what leaves this machine."""

    def __init__(self, requests: list[str]) -> None:
        super().__init__(verify=TLS)
        self._requests = requests

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        self._requests.append(f"{request.method} {request.url.path}")
        return super().handle_request(request)


Case = Callable[[Desk, str], object]
CASES: dict[str, Case] = {}


def case(done: str) -> Callable[[Case], Case]:
    def register(function: Case) -> Case:
        CASES[plain(done)] = function
        return function

    return register


def notebook(done: str, what: str, **options: Any) -> None:
    """A case that deploys something of the notebook."""

    def run(desk: Desk, name: str) -> object:
        return desk.deploy(getattr(desk.notebook, what), options.get("name", name), **_without_name(options))

    CASES[plain(done)] = run


def folder(done: str, config: str = "", code: str = GOOD, **files: str) -> None:
    """A case that deploys a folder."""
    CASES[plain(done)] = lambda desk, name: desk.deploy(desk.write(config, code, **files), name)


def _without_name(options: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in options.items() if key != "name"}


# --- what a laptop knows

notebook("a lambda", "shout")
notebook("a pipeline with a lambda inside", "pipeline")
notebook("a function defined inside another", "inner")
notebook("a function with `*values`", "anything")
notebook("a function that imports what is not installed", "needs_what_is_not_here")
notebook("an object with an open file in it", "logged")
notebook("a class whose `predict` takes nothing", "AsksNothing")
notebook("a class without `predict`", "Runs")
notebook("a class that cannot be made without arguments", "Sized")
notebook("an estimator that is not fitted", "unfitted")
notebook("a table in the place of the model", "table")
notebook("an example that lacks a column", "line", example={"a": 1.0})
notebook("an example with a column too many", "rows", example=[[1.0, 2.0, 3.0]])
notebook("an example of another kind", "rows", example=5)
notebook("an example with other names", "times", example={"y": 1})
notebook("an example that JSON cannot say", "times", example={"x": object()})
notebook("a name that is none", "times", name="My Model")
notebook("an alias that is none", "times", alias="Live!")
notebook("a Python of another age", "times", python="2.7")
notebook("requirements as a text", "times", requirements="numpy")
notebook("a line that is no requirement", "times", requirements=["not one!"])
notebook("resources that do not exist", "times", resources={"ram": "4Gi"})
notebook("secrets as a text", "times", secrets="HF_TOKEN")
notebook("an environment and a Python", "times", environment="nlp", python="3.12")


@case("an object with a lock in it")
def _(desk: Desk, name: str) -> object:
    return desk.deploy(desk.notebook.Locked(), name)


@case("a class of estimators, not one of them")
def _(desk: Desk, name: str) -> object:
    return desk.deploy(type(desk.notebook.line), name)


@case("the method of a model")
def _(desk: Desk, name: str) -> object:
    return desk.deploy(desk.notebook.line.predict, name)


@case("several models in a list")
def _(desk: Desk, name: str) -> object:
    return desk.deploy([desk.notebook.line, desk.notebook.rows], name)


@case("nothing, because `train()` returned nothing")
def _(desk: Desk, name: str) -> object:
    return desk.deploy(None, name)


@case("a module that lies in an archive")
def _(desk: Desk, name: str) -> object:
    archive = desk.folder / "lib.zip"
    with zipfile.ZipFile(archive, "w") as packed:
        packed.writestr("only_in_an_archive.py", "def go(x):\n    return x\n")
    sys.path.insert(0, str(archive))
    try:
        return desk.deploy(desk.notebook.needs_what_is_in_an_archive, name)
    finally:
        sys.path.remove(str(archive))
        sys.modules.pop("only_in_an_archive", None)


@case("a folder that is not there")
def _(desk: Desk, name: str) -> object:
    return desk.deploy(desk.folder / "nowhere", name)


@case("the address of a registry")
def _(desk: Desk, name: str) -> object:
    return desk.deploy("models:/churn/3", name)


@case("a `config.yml`")
def _(desk: Desk, name: str) -> object:
    package = desk.write()
    (package / "config.yaml").rename(package / "config.yml")
    return desk.deploy(package, name)


@case("no credentials")
def _(desk: Desk, name: str) -> object:
    variables = {"TENFOLD_CREDENTIALS": str(desk.folder / "none.json")}
    done = Installation(desk.folder, variables=variables).tenfold("deploy", desk.write(), "--name", name, check=False)
    assert done.returncode == 1
    message, _, hint = done.stderr.strip().partition("\n")
    raise TenfoldError(message, hint=hint)


# --- what the platform says before it makes a version

folder("a `config.yaml` that is not YAML", "requirements: [numpy\n")
folder("a key that stands twice", "model_name: a\nmodel_name: b\n")
folder("`trt_llm`", "trt_llm: {build: {base_model: llama}}\n")
folder("gRPC", "runtime: {transport: {kind: grpc}}\n")
folder("two workers in one replica", "runtime: {num_workers: 2}\n")
folder("a requirement that is an address", "requirements: ['git+https://git.example/lib.git']\n")
folder("memory that is no amount", "resources: {memory: much}\n")
folder("a variable that belongs to the platform", "environment_variables: {PORT: '80'}\n")


@case("a folder without its `model.py`")
def _(desk: Desk, name: str) -> object:
    package = desk.write()
    (package / "model" / "model.py").unlink()
    return desk.deploy(package, name)


@case("several of these at once")
def _(desk: Desk, name: str) -> object:
    return desk.deploy(desk.write("python_version: '2.7'\nresources: {cpu: fast}\n"), name)


@case("a named environment that nobody made")
def _(desk: Desk, name: str) -> object:
    return desk.deploy(desk.notebook.times, name, environment="nlp")


@case("a key that is wrong")
def _(desk: Desk, name: str) -> object:
    return desk.deploy(desk.notebook.times, name, client=desk.client(key="tf_aaaaaaaaaaaa_bbbbbbbb"))


@case("a key without the right")
def _(desk: Desk, name: str) -> object:
    url = desk.profile.url
    with httpx.Client(base_url=f"{url}/api/v1", headers={"Origin": url}, timeout=60) as studio:
        token = desk.installation.sign_in_link.partition("#")[2]
        assert studio.post("/auth/redeem", json={"token": token}).status_code == 200
        made = studio.post("/workspaces/default/keys", json={"name": "reads only", "scopes": ["read"]})
        assert made.status_code == 201, made.text
    return desk.deploy(desk.notebook.times, name, client=desk.client(key=made.json()["key"]))


@case("a platform that is not running")
def _(desk: Desk, name: str) -> object:
    return desk.deploy(desk.notebook.times, name, client=desk.client(url="http://127.0.0.1:9"))


@case("a full disk")
def _(desk: Desk, name: str) -> object:
    with ExitStack() as stack:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(tempfile, "tempdir", None)  # an installation is no temporary file of the laptop's
            full = stack.enter_context(running(TENFOLD_DISK_KEPT_FREE_BYTES=str(2**60)))
        told = full.profile
        client = desk.client(url=told["url"], key=told["key"], gateway_url=told["gateway_url"])
        try:
            return desk.deploy(desk.notebook.times, name, client=client)
        finally:
            assert [path for path in (full.data / "artifacts").rglob("*") if path.is_file()] == []
            assert list(client.items("models")) == []


@case("a package of 3 GB where 2 are taken")
def _(desk: Desk, name: str) -> object:
    package = desk.write()
    with _new_file(package / "data" / "weights.bin") as weights:
        weights.truncate(3 * 10**9)  # sparse: it takes no room here
    return desk.deploy(package, name)


def _new_file(path: Path) -> io.BufferedWriter:
    path.parent.mkdir(parents=True, exist_ok=True)
    return path.open("wb")


@case("an archive with a link out of it")
def _(desk: Desk, name: str) -> object:
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w:gz") as packed:
        for place in ("config.yaml", "model/model.py"):
            text = b"" if place == "config.yaml" else GOOD.encode()
            entry = tarfile.TarInfo(place)
            entry.size = len(text)
            packed.addfile(entry, io.BytesIO(text))
        link = tarfile.TarInfo("data/passwords")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        packed.addfile(link)
    client = desk.client()
    address = client.path("models", name, "versions", "archive")
    headers = {"Content-Type": "application/octet-stream"}
    return client.api.request("POST", address, content=content.getvalue(), headers=headers)


@case("an entry of the zoo, where a model of your own has its name")
def _(desk: Desk, name: str) -> object:
    del name
    if desk.model("iris-species") is None:
        desk.deploy(desk.notebook.times, "iris-species", requirements=[], app=False)
    return desk.client().create("zoo", "iris-species", "deploy", body={})


# --- what shows when it comes to life

folder("a requirement that nobody publishes", "requirements: [tenfold-no-such-package]\n")
folder("a version that nobody published", "requirements: ['six==99.0']\n")
folder("requirements that exclude each other", "requirements: ['six==1.16.0', 'six==1.17.0']\n")
folder("a Python that the machine does not have", "python_version: '3.99'\n")
folder("external data at a private address", "external_data: [{url: 'http://10.0.0.1/w', local_data_path: w}]\n")
folder("a class of another name", code="class Modell:\n    def predict(self, inputs):\n        return inputs\n")
folder("code that imports what it does not require", code="import pandas\n" + GOOD)
folder("code that does not parse", code="class Model\n    pass\n")
folder(
    "a `predict` with three arguments",
    code="class Model:\n    def predict(self, inputs, request, more):\n        return inputs\n",
)
folder("a constructor that asks for what there is not", code=GOOD + "    def __init__(self, model_size): ...\n")
folder(
    "a `load` that raises",
    code=GOOD + "    def load(self):\n        raise RuntimeError('no weights in the data folder')\n",
)
folder(
    "a `load` that ends the process",
    code=GOOD + "    def load(self):\n        import os\n        os._exit(3)\n",
)
folder(
    "a `load` that never returns",
    "runtime: {health_checks: {startup_threshold_seconds: 3}}\n",
    code=GOOD + "    def load(self):\n        import time\n        time.sleep(3600)\n",
)
folder(
    "a `load` that needs more memory than it gets",
    "resources: {memory: 256Mi}\n",
    code=GOOD + "    def load(self):\n        import time\n        self.all = b'x' * 10**9\n        time.sleep(60)\n",
)
folder(
    "a secret that nobody has set",
    "secrets: {HUB_TOKEN: null}\n",
    code="""
    class Model:
        def __init__(self, secrets):
            self.secrets = secrets

        def load(self):
            self.token = self.secrets["HUB_TOKEN"]

        def predict(self, inputs):
            return inputs
    """,
)
folder(
    "a secret that the package does not name",
    code="""
    class Model:
        def __init__(self, secrets):
            self.token = secrets["HUB_TOKEN"]

        def predict(self, inputs):
            return inputs
    """,
)


@case("an example on which `predict` raises")
def _(desk: Desk, name: str) -> object:
    return desk.deploy(desk.notebook.divides, name, example={"x": 0}, requirements=[])


# --- the tests

HEADINGS = ("On your machine", "Before there is a version", "When it comes to life")
ROWS = [row for heading in HEADINGS for row in rows_of(heading)]


@pytest.fixture
def desk(platform: Installation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Desk]:
    made = _desk(platform, tmp_path, monkeypatch)
    yield made
    made.notebook.logged.log.close()
    for client in made.clients:
        client.close()


def _desk(installation: Installation, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Desk:
    """The notebook is `__main__`, as it is for whoever works in one."""
    (folder / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder / "temporary"))
    file = folder / "notebook.py"
    file.write_text(NOTEBOOK)
    notebook = ModuleType("__main__")
    notebook.__file__ = str(file)
    monkeypatch.setitem(sys.modules, "__main__", notebook)
    exec(compile(NOTEBOOK, str(file), "exec"), notebook.__dict__)
    told = installation.profile
    profile = Profile(told["url"], told["key"], "default", told["gateway_url"])
    return Desk(installation, profile, folder, notebook)


def words_of(error: TenfoldError) -> tuple[str, str]:
    """What is said, and the next step, wherever an error has them: problems of a document have their own."""
    lines = [entry for entry in error.details if isinstance(entry, dict) and entry.get("message")]
    if not lines or error.hint:
        return error.message, error.hint
    first = error.message.splitlines()[0]
    told = [problem_line({**entry, "hint": ""}) for entry in lines]
    return " ".join([first, *told]), " ".join(str(entry["hint"]) for entry in lines if entry.get("hint"))


NOTHING: dict[str, set[str]] = {"laptop": set(), "uploads": set(), "store": set(), "environments": set()}


def left_behind(desk: Desk) -> dict[str, set[str]]:
    """What must not be there when nothing is under way: temporary files here and there, half a folder, a process."""
    data = desk.installation.data
    with desk.installation.api() as api:
        environments = api.get("/environments", params={"limit": 200}).json()["items"]
    digests = [one["lock_digest"] for one in environments if one["state"] == "ready"]
    ready = {name for digest in digests for name in (digest, f".{digest}.lock")}
    return {
        "laptop": {path.name for path in (desk.folder / "temporary").iterdir()},
        "uploads": {path.name for path in data.glob("upload-*")},
        "store": {path.name for path in (data / "artifacts").glob("incoming/*")},
        "environments": {path.name for path in data.glob("environments/*/*")} - ready,
    }


def running_replicas(version: dict[str, Any]) -> list[str]:
    return [one["state"] for one in version["deployment"]["replicas"] if one["state"] not in ("failed", "stopped")]


def test_every_row_of_the_page_is_done_here() -> None:
    assert sorted(row.done for row in ROWS) == sorted(CASES)
    assert len(ROWS) >= 30
    assert all(row.said and row.step and row.where for row in ROWS)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.done)
def test_it_says_what_is_wrong_and_leaves_nothing(row: Row, desk: Desk) -> None:
    name = f"wrong-{ROWS.index(row)}"
    with pytest.raises(TenfoldError) as told:
        CASES[row.done](desk, name)
    message, step = words_of(told.value)
    assert fits(row.said, message), message
    assert fits(row.step, step), step
    with suppress(AssertionError):  # what is under way still, ends; what stays is shown below
        wait_for(lambda: left_behind(desk) == NOTHING, 30)
    assert left_behind(desk) == NOTHING
    versions = desk.versions(name)
    match row.where:
        case "laptop":
            assert desk.requests == []
            assert versions == []
            return
        case "upload":
            assert desk.model(name) is None
        case stage:
            assert isinstance(told.value, DeployFailed)
            assert told.value.stage == stage
            (version,) = versions
            assert version["state"] == "failed"
            assert version["reason"] in message
            assert [one["name"] for one in version["stages"] if one["state"] == "failed"] == [stage]
            assert version["aliases"] == []
            assert version["app"] is None
            wait_for(lambda: not running_replicas(desk.versions(name)[0]), 60)
    after = desk.deploy(desk.notebook.times, name, example={"x": 2}, requirements=[], app=False)
    assert after.version == len(versions) + 1
    assert after.predict(x=21) == 42
    assert desk.model(name)["aliases"] == {"production": after.version}  # type: ignore[index]
    after.delete()


def test_what_is_only_remarked_is_said_on_the_way(desk: Desk) -> None:
    (row,) = rows_of("Only remarked")
    made = desk.deploy(desk.write("requirments: [numpy]\n"), "misspelt")
    remarks = [line.strip() for line in desk.shown.getvalue().splitlines() if "config.yaml" in line]
    assert [plain(remark) for remark in remarks] == [f"{row.said} {row.step}"]
    assert made.predict({"x": 1}) == {"x": 1}
