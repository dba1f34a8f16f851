"""What of the machine a worker sees: worked out from paths, and said in the words of bubblewrap and of Landlock."""

from __future__ import annotations

import contextlib
import glob
import os
import stat
import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

SYSTEM: Final = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32")
_DEVICE_TREE: Final = "/sys/devices/system"
CONFIGURATION: Final = (
    *("/etc/ld.so.cache", "/etc/ld.so.conf", "/etc/ld.so.conf.d", "/etc/alternatives"),
    # certificates by name, as there are private keys beside them: of Debian and Alpine, SUSE, Fedora, Arch
    *("/etc/ssl/certs", "/etc/ssl/cert.pem", "/etc/ssl/openssl.cnf", "/etc/ssl/ct_log_list.cnf"),
    *("/etc/ssl/ca-bundle.pem", "/var/lib/ca-certificates", "/etc/ca-certificates", "/etc/ca-certificates.conf"),
    *("/etc/pki/tls/certs", "/etc/pki/tls/cert.pem", "/etc/pki/tls/openssl.cnf", "/etc/pki/tls/openssl.d"),
    *("/etc/pki/tls/ct_log_list.cnf", "/etc/pki/ca-trust", "/etc/pki/java", "/etc/crypto-policies"),
    *("/etc/localtime", "/etc/timezone", "/etc/mime.types", "/etc/magic", "/etc/fonts"),
    *("/etc/nsswitch.conf", "/etc/hosts", "/etc/host.conf", "/etc/gai.conf", "/etc/resolv.conf"),
    *("/etc/services", "/etc/protocols", "/etc/OpenCL", "/etc/vulkan", "/etc/glvnd"),
    _DEVICE_TREE,
)
_GRAPHICS: Final = ("/dev/nvidia*", "/dev/nvidia-caps/*", "/dev/dri/*", "/dev/kfd")
_KERNEL_SECRETS: Final = tuple(
    f"/proc/{name}"
    for name in (
        *("kcore", "kmsg", "keys", "key-users", "kpagecount", "kpageflags", "kpagecgroup", "vmallocinfo", "slabinfo"),
        *("timer_list", "sched_debug", "pagetypeinfo", "iomem", "ioports", "sysrq-trigger"),
    )
)
_DEVICES: Final = ("/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom")
_PYTHON_FOLDERS: Final = ("bin", "lib", "lib64", "include", "share")
_USER_INSIDE: Final = 1000
ACCOUNTS: Final = {
    "passwd": f"root:x:0:0:root:/:/bin/sh\nworker:x:{_USER_INSIDE}:{_USER_INSIDE}:worker:/:/bin/sh\n",
    "group": f"root:x:0:\nworker:x:{_USER_INSIDE}:\n",
}
_CLOSED_FOLDER, _CLOSED_FILE = stat.S_IROTH | stat.S_IXOTH, stat.S_IROTH
_LEVELS_SEARCHED: Final = 4
_FIRST_FREE_USER: Final = 1_879_048_192  # beyond what systems and containers hand out, below 2**31


@dataclass(frozen=True)
class View:
    """Paths that a worker may read, and those that it may write to. Everything else of the machine is not there.

    `closed` are folders and files of the system that are not for everybody on it, and so not for a worker either:
    root runs Tenfold on many machines, and what a file's mode keeps from others it does not keep from root's processes.
    """

    read: tuple[Path, ...]
    write: tuple[Path, ...]
    graphics: tuple[str, ...] = ()
    closed: tuple[str, ...] = ()


def view_of(python: Path, *, read: Iterable[Path], write: Iterable[Path], hidden: Path) -> View:
    """The view of a worker that runs `python`. `hidden` is a folder that no folder of a Python may open up."""
    found = [folder for folder in interpreter_folders(python, hidden) if not _is_below(folder, "/usr")]
    graphics = tuple(sorted(path for pattern in _GRAPHICS for path in glob.glob(pattern)))
    system = (Path("/sys"),) if graphics else ()  # where CUDA looks for the devices
    shown = dict.fromkeys([*found, *system, *read])
    return View(tuple(shown), tuple(dict.fromkeys(write)), graphics, _but_for(python, _closed()))


