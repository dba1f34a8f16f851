"""Ways into namespaces that exist already: for a sandbox that stands below another one, and for a process that moves.

A worker that is forked from a zygote gets a sandbox of its own, made by bubblewrap like all others. It stands below the
zygote's, because the kernel lets a process move only downwards: `start_below` makes it there, and `move_into` is what
the forked process does.

Run as a script (`python -I -S joining.py NAME=VALUE ... -- PROGRAM ARGUMENT ...`) it runs a program, with these
variables, that can get at nothing of processes that it did not start, see `shut_in`. Imported from its path, by the
shim and in the sandbox of a zygote: standard library only, nothing of the platform.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import platform
import signal
import struct
import sys

NAMESPACES = ("mnt", "net", "ipc", "uts", "cgroup", "pid")
_NEW = {
    "mnt": 0x00020000,
    "cgroup": 0x02000000,
    "uts": 0x04000000,
    "ipc": 0x08000000,
    "user": 0x10000000,
    "pid": 0x20000000,
    "net": 0x40000000,
}
_NS_GET_USERNS = 0xB701
_CLONE = {"x86_64": 56, "aarch64": 220}
_CLONE_PARENT = 0x8000
_MS_REC, _MS_SLAVE = 0x4000, 0x80000
_CREATE_RULESET, _RESTRICT_SELF = 444, 446
_MAKE_BLOCK = 1 << 11
_PR_SET_DUMPABLE, _PR_SET_NO_NEW_PRIVS = 4, 38

_libc = ctypes.CDLL(None, use_errno=True)


def open_namespaces(pid: int) -> list[int]:
    """Descriptors of the sandbox in which `pid` is: what `move_into` takes.

    Bubblewrap makes two user namespaces, one in the other: the outer one owns all others, the inner one is where the
    command is, with nothing mapped to root.
    """
    opened: list[int] = []
    try:
        inner = os.open(f"/proc/{pid}/ns/user", os.O_RDONLY)
        opened.append(inner)
        for name in NAMESPACES:
            opened += [os.open(f"/proc/{pid}/ns/{name}", os.O_RDONLY)]
        outer = fcntl.ioctl(opened[1], _NS_GET_USERNS)
    except BaseException:
        for descriptor in opened:
            os.close(descriptor)
        raise
    return [outer, *opened]


def move_into(namespaces: list[int]) -> None:
    """Moves this process, which has one thread, into a sandbox below its own; children are born in its pid namespace.

    Its root and working folder become the sandbox's. It has all capabilities in the sandbox afterwards, and has to drop
    them. Raises OSError, half moved.
    """
    outer, inner, *others = namespaces
    new = [pair for pair in zip(others, NAMESPACES) if not _is_here(*pair)]  # noqa: B905 (also runs with Python 3.9)
    _join(outer, "user")  # its owner's: the kernel gives a namespace's owner in the namespace above all capabilities
    for descriptor, name in new:
        _join(descriptor, name)
    if not os.path.sameopenfile(outer, inner):
        _join(inner, "user")


def start_below(user: int, pid: int) -> int:
    """Forks into the user and pid namespace of a sandbox, given as descriptors. Returns 0 in the new process.

    That one is a child of this one's parent, sees the machine's files as this one does, and the sandbox's processes as
    `/proc`. Raises OSError.
    """
    _join(user, "user")
    _join(pid, "pid")
    # os.fork knows no flags; the new process becomes another program at once, so Python need not know of it
    made: int = _checked(_libc.syscall(_CLONE[platform.machine()], _CLONE_PARENT | signal.SIGCHLD, 0, 0, 0, 0))
    if made == 0:
        _checked(_libc.unshare(_NEW["mnt"]))
        _checked(_libc.mount(b"none", b"/", None, _MS_REC | _MS_SLAVE, None))
        # bubblewrap looks its child up by the number that it knows it by
        _checked(_libc.mount(b"proc", b"/proc", b"proc", 0, None))
    return made


def shut_in() -> None:
    """Makes all processes that this one does not start unreachable for it: their memory, and what they see of files.

    A zygote sees those that make sandboxes below its own. They have the machine's files before them, and without this
    `/proc/PID/root` would show them. Landlock keeps a process in a domain from all outside of it, whatever the domain
    restricts; this one restricts what nobody here may do anyway. Raises OSError where the kernel has no Landlock.
    """
    _checked(_libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
    attributes = struct.pack("=Q", _MAKE_BLOCK)
    ruleset: int = _checked(_libc.syscall(_CREATE_RULESET, attributes, len(attributes), 0))
    _checked(_libc.syscall(_RESTRICT_SELF, ruleset, 0))
    os.close(ruleset)


def be_readable() -> None:
    """As a program that has just been started: its own user may read its files in `/proc`."""
    _checked(_libc.prctl(_PR_SET_DUMPABLE, 1, 0, 0, 0))


def _is_here(descriptor: int, name: str) -> bool:
    """Whether it is this process's own namespace: an open network is the machine's, which nobody here may join."""
    return os.path.samestat(os.fstat(descriptor), os.stat(f"/proc/self/ns/{name}"))


def _join(descriptor: int, name: str) -> None:
    _checked(_libc.setns(descriptor, _NEW[name]))


def _checked(result: int) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result


if __name__ == "__main__":
    end = sys.argv.index("--")
    shut_in()
    os.execve(sys.argv[end + 1], sys.argv[end + 1 :], dict(one.split("=", 1) for one in sys.argv[1:end]))  # noqa: S606
