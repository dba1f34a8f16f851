"""Replicas that share a worker, with real processes: who may, what each has of its own, and how it ends."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from tenfold_deploy import shim
from tenfold_deploy.packs import lines_of, why_alone
from tenfold_deploy.scheduler import Handle, LogChunk, ReplicaSpec, ReplicaState, Resources, SchedulerError
from tenfold_runtime.client import Client
from tenfold_runtime.frames import Frame, FrameError

ECHO = "class Model:\n    def predict(self, x): return x"
WAYS = ("strict", "reduced", "none", "forked")
SAYING = """
import os
from .number import NUMBER
print("loaded", NUMBER)
class Model:
    def predict(self, x):
        print("asked", NUMBER)
        return [NUMBER, os.getpid()]
"""
WAITING = """
import os, time
class Model:
    def predict(self, x):
        began = time.monotonic()
        while time.monotonic() < began + x: time.sleep(0.01)
        return "finished"
"""
DYING = """
import os
class Model:
    def predict(self, x): os._exit(7)
"""


class World:
    """Packed replicas on a machine of one level."""

    def __init__(self, machine: Any) -> None:
        self.machine = machine
        self.packages = 0

    def spec(self, files: Mapping[str, str] | str, **fields: Any) -> ReplicaSpec:
        written = {"model/model.py": files} if isinstance(files, str) else files
        self.packages += 1
        root = self.machine.folder / "data" / f"packed{self.packages}"
        for name, text in written.items():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_text(text)
        given = {"labels": {"workspace": "one"}, "packed": True, "python": self.machine.python, **fields}
        return ReplicaSpec(**{"replica_id": str(uuid.uuid4()), "kind": "model", "root": str(root), **given})

    def start(self, files: Mapping[str, str] | str, **fields: Any) -> Handle:
        handle: Handle = self.machine.scheduler.start(self.spec(files, **fields))
        self.machine.handles.append(handle)
        return handle

    def running(self, files: Mapping[str, str] | str, **fields: Any) -> tuple[Handle, Client]:
        handle = self.start(files, **fields)
        client: Client = self.machine.connect(handle)
        assert client.health()["state"] == "ready", client.health()
        return handle, client

    def stop(self, handle: Handle, grace_seconds: float = 10) -> Any:
        self.machine.scheduler.stop(handle, grace_seconds)
        return self.machine.ended(handle)

    def saying(self, number: int, **fields: Any) -> tuple[Handle, Client]:
        return self.running({"model/model.py": SAYING, "model/number.py": f"NUMBER = {number}"}, **fields)

    def pack_folder(self, handle: Handle) -> Path:
        (found,) = self.machine.state.glob(f"packs/*/{handle.data['pack']['worker']}")
        folder: Path = found
        return folder


def ask(client: Client, value: Any = None) -> Frame:
    return client.request("predict", json.dumps(value).encode(), content_type="application/json")


def until(condition: Callable[[], Any], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"it did not happen in {seconds} s"
        time.sleep(0.01)


def asked(client: Client, value: Any) -> list[Any]:
    """A list that gets the answer, or what went wrong, of a predict in a thread of its own."""
    outcome: list[Any] = []

    def work() -> None:
        try:
            outcome.append(ask(client, value))
        except (OSError, FrameError) as error:
            outcome.append(error)

    threading.Thread(target=work, daemon=True).start()
    return outcome


@pytest.fixture(params=WAYS)
def any_world(request: pytest.FixtureRequest, make_machine: Callable[..., Any]) -> World:
    machine = make_machine(request.param)
    if machine.forks:
        machine.make_zygote(machine.spec(ECHO, labels={"workspace": "one"}), ECHO)
    return World(machine)


@pytest.fixture
def world(make_machine: Callable[..., Any]) -> World:
    return World(make_machine("strict"))


def test_models_share_a_worker_and_each_answers_and_ends_by_itself(any_world: World) -> None:
    world, machine = any_world, any_world.machine
    members = [world.saying(number) for number in range(3)]
    handles = [handle for handle, _ in members]
    answers = [ask(client).json() for _, client in members]
    assert [answer[0] for answer in answers] == [0, 1, 2]
    assert len({answer[1] for answer in answers}) == 1
    assert len({handle.data["pack"]["worker"] for handle in handles}) == 1
    assert {handle.data["forked"] for handle in handles} == {machine.forks}
    assert len({machine.scheduler.observe(handle).address for handle in handles}) == 3
    assert {handle.isolation for handle in handles} == {machine.isolation}
    ended = world.stop(handles[1])
    assert (ended.reason_code, ended.reason) == ("stopped", "It was stopped.")
    machine.scheduler.remove(handles[1])
    assert [ask(members[number][1]).json()[0] for number in (0, 2)] == [0, 2]
    folder = world.pack_folder(handles[0])
    assert sorted(path.name for path in (folder / "members").glob("*.json")) == sorted(
        f"{handle.replica_id}.json" for handle in (handles[0], handles[2])
    )
    for handle in (handles[0], handles[2]):
        world.stop(handle)
        machine.scheduler.remove(handle)
    until(lambda: shim.process_started(handles[0].data["shim_pid"]) is None)
    machine.scheduler.adopt()
    assert not folder.exists()
    assert not list(machine.state.glob("replicas/*"))


def test_what_is_in_flight_finishes(world: World) -> None:
    handle, client = world.running(WAITING)
    _, other = world.running(ECHO)
    outcome = asked(client, 1)
    until(lambda: client_health(handle)["occupied"] == 1)
    assert world.stop(handle, 60).reason_code == "stopped"
    until(lambda: outcome)
    assert outcome[0].json() == "finished"
    assert ask(other, 5).json() == 5


def client_health(handle: Handle) -> dict[str, Any]:
    with Client(handle.data["address"], timeout_seconds=60) as client:
        return client.health()


def test_what_does_not_finish_is_cut_off(world: World) -> None:
    handle, client = world.running(WAITING)
    world.running(ECHO)
    outcome = asked(client, 1000)
    until(lambda: client_health(handle)["occupied"] == 1)
    world.machine.scheduler.stop(handle, 600)
    assert world.stop(handle, 0).reason_code == "stopped"
    until(lambda: outcome)
    assert outcome[0].header["code"] == "stopped"


def test_a_worker_that_hangs_keeps_no_member_from_ending(world: World) -> None:
    hanging = "import ctypes\nclass Model:\n    def predict(self, x): ctypes.PyDLL(None).sleep(100_000)"
    handle, client = world.running(hanging)
    asked(client, 1)
    until(lambda: not answers_soon(handle))
    assert world.stop(handle, 0).reason_code == "stopped"
    other, _ = world.running(ECHO)
    assert other.data["pack"] != handle.data["pack"]
    until(lambda: shim.process_started(handle.data["shim_pid"]) is None)


def answers_soon(handle: Handle) -> bool:
    try:
        with Client(handle.data["address"], timeout_seconds=1) as client:
            client.health()
    except OSError:
        return False
    return True


def test_a_crash_ends_all_and_says_so(any_world: World) -> None:
    world, machine = any_world, any_world.machine
    one, _ = world.running(ECHO)
    culprit, client = world.running(DYING)
    two, _ = world.running(ECHO)
    gone, _ = world.running(ECHO)
    world.stop(gone)
    asked(client, 1)
    for handle in (one, culprit, two):
        seen = machine.ended(handle)
        assert (seen.reason_code, seen.exit.code) == ("exited", 7)
        assert "exit code 7" in seen.reason
        assert seen.reason.endswith("It shared this worker with 2 other models, which all ended with it.")
    assert machine.scheduler.observe(gone).reason_code == "stopped"
    again, client = world.running(ECHO)
    assert ask(client, 1).json() == 1
    assert again.data["pack"] != one.data["pack"]
    for handle in (one, culprit, two, gone):
        machine.scheduler.remove(handle)
    assert len(list(machine.state.glob("packs/*/*/handle.json"))) == 1


def test_a_worker_that_is_killed_is_told_as_such(world: World) -> None:
    handle, _ = world.running(ECHO)
    os.kill(handle.data["worker_pid"], signal.SIGKILL)
    seen = world.machine.ended(handle)
    assert (seen.reason_code, seen.exit.signal) == ("killed", signal.SIGKILL)
    assert "shared" not in seen.reason
    other, _ = world.running(ECHO)
    os.kill(other.data["shim_pid"], signal.SIGKILL)
    assert world.machine.ended(other).reason_code == "supervisor_killed"
    until(lambda: shim.process_started(other.data["worker_pid"]) is None)


def test_a_load_failure_is_one_models(world: World) -> None:
    _, client = world.running(ECHO)
    bad = world.machine.connect(world.start("raise ValueError('no such weights')"))
    assert bad.health()["state"] == "failed"
    assert "no such weights" in bad.health()["error"]["message"]
    assert ask(client, 1).json() == 1


@pytest.mark.parametrize(
    ("files", "fields", "reason"),
    [
        ({}, {"secrets": {"token": "x"}}, "It has secrets"),
        ({"helper.py": "A = 1"}, {}, "(helper.py)"),
        ({"lib/part/thing.py": "A = 1"}, {}, "(lib)"),
        ({"packages/thing.py": "A = 1"}, {}, "(packages)"),
        ({".tenfold/config.json": '{"build_commands": ["true"]}'}, {}, "build commands"),
        ({".tenfold/config.json": '{"docker_server": {"start_command": "x"}}'}, {}, "a server of its own"),
        ({".tenfold/config.json": '{"runtime": {"enable_debug_logs": true}}'}, {}, "debug logs"),
        ({".tenfold/config.json": '{"model_cache": [{"repo_id": "a/b"}]}'}, {}, "weights at fixed paths"),
        ({".tenfold/config.json": '{"model_module_dir": "."}', "model.py": ECHO}, {}, "(model.py)"),
        ({".tenfold/config.json": "{"}, {}, "cannot be read"),
        ({"data/code.py": "A = 1", "README.md": "", "tests-of-it/a.py": "", ".tenfold/x.py": ""}, {}, None),
    ],
)
def test_who_may_not_share(tmp_path: Path, files: dict[str, str], fields: dict[str, Any], reason: str | None) -> None:
    for name, text in {"model/model.py": ECHO, **files}.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    found = why_alone(ReplicaSpec("r", "model", sys.executable, root=str(tmp_path), packed=True, **fields))
    assert (found is None) if reason is None else (found is not None and reason in found and found.endswith("."))
    assert why_alone(ReplicaSpec("r", "code", sys.executable, code_root=str(tmp_path))) is not None


def test_one_that_may_not_share_runs_alone_and_says_why(world: World) -> None:
    shared, _ = world.running(ECHO)
    handle, client = world.running({"model/model.py": "import helper\n" + ECHO, "helper.py": "A = 1"})
    assert handle.data["pack"] == {
        "alone": "It has Python modules beside its model's folder (helper.py), and those of several models would meet."
    }
    assert ask(client, 1).json() == 1
    assert handle.data["worker_pid"] != shared.data["worker_pid"]
    unpacked, _ = world.running(ECHO, packed=False)
    assert "pack" not in unpacked.data


def test_only_those_that_are_alike_share(world: World, tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path / "other"], check=True)
    one, _ = world.running(ECHO)
    others: list[dict[str, Any]] = [
        {"labels": {"workspace": "two"}},
        {"environment_variables": {"A": "1"}},
        {"resources": Resources(memory_bytes=1024**3)},
        {"python": str(tmp_path / "other" / "bin" / "python")},
    ]
    packs = [world.running(ECHO, **fields)[0].data["pack"]["worker"] for fields in others]
    assert len({one.data["pack"]["worker"], *packs}) == 5
    again, _ = world.running(ECHO, environment={"name": "production"}, digest="abc", labels={**one.labels, "a": "b"})
    assert again.data["pack"] == one.data["pack"]


def test_a_limit_of_memory_is_the_workers(make_machine: Callable[..., Any]) -> None:
    world = World(make_machine("none"))
    limit = Resources(memory_bytes=200 * 1024**2)
    growing = "class Model:\n    def predict(self, x): self.kept = b'x' * (400 * 1024**2)"
    one, _ = world.running(ECHO, resources=limit)
    two, client = world.running(growing, resources=limit)
    asked(client, 1)
    assert {world.machine.ended(handle).reason_code for handle in (one, two)} == {"out_of_memory"}


def test_a_pack_is_full_at_some_point(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tenfold_deploy.packs.MOST_MEMBERS", 2)
    handles = [world.running(ECHO)[0] for _ in range(3)]
    packs = [handle.data["pack"]["worker"] for handle in handles]
    assert packs[0] == packs[1] != packs[2]
    world.stop(handles[0])
    world.machine.scheduler.remove(handles[0])
    later, _ = world.running(ECHO)
    assert later.data["pack"]["worker"] in packs


def test_twenty_members_in_one_process(world: World) -> None:
    files = [{"model/model.py": SAYING, "model/number.py": f"NUMBER = {number}"} for number in range(20)]
    handles = [world.start(one) for one in files]
    answers = [ask(world.machine.connect(handle)).json() for handle in handles]
    assert [answer[0] for answer in answers] == list(range(20))
    assert len({answer[1] for answer in answers}) == 1


def test_a_restarted_scheduler_goes_on(world: World) -> None:
    machine = world.machine
    one, client = world.saying(1)
    two, _ = world.saying(2)
    again = machine.make()
    assert {handle.replica_id: handle for handle in again.adopt()} == {
        handle.replica_id: Handle.from_json(handle.to_json()) for handle in (one, two)
    }
    assert again.observe(one).state is ReplicaState.RUNNING
    machine.scheduler = again
    three, _ = world.saying(3)
    assert three.data["pack"] == one.data["pack"]
    assert world.stop(two).reason_code == "stopped"
    assert ask(client).json()[0] == 1
    with pytest.raises(SchedulerError, match="was started before"):
        again.start(world.spec(ECHO, replica_id=one.replica_id))
    with pytest.raises(SchedulerError, match="has not ended"):
        again.remove(one)


def test_a_start_that_was_cut_off_leaves_nothing(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    machine = world.machine
    one, client = world.running(ECHO)
    folder = world.pack_folder(one)

    def fail(path: str, value: Any) -> None:
        if path.endswith("handle.json"):
            raise KeyboardInterrupt
        shim_write(path, value)

    shim_write = shim.write_json
    spec = world.spec(ECHO)
    with monkeypatch.context() as patched:
        patched.setattr(shim, "write_json", fail)
        with pytest.raises(KeyboardInterrupt):
            machine.scheduler.start(spec)
    assert len(list((folder / "members").glob("*.json"))) == 2
    (folder.parent / "halfway").mkdir()
    assert [handle.replica_id for handle in machine.make().adopt()] == [one.replica_id]
    assert [path.stem for path in (folder / "members").glob("*.json")] == [one.replica_id]
    assert not (folder.parent / "halfway").exists()
    assert ask(client, 1).json() == 1


def test_a_worker_that_cannot_be_started_is_an_error(make_machine: Callable[..., Any], tmp_path: Path) -> None:
    world = World(make_machine("none"))
    broken = tmp_path / "python"
    broken.write_text("#!/nowhere\n")
    broken.chmod(0o755)
    with pytest.raises(SchedulerError) as caught:
        world.start(ECHO, python=str(broken))
    assert caught.value.code == "start_failed"
    assert not list(world.machine.state.glob("packs/*/*/"))
    assert not list(world.machine.state.glob("replicas/*"))


def test_an_outdated_worker_gets_no_more_members(world: World) -> None:
    one, client = world.running(ECHO)
    Path(one.data["address"].partition(":")[2]).with_name("outdated").touch()
    two, _ = world.running(ECHO)
    assert two.data["pack"] != one.data["pack"]
    assert ask(client, 1).json() == 1
    world.stop(one)
    until(lambda: shim.process_started(one.data["shim_pid"]) is None)


def test_end_zygotes_ends_them_all(world: World) -> None:
    machine = world.machine
    handles = [world.running(ECHO)[0], world.running(ECHO, labels={"workspace": "two"})[0]]
    machine.scheduler.end_zygotes()
    for handle in handles:
        assert shim.process_started(handle.data["worker_pid"]) is None
        assert machine.scheduler.observe(handle).reason_code == "stopped"
        machine.scheduler.remove(handle)
    assert not list(machine.state.glob("packs/*/*/"))


def test_a_member_sees_packages_of_its_pack_only(any_world: World) -> None:
    world, machine = any_world, any_world.machine
    if machine.level == "none":
        return
    looking = """
