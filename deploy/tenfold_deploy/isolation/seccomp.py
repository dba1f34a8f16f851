"""The system calls that user code does not get, as a program for the kernel's seccomp filter (seccomp(2), BPF).

Denied is what reaches beyond the process, its files and its sockets, or has been a way into the kernel: debugging
others, mounting, namespaces, keyrings, loading of code into the kernel, io_uring, userfaultfd. Denied calls fail with
EPERM, so that a library that merely tries one finds its way around.
"""

from __future__ import annotations

import platform
import struct
from typing import Final

# name: number on x86-64, number on aarch64; None where the machine has no such call
DENIED: Final[dict[str, tuple[int | None, int | None]]] = {
    "ptrace": (101, 117),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "kcmp": (312, 272),
    "pidfd_getfd": (438, 438),
    "add_key": (248, 217),
    "request_key": (249, 218),
    "keyctl": (250, 219),
    "bpf": (321, 280),
    "perf_event_open": (298, 241),
    "mount": (165, 40),
    "umount2": (166, 39),
    "pivot_root": (155, 41),
    "chroot": (161, 51),
    "open_tree": (428, 428),
    "move_mount": (429, 429),
    "fsopen": (430, 430),
    "fsconfig": (431, 431),
    "fsmount": (432, 432),
    "fspick": (433, 433),
    "mount_setattr": (442, 442),
    "open_tree_attr": (467, 467),
    "unshare": (272, 97),
    "setns": (308, 268),
    "kexec_load": (246, 104),
    "kexec_file_load": (320, 294),
    "init_module": (175, 105),
    "finit_module": (313, 273),
    "delete_module": (176, 106),
    "create_module": (174, None),
    "userfaultfd": (323, 282),
    "io_uring_setup": (425, 425),
    "io_uring_enter": (426, 426),
    "io_uring_register": (427, 427),
    "open_by_handle_at": (304, 265),
    "name_to_handle_at": (303, 264),
    "fanotify_init": (300, 262),
    "quotactl": (179, 60),
    "quotactl_fd": (443, 443),
    "swapon": (167, 224),
    "swapoff": (168, 225),
    "reboot": (169, 142),
    "sethostname": (170, 161),
    "setdomainname": (171, 162),
    "settimeofday": (164, 170),
    "clock_settime": (227, 112),
    "adjtimex": (159, 171),
    "clock_adjtime": (305, 266),
    "acct": (163, 89),
    "syslog": (103, 116),
    "vhangup": (153, 58),
    "lookup_dcookie": (212, 18),
    "nfsservctl": (180, 42),
    "iopl": (172, None),
    "ioperm": (173, None),
    "modify_ldt": (154, None),
    "uselib": (134, None),
    "ustat": (136, None),
    "sysfs": (139, None),
    "_sysctl": (156, None),
    "query_module": (178, None),
}
_CLONE, _CLONE3, _IOCTL = (56, 220), (435, 435), (16, 29)
_SOCKET, _SOCKETPAIR, _CONNECT = (41, 198), (53, 199), (42, 203)
_MACHINES: Final = {"x86_64": (0, 0xC000003E), "aarch64": (1, 0xC00000B7)}

_X32_BIT: Final = 0x40000000
_NEW_NAMESPACES: Final = 0x7E020080  # every CLONE_NEW*
_TIOCSTI, _TIOCLINUX = 0x5412, 0x541C  # both type into a terminal
_AF_UNIX, _AF_INET, _AF_INET6, _AF_NETLINK = 1, 2, 10, 16
_SOCKET_TYPES, _STREAM, _SEQUENCED = 0xF, 1, 5  # beside the type there are flags

_LOAD, _JUMP_EQUAL, _JUMP_AT_LEAST, _JUMP_ANY_BIT, _AND, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x54, 0x06
_NUMBER, _ARCHITECTURE, _FIRST_ARGUMENT, _SECOND_ARGUMENT = 0, 4, 16, 24
_ALLOW, _KILL, _ERRNO = 0x7FFF0000, 0x80000000, 0x00050000
_EPERM, _ENOSYS, _EAFNOSUPPORT = 1, 38, 97


def is_supported(machine: str | None = None) -> bool:
    """Whether there is a filter for this kind of machine (default: the one that runs this)."""
    return (machine or platform.machine()) in _MACHINES


