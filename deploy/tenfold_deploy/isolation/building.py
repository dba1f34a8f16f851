"""Two small programs around a build in a sandbox; standard library only, run as a script.

`building.py enter` (a plan as JSON on standard input) becomes bubblewrap: in its control groups, with its limits.
`building.py inside SOCKET PORT COMMAND...` is the first program in the sandbox: it runs the command, and passes what
comes to the port of the sandbox's own loopback on to a unix socket, behind which the package indexes are.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import resource
import socket
import subprocess
import sys
import threading


def enter() -> None:
    plan = json.loads(sys.stdin.buffer.read())
    sys.path.append(os.path.dirname(os.path.abspath(__file__)))
    cgroups, confinement = map(importlib.import_module, ("cgroups", "confinement"))
    for what, value in ((resource.RLIMIT_CORE, 0), (resource.RLIMIT_FSIZE, plan["disk_bytes"])):
        hard = resource.getrlimit(what)[1]
        most = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(what, (most, most))
    with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w", encoding="ascii") as file:
        file.write("900")
    cgroups.enter(plan["groups"])
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    program = _memory_file(bytes.fromhex(plan["seccomp"]))
    options = _memory_file("".join(f"{option}\0" for option in plan["options"]).encode())
    if plan["scope"]:
        confinement.scope()
    arguments = [plan["program"], "--seccomp", str(program), "--args", str(options), "--", *plan["command"]]
    os.execve(arguments[0], arguments, {})  # noqa: S606


def inside(path: str, port: int, command: list[str]) -> int:
    with socket.create_server(("127.0.0.1", port), backlog=128) as server:
        threading.Thread(target=_pass_on_all, args=(server, path), daemon=True).start()
        return subprocess.run(command, stdin=subprocess.DEVNULL, check=False).returncode


def _pass_on_all(server: socket.socket, path: str) -> None:
    while True:
        caller, _ = server.accept()
        threading.Thread(target=_pass_on, args=(caller, path), daemon=True).start()


def _pass_on(caller: socket.socket, path: str) -> None:
    with caller, socket.socket(socket.AF_UNIX) as relay:
        try:
            relay.connect(path)
        except OSError:
            return
        back = threading.Thread(target=_copy, args=(relay, caller), daemon=True)
        back.start()
        _copy(caller, relay)
        back.join()


def _copy(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(1 << 16):
            target.sendall(data)
    with contextlib.suppress(OSError):
        target.shutdown(socket.SHUT_WR)


def _memory_file(content: bytes) -> int:
    descriptor = os.memfd_create("sandbox", 0)
    os.write(descriptor, content)
    os.lseek(descriptor, 0, os.SEEK_SET)
    return descriptor


if __name__ == "__main__":
    if sys.argv[1] == "enter":
        enter()
    sys.exit(inside(sys.argv[2], int(sys.argv[3]), sys.argv[4:]) & 0xFF)
