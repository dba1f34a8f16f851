"""Workers that are forked from a zygote, with real processes: what they share, what they do not, and how it ends."""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import sys
import textwrap
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tenfold_deploy import shim
from tenfold_deploy.scheduler import Handle, ReplicaSpec, ReplicaState
from tenfold_deploy.zygotes import Zygotes

from ..waiting import wait_for

ECHO = "class Model:\n    def predict(self, x): return x"
NUMPY = "import numpy\n" + ECHO


@pytest.fixture
def machine(make_machine: Callable[..., Any]) -> Any:
    return make_machine("forked")


@pytest.fixture
def environment(tmp_path: Path) -> Path:
    """A virtual environment; what lies in its `packages` can be imported."""
    folder = tmp_path / "environment"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    (folder / "packages").symlink_to(next(folder.glob("lib/python3*/site-packages")))
    return folder


def start_ordinary(machine: Any, **fields: Any) -> Handle:
    """A start of which nothing is expected."""
    handle: Handle = machine.scheduler.start(machine.spec(fields.pop("source", ECHO), **fields))
    machine.handles.append(handle)
    return handle


def test_the_second_worker_is_forked_and_found_again(machine: Any) -> None:
    handle, client = machine.running(ECHO)
    again = machine.make()
    (adopted,) = again.adopt()
    assert adopted == Handle.from_json(handle.to_json())
    assert adopted.data["forked"]
    assert again.observe(adopted).state is ReplicaState.RUNNING
    assert client.request("predict", b"1").json() == 1
    other, _ = machine.running(ECHO, scheduler=again)
    assert len(machine.zygotes()) == 1
    assert shim.children(machine.zygotes()[0]["worker_pid"]) == [one.data["worker_pid"] for one in machine.handles], (
        "both are children of the one zygote"
    )
    assert other.data["zygote_key"] == handle.data["zygote_key"]


def test_workers_of_one_zygote_cannot_get_at_each_other(machine: Any) -> None:
    machine.python = sys.executable
    source = """
        import ctypes, numpy, os, random, signal, sys
        def attempt(function):
            try: return function()
            except OSError: return None
        class Model:
            def predict(self, given):
                others = [int(name) for name in os.listdir("/proc") if name.isdigit() and int(name) != os.getpid()]
                return {
                    "others": [open(f"/proc/{pid}/comm").read().strip() for pid in others],
                    "signals": attempt(lambda: os.kill(given["pid"], 0) or "sent"),
                    "files": [attempt(lambda: os.listdir(path)) for path in given["folders"]],
                    "trace": [ctypes.CDLL(None).ptrace(16, pid, 0, 0) for pid in (*others, given["pid"])],
                    "joins": ctypes.CDLL(None).setns(os.open("/proc/self/ns/uts", 0), 0),
                    "numbers": [random.random(), float(numpy.random.rand()), int.from_bytes(os.urandom(8), "big")],
                    "variables": dict(os.environ),
                    "root": sorted(os.listdir("/")),
                    "open": [os.readlink(f"/proc/self/fd/{name}") for name in os.listdir("/proc/self/fd") if name > "2"
                             and os.path.exists(f"/proc/self/fd/{name}")],
                    "modules": [name for name in ("joining", "confinement") if name in sys.modules],
                    "status": {line.partition(":")[0]: line.partition(":")[2].split()
                               for line in open("/proc/self/status")},
                }
    """
    one, client = machine.running(source, first=NUMPY)
    two, other = machine.running(source, first=NUMPY)
    zygote = machine.zygotes()[0]
    answers = []
    for asked, target in ((client, two), (other, one)):
        folders = [target.data["folder"], str(Path(target.data["folder"], "home")), zygote["socket"].rpartition("/")[0]]
        given = {"pid": target.data["worker_pid"], "folders": folders}
        answers.append(asked.request("predict", json.dumps(given).encode()).json())
    for answer, own in zip(answers, (one, two), strict=True):
        assert sorted(answer["others"]) == ["bwrap", "sh"]
        assert answer["signals"] is None
        assert answer["files"] == [None, None, None]
        assert set(answer["trace"]) == {-1}
        assert answer["joins"] == -1
        assert answer["variables"]["HOME"] == str(Path(own.data["folder"], "home"))
        assert answer["modules"] == []
        assert not [path for path in answer["open"] if path.startswith("/") and path != "/dev/null"]
        status = answer["status"]
        for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
            assert int(status[name][0], 16) == 0
        assert (status["NoNewPrivs"], status["Seccomp"], status["Uid"]) == (["1"], ["2"], ["1000"] * 4)
    assert all(a != b for a, b in zip(*(answer["numbers"] for answer in answers), strict=True))


