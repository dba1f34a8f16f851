"""Hostile workers: what they try, and what comes of it under each level of isolation."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal

import pytest

from tenfold_deploy import local, shim
from tenfold_deploy.isolation import cgroups, confinement, interpreter_folders, seccomp, views
from tenfold_deploy.scheduler import (
    Handle,
    Isolation,
    Level,
    Resources,
    SchedulerError,
)

MIB = 1024 * 1024
LEVELS: tuple[Level, ...] = ("strict", "reduced")
Way = Literal["strict", "reduced", "none", "forked"]
WAYS: tuple[Way, ...] = (*LEVELS, "forked")  # forked workers have the strict level as well
PAGE = Path(__file__).parents[2] / "docs/explanation/security.md"
BARE_PYTHON = os.path.join(sys.base_prefix, "bin", f"python{sys.version_info.major}.{sys.version_info.minor}")

# Each is an expression that a worker evaluates: true when the canary sings. One that raises is silent. None of them
# changes anything where it succeeds: files are opened without a name, mounts have no place to be mounted at.
CANARIES = {
    "the platform's keys in the data folder": "bool(open(w['keys']).read())",
    "the secrets of another replica": "bool(open(w['secret']).read())",
    "the package of another model": "bool(open(w['package']).read())",
    "keys in a home folder": "bool(open(w['ssh']).read())",
    "keys in a closed folder of the system": "bool(open(w['tls_folder']).read())",
    "keys in a closed file of the system": "bool(open(w['tls_file']).read())",
    "whether a file of the machine exists": "os.stat(w['keys']).st_size > 0",
    "names and arguments of other processes": "b'victim' in open(f\"/proc/{w['pid']}/cmdline\", 'rb').read()",
    "the environment of other processes": "b'CANARY' in open(f\"/proc/{w['pid']}/environ\", 'rb').read()",
    "memory of other processes": "bool(open(f\"/proc/{w['pid']}/mem\", 'rb').fileno()) or vm_read(w['pid']) > 0",
    "the platform's variables": "any('CANARY' in value for value in os.environ.values())",
    "open files inherited from the platform": "any(outside(name) for name in os.listdir('/proc/self/fd'))",
    "files of others in shared memory": "bool(open(w['shm']).read())",
    "TCP services on loopback": "connect(socket.AF_INET, ('127.0.0.1', w['port']))",
    "UDP to loopback": "is_heard(('127.0.0.1', w['udp']))",
    "the metadata address": "connect(socket.AF_INET, ('169.254.169.254', 80))",
    "network devices of the machine": "{name for _, name in socket.if_nameindex()} > {'lo'}",
    "unix sockets in the file system": "connect(socket.AF_UNIX, w['socket'])",
    "abstract unix sockets": "connect(socket.AF_UNIX, chr(0) + w['abstract'])",
    "datagrams to unix sockets": "is_sent(w['log'])",
    "virtual machine sockets": "bool(socket.socket(40, socket.SOCK_STREAM))",
    "signals to other processes": "os.kill(w['pid'], 0) is None",
    "ptrace": "allowed(libc.ptrace(0x4206, w['pid'], 0, 0))",
    "writing to its package": "bool(open(__file__, 'r+'))",
    "writing to the runtime of all workers": "nameless(os.path.join(w['runtime'], 'tenfold_runtime'))",
    "writing to its environment": "nameless(sys.prefix)",
    "writing anywhere else": "nameless(w['outside']) or nameless('/var/tmp')",
    "changing modes of others' files": "os.chmod(w['keys'], 0o777) is None",
    "new namespaces": "allowed(libc.unshare(0x10000000))",
    "mounting": "allowed(libc.mount(b'none', b'/nowhere', b'tmpfs', 0, None))",
    "io_uring": "allowed(libc.syscall(425, 8, ctypes.create_string_buffer(120)))",
    "keyrings": "allowed(libc.syscall(w['add_key'], b'user', b'name', b'value', 5, -2))",
    "bpf": "allowed(libc.syscall(w['bpf'], 0, ctypes.create_string_buffer(120), 120))",
    "perf": "allowed(libc.syscall(w['perf'], ctypes.create_string_buffer(120), 0, -1, -1, 0))",
    "userfaultfd": "allowed(libc.syscall(w['userfaultfd'], 1))",
    "typing into a terminal": "fcntl.ioctl(os.openpty()[1], 0x5412, b'x') == b'x'",
    "settings of the kernel": "any(writable(f'/proc/{one}') for one in ('sys/kernel/core_pattern', 'sysrq-trigger'))",
    "becoming root": "os.setuid(0) is None",
}
SILENT_EVERYWHERE = {"the platform's variables", "open files inherited from the platform"}
MAY_BE_SILENT = {
    *("the metadata address", "network devices of the machine", "virtual machine sockets", "typing into a terminal"),
    *("io_uring", "userfaultfd", "settings of the kernel"),
}
HOSTILE = """
    import ctypes, fcntl, json, os, socket, sys
    libc = ctypes.CDLL(None, use_errno=True)

    def allowed(result):
        return result >= 0 or ctypes.get_errno() not in (1, 38)  # EPERM, ENOSYS

    def connect(family, address):
        with socket.socket(family, socket.SOCK_STREAM) as made:
            made.settimeout(5)
            made.connect(address)
            return True

    def writable(path):
        try: return bool(open(path, "r+b", buffering=0))
        except OSError: return False

    def nameless(folder):
        os.close(os.open(folder, os.O_TMPFILE | os.O_WRONLY, 0o600))
        return True

    def is_heard(address):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as made:
            made.settimeout(1)
            made.connect(address)
            made.send(b"x")
            try: return bool(made.recv(1))  # refused where nobody listens
            except TimeoutError: return True

    def is_sent(path):
        made = (lambda: socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM),
                lambda: socket.socket(socket.AF_UNIX, socket.SOCK_RAW),
                lambda: socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)[0])
        for make in made:
            try: return bool(make().sendto(b"x", path))
            except OSError: pass

    def vm_read(pid):
        class Piece(ctypes.Structure):
            _fields_ = [("base", ctypes.c_void_p), ("length", ctypes.c_size_t)]
        target = ctypes.create_string_buffer(8)
        piece = Piece(ctypes.addressof(target), 8)
        return libc.process_vm_readv(pid, ctypes.byref(piece), 1, ctypes.byref(piece), 1, 0)

    def outside(name):
        target = os.readlink(f"/proc/self/fd/{name}")
        return target.startswith("/") and target != "/dev/null" and not target.startswith(os.environ["HOME"][:-4])

    class Model:
        def predict(self, given):
            w = given["world"]
            answers = {}
            for name, expression in given["canaries"].items():
                try:
                    answers[name] = "sings" if eval(expression, globals(), {"w": w}) else "silent"
                except (OSError, AttributeError) as error:
                    answers[name] = "silent"
            return answers