import os
def attempt(path):
    try:
        if os.path.isdir(path): return sorted(os.listdir(path))
        return open(path).read()
    except OSError as error: return None
def write(path):
    try: open(path, "a").close()
    except OSError: return False
    return True
class Model:
    def predict(self, x):
        return {"seen": [attempt(path) for path in x["read"]], "written": [write(path) for path in x["write"]]}
"""
    alone, _ = world.running({"model/model.py": ECHO, "packages/a.py": "A = 1"})
    elsewhere, _ = world.running(ECHO, labels={"workspace": "two"})
    one, _ = world.running(ECHO)
    _, client = world.running(looking)
    folder = world.pack_folder(one)
    source = "packed3/model/model.py"
    hidden = [
        machine.folder / "data" / source,
        machine.folder / "data",
        machine.state / "replicas" / one.replica_id / "handle.json",
        machine.state / "replicas" / alone.replica_id,
        world.pack_folder(elsewhere) / "members",
        folder / "handle.json",
        folder / "number.json",
        folder.parent,
    ]
    assert (machine.folder / "data" / source).exists()
    members = folder / "members"
    guarded = [
        members / "new.json",
        members / f"{one.replica_id}.json",
        members / one.replica_id / "model" / "model.py",
    ]
    given = {"read": [*map(str, hidden), str(members / one.replica_id / "model" / "model.py")]}
    answer = ask(client, {**given, "write": [*map(str, guarded), str(folder / "run" / "own")]}).json()
    assert answer["written"] == [False, False, False, True]
    (seen,) = [seen for seen in answer["seen"] if seen == ECHO]
    if machine.level == "reduced":  # what is above an allowed folder cannot be listed, nor opened
        assert answer["seen"][:-1] == [None] * len(hidden)
    else:  # the way to what it sees is there, and nothing beside it
        assert answer["seen"][0] is None
        assert answer["seen"][1] == ["workers"]
        assert [one for one in answer["seen"][2:-2] if one is not None] == []
        assert answer["seen"][-2] == [folder.name]
    assert seen == ECHO


def test_the_log_of_a_member_is_its_own(world: World) -> None:
    machine = world.machine
    (one, client_of_one), (two, client_of_two) = world.saying(1), world.saying(2)
    for client in (client_of_one, client_of_two, client_of_one):
        ask(client)
    until(lambda: machine.log(one).count("asked") == 2 and machine.log(two).count("asked") == 1)
    assert machine.log(one) == "loaded 1\nasked 1\nasked 1\n"
    assert machine.log(two) == "loaded 2\nasked 2\n"
    first = machine.scheduler.logs(one, 0, 9)
    assert first.data == b"loaded 1\n"
    rest = machine.scheduler.logs(one, first.next_offset, 1000)
    assert rest.data == b"asked 1\nasked 1\n"
    assert machine.scheduler.logs(one, rest.next_offset, 1000).data == b""
    world.stop(one)
    world.stop(two)
    assert machine.log(two) == "loaded 2\nasked 2\n"
    machine.scheduler.remove(one)
    assert machine.log(two) == "loaded 2\nasked 2\n"


LOG = b"up\n[[1]] a\n[[2]] b\n[[12]] c\n[[1]] d [[2]] e\n[tenfold] note\n[[1]] begun"


def reader(log: bytes, first: int = 0) -> Callable[[int, int], LogChunk]:
    """Of a log whose bytes before `first` have been dropped."""

    def read(offset: int, limit: int) -> LogChunk:
        start = max(0, len(log) + offset) if offset < 0 else offset
        begin = max(start, first) if start < len(log) else start
        data = log[begin : begin + limit]
        return LogChunk(data, begin + len(data))

    return read


def test_lines_of_a_member() -> None:
    whole = lines_of(1, reader(LOG), 0, 1000)
    assert whole == LogChunk(b"up\na\nd [[2]] e\n[tenfold] note\n", len(LOG) - len(b"[[1]] begun"))
    assert lines_of(1, reader(LOG), 0, 1000, is_over=True).data == whole.data + b"begun"
    assert lines_of(2, reader(LOG), 0, 1000, is_over=True).data == b"up\nb\n[tenfold] note\n"
    assert lines_of(1, reader(LOG), whole.next_offset, 1000) == LogChunk(b"", whole.next_offset)
    for limit in range(1, 40):
        position, data = 0, b""
        while chunk := lines_of(1, reader(LOG), position, limit):
            if not chunk.data:
                break
            assert len(chunk.data) <= limit
            assert chunk.next_offset > position
            position, data = chunk.next_offset, data + chunk.data
        assert data == whole.data
    assert lines_of(1, reader(LOG), -45, 1000).data == b"d [[2]] e\n[tenfold] note\n"
    assert lines_of(1, reader(LOG, 11), 0, 1000).data == b"d [[2]] e\n[tenfold] note\n"
    assert lines_of(1, reader(b""), 0, 10) == LogChunk(b"", 0)
    assert lines_of(1, reader(b""), -10, 10) == LogChunk(b"", 0)


def test_long_lines_and_many_of_others() -> None:
    long = b"[[1]] " + b"x" * 200_000 + b"\n"
    log = b"[[2]] y\n" * 50_000 + long + b"[[2]] z\n"
    data, position = b"", 0
    while chunk := lines_of(1, reader(log), position, 65536):
        if not chunk.data:
            break
        data, position = data + chunk.data, chunk.next_offset
    assert data[:65536] == b"x" * 65536
    assert len(data) <= len(long)
    assert lines_of(1, reader(b"[[2]] y\n" * 50_000), 0, 10) == LogChunk(b"", 400_000)


def test_tools_of_the_workers_language_are_not_confused(world: World) -> None:
    """A model that looks for its source, or raises from it, finds it."""
    source = "import inspect\nclass Model:\n    def predict(self, x):\n"
    source += "        if x: raise KeyError('no')\n        return inspect.getsource(Model)"
    _, client = world.running(source)
    assert "inspect.getsource" in ask(client, 0).json()
    assert "raise KeyError('no')" in ask(client, 1).header["traceback"]