def test_a_forked_worker_is_where_an_ordinary_one_is(machine: Any) -> None:
    source = """
        import os, resource, signal, sys
        class Model:
            def predict(self, x):
                mounts = [line.split()[4:6] for line in open("/proc/self/mountinfo") if "/data/" not in line]
                names = [name for name in dir(resource) if "RLIMIT" in name]
                limits = {name: resource.getrlimit(getattr(resource, name)) for name in names}
                limits.pop("RLIMIT_FSIZE")  # half of what is free just then
                handled = [str(signal.getsignal(number)) for number in signal.valid_signals() if number < 32]
                mask = os.umask(0)
                os.umask(mask)
                status = {line.partition(":")[0]: line.split()[1:] for line in open("/proc/self/status")}
                return {
                    "cwd": os.getcwd() == os.environ["HOME"], "root": sorted(os.listdir("/")), "mask": mask,
                    "path": sys.path[2:], "mounts": mounts, "limits": limits,
                    "flags": str(sys.flags), "owner": os.stat("/proc/self/environ").st_uid,
                    "badness": open("/proc/self/oom_score_adj").read(), "mask of signals": status["SigBlk"],
                    "uid": status["Uid"], "maps": open("/proc/self/uid_map").read().split()[:1],
                }
    """
    plain = machine.make(zygotes=0)
    root = machine.folder / "data" / "plain"
    (root / "model").mkdir(parents=True)
    (root / "model" / "model.py").write_text(textwrap.dedent(source))
    spec = ReplicaSpec(str(uuid.uuid4()), "model", machine.python, root=str(root))
    handle = plain.start(spec)
    machine.handles.append(handle)
    assert not handle.data["forked"]
    expected = machine.connect(handle).request("predict", b"1").json()
    _, client = machine.running(source)
    assert client.request("predict", b"1").json() == expected


LOOKING = """
    import os
    if os.environ["HOME"] == "/tmp" and os.fork() == 0:
        told = set()
        while True:
            for name in filter(str.isdigit, os.listdir("/proc")):
                try: comm = open(f"/proc/{name}/comm").read().strip()
                except OSError: continue
                for path in ("root MARKER", "cwd/.", "environ", "mem", "fd/0", "ns/mnt"):
                    word = "SAW"
                    try:
                        os.close(os.open(f"/proc/{name}/{path.replace(' ', '')}", os.O_RDONLY))
                        if path[:4] == "root" or comm != "python": word = "OPENED"
                    except OSError: pass
                    if (word, comm) not in told:
                        told.add((word, comm))
                        print(word, comm, path, flush=True)
"""


def test_a_zygote_cannot_look_through_those_who_make_sandboxes(machine: Any, environment: Path) -> None:
    """They have the machine's files before them, stand in its namespaces, and can be seen by it."""
    marker = machine.folder / "marker"
    marker.touch()
    looking = textwrap.dedent(LOOKING).replace("MARKER", str(marker))
    (environment / "packages" / "einops.py").write_text(looking)
    machine.python = str(environment / "bin" / "python")
    for _ in range(3):
        machine.running(ECHO, first="import einops\n" + ECHO)
    (log,) = machine.state.glob("zygotes/*/z-*/log.*")
    wait_for(lambda: "SAW bwrap" in log.read_text() and "SAW sh" in log.read_text())
    assert "OPENED" not in log.read_text()


def test_a_worker_that_is_killed_from_outside_is_told_as_such(machine: Any) -> None:
    handle, _ = machine.running(ECHO)
    os.kill(handle.data["worker_pid"], signal.SIGKILL)
    ended = machine.ended(handle)
    assert (ended.reason_code, ended.exit.signal) == ("killed", signal.SIGKILL)
    assert shim.descendants(handle.data["shim_pid"]) == []
    assert machine.running(ECHO)[1].request("predict", b"2").json() == 2


def test_a_worker_ends_with_its_sandbox(machine: Any) -> None:
    handle, _ = machine.running(ECHO)
    inside = shim.descendants(handle.data["shim_pid"])
    (keeper,) = [pid for pid in inside if Path(f"/proc/{pid}/comm").read_text() == "sh\n"]
    os.kill(keeper, signal.SIGKILL)
    assert machine.ended(handle).reason_code == "killed"
    assert shim.process_started(handle.data["worker_pid"]) is None