def program(*, sockets_out: bool, may_join: bool = False, machine: str | None = None) -> bytes:
    """The filter, as an array of `struct sock_filter`.

    `may_join` leaves out `setns`: for a zygote, whose children move into sandboxes below its own.
    `sockets_out=False` leaves a process nothing but sockets of the machine itself that it listens on or that come in
    pairs: for where no network namespace of its own keeps it from the others. They must be connected before anything
    is sent: a datagram names its receiver in memory, where no filter sees it. Raises KeyError for a machine that
    `is_supported` does not know.
    """
    column, architecture = _MACHINES[machine or platform.machine()]
    code = _Code()
    code.load(_ARCHITECTURE)
    code.jump(_JUMP_EQUAL, architecture, otherwise="kill")
    code.load(_NUMBER)
    if column == 0:
        code.jump(_JUMP_AT_LEAST, _X32_BIT, then="unknown")
    for call, denied in DENIED.items():
        number = denied[column]
        if number is not None and not (may_join and call == "setns"):
            code.jump(_JUMP_EQUAL, number, then="deny")
    if not sockets_out:
        code.jump(_JUMP_EQUAL, _CONNECT[column], then="deny")
    code.jump(_JUMP_EQUAL, _CLONE3[column], then="unknown")  # its flags are in memory; the C library goes on to clone
    for name, numbers in (("clone", _CLONE), ("ioctl", _IOCTL), ("socket", _SOCKET), ("socket", _SOCKETPAIR)):
        code.jump(_JUMP_EQUAL, numbers[column], then=name)
    code.leave("all others", _ALLOW)
    code.mark("clone")
    code.load(_FIRST_ARGUMENT)
    code.jump(_JUMP_ANY_BIT, _NEW_NAMESPACES, then="deny", otherwise="allow")
    code.mark("ioctl")
    code.load(_SECOND_ARGUMENT)
    code.jump(_JUMP_EQUAL, _TIOCSTI, then="deny")
    code.jump(_JUMP_EQUAL, _TIOCLINUX, then="deny", otherwise="allow")
    code.mark("socket")
    code.load(_FIRST_ARGUMENT)
    for family in (_AF_UNIX, _AF_INET, _AF_INET6, _AF_NETLINK) if sockets_out else (_AF_UNIX,):
        code.jump(_JUMP_EQUAL, family, then="allow" if sockets_out else "unix")
    code.leave("no family", _ERRNO | _EAFNOSUPPORT)
    code.mark("unix")
    code.load(_SECOND_ARGUMENT)
    code.keep(_SOCKET_TYPES)
    code.jump(_JUMP_EQUAL, _STREAM, then="allow")
    code.jump(_JUMP_EQUAL, _SEQUENCED, then="allow", otherwise="deny")
    code.leave("allow", _ALLOW)
    code.leave("deny", _ERRNO | _EPERM)
    code.leave("unknown", _ERRNO | _ENOSYS)
    code.leave("kill", _KILL)
    return code.assembled()


class _Code:
    """Instructions with named places to jump to, further down; a jump without a name goes to the next instruction."""

    def __init__(self) -> None:
        self._instructions: list[tuple[int, int, str | None, str | None]] = []
        self._places: dict[str, int] = {}

    def load(self, offset: int) -> None:
        self._instructions.append((_LOAD, offset, None, None))

    def jump(self, how: int, value: int, *, then: str | None = None, otherwise: str | None = None) -> None:
        self._instructions.append((how, value, then, otherwise))

    def keep(self, bits: int) -> None:
        self._instructions.append((_AND, bits, None, None))

    def mark(self, name: str) -> None:
        self._places[name] = len(self._instructions)

    def leave(self, name: str, answer: int) -> None:
        self.mark(name)
        self._instructions.append((_RETURN, answer, None, None))

    def assembled(self) -> bytes:
        return b"".join(
            struct.pack("<HBBI", how, self._distance(at, then), self._distance(at, otherwise), value)
            for at, (how, value, then, otherwise) in enumerate(self._instructions)
        )

    def _distance(self, at: int, name: str | None) -> int:
        return 0 if name is None else self._places[name] - at - 1
