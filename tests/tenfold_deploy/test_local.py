"""The local scheduler with real processes: starting, watching, ending, and surviving whatever happens to them."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Callable
from pathlib import Path

import pytest

from tenfold_deploy import shim
from tenfold_deploy.local import LocalScheduler
from tenfold_deploy.scheduler import (
    Handle,
    ReplicaSpec,
    ReplicaState,
    Resources,
    SchedulerError,
)
from tenfold_runtime.client import Client

from ..waiting import wait_for
from .conftest import BARE_PYTHON, MIB, Machine

ECHO = "class Model:\n    def predict(self, x): return {'got': x}"
LOADS_FOREVER = """
    class Model:
        def load(self):
            while True: pass
        def predict(self, x): ...
"""
DEAF = """
    import ctypes
    class Model:
        def load(self): ctypes.PyDLL(None).sleep(1000)
        def predict(self, x): ...
"""


def alive(pid: int) -> bool:
    return shim.process_started(pid) is not None


@pytest.fixture
def machine(make_machine: Callable[..., Machine]) -> Machine:
    """Without a sandbox: what that changes is test_isolation.py's subject."""
    return make_machine("none", "open")


# Starting, serving, stopping


def test_a_replica_starts_serves_and_stops(machine: Machine) -> None:
    handle, client = machine.running(ECHO, digest="abc", labels={"version": "v1"})
    assert client.request("predict", b"[1]").json() == {"got": [1]}
    assert client.health()["digest"] == "abc"
    seen = machine.scheduler.observe(handle)
    assert (seen.state, seen.pid, seen.exit, seen.reason) == (ReplicaState.RUNNING, client.health()["pid"], None, None)
    assert seen.since is not None
    machine.scheduler.stop(handle)
    ended = machine.ended(handle)
    assert (ended.exit.code, ended.exit.signal, ended.reason_code, ended.reason) == (
        0,
        None,
        "stopped",
        "It was stopped.",
    )
    assert (ended.address, ended.pid) == (None, None)
    assert not alive(seen.pid)


def test_starting_costs_little_more_than_a_bare_interpreter(machine: Machine) -> None:
    bare, started = [], []
    for _ in range(8):
        began = time.perf_counter()
        subprocess.run([sys.executable, "-I", "-S", "-c", "import json, ctypes, select, resource"], check=True)
        bare.append(time.perf_counter() - began)
        began = time.perf_counter()
        handle = machine.start(ECHO)
        started.append(time.perf_counter() - began)
        machine.scheduler.stop(handle, 0)
        machine.ended(handle)
    assert min(started) < 4 * min(bare)