def test_a_shim_that_is_killed_takes_its_worker_along(machine: Any) -> None:
    handle, _ = machine.running(ECHO)
    os.kill(handle.data["shim_pid"], signal.SIGKILL)
    wait_for(lambda: shim.process_started(handle.data["worker_pid"]) is None)
    assert machine.ended(handle).reason_code == "supervisor_killed"
    assert machine.running(ECHO)[0].data["forked"]


def test_a_zygote_that_is_killed_takes_its_workers_along_and_starts_go_on(machine: Any) -> None:
    handle, _ = machine.running(ECHO)
    os.kill(machine.zygotes()[0]["worker_pid"], signal.SIGKILL)
    ended = machine.ended(handle)
    assert ended.reason_code == "killed"
    assert "forked from" in ended.reason
    assert shim.process_started(handle.data["worker_pid"]) is None
    after = start_ordinary(machine)
    assert not after.data["forked"]
    assert machine.connect(after).request("predict", b"3").json() == 3


def test_a_zygote_that_hangs_is_passed_over(machine: Any) -> None:
    handle, client = machine.running(ECHO)
    zygote = machine.zygotes()[0]
    os.kill(zygote["worker_pid"], signal.SIGSTOP)
    try:
        after = start_ordinary(machine)
        assert after.data["zygote_problem"] == "its zygote did not answer"
        assert machine.connect(after).request("predict", b"4").json() == 4
        assert client.request("predict", b"5").json() == 5, "its workers go on"
        assert not start_ordinary(machine).data.get("zygote_problem"), "and nobody asks it again"
        os.kill(handle.data["worker_pid"], signal.SIGKILL)
        assert machine.ended(handle).reason_code == "killed", "nor is an end waited for that it does not tell"
    finally:
        os.kill(zygote["worker_pid"], signal.SIGCONT)
    wait_for(lambda: shim.process_started(zygote["worker_pid"]) is None)


def test_a_broken_library_is_the_worker_s_to_fail_at(machine: Any, environment: Path) -> None:
    (environment / "packages" / "einops.py").write_text(
        "import os\nif os.environ['HOME'] == '/tmp': raise SystemError('broken')\nvalue = 6"
    )
    (environment / "packages" / "tqdm.py").write_text("value = 7")
    machine.python = str(environment / "bin" / "python")
    first = "import einops, tqdm\n" + ECHO
    source = """
        import sys
        before = sorted({"einops", "tqdm"} & set(sys.modules))
        import einops
        class Model:
            def predict(self, x): return [before, einops.value]
    """
    _, client = machine.running(source, first=first)
    assert client.request("predict", b"1").json() == [["tqdm"], 6]