def interpreter_folders(python: Path, hidden: Path) -> list[Path]:
    """The folders that a Python runs from: of its virtual environment and of the one that this stands on.

    A link to a Python leads through every folder on its way.
    """
    folders = []
    for hop in _hops(python):
        prefix = hop.parent.parent
        if _opens_up(prefix, hidden):
            folders += [prefix / name for name in _PYTHON_FOLDERS if (prefix / name).is_dir()]
        else:
            folders.append(prefix)
    return list(dict.fromkeys(folders))


def bubblewrap_arguments(
    view: View,
    *,
    network: bool,
    environment: Mapping[str, str],
    folder: str,
    accounts: Path | None = None,
    memory_bytes: int | None = None,
    terminals: bool = True,
) -> list[str]:
    """Bubblewrap's options for one command in a sandbox of its own, but for those with file descriptors.

    `folder` is where it starts; `accounts` holds ACCOUNTS as files; `network` leaves it the machine's network;
    `memory_bytes` bounds each of its folders that live in memory (None: 1 GiB). Without `terminals` the sandbox has one
    user namespace and not two, one in the other.
    """
    size = str(memory_bytes or 1024**3)
    options = ["--unshare-user", "--uid", str(_USER_INSIDE), "--gid", str(_USER_INSIDE)]
    options += ["--unshare-ipc", "--unshare-pid", "--unshare-uts", "--unshare-cgroup-try", "--hostname", "worker"]
    options += [] if network else ["--unshare-net"]
    options += ["--die-with-parent", "--new-session"]
    # Started by root, the sandbox's user is root's own number outside, without its privileges: what is guarded by the
    # owner of a file alone, as the kernel's settings are, is guarded by these mounts.
    options += ["--proc", "/proc", "--remount-ro", "/proc"]
    for secret in filter(os.path.exists, _KERNEL_SECRETS):
        options += ["--ro-bind", "/dev/null", secret]
    if terminals:
        options += ["--dev", "/dev"]
    for device in (*(() if terminals else _DEVICES), *view.graphics):
        options += ["--dev-bind", device, device]
    options += ["--size", size, "--perms", "1777", "--tmpfs", "/dev/shm"]  # noqa: S108
    options += ["--remount-ro", "/dev"] if terminals else []
    options += ["--size", size, "--perms", "1777", "--tmpfs", "/tmp"]  # noqa: S108
    for system in SYSTEM:
        if os.path.islink(system):
            options += ["--symlink", os.readlink(system), system]
        elif os.path.isdir(system):
            options += ["--ro-bind", system, system]
    for path in CONFIGURATION:
        options += ["--ro-bind-try", path, path]
    for name in ACCOUNTS if accounts else ():
        options += ["--ro-bind", f"{accounts}/{name}", f"/etc/{name}"]
    folders = [path for path in view.closed if os.path.isdir(path)]
    for path in folders:
        options += ["--size", "4096", "--perms", "0755", "--tmpfs", path]
    for path in filter(os.path.isfile, view.closed):
        options += ["--ro-bind", "/dev/null", path]
    kinds = dict.fromkeys(map(str, view.read), "--ro-bind") | dict.fromkeys(map(str, view.write), "--bind")
    for place in sorted(kinds):  # a folder before what is in it
        options += [kinds[place], place, place]
    for path in ("/", *folders):
        options += ["--remount-ro", path]
    options += ["--chdir", folder, "--clearenv"]
    for name, value in environment.items():
        options += ["--setenv", name, value]
    return options