def test_no_zombie_and_no_descriptor_is_left_with_the_caller(machine: Machine) -> None:
    before: set[str] | None = None
    for _ in range(3):
        handle = machine.start(ECHO)
        before = before or set(os.listdir("/proc/self/fd"))  # the scheduler keeps one from its first start on
        machine.scheduler.stop(handle, 0)
        machine.ended(handle)
    children = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
    assert [pid for pid in children if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"] == []
    assert set(os.listdir("/proc/self/fd")) == before


def test_a_model_is_told_what_it_is_deployed_as(machine: Machine) -> None:
    source = """
        class Model:
            def __init__(self, environment): self.environment = environment
            def predict(self, x): return self.environment
    """
    _, client = machine.running(source, environment={"name": "production"})
    assert client.request("predict", b"1").json() == {"name": "production"}
    _, client = machine.running(source)
    assert client.request("predict", b"1").json() is None


def test_the_environment_is_what_the_platform_sets_and_no_more(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PLATFORM_SECRET", "do not tell")
    source = """
        import os, sys, resource
        class Model:
            def __init__(self, secrets): self.secrets = secrets
            def predict(self, x):
                return {
                    "environment": dict(os.environ),
                    "argv": open("/proc/self/cmdline").read(),
                    "secret": self.secrets["key"],
                    "core": resource.getrlimit(resource.RLIMIT_CORE),
                    "parent": open(f"/proc/{os.getppid()}/environ").read(),
                    "umask": os.umask(0),
                    "session": os.getsid(0) == os.getpid(),
                }
    """
    handle, client = machine.running(
        source,
        environment_variables={"MODE": "test", "OMP_NUM_THREADS": "7", "PYTHONSAFEPATH": "1", "DO_NOT_TRACK": "0"},
        secrets={"key": "s3cret"},
        resources=Resources(cpu=2.5),
    )
    told = client.request("predict", b"1").json()
    environment = told["environment"]
    folder = handle.data["folder"]
    assert set(environment) <= {
        "TENFOLD_REPLICA_ID", "PATH", "HOME", "USER", "LOGNAME", "TMPDIR", "LANG", "PYTHONNOUSERSITE", "MODE",
        "LC_CTYPE",
        "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS", "VECLIB_MAXIMUM_THREADS",
        "RAYON_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TENFOLD_ROOT",
        "DO_NOT_TRACK", "HF_HUB_DISABLE_TELEMETRY", "MLFLOW_DISABLE_TELEMETRY", "ORT_DISABLE_TELEMETRY",
    }  # fmt: skip
    assert (environment["ORT_DISABLE_TELEMETRY"], environment["DO_NOT_TRACK"]) == ("1", "0")
    assert (environment["MODE"], environment["OMP_NUM_THREADS"], environment["MKL_NUM_THREADS"]) == ("test", "7", "2")
    assert (environment["HOME"], environment["TMPDIR"]) == (f"{folder}/home", f"{folder}/tmp")
    assert told["secret"] == "s3cret"
    assert "s3cret" not in json.dumps([environment, told["argv"], told["parent"], handle.to_json()])
    assert "do not tell" not in json.dumps(told)
    assert told["core"] == [0, 0]
    assert told["umask"] == 0o077
    assert told["session"] is True
    machine.scheduler.stop(handle)
    machine.ended(handle)
    assert not (Path(folder) / "secrets").exists()


def test_nothing_of_the_platform_can_be_imported(machine: Machine) -> None:
    source = """
        import importlib.util
        class Model:
            def predict(self, x):
                names = ["tenfold_platform", "tenfold_deploy", "tenfold", "tenfold_expressions", "fastapi"]
                found = []
                for name in names:
                    try: found += [name] if importlib.util.find_spec(name) else []
                    except ImportError: pass
                return found
    """
    _, client = machine.running(source)
    assert client.request("predict", b"1").json() == []


def test_code_workers_start_too(machine: Machine) -> None:
    bundles = machine.folder / "bundles"
    (bundles / "d1" / "code").mkdir(parents=True)
    (bundles / "d1" / "code" / "a.py").write_text("import os\ndef f(x): return [x, os.getcwd()]")
    handle = machine.scheduler.start(ReplicaSpec(str(uuid.uuid4()), "code", BARE_PYTHON, code_root=str(bundles)))
    machine.handles.append(handle)
    steps = [{"name": "a", "target": "code/a.py:f", "arguments": {"x": 1}}]
    answer = machine.connect(handle).request("call", b"{}", code="d1", steps=steps)
    assert answer.json()["results"][0]["output"] == [1, f"{handle.data['folder']}/home"]


def test_what_cannot_start_says_why_and_leaves_nothing(machine: Machine) -> None:
    spec = machine.spec(ECHO)
    cases = [
        ({"python": "/nowhere/python"}, "There is no Python at /nowhere/python."),
        ({"root": "/nowhere"}, "There is no folder /nowhere."),
        ({"replica_id": "../up"}, "is not a replica id"),
        ({"secrets": {"../x": "1"}}, "cannot be the name of a secret"),
    ]
    for fields, says in cases:
        with pytest.raises(SchedulerError, match=says) as caught:
            machine.scheduler.start(ReplicaSpec(**{**vars(spec), **fields}))
        assert caught.value.code == "start_failed"
    broken = machine.folder / "python"
    broken.write_text("#!/nowhere/interpreter\n")
    broken.chmod(0o755)
    with pytest.raises(SchedulerError, match="could not be started: FileNotFoundError") as caught:
        machine.scheduler.start(ReplicaSpec(**{**vars(spec), "python": str(broken)}))
    assert caught.value.code == "start_failed"
    assert list((machine.state / "replicas").iterdir()) == []


def test_the_same_replica_is_not_started_twice(machine: Machine) -> None:
    handle = machine.start(ECHO)
    with pytest.raises(SchedulerError) as caught:
        machine.scheduler.start(machine.spec(ECHO, replica_id=handle.replica_id))
    assert caught.value.code == "replica_exists"
    assert machine.scheduler.observe(handle).state in (ReplicaState.STARTING, ReplicaState.RUNNING)


def test_a_start_that_was_cut_off_is_no_obstacle(machine: Machine) -> None:
    spec = machine.spec(ECHO)
    (machine.state / "replicas" / spec.replica_id / "home").mkdir(parents=True)
    assert machine.scheduler.adopt() == []
    handle = machine.scheduler.start(spec)
    machine.handles.append(handle)
    assert machine.connect(handle).request("predict", b"1").ok


def test_a_tree_is_removed_however_deep_and_nothing_beyond_it(tmp_path: Path) -> None:
    """By whom its folders are closed to as well."""
    kept = tmp_path / "kept"
    kept.mkdir()
    (kept / "file").touch()
    doomed = Path(tempfile.mkdtemp(prefix="tf-"))
    pid = os.fork()
    if pid == 0:
        try:
            if os.geteuid() == 0:
                os.chown(doomed, 65534, 65534)
                os.setresuid(65534, 65534, 65534)
            (doomed / "link").symlink_to(kept)
            (doomed / "closed" / "closed").mkdir(parents=True)
            (doomed / "closed" / "closed" / "file").touch()
            for number in range(3000):
                (doomed / f"{number}").touch()
            for folder in (doomed / "closed" / "closed", doomed / "closed"):
                folder.chmod(0)
            at = os.open(doomed, os.O_RDONLY)
            for _ in range(5000):
                os.symlink(kept, "out", dir_fd=at)
                for name in ("beside", "deeper"):
                    os.mkdir(name, dir_fd=at)
                below = os.open("deeper", os.O_RDONLY, dir_fd=at)
                os.close(at)
                at = below
            shim.remove(str(doomed / "no" / "such"))
            shim.remove(str(doomed))
            os._exit(1 if doomed.exists() and os.listdir(doomed) else 0)
        finally:
            os._exit(2)
    _, status = os.waitpid(pid, 0)
    shim.remove(str(doomed))
    assert os.waitstatus_to_exitcode(status) == 0
    assert not doomed.exists()
    assert (kept / "file").exists()


def test_a_long_state_folder_gets_a_short_socket(machine: Machine) -> None:
    scheduler = LocalScheduler(machine.folder / ("x" * 120), isolation=machine.isolation)
    handle, client = machine.start(ECHO, scheduler=scheduler), None
    client = machine.connect(handle)
    path = Path(handle.data["address"].partition(":")[2])
    assert len(str(path)) < 100
    assert path.parent.stat().st_mode & 0o777 == 0o700
    assert client.request("predict", b"1").ok
    scheduler.stop(handle)
    machine.ended(handle)
    wait_for(lambda: not path.parent.exists())


def test_stopping_waits_for_the_grace_then_kills(machine: Machine) -> None:
    polite, deaf = machine.start(LOADS_FOREVER), machine.start(DEAF)
    for handle in (polite, deaf):
        machine.wait(handle, lambda seen: seen.state is ReplicaState.RUNNING)
    time.sleep(0.1)
    started = time.monotonic()
    machine.scheduler.stop(polite, 600)
    machine.scheduler.stop(deaf, 0.3)
    assert machine.ended(polite).exit.code == 0
    ended = machine.ended(deaf)
    assert time.monotonic() - started > 0.25
    assert (ended.exit.signal, ended.reason_code) == (signal.SIGKILL, "stopped")
    assert "killed because it did not finish in time" in ended.reason
    machine.scheduler.stop(deaf)


def test_what_does_not_finish_within_the_grace_is_told_so(machine: Machine) -> None:
    source = "import time\nclass Model:\n    def predict(self, x): time.sleep(30)"
    handle, client = machine.running(source)
    answers = []
    asking = threading.Thread(target=lambda: answers.append(client.request("predict", b"1")))
    asking.start()
    observer = machine.connect(handle)
    wait_for(lambda: observer.health()["in_flight"] == 1)
    machine.scheduler.stop(handle, 0.2)
    asking.join(20)
    assert [(answer.header["code"], answer.header["status"]) for answer in answers] == [("stopped", 503)]
    assert machine.ended(handle).exit.code == 0


def test_a_second_stop_can_be_more_impatient(machine: Machine) -> None:
    handle = machine.start(DEAF)
    machine.wait(handle, lambda seen: seen.state is ReplicaState.RUNNING)
    machine.scheduler.stop(handle, 60)
    machine.scheduler.stop(handle, 0)
    assert machine.wait(handle, lambda seen: seen.state is ReplicaState.EXITED, 5).reason_code == "stopped"


# Surviving


CONTROLLER = """
import sys, uuid
from tenfold_deploy.local import LocalScheduler
from tenfold_deploy.scheduler import Isolation, ReplicaSpec
spec = ReplicaSpec(str(uuid.uuid4()), "model", sys.argv[2], root=sys.argv[3], labels={"a": "b"})
handle = LocalScheduler(sys.argv[1], isolation=Isolation()).start(spec)
print(handle.replica_id, flush=True)
input()
"""


def test_replicas_outlive_the_killed_process_that_started_them_and_are_adopted(machine: Machine) -> None:
    root = machine.spec(ECHO).root
    arguments = [sys.executable, "-c", CONTROLLER, str(machine.state), BARE_PYTHON, str(root)]
    with subprocess.Popen(
        arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True
    ) as controller:
        replica_id = controller.stdout.readline().strip()
        os.killpg(controller.pid, signal.SIGKILL)
    (handle,) = LocalScheduler(machine.state).adopt()
    machine.handles.append(handle)
    assert (handle.replica_id, handle.labels) == (replica_id, {"a": "b"})
    assert Handle.from_json(json.loads(json.dumps(handle.to_json()))) == handle
    assert machine.connect(handle).request("predict", b"1").json() == {"got": 1}
    machine.scheduler.stop(handle)
    assert machine.ended(handle).reason_code == "stopped"


def test_adopting_finds_running_and_ended_ones_and_removing_forgets(machine: Machine) -> None:
    running, ended = machine.start(ECHO), machine.start(ECHO)
    machine.scheduler.stop(ended, 0)
    machine.ended(ended)
    assert {handle.replica_id for handle in machine.scheduler.adopt()} == {running.replica_id, ended.replica_id}
    with pytest.raises(SchedulerError) as caught:
        machine.scheduler.remove(running)
    assert caught.value.code == "still_running"
    machine.scheduler.remove(ended)
    assert [handle.replica_id for handle in machine.scheduler.adopt()] == [running.replica_id]
    assert machine.scheduler.observe(ended).state is ReplicaState.EXITED
    assert machine.scheduler.logs(ended).data == b""


def test_when_the_shim_is_killed_the_worker_dies_and_is_reported_lost(machine: Machine) -> None:
    handle, client = machine.running(ECHO)
    os.kill(handle.data["shim_pid"], signal.SIGKILL)
    wait_for(lambda: not alive(handle.data["worker_pid"]))
    ended = machine.ended(handle)
    assert ended.reason_code == "supervisor_killed"
    assert machine.scheduler.observe(handle) == ended
    with pytest.raises(OSError, match=r"."):
        client.health()


def test_a_recycled_process_number_is_never_signalled(machine: Machine) -> None:
    bystander = subprocess.Popen(["sleep", "60"])
    handle = machine.start(ECHO)
    machine.scheduler.stop(handle, 0)
    machine.ended(handle)
    (Path(handle.data["folder"]) / "exit.json").unlink()
    recycled = Handle(
        handle.scheduler, handle.replica_id, {**handle.data, "shim_pid": bystander.pid, "worker_pid": bystander.pid}
    )
    machine.scheduler.stop(recycled, 0)
    assert machine.scheduler.observe(recycled).reason_code == "supervisor_killed"
    assert bystander.poll() is None
    bystander.kill()
    bystander.wait()


def test_after_a_restart_of_the_machine_replicas_have_ended(machine: Machine) -> None:
    handle = machine.start(ECHO)
    machine.scheduler.stop(handle, 0)
    machine.ended(handle)
    (Path(handle.data["folder"]) / "exit.json").unlink()
    before = Handle(handle.scheduler, handle.replica_id, {**handle.data, "boot": "another"})
    seen = machine.scheduler.observe(before)
    assert (seen.state, seen.reason_code) == (ReplicaState.EXITED, "machine_restarted")


def test_an_end_whose_record_was_lost_is_still_an_end(machine: Machine) -> None:
    handle = machine.start(ECHO)
    machine.scheduler.stop(handle, 0)
    machine.ended(handle)
    wait_for(lambda: not alive(handle.data["shim_pid"]))
    (Path(handle.data["folder"]) / "exit.json").write_text("")
    assert machine.scheduler.observe(handle).state is ReplicaState.EXITED


def test_what_cannot_be_looked_at_is_unknown_not_failed(machine: Machine) -> None:
    handle = machine.start(ECHO)
    unreadable = Handle(handle.scheduler, handle.replica_id, {**handle.data, "folder": f"/proc/self/mem/{'x' * 300}"})
    seen = machine.scheduler.observe_all([unreadable, handle])
    assert seen[0].state is ReplicaState.UNKNOWN
    assert seen[0].reason_code == "unreachable"
    assert seen[1].state in (ReplicaState.STARTING, ReplicaState.RUNNING)


# Hostile models: each one reported in its own words, the one beside it unaffected


ENDS = {
    "os._exit": (
        "import os\nclass Model:\n    def predict(self, x): os._exit(3)",
        3,
        None,
        "exited",
        "with exit code 3",
    ),
    "leaves with 0": (
        "import os\nclass Model:\n    def predict(self, x): os._exit(0)",
        0,
        None,
        "exited",
        "with exit code 0",
    ),
    "crashes": (
        "import ctypes\nclass Model:\n    def predict(self, x): ctypes.string_at(0)",
        None,
        11,
        "crashed",
        "SIGSEGV",
    ),
    "is killed": (
        "import os\nclass Model:\n    def predict(self, x): os.kill(os.getpid(), 9)",
        None,
        9,
        "killed",
        "SIGKILL",
    ),
}


@pytest.mark.parametrize("name", ENDS)
def test_a_model_that_ends_its_process_is_reported_in_its_own_words(machine: Machine, name: str) -> None:
    source, code, number, reason_code, says = ENDS[name]
    handle, client = machine.running(source)
    _, beside = machine.running(ECHO)
    with pytest.raises(ConnectionError):
        client.request("predict", b"1")
    ended = machine.ended(handle)
    assert (ended.exit.code, ended.exit.signal, ended.reason_code) == (code, number, reason_code)
    assert says in ended.reason
    assert beside.request("predict", b"1").ok


def test_a_model_that_eats_memory_is_ended_with_the_numbers(machine: Machine) -> None:
    source = """
        import time
        class Model:
            def predict(self, x):
                hoard = []
                while True:
                    hoard.append(bytearray(b"x") * (4 * 1024 * 1024))
                    time.sleep(0.005)
    """
    handle, client = machine.running(source, resources=Resources(memory_bytes=150 * MIB))
    _, beside = machine.running(ECHO, resources=Resources(memory_bytes=150 * MIB))
    with pytest.raises(ConnectionError):
        client.request("predict", b"1")
    ended = machine.ended(handle)
    assert ended.reason_code == "out_of_memory"
    assert ended.reason.startswith("Out of memory: it used ")
    assert ended.reason.endswith(" of 150 MiB.")
    assert ended.reason in machine.log(handle)
    assert beside.request("predict", b"1").ok


@pytest.mark.slow
def test_memory_of_children_counts_once(machine: Machine) -> None:
    source = """
        import os, time
        class Model:
            def load(self):
                self.shared = bytearray(b"x") * (60 * 1024 * 1024)
                for _ in range(5):
                    if os.fork() == 0:
                        time.sleep(1.5)
                        os._exit(0)
            def predict(self, x): return "alive"
    """
    handle, client = machine.running(source, resources=Resources(memory_bytes=150 * MIB))
    time.sleep(1)
    assert client.request("predict", b"1").json() == "alive", machine.scheduler.observe(handle)


DAEMONS = """
    import os, subprocess, sys, time
    class Model:
        def predict(self, path):
            ordinary = subprocess.Popen(["sleep", "1000"])
            first = os.fork()
            if first == 0:
                os.setsid()
                second = os.fork()
                if second:
                    os._exit(0)
                open(path, "w").write(f"{os.getpid()} {ordinary.pid}")
                os.execv("/bin/sleep", ["sleep", "1000"])
            os.waitpid(first, 0)
            while not (os.path.exists(path) and " " in open(path).read()):
                time.sleep(0.01)
"""


@pytest.mark.parametrize("how", ["stopped", "killed", "shim killed"])
def test_daemons_that_a_model_leaves_end_with_it(machine: Machine, how: str) -> None:
    handle, client = machine.running(DAEMONS)
    noted = machine.folder / "pids"
    assert client.request("predict", json.dumps(str(noted)).encode()).ok
    pids = list(map(int, noted.read_text().split()))
    assert all(alive(pid) for pid in pids)
    if how == "stopped":
        machine.scheduler.stop(handle)
    else:
        os.kill(handle.data["worker_pid" if how == "killed" else "shim_pid"], signal.SIGKILL)
    assert machine.ended(handle).state is ReplicaState.EXITED
    wait_for(lambda: not any(alive(pid) for pid in pids))


def test_a_fork_bomb_is_ended(machine: Machine) -> None:
    source = """
        import os, time
        class Model:
            def predict(self, x):
                for _ in range(100):
                    if os.fork() == 0:
                        time.sleep(1000)
                time.sleep(1000)
    """
    handle = machine.start(source, scheduler=machine.make(processes=20))
    client = machine.connect(handle)
    with pytest.raises(ConnectionError):
        client.request("predict", b"1")
    ended = machine.ended(handle)
    assert ended.reason_code == "too_many_processes"
    assert "20 are allowed" in ended.reason
    assert shim.descendants(handle.data["shim_pid"]) == []


def test_a_model_that_kills_its_parent_only_ends_itself(machine: Machine) -> None:
    handle, client = machine.running("import os\nclass Model:\n    def predict(self, x): os.kill(os.getppid(), 9)")
    _, beside = machine.running(ECHO)
    with contextlib.suppress(OSError):
        client.request("predict", b"1")
    assert machine.ended(handle).reason_code == "supervisor_killed"
    assert not alive(handle.data["worker_pid"])
    assert beside.request("predict", b"1").ok


def test_a_model_that_never_loads_can_be_watched_and_stopped(machine: Machine) -> None:
    handle = machine.start(LOADS_FOREVER)
    seen = machine.wait(handle, lambda seen: seen.state is ReplicaState.RUNNING)
    with Client(seen.address, timeout_seconds=20) as client:
        assert client.health()["state"] == "loading"
    machine.scheduler.stop(handle)
    assert machine.ended(handle).exit.code == 0


# Logs


def test_output_is_kept_in_order_and_read_from_any_offset(machine: Machine) -> None:
    source = """
        import os, sys
        class Model:
            def predict(self, x):
                print("out", x)
                print("err", x, file=sys.stderr)
                os.system("echo from a child")
    """
    handle, client = machine.running(source)
    assert machine.scheduler.logs(handle) == machine.scheduler.logs(handle, 0)
    client.request("predict", b"1")
    expected = b"out 1\nerr 1\nfrom a child\n"
    wait_for(lambda: machine.scheduler.logs(handle).data == expected)
    first = machine.scheduler.logs(handle, 0, 6)
    assert (first.data, first.next_offset) == (b"out 1\n", 6)
    rest = machine.scheduler.logs(handle, first.next_offset)
    assert (rest.data, rest.next_offset) == (expected[6:], len(expected))
    assert machine.scheduler.logs(handle, rest.next_offset).data == b""
    assert machine.scheduler.logs(handle, -13).data == b"from a child\n"
    machine.scheduler.stop(handle)
    machine.ended(handle)
    assert machine.scheduler.logs(handle).data == expected


def test_the_last_words_of_a_dying_worker_are_kept(machine: Machine) -> None:
    source = """
        import os
        class Model:
            def predict(self, x):
                print("last words")
                os.write(2, b"x" * 60000)
                os._exit(1)
    """
    handle, client = machine.running(source)
    with pytest.raises(ConnectionError):
        client.request("predict", b"1")
    machine.ended(handle)
    assert machine.log(handle) == "last words\n" + "x" * 60000


def test_the_log_never_grows_beyond_two_segments_and_offsets_stay_true(machine: Machine) -> None:
    scheduler = machine.make(log_segment_bytes=10_000)
    source = "class Model:\n    def predict(self, n):\n        for i in range(n): print(f'line {i:06d}')"
    handle = machine.start(source, scheduler=scheduler)
    client = machine.connect(handle)
    client.request("predict", b"5000")
    wait_for(lambda: machine.scheduler.logs(handle, -12).data == b"line 004999\n")
    segments = list(Path(handle.data["folder"]).glob("log.*"))
    assert len(segments) == 2
    assert sum(path.stat().st_size for path in segments) <= 20_000
    chunk = machine.scheduler.logs(handle, 0, 100_000)
    assert chunk.next_offset == 5000 * 12
    start = chunk.next_offset - len(chunk.data)
    number = -(-start // 12)
    assert chunk.data[number * 12 - start :].startswith(f"line {number:06d}\n".encode())


@pytest.mark.slow
def test_a_flood_of_output_is_dropped_with_a_note_and_stops_nobody(machine: Machine) -> None:
    source = """
        import os
        class Model:
            def predict(self, x):
                for _ in range(400): os.write(1, b"f" * 99_999 + b"\\n")
                return "done"
    """
    handle, client = machine.running(source)
    started = time.monotonic()
    assert client.request("predict", b"1").json() == "done"
    assert time.monotonic() - started < 10
    wait_for(lambda: "bytes of output were dropped" in machine.log(handle))
    machine.scheduler.stop(handle)
    machine.ended(handle)
    size = sum(path.stat().st_size for path in Path(handle.data["folder"]).glob("log.*"))
    assert size <= 16 * MIB


def test_the_shim_is_small(machine: Machine) -> None:
    handle, _ = machine.running(ECHO)
    status = Path(f"/proc/{handle.data['shim_pid']}/status").read_text()
    resident = int(status.partition("VmRSS:")[2].split()[0]) * 1024
    assert resident < 16 * MIB
    assert Path(handle.data["folder"], "shim.log").read_text() == ""