def test_libraries_that_start_threads_are_never_forked(
    machine: Any, environment: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (environment / "packages" / "einops.py").write_text(
        "import threading, time\nthreading.Thread(target=time.sleep, args=(1000,), daemon=True).start()"
    )
    machine.python = str(environment / "bin" / "python")
    source = "import einops\n" + ECHO
    handle = start_ordinary(machine, source=source)
    machine.connect(handle)
    folder = machine.state / "zygotes" / handle.data["zygote_key"]
    wait_for(lambda: machine.scheduler.observe(handle) and list(folder.glob("z-*/exit.json")))
    with caplog.at_level(logging.WARNING):
        for scheduler in (machine.make(), machine.make()):
            machine.scheduler = scheduler
            after = start_ordinary(machine, source=source)
            assert not after.data["forked"]
            assert machine.connect(after).request("predict", b"1").json() == 1
            wait_for((folder / "given_up").exists)
    assert "threads" in (folder / "given_up").read_text()
    assert caplog.text.count("one by one from now on") == 1
    assert machine.zygotes() == []


def test_a_zygote_ends_with_its_environment(machine: Any, environment: Path) -> None:
    machine.python = str(environment / "bin" / "python")
    handle, _ = machine.running(ECHO)
    pid = machine.zygotes()[0]["worker_pid"]
    subprocess.run(["rm", "-r", environment], check=True)
    assert shim.process_started(pid) is not None
    machine.scheduler.stop(handle, 0)
    machine.ended(handle)
    wait_for(lambda: shim.process_started(pid) is None)


def test_an_environment_that_is_built_anew_has_another_zygote(machine: Any, environment: Path) -> None:
    machine.python = str(environment / "bin" / "python")
    before, _ = machine.running(ECHO)
    os.utime(environment / "pyvenv.cfg", (1, 1))
    after = start_ordinary(machine)
    assert after.data["zygote_key"] != before.data["zygote_key"]
    keys = {
        start_ordinary(machine, labels={"workspace": name}, environment_variables=variables).data["zygote_key"]
        for name, variables in (("a", {}), ("b", {}), ("a", {"X": "1"}))
    }
    assert len(keys) == 3


def test_a_library_that_is_new_comes_with_another_zygote(machine: Any, environment: Path) -> None:
    for name in ("einops", "tqdm", "secretive"):
        (environment / "packages" / f"{name}.py").touch()
    machine.python = str(environment / "bin" / "python")
    first, _ = machine.running(ECHO, first="import einops, secretive\n" + ECHO)
    (zygote,) = machine.zygotes()
    handle, _ = machine.running("import tqdm\n" + ECHO)
    wait_for(lambda: machine.scheduler.observe(handle) and len(machine.zygotes()) == 2)
    source = """
        import sys
        class Model:
            def predict(self, x): return sorted({"einops", "tqdm", "secretive"} & set(sys.modules))
    """
    _, client = machine.running(source)
    assert client.request("predict", b"1").json() == ["einops", "tqdm"]
    for one in (first, handle):
        assert shim.process_started(one.data["worker_pid"]) is not None
        machine.scheduler.stop(one, 0)
        machine.ended(one)
    wait_for(lambda: shim.process_started(zygote["worker_pid"]) is None)


def test_the_one_used_least_recently_makes_room(machine: Any) -> None:
    machine.scheduler = machine.make(zygotes=1)
    one, _ = machine.running(ECHO)
    pid = machine.zygotes()[0]["worker_pid"]
    other = start_ordinary(machine, labels={"workspace": "other"})
    machine.connect(other)
    machine.scheduler.observe(other)
    assert shim.process_started(pid) is not None, "one with workers stays"
    machine.scheduler.stop(one, 0)
    machine.ended(one)
    wait_for(lambda: shim.children(pid) == [])
    machine.scheduler = machine.make(zygotes=1)
    last = start_ordinary(machine, labels={"workspace": "other"})
    wait_for(lambda: machine.zygotes(last.data["zygote_key"]))
    wait_for(lambda: shim.process_started(pid) is None)


def test_nothing_is_left(machine: Any) -> None:
    mounts = Path("/proc/self/mountinfo").read_text()
    handle, _ = machine.running(ECHO)
    zygote = machine.zygotes()[0]
    pids = [*shim.descendants(zygote["shim_pid"]), *shim.descendants(handle.data["shim_pid"])]
    machine.scheduler.stop(handle, 5)
    machine.ended(handle)
    machine.make(zygotes=0).end_zygotes()  # as `tenfold up` does at its end
    assert [pid for pid in pids if shim.process_started(pid) is not None] == []
    assert Path("/proc/self/mountinfo").read_text() == mounts
    names = (handle.replica_id, zygote["replica_id"])
    groups = subprocess.run(["find", "/sys/fs/cgroup", "-name", "tenfold-*"], capture_output=True, text=True).stdout
    assert not [name for name in names if name in groups]
    assert not os.path.exists(zygote["socket"])
    assert not Path(handle.data["address"].partition(":")[2]).exists()


@pytest.mark.parametrize(
    ("told", "learned"),
    [
        ('["numpy", "numpy.linalg", "secretive", "numpy;x", "numpy.-x", 7, "numpy"]', ["numpy", "numpy.linalg"]),
        ('{"numpy": 1}', None),
        ("[", None),
        ("[" * 50_000, None),
        (json.dumps(["numpy"] * 20_000), None),
        (None, None),
    ],
)
def test_what_a_worker_tells_is_checked(tmp_path: Path, told: str | None, learned: list[str] | None) -> None:
    """User code can write it."""
    path = tmp_path / "imports.json"
    if told is None:
        (tmp_path / "other").write_text('["numpy"]')
        path.symlink_to(tmp_path / "other")
    else:
        path.write_text(told)
    zygotes = Zygotes(tmp_path / "zygotes", 1, lambda plan: plan)
    zygotes.learn("key", path)
    kept = tmp_path / "zygotes" / "key" / "imports.json"
    assert (json.loads(kept.read_text()) if kept.exists() else None) == learned