def landlock_rules(view: View, *, network: bool, user: int | None) -> dict[str, Any]:
    """The same view as `confinement.confine` takes it.

    Landlock knows no exceptions below what it allows: beside something closed, each file and folder is allowed alone,
    and names can be listed in all of them.
    """
    closed = frozenset(map(os.path.realpath, view.closed))
    roots = dict.fromkeys(os.path.realpath(path) for path in (*SYSTEM, *CONFIGURATION))
    system = [path for path in roots if not any(path.startswith(f"{other}/") for other in roots)]
    return {
        "read": [
            *(open_path for path in system for open_path in _all_but(path, closed)),
            *("/etc/passwd", "/etc/group", "/proc"),
            *map(str, view.read),
        ],
        "list": [path for path in system if any(one.startswith(f"{path}/") for one in closed)],
        "write": [*map(str, view.write), "/dev/shm"],  # noqa: S108
        "devices": [*_DEVICES, *view.graphics],
        "tcp": network,
        "user": user,
    }


def user_of(folder: Path) -> int:
    """A user id for the replica of this folder, that nobody else on the machine has."""
    return _FIRST_FREE_USER + zlib.crc32(bytes(folder)) % 2**24


def _closed() -> tuple[str, ...]:
    return tuple(path for root in (*SYSTEM, *CONFIGURATION) if root != _DEVICE_TREE for path in _closed_below(root))


@lru_cache(maxsize=256)
def _but_for(python: Path, closed: tuple[str, ...]) -> tuple[str, ...]:
    """What is closed, without what this Python itself is made of."""
    own = list(_hops(python)) if closed else []
    for prefix in {hop.parent.parent for hop in own}:
        own += [found for name in ("python3*", "libpython3*") for found in prefix.glob(f"lib*/{name}")]
    return tuple(
        path for path in closed if not any(Path(path).is_relative_to(one) or one.is_relative_to(path) for one in own)
    )


@lru_cache(maxsize=256)
def _closed_below(root: str) -> tuple[str, ...]:
    """Folders and files that others than their owner may not read, some levels down. Looked for once."""
    found = []
    waiting = [] if os.path.islink(root) and root in SYSTEM else [(root, 1)]
    while waiting:
        folder, level = waiting.pop()
        with contextlib.suppress(OSError), os.scandir(folder) as entries:
            for entry in entries:
                mode = entry.stat(follow_symlinks=False).st_mode
                if stat.S_ISDIR(mode) and mode & _CLOSED_FOLDER != _CLOSED_FOLDER:
                    found.append(entry.path)
                elif stat.S_ISDIR(mode) and level < _LEVELS_SEARCHED:
                    waiting.append((entry.path, level + 1))
                elif stat.S_ISREG(mode) and not mode & _CLOSED_FILE:
                    found.append(entry.path)
    return tuple(sorted(found))


@lru_cache(maxsize=256)
def _all_but(path: str, closed: frozenset[str]) -> tuple[str, ...]:
    """A folder, or where something in it is closed, all in it that is not. A link gives no right to what it names."""
    below = frozenset(one for one in closed if one.startswith(f"{path}/"))
    if path in closed:
        return ()
    if not below:
        return (path,)
    with os.scandir(path) as entries:
        inside = sorted(entry.path for entry in entries if not entry.is_symlink())
    return tuple(found for one in inside for found in _all_but(one, below))


def _hops(path: Path) -> Iterator[Path]:
    for _ in range(20):
        yield path
        if not path.is_symlink():
            break
        path = Path(os.path.normpath(path.parent / path.readlink()))
    yield Path(os.path.realpath(path))


def _opens_up(prefix: Path, hidden: Path) -> bool:
    """Whether binding this folder would show more than a Python: somebody's home, or the platform's data."""
    homes = (Path("/"), Path("/root"), Path.home())
    return prefix in homes or prefix.parent == Path("/home") or hidden.is_relative_to(prefix)


def _is_below(path: Path, folder: str) -> bool:
    return path.is_relative_to(folder)
