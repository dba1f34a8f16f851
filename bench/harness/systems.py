"""The systems that are compared: how each is installed, started and asked. `SYSTEMS` has them all.

Each is started for one workload and gives contestants: ways to ask it (one by one, in batches, with binary bodies),
each of them started when it is asked for. What cannot be installed or started is a contestant with the reason.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from harness.client import Call, Result
from harness.environments import ROOT, environment, model_requirements
from harness.processes import descendants, free_port, last_line, process, run, send, wait_for
from harness.tenfold_up import Installation, tenfold_up
from harness.workloads import INPUTS, INSTANCES, MSGPACK, RAW, V2, V2_BINARY, Form, Workload
from tenfold import connect

SERVERS = Path(__file__).resolve().parents[1] / "servers"
BATCH = "64"
READY_SECONDS = 120


@dataclass
class Contestant:
    """One way to ask one system. `pids` are its processes; those that `may_pause` stand still for the others. `began`:
    when its server was started, as `time.perf_counter` tells it.
    """

    name: str
    call: Call | None = None
    pids: Callable[[], set[int]] = set
    may_pause: bool = True
    log: Path | None = None
    problem: str = ""
    began: float = 0.0
    results: dict[int, list[Result]] = field(default_factory=dict)
    cpu_ms: dict[int, list[float]] = field(default_factory=dict)

    def wait_until_right(self, workload: Workload, every: float = 0.1) -> None:
        """Until it gives the right answer, asking so often (seconds); else says why it does not, in `problem`."""
        said = ""

        def is_right() -> bool:
            nonlocal said
            assert self.call
            try:
                answer = _ask(self.call)
            except urllib.error.HTTPError as error:
                said = f"answers {error.code}: {last_line(error.read().decode(errors='replace'))}"
                return False
            except (OSError, ValueError) as error:
                said = f"does not answer: {error}"
                return False
            said = f"answers wrong: {last_line(answer.decode(errors='replace'))}"
            return workload.is_right(answer)

        if self.problem:
            return
        try:
            wait_for(lambda: is_right() or not self.pids(), READY_SECONDS, "no right answer", every)
        except TimeoutError:
            self.problem = said
        if not self.pids():
            self.problem = f"ended: {last_line(self.log.read_text(errors='replace')) if self.log else said}"

    def pause(self) -> None:
        if self.may_pause:
            send(self.pids(), signal.SIGSTOP)

    def resume(self) -> None:
        if self.may_pause:
            send(self.pids(), signal.SIGCONT)


@dataclass(frozen=True)
class Server:
    """One that was started: its processes, the file it logs to, and when."""

    pids: Callable[[], set[int]]
    log: Path
    began: float


@dataclass(frozen=True)
class Bench:
    """What systems are started with. What is entered in `stack` ends with the workload."""

    workload: Workload
    folder: Path
    cache: Path
    stack: contextlib.ExitStack
    tenfold: Callable[[], Installation]

    def python(self, name: str, *requirements: str) -> Path:
        return environment(self.cache, name, [*model_requirements(), *requirements])

    def start(self, name: str, arguments: Sequence[str | Path], **env: str) -> Server:
        """Starts a server in a folder of its own."""
        folder = self.folder / f"{self.workload.name}-{name}"
        folder.mkdir(parents=True, exist_ok=True)
        variables = {
            "PYTHONPATH": str(SERVERS), "BENCH_WORKLOAD": self.workload.name, "BENCH_FOLDER": str(self.workload.folder),
        }  # fmt: skip
        log, began = folder / "log", time.perf_counter()
        child = self.stack.enter_context(
            process([str(part) for part in arguments], cwd=folder, log=log, env=variables | env)
        )
        return Server(lambda: descendants({child.pid}) if child.poll() is None else set(), log, began)

    def contestant(self, name: str, server: Server, url: str, form: Form, input_name: str = "x") -> Contestant:
        headers, body = self.workload.body(form, input_name)
        return Contestant(name, Call(url, body, headers), server.pids, log=server.log, began=server.began)


Start = Callable[[Bench], Iterator[Contestant]]


def models_python(cache: Path) -> Path:
    """Where models are trained and deployed from, and what the two plainest servers run in."""
    more = ("skops", "safetensors", "pandas", "orjson", "uvicorn", "uvloop", "httptools", "fastapi")
    return environment(cache, "models", [*model_requirements(), *more], editable=ROOT)


def train(cache: Path, folder: Path, workloads: list[str]) -> None:
    run([str(models_python(cache)), str(SERVERS / "train.py"), str(folder), *workloads])


def in_process(cache: Path, workload: Workload, seconds: float) -> dict[str, float]:
    """The model without any server: decode, predict, encode."""
    _, body = workload.body(INPUTS)
    arguments = [str(workload.folder), workload.name, str(body), str(seconds)]
    printed = run(
        [str(models_python(cache)), str(SERVERS / "in_process.py"), *arguments],
        env=os.environ | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
    )
    result: dict[str, float] = json.loads(printed.splitlines()[-1])
    return result


def start_all(bench: Bench, names: list[str]) -> list[Contestant]:
    contestants = []
    for name in names:
        try:
            contestants += SYSTEMS[name](bench)
        except subprocess.CalledProcessError as error:
            contestants.append(Contestant(name, problem=f"failed: {last_line(error.output)}"))
        except (RuntimeError, TimeoutError) as error:
            contestants.append(Contestant(name, problem=str(error)))
    return contestants


# --- each of them


def bare(bench: Bench) -> Iterator[Contestant]:
    return _plain(bench, "bare", "bare.py", "/")


def fastapi(bench: Bench) -> Iterator[Contestant]:
    return _plain(bench, "fastapi", "fastapi_app.py", "/predict")


def _plain(bench: Bench, name: str, script: str, path: str) -> Iterator[Contestant]:
    """A server that takes JSON at `path`, and raw bytes at /raw."""
    port = free_port()
    python, workload = models_python(bench.cache), bench.workload
    server = bench.start(name, [python, SERVERS / script, workload.folder, workload.name, str(port)])
    url = f"http://127.0.0.1:{port}"
    yield bench.contestant(name, server, url + path, INPUTS)
    if bench.workload.has_binary:
        yield bench.contestant(f"{name}, raw bytes", server, f"{url}/raw", RAW)


def tenfold(bench: Bench) -> Iterator[Contestant]:
    """Through the gateway, with a key: as deployed by default, less what the default adds, and with binary bodies."""
    installation = bench.tenfold()
    name = bench.workload.name
    variants: dict[str, dict[str, str]] = {"tenfold": {}}
    if bench.workload.is_compilable:
        variants["tenfold, not compiled"] = {"compile": "off"}
    variants["tenfold, no batching"] = {"compile": "off", "batch": "off"}
    wanted = [
        {"workload": name, "name": f"{name}-{number}", "options": options}
        for number, options in enumerate(variants.values())
    ]
    printed = run(
        [
            str(models_python(bench.cache)),
            str(SERVERS / "deploy.py"),
            str(bench.workload.folder),
            json.dumps(wanted),
        ],
        env=os.environ | installation.env | {"PYTHONPATH": f"{SERVERS}:{SERVERS.parent}"},
        cwd=bench.folder,
    )
    deployed = json.loads(printed.splitlines()[-1])
    bench.stack.callback(delete, [one["name"] for one in deployed])
    key = {"Authorization": f"Bearer {installation.profile['key']}"}

    def contestant(label: str, url: str, form: Form, input_name: str = "x") -> Contestant:
        headers, body = bench.workload.body(form, input_name)
        log = installation.folder / "up.log"
        return Contestant(label, Call(url, body, headers | key), installation.pids, may_pause=False, log=log)

    yield from (contestant(label, one["url"], INPUTS) for label, one in zip(variants, deployed, strict=True))
    if bench.workload.has_binary:
        yield contestant("tenfold, protocol v2", deployed[0]["infer_url"], V2, deployed[0]["input"])
        yield contestant("tenfold, binary", deployed[0]["infer_url"], V2_BINARY, deployed[0]["input"])


def delete(names: list[str]) -> None:
    with connect() as client:
        for name in names:
            client.delete("models", name)


def bentoml(bench: Bench) -> Iterator[Contestant]:
    python = bench.python("bentoml", "bentoml")
    for label, path, form in (
        ("bentoml", "/predict", INPUTS),
        ("bentoml, batching", "/batched", INPUTS),
        *((("bentoml, raw bytes", "/raw", RAW),) if bench.workload.has_binary else ()),
    ):
        port = free_port()
        arguments = [str(python), "-m", "bentoml", "serve", "bentoml_app:Bench", "--working-dir", str(SERVERS)]
        arguments += ["--port", str(port), "--host", "127.0.0.1"]
        home = str(bench.folder / "bentoml-home")
        server = bench.start(label, arguments, BENTOML_HOME=home, BENTOML_DO_NOT_TRACK="True")
        yield bench.contestant(label, server, f"http://127.0.0.1:{port}{path}", form)


def litserve(bench: Bench) -> Iterator[Contestant]:
    python = bench.python("litserve", "litserve")
    for label, wire, size, form in (
        ("litserve", "json", "1", INPUTS),
        ("litserve, batching", "json", BATCH, INPUTS),
        *((("litserve, raw bytes", "raw", "1", RAW),) if bench.workload.has_binary else ()),
    ):
        port = free_port()
        arguments = [str(bench.workload.folder), bench.workload.name, str(port), wire, size]
        server = bench.start(label, [python, SERVERS / "litserve_app.py", *arguments])
        yield bench.contestant(label, server, f"http://127.0.0.1:{port}/predict", form)


def mlserver(bench: Bench) -> Iterator[Contestant]:
    python = bench.python("mlserver", "mlserver")
    for label, batching in (
        ("mlserver", {}),
        ("mlserver, batching", {"max_batch_size": int(BATCH), "max_batch_time": 0.005}),
    ):
        port = free_port()
        folder = bench.folder / f"{bench.workload.name}-{label}"
        folder.mkdir(parents=True)
        settings = {
            "host": "127.0.0.1", "http_port": port, "grpc_port": free_port(), "metrics_port": free_port(),
            "parallel_workers": 0, "debug": False,
        }  # fmt: skip
        model = {"name": "bench", "implementation": "mlserver_app.Bench", **batching}
        (folder / "settings.json").write_text(json.dumps(settings))
        (folder / "model-settings.json").write_text(json.dumps(model))
        server = bench.start(label, [python, "-m", "mlserver.cli.main", "start", folder])
        url = f"http://127.0.0.1:{port}/v2/models/bench/infer"
        yield bench.contestant(label, server, url, V2)


def kserve(bench: Bench) -> Iterator[Contestant]:
    python, port = bench.python("kserve", "kserve"), free_port()
    arguments = ["--http_port", str(port), "--enable_grpc", "false", "--workers", "1"]
    server = bench.start("kserve", [python, SERVERS / "kserve_app.py", *arguments])
    url = f"http://127.0.0.1:{port}"
    yield bench.contestant("kserve", server, f"{url}/v1/models/bench:predict", INSTANCES)
    if bench.workload.has_binary:
        yield bench.contestant("kserve, binary", server, f"{url}/v2/models/bench/infer", V2_BINARY)


def truss(bench: Bench) -> Iterator[Contestant]:
    """The server that Truss puts into a container, laid out as it is there, without the container."""
    package = environment(bench.cache, "truss-package", ["--no-deps", "truss"])
    templates = next(package.parents[1].glob("lib/python*/site-packages/truss/templates"))
    lines = (templates / "server" / "constraints.txt").read_text().splitlines()  # what holds whoever asks for a package
    given = [line.partition(" #")[0].strip() for line in lines if line.strip() and not line.startswith(("#", "-"))]
    own = {line.partition("==")[0] for line in model_requirements()}  # the user's version takes precedence
    python = bench.python("truss-server", *(line for line in given if _name(line) not in own))
    folder = bench.folder / f"{bench.workload.name}-truss"
    folder.mkdir(parents=True)
    _link(templates / "server", folder)
    _link(templates / "shared", folder / "_truss_shared")
    (folder / "model").mkdir()
    (folder / "model" / "__init__.py").touch()
    (folder / "model" / "model.py").symlink_to(SERVERS / "truss_model.py")
    config = {
        "model_name": "bench",
        "model_class_filename": "model.py",
        "model_class_name": "Model",
        "model_module_dir": "model",
        "data_dir": "data",
        "requirements": [],
        "runtime": {"predict_concurrency": 1},
    }
    (folder / "config.yaml").write_text(json.dumps(config))
    port = free_port()
    server = bench.start("truss", [python, SERVERS / "truss_main.py", str(port)], HOME=str(folder))
    url = f"http://127.0.0.1:{port}/v1/models/model:predict"
    yield bench.contestant("truss", server, url, INPUTS)
    if bench.workload.has_binary:
        yield bench.contestant("truss, msgpack", server, url, MSGPACK)


def _name(requirement: str) -> str:
    return requirement.partition("=")[0].partition(">")[0].partition("<")[0].strip()


def _link(source: Path, target: Path) -> None:
    target.mkdir(exist_ok=True)
    for one in source.iterdir():
        (target / one.name).symlink_to(one)


SYSTEMS: Mapping[str, Start] = {
    "bare": bare,
    "tenfold": tenfold,
    "fastapi": fastapi,
    "bentoml": bentoml,
    "litserve": litserve,
    "mlserver": mlserver,
    "kserve": kserve,
    "truss": truss,
}


@contextlib.contextmanager
def one_tenfold(folder: Path) -> Iterator[Callable[[], Installation]]:
    """Gives the Tenfold of a run: started when it is asked for first, ended with the run."""
    with contextlib.ExitStack() as stack:
        started: list[Installation] = []

        def get() -> Installation:
            if not started:
                started.append(stack.enter_context(tenfold_up(folder)))
            return started[0]

        yield get


def _ask(call: Call) -> bytes:
    request = urllib.request.Request(call.url, call.body.read_bytes(), call.headers)
    with urllib.request.urlopen(request, timeout=30) as answer:
        content: bytes = answer.read()
        return content