"""


@pytest.fixture
def world(tmp_path: Path) -> Iterator[dict[str, Any]]:
    """Things of the machine that a worker must not get at, and services that it must not reach."""
    marker = uuid.uuid4().hex
    shm = Path(f"/dev/shm/tenfold-{marker}")
    shm.write_text("canary")
    shm.chmod(0o600)
    sleeper = [sys.executable, "-c", "import sys, time; time.sleep(1000)", "victim"]
    victim = subprocess.Popen(sleeper, env={"SECRET": "CANARY"})
    with contextlib.ExitStack() as opened:
        tcp, unix, abstract = (
            opened.enter_context(socket.socket(family, socket.SOCK_STREAM))
            for family in (socket.AF_INET, socket.AF_UNIX, socket.AF_UNIX)
        )
        short = Path(opened.enter_context(tempfile.TemporaryDirectory(prefix="tf-")))
        short.chmod(0o755)
        for made, address in ((tcp, ("127.0.0.1", 0)), (unix, str(short / "s")), (abstract, f"\0{marker}")):
            made.bind(address)
            made.listen()
        (short / "s").chmod(0o777)
        log = opened.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM))
        log.bind(str(short / "log"))
        (short / "log").chmod(0o777)
        udp = opened.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        udp.bind(("127.0.0.1", 0))
        yield {
            "pid": victim.pid,
            "shm": str(shm),
            "port": tcp.getsockname()[1],
            "udp": udp.getsockname()[1],
            "socket": str(short / "s"),
            "log": str(short / "log"),
            "abstract": marker,
            "outside": str(tmp_path),
            **_numbers(),
        }
    victim.kill()
    victim.wait()
    shm.unlink()


def _numbers() -> dict[str, int]:
    """Numbers of system calls that differ between machines."""
    column = 0 if os.uname().machine == "x86_64" else 1
    names = {"add_key": "add_key", "bpf": "bpf", "perf": "perf_event_open", "userfaultfd": "userfaultfd"}
    return {name: seccomp.DENIED[call][column] or 0 for name, call in names.items()}


def documented(way: Way) -> dict[str, str]:
    """What the page says about each canary."""
    level: Level = "strict" if way == "forked" else way
    rows = re.findall(r"^\| ([^|]+?) \| (silent|sings) \| (silent|sings) \|$", PAGE.read_text("utf-8"), re.MULTILINE)
    return {name: answers[LEVELS.index(level)] for name, *answers in rows}


@pytest.fixture
def system(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, str]]:
    """A further folder of the system, in which keys are kept as programs from source keep them below /usr/local."""
    folder = Path(tempfile.mkdtemp(prefix="tf-usr-"))
    (folder / "server" / "private").mkdir(parents=True)
    (folder / "server" / "private" / "host.key").write_text("CANARY")
    (folder / "server" / "host.key").write_text("CANARY")
    (folder / "server" / "host.crt").write_text("for all")
    (folder / "server" / "link").symlink_to("private")
    (folder / "server" / "private").chmod(0o700)
    (folder / "server" / "host.key").chmod(0o600)
    for path in (folder, folder / "server"):
        path.chmod(0o755)
    monkeypatch.setattr(views, "SYSTEM", (*views.SYSTEM, str(folder)))
    yield {
        "tls_folder": str(folder / "server" / "link" / "host.key"),
        "tls_file": str(folder / "server" / "host.key"),
        "tls_shown": str(folder / "server" / "host.crt"),
    }
    shutil.rmtree(folder)


def ask_canaries(machine: Any, world: dict[str, Any]) -> dict[str, str]:
    source = "class Model:\n    def predict(self, x): return x"
    other, _ = machine.running(source, secrets={"token": "CANARY"})
    folder = machine.folder
    (folder / "data" / "keys.json").write_text("CANARY")
    (folder / "home" / ".ssh").mkdir(parents=True)
    (folder / "home" / ".ssh" / "id_ed25519").write_text("CANARY")
    told = {
        **world,
        "keys": str(folder / "data" / "keys.json"),
        "ssh": str(folder / "home" / ".ssh" / "id_ed25519"),
        "secret": str(Path(other.data["folder"], "secrets", "token")),
        "package": str(folder / "data" / "package0" / "model" / "model.py"),
        "runtime": str(next(machine.state.glob("runtime-*"))),
    }
    for path in ("keys", "ssh", "secret", "package"):
        assert Path(told[path]).read_text()
    _, client = machine.running(HOSTILE)
    answers: dict[str, str] = client.request(
        "predict", json.dumps({"world": told, "canaries": CANARIES}).encode()
    ).json()
    return answers


@pytest.mark.parametrize("way", WAYS)
def test_canaries_are_as_silent_as_the_page_says(
    make_machine: Callable[..., Any],
    world: dict[str, Any],
    system: dict[str, str],
    way: Way,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TENFOLD_SIGNING_KEY", "CANARY")
    answers = ask_canaries(make_machine(way), {**world, **system})
    assert answers == documented(way)
    if way != "reduced":
        assert set(answers.values()) == {"silent"}


def test_canaries_can_sing(make_machine: Callable[..., Any], world: dict[str, Any], system: dict[str, str]) -> None:
    """Asked of a process like any other: else their silence would say nothing. Some need what a machine may lack."""
    answers = ask_canaries(make_machine("none"), {**world, **system})
    silent = {name for name, answer in answers.items() if answer == "silent"}
    assert silent <= SILENT_EVERYWHERE | MAY_BE_SILENT


@pytest.mark.parametrize("way", WAYS)
def test_a_worker_has_what_it_needs(make_machine: Callable[..., Any], way: Way) -> None:
    source = """
        import asyncio, getpass, logging.handlers, multiprocessing, os, pathlib, socket, subprocess, sys, tempfile
        class Model:
            def __init__(self, **given): self.secrets = given["secrets"]
            def load(self):
                self.home = pathlib.Path.home() / "kept"
                self.home.write_text("kept")
            def predict(self, x):
                with tempfile.TemporaryFile() as file: file.write(b"x")
                made = subprocess.run([sys.executable, "-c", "print(6 * 7)"], capture_output=True, text=True)
                with multiprocessing.get_context("fork").Pool(2) as pool: squares = pool.map(abs, [-1, -2])
                with multiprocessing.get_context("spawn").Pool(1) as pool: squares += pool.map(abs, [-3])
                asyncio.new_event_loop().close()
                for kind in (socket.SOCK_STREAM, socket.SOCK_STREAM | socket.SOCK_NONBLOCK, socket.SOCK_SEQPACKET):
                    for one in socket.socketpair(socket.AF_UNIX, kind): one.close()
                return [self.secrets["token"], self.home.read_text(), made.stdout, squares, getpass.getuser(),
                        os.getpid() != os.getppid(), pathlib.Path(__file__).with_name("data.txt").read_text()]
    """
    machine = make_machine(way)
    handle, client = machine.running(
        source, secrets={"token": "hidden"}, files={"config.yaml": "secrets: {token: null}", "model/data.txt": "data"}
    )
    assert client.request("predict", b"1").json() == ["hidden", "kept", "42\n", [1, 2, 3], "worker", True, "data"]
    assert handle.isolation == Isolation(machine.level, "none")
    assert Handle.from_json(handle.to_json()).isolation == Isolation(machine.level, "none")
    assert [one.isolation.level for one in machine.scheduler.adopt()] == [machine.level]


@pytest.mark.parametrize("way", WAYS)
def test_an_open_network_is_the_machine_s_own(
    make_machine: Callable[..., Any], world: dict[str, Any], way: Way
) -> None:
    machine = make_machine(way, "open")
    _, client = machine.running(HOSTILE)
    names = ("TCP services on loopback", "abstract unix sockets", "signals to other processes")
    asked = {"world": world, "canaries": {name: CANARIES[name] for name in names}}
    answers = client.request("predict", json.dumps(asked).encode()).json()
    assert [answers[name] for name in names] == ["sings", "silent", "silent"]


@pytest.mark.parametrize("way", WAYS)
def test_a_stopped_worker_finishes_and_one_that_crashes_says_how(make_machine: Callable[..., Any], way: Way) -> None:
    machine = make_machine(way)
    source = """
        import ctypes, os
        class Model:
            def predict(self, how):
                if how == "crash": ctypes.string_at(0)
                os._exit(7)
    """
    handle, _ = machine.running("class Model:\n    def predict(self, x): return x")
    machine.scheduler.stop(handle)
    ended = machine.ended(handle)
    assert (ended.exit.code, ended.reason_code) == (0, "stopped") if ended.exit else None
    for how, expected in (("crash", (None, signal.SIGSEGV, "crashed")), ("leave", (7, None, "exited"))):
        handle, client = machine.running(source)
        with contextlib.suppress(Exception):
            client.request("predict", json.dumps(how).encode())
        ended = machine.ended(handle)
        assert ended.exit is not None
        assert (ended.exit.code, ended.exit.signal, ended.reason_code) == expected
        assert shim.process_started(handle.data["worker_pid"]) is None


BOMBS = {
    "processes": "while True:\n                try: os.fork()\n                except OSError: pass",
    "memory": "kept = []\n            while True: kept.append(bytearray(os.urandom(1 << 20)))",
    "disk": """n = 0
            while True:
                n += 1
                try:
                    with open(f"{os.environ['HOME']}/{n}", "wb") as file: file.write(b"x" * (1 << 20))
                except OSError: pass""",
}
ENDS = {"processes": {"too_many_processes"}, "memory": {"out_of_memory"}, "disk": {"out_of_disk"}}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("bomb", BOMBS)
def test_a_bomb_ends_the_worker_that_lit_it(make_machine: Callable[..., Any], way: Way, bomb: str) -> None:
    machine = make_machine(way)
    source = f"""
    import os
    class Model:
        def load(self):
            {BOMBS[bomb]}
        def predict(self, x): ...
    """
    handle = machine.start(
        source,
        scheduler=machine.make(processes=40, disk_bytes=64 * MIB),
        resources=Resources(memory_bytes=256 * MIB),
    )
    ended = machine.ended(handle)
    assert ended.reason_code in ENDS[bomb], (ended, machine.log(handle))
    assert shim.descendants(handle.data["shim_pid"]) == []


@pytest.mark.parametrize("way", WAYS)
def test_files_held_open_are_bounded(make_machine: Callable[..., Any], way: Way) -> None:
    machine = make_machine(way)
    source = """
        import os
        class Model:
            def predict(self, x):
                held = []
                try:
                    while True: held.append(open(os.devnull))
                except OSError as error:
                    count = len(held)
                    held.clear()
                    return [count, error.errno]
    """
    _, client = machine.running(source, scheduler=machine.make(open_files=300))
    count, number = client.request("predict", b"1").json()
    assert count < 300
    assert number == 24
    assert client.request("predict", b"1").json()[1] == 24


@pytest.mark.parametrize("way", WAYS)
def test_links_planted_in_its_folders_lead_nobody_anywhere(
    make_machine: Callable[..., Any], way: Way, tmp_path: Path
) -> None:
    machine = make_machine(way)
    precious = tmp_path / "precious"
    (precious / "deep").mkdir(parents=True)
    (precious / "deep" / "file").write_text("kept")
    source = """
        import os
        class Model:
            def predict(self, target):
                home = os.environ["HOME"]
                for folder in ("home", "tmp", "run"):
                    for name in ("log.0000000000000000", "exit.json.partial", "stop.json", "link", "handle.json"):
                        os.symlink(target, f"{os.path.dirname(home)}/{folder}/{name}")
                try: os.symlink(target, f"{os.path.dirname(home)}/exit.json.partial")
                except OSError: pass
    """
    handle, client = machine.running(source)
    client.request("predict", json.dumps(str(precious)).encode())
    assert not Path(handle.data["folder"], "exit.json.partial").is_symlink()
    machine.scheduler.stop(handle, 0)
    machine.ended(handle)
    machine.scheduler.remove(handle)
    machine.handles.remove(handle)
    assert not Path(handle.data["folder"]).exists()
    assert (precious / "deep" / "file").read_text() == "kept"


@pytest.mark.parametrize("way", WAYS)
def test_a_link_in_the_place_of_its_socket_is_no_address(
    make_machine: Callable[..., Any], world: dict[str, Any], way: Way
) -> None:
    machine = make_machine(way)
    source = """
        import os
        class Model:
            def predict(self, given):
                os.unlink(given["own"])
                os.symlink(given["other"], given["own"])
    """
    handle, client = machine.running(source)
    own = handle.data["address"].partition(":")[2]
    client.request("predict", json.dumps({"own": own, "other": world["socket"]}).encode())
    assert os.stat(own)
    assert machine.scheduler.observe(handle).address is None
    assert machine.ended(handle).reason_code == "no_socket"


@pytest.mark.parametrize("way", WAYS)
def test_the_folder_of_its_socket_stays_where_it_is(make_machine: Callable[..., Any], way: Way) -> None:
    """Nor can the worker give the socket of another one a second name there."""
    machine = make_machine(way)
    other, _ = machine.running("class Model:\n    def predict(self, x): return x")
    source = """
        import os
        def tried(do, *paths):
            try: return do(*paths)
            except OSError as error: return "refused"
        class Model:
            def predict(self, given):
                run = os.path.dirname(given["own"])
                return [tried(os.rename, run, run + "-moved"), tried(os.rmdir, run),
                        tried(os.rename, given["other"], run + "/moved"), tried(os.link, given["other"], run + "/link")]
    """
    handle, client = machine.running(source)
    own, others = (one.data["address"].partition(":")[2] for one in (handle, other))
    tries = client.request("predict", json.dumps({"own": own, "other": others}).encode()).json()
    assert tries == ["refused"] * len(tries)
    assert machine.scheduler.observe(other).address == other.data["address"]


@pytest.mark.parametrize("way", [*WAYS, "none"])
def test_folders_however_deep_stop_nobody(make_machine: Callable[..., Any], way: Way) -> None:
    """Deeper than Python may recurse, and than a path may be long."""
    machine = make_machine(way)
    source = """
        import os
        def dig(folder):
            at = os.open(folder, os.O_RDONLY)
            for _ in range(2500):
                os.mkdir("a", dir_fd=at)
                below = os.open("a", os.O_RDONLY, dir_fd=at)
                os.close(at)
                at = below
            os.close(at)
        class Model:
            def predict(self, own):
                os.unlink(own)
                os.mkdir(own)
                dig(own)
                dig(os.environ["HOME"])
                os._exit(3)
    """
    handle, client = machine.running(source, secrets={"token": "hidden"})
    folder = Path(handle.data["folder"])
    with contextlib.suppress(OSError):
        client.request("predict", json.dumps(handle.data["address"].partition(":")[2]).encode())
    ended = machine.ended(handle)
    assert (ended.reason_code, ended.exit and ended.exit.code) == ("exited", 3)
    assert not (folder / "secrets").exists()
    machine.scheduler.remove(handle)
    machine.handles.remove(handle)
    assert not folder.exists()


@pytest.mark.parametrize("way", WAYS)
def test_certificates_are_there_and_keys_are_not(make_machine: Callable[..., Any], way: Way) -> None:
    """Those of this machine, wherever its system keeps them."""
    source = """
        import os, ssl
        def listed(folder):
            try: return os.listdir(folder)
            except OSError: return []
        class Model:
            def predict(self, folders):
                known = ssl.create_default_context()
                return [len(known.get_ca_certs()), [name for folder in folders for name in listed(folder)]]
    """
    _, client = make_machine(way).running(source)
    places = [Path(os.path.realpath(folder)) for folder in ("/etc/ssl", "/etc/pki", "/etc/pki/tls", "/usr/lib/ssl")]
    folders = [str(place / name) for place in places for name in ("private", "entitlement", "consumer", "nssdb")]
    count, names = client.request("predict", json.dumps(folders).encode()).json()
    command = [BARE_PYTHON, "-c", "import ssl; print(len(ssl.create_default_context().get_ca_certs()))"]
    assert count == int(subprocess.run(command, capture_output=True, check=True).stdout)
    assert names == []


@pytest.mark.parametrize("level", LEVELS)
def test_what_is_beside_a_closed_folder_of_the_system_is_there(
    make_machine: Callable[..., Any], system: dict[str, str], level: Level
) -> None:
    source = """
        import os
        class Model:
            def predict(self, path):
                folder = os.path.dirname(path)
                return [open(path).read(), sorted(os.listdir(folder))]
    """
    _, client = make_machine(level).running(source)
    answer = client.request("predict", json.dumps(system["tls_shown"]).encode()).json()
    assert answer == ["for all", ["host.crt", "host.key", "link", "private"]]


@pytest.mark.parametrize("level", LEVELS)
def test_build_commands_may_write_to_their_own_package_only(make_machine: Callable[..., Any], level: Level) -> None:
    machine = make_machine(level)
    config = {"build_commands": ["echo built > made.txt"], "model_class_name": "Model"}
    source = """
        import pathlib
        class Model:
            def predict(self, x): return pathlib.Path(__file__).parents[1].joinpath("made.txt").read_text()
    """
    _, client = machine.running(source, files={".tenfold/config.json": json.dumps(config)})
    assert client.request("predict", b"1").json() == "built\n"


def test_a_package_with_its_own_server_needs_a_network_of_its_own(make_machine: Callable[..., Any]) -> None:
    config = {"docker_server": {"start_command": "sleep 1000", "server_port": 8000, "predict_endpoint": "/"}}
    files = {".tenfold/config.json": json.dumps(config)}
    for level in LEVELS:
        machine = make_machine(level)
        if level == "strict":
            assert machine.start("class Model: ...", files=files).isolation == Isolation("strict", "none")
        else:
            with pytest.raises(SchedulerError, match="own server") as refused:
                machine.start("class Model: ...", files=files)
            assert refused.value.code == "start_failed"


def test_a_sandbox_that_cannot_start_says_why(make_machine: Callable[..., Any]) -> None:
    machine = make_machine("strict")
    bad = tmp = machine.folder / "bad"
    tmp.write_text("#!/nowhere\n")
    bad.chmod(0o755)
    handle = machine.start("class Model: ...", python=str(bad))
    assert machine.ended(handle).reason_code == "exited"
    assert "bwrap" in machine.log(handle)


@pytest.mark.parametrize("level", LEVELS)
def test_variables_of_a_model_are_its_own(make_machine: Callable[..., Any], level: Level) -> None:
    """A library that they name is loaded by the worker only: bubblewrap itself is started without them."""
    machine = make_machine(level)
    handle, client = machine.running(
        "import os\nclass Model:\n    def predict(self, x): return os.environ['LD_PRELOAD']",
        environment_variables={"LD_PRELOAD": "/nowhere.so", "PLAIN": "a\nb"},
    )
    assert client.request("predict", b"1").json() == "/nowhere.so"
    around = [pid for pid in shim.descendants(handle.data["shim_pid"]) if pid != handle.data["worker_pid"]]
    assert all(b"LD_PRELOAD" not in Path(f"/proc/{pid}/environ").read_bytes() for pid in around)


def test_groups_limit_and_vanish() -> None:
    """Where the machine lets one be made; elsewhere there is none, and nothing to remove."""
    made = cgroups.make(f"tenfold-test-{uuid.uuid4()}", 64 * MIB, 100, 1.0)
    try:
        command = """if True:
            import sys
            sys.path.append(sys.argv[1])
            import cgroups
            cgroups.enter(sys.argv[2:])
            print(flush=True)
            input()
        """
        child = subprocess.Popen(
            [sys.executable, "-c", command, os.path.dirname(cgroups.__file__), *made],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert child.stdout is not None
        child.stdout.readline()
        inside = Path(f"/proc/{child.pid}/cgroup").read_text()
        child.kill()
        child.communicate()
        assert inside.count("tenfold-test-") == len(made)
        assert not cgroups.ran_out_of_memory(made)
    finally:
        cgroups.remove(made)
    assert not any(map(os.path.exists, made))


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
@pytest.mark.parametrize("sockets_out", [True, False])
def test_filters_are_programs_that_the_kernel_takes(machine: Literal["x86_64", "aarch64"], sockets_out: bool) -> None:
    """The kernel checks jumps and operations when a program is loaded, whatever machine it is for."""
    program = seccomp.program(sockets_out=sockets_out, machine=machine)
    pid = os.fork()
    if pid == 0:
        try:
            confinement.no_new_privileges()
            confinement.filter_calls(program)
        except OSError:
            os._exit(1)
        os._exit(0)
    _, status = os.waitpid(pid, 0)
    loaded = os.WIFEXITED(status) and os.WEXITSTATUS(status) == 0
    killed = os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGSYS
    assert loaded if machine == os.uname().machine else killed


def test_the_folders_of_an_interpreter_show_no_home(tmp_path: Path) -> None:
    base = tmp_path / "home"
    (base / "bin").mkdir(parents=True)
    (base / "lib").mkdir()
    (base / ".ssh").mkdir()
    (base / "bin" / "python3.11").touch()
    venv = tmp_path / "data" / "environments" / "e"
    (venv / "bin").mkdir(parents=True)
    (venv / "bin" / "python").symlink_to(base / "bin" / "python3.11")
    hidden = base / "tenfold"
    assert interpreter_folders(venv / "bin" / "python", hidden) == [venv, base / "bin", base / "lib"]
    assert interpreter_folders(venv / "bin" / "python", tmp_path / "data") == [venv, base]


def test_the_runtime_is_compiled_by_pythons_of_the_machine_only(tmp_path: Path) -> None:
    """One that an environment or a package brings would run as the platform's user."""
    runtime, state, trace = tmp_path / "runtime", tmp_path / "state", tmp_path / "trace"
    (runtime / "tenfold_runtime").mkdir(parents=True)
    environment = tmp_path / "environment"
    (environment / "bin").mkdir(parents=True)
    (environment / "pyvenv.cfg").touch()
    (tmp_path / "machine").mkdir()
    state.mkdir()
    for folder, runs in ((environment / "bin", False), (state, False), (tmp_path / "machine", True)):
        python = folder / "python3.99"
        python.write_text(f'#!/bin/sh\necho "$@" > {trace}\n')
        python.chmod(0o755)
        local.compile_runtime(runtime, python, state)
        assert trace.exists() is runs
    assert trace.read_text().split() == ["-I", "-S", "-m", "compileall", "-q", str(runtime / "tenfold_runtime")]
