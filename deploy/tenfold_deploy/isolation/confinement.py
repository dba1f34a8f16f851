"""Confines the process that calls it, for good: Landlock, seccomp, no privileges. Then it may run user code.

Imported by the shim from its path, in the process that is about to become a worker: standard library only, nothing of
the platform. Everything is said in a plain object that `views.landlock_rules` makes.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import struct
from typing import Any

_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446  # of Landlock, on every machine
_RULE_PATH_BENEATH = 1

_EXECUTE, _WRITE_FILE, _READ_FILE, _READ_DIR = 1 << 0, 1 << 1, 1 << 2, 1 << 3
_MAKE_CHAR, _MAKE_BLOCK = 1 << 6, 1 << 11
_REFER, _TRUNCATE, _IOCTL_DEV = 1 << 13, 1 << 14, 1 << 15
_RIGHTS_BY_ABI = ((5, _IOCTL_DEV), (3, _TRUNCATE), (2, _REFER))
_FILE_RIGHTS = _EXECUTE | _WRITE_FILE | _READ_FILE | _TRUNCATE | _IOCTL_DEV
_BIND_TCP, _CONNECT_TCP = 1, 2
_ABSTRACT_SOCKETS, _SIGNALS = 1, 2

_PR_SET_DUMPABLE, _PR_SET_KEEPCAPS, _PR_CAPBSET_DROP, _PR_SET_SECCOMP = 4, 8, 24, 22
_PR_SET_NO_NEW_PRIVS, _PR_CAP_AMBIENT = 38, 47
_PR_CAP_AMBIENT_RAISE, _PR_CAP_AMBIENT_CLEAR_ALL = 2, 4
_SECCOMP_MODE_FILTER = 2
_CAPABILITIES_VERSION = 0x20080522
_CAP_DAC_READ_SEARCH = 2

_libc = ctypes.CDLL(None, use_errno=True)


def landlock_abi() -> int:
    """The version of Landlock that the kernel offers; 0 where it has none, or it is switched off."""
    try:
        return _syscall(_CREATE_RULESET, None, 0, 1)
    except OSError:
        return 0


def confine(rules: dict[str, Any], seccomp: bytes) -> None:
    """Takes everything from this process that `rules` does not name. There is no way back, not for its children either.

    `rules`: `read`, `list` (folders, for names only), `write` and `devices` are paths (what is not there is passed
    over), `tcp` says whether it may open
    TCP connections, `user` is the user id to become where this one is root, or None. Raises OSError; the process must
    then end, as it may be half confined.
    """
    ruleset = _ruleset(rules)
    try:
        if os.geteuid() == 0:
            _give_up_root(rules["user"])
        no_new_privileges()
        _syscall(_RESTRICT_SELF, ruleset, 0)
    finally:
        os.close(ruleset)
    filter_calls(seccomp)


def scope() -> None:
    """Cuts this process off from signals and abstract sockets of all others, where the kernel can (Landlock 6).

    It may still mount, as what makes a sandbox must.
    """
    if landlock_abi() < 6:
        return
    attributes = struct.pack("=QQQ", 0, 0, _ABSTRACT_SOCKETS | _SIGNALS)
    ruleset = _syscall(_CREATE_RULESET, attributes, len(attributes), 0)
    try:
        no_new_privileges()
        _syscall(_RESTRICT_SELF, ruleset, 0)
    finally:
        os.close(ruleset)


def reading_only(paths: list[str]) -> int:
    """A descriptor of rules for `restrict`: what is below `paths` may be read, and no other file touched.

    Raises OSError where the kernel has no Landlock.
    """
    return _ruleset({"read": paths, "list": [], "write": [], "devices": [], "tcp": False})


def restrict(ruleset: int) -> None:
    """Puts rules on this process, for good, and for all its children."""
    no_new_privileges()
    _syscall(_RESTRICT_SELF, ruleset, 0)


def hide_memory() -> None:
    """Keeps processes of the same user from the memory and the descriptors of this one, and of those it forks."""
    _prctl(_PR_SET_DUMPABLE, 0)


def drop_capabilities() -> None:
    """Takes all capabilities from this process, in its user namespace, and from all programs that it may run."""
    for capability in range(_last_capability() + 1):
        _try_prctl(_PR_CAPBSET_DROP, capability)
    _try_prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL)
    _set_capabilities(0)


def no_new_privileges() -> None:
    """From here on no program that this process runs gets more rights than it has, set-user-ID or not."""
    _prctl(_PR_SET_NO_NEW_PRIVS, 1)


def filter_calls(program: bytes) -> None:
    """Puts a seccomp filter on this process. It must have no_new_privs."""
    kept = ctypes.create_string_buffer(program, len(program))
    length = len(program) // 8
    description = struct.pack("@HxxxxxxP", length, ctypes.addressof(kept))
    _prctl(_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, ctypes.cast(ctypes.c_char_p(description), ctypes.c_void_p).value or 0)


def _ruleset(rules: dict[str, Any]) -> int:
    abi = landlock_abi()
    handled = (1 << 13) - 1
    for since, right in _RIGHTS_BY_ABI:
        if abi >= since:
            handled |= right
    connections = 0 if rules["tcp"] else _BIND_TCP | _CONNECT_TCP
    attributes = struct.pack("=QQQ", handled, connections, _ABSTRACT_SOCKETS | _SIGNALS)
    size = 24 if abi >= 6 else 16 if abi >= 4 else 8
    ruleset = _syscall(_CREATE_RULESET, attributes[:size], size, 0)
    readable = _EXECUTE | _READ_FILE | _READ_DIR
    writable = handled & ~(_MAKE_CHAR | _MAKE_BLOCK)
    usable = (_READ_FILE | _WRITE_FILE | _IOCTL_DEV) & handled
    given = {"read": readable, "list": _READ_DIR, "write": writable, "devices": usable}
    for kind, rights in given.items():
        for path in rules[kind]:
            _allow(ruleset, path, rights)
    return ruleset


def _allow(ruleset: int, path: str, rights: int) -> None:
    try:
        opened = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return
    try:
        if not os.path.isdir(path):
            rights &= _FILE_RIGHTS
        _syscall(_ADD_RULE, ruleset, _RULE_PATH_BENEATH, struct.pack("=Qi", rights, opened), 0)
    finally:
        os.close(opened)


def _give_up_root(user: int | None) -> None:
    """Becomes `user`, with the one capability to read what Landlock lets it read; else a root without capabilities.

    Folders above the worker's own may be closed to other users, such as the home folder that a Python lives in.
    """
    may_search = _permitted() >> _CAP_DAC_READ_SEARCH & 1
    becomes = user if may_search else None
    for capability in range(_last_capability() + 1):
        if becomes is None or capability != _CAP_DAC_READ_SEARCH:  # what is to be inherited must be in this set
            _try_prctl(_PR_CAPBSET_DROP, capability)
    _try_prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL)
    os.setgroups([])
    if becomes is None:
        _set_capabilities(0)
        return
    _prctl(_PR_SET_KEEPCAPS, 1)
    os.setresgid(becomes, becomes, becomes)
    os.setresuid(becomes, becomes, becomes)
    _set_capabilities(1 << _CAP_DAC_READ_SEARCH)
    _prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_RAISE, _CAP_DAC_READ_SEARCH)


def may_become_another_user() -> bool:
    """Whether `confine` can give root's work to another user here."""
    return os.geteuid() == 0 and bool(_permitted() >> _CAP_DAC_READ_SEARCH & 1)


def _last_capability() -> int:
    with open("/proc/sys/kernel/cap_last_cap", encoding="ascii") as file:
        return int(file.read())


def _permitted() -> int:
    with open("/proc/self/status", encoding="ascii", errors="replace") as file:
        return next(int(line.split()[1], 16) for line in file if line.startswith("CapPrm:"))


def _set_capabilities(wanted: int) -> None:
    header = struct.pack("=Ii", _CAPABILITIES_VERSION, 0)
    low, high = wanted & 0xFFFFFFFF, wanted >> 32
    _checked(_libc.capset(header, struct.pack("=6I", low, low, low, high, high, high)))


def _syscall(number: int, *arguments: bytes | int | None) -> int:
    given = [ctypes.c_long(one) if isinstance(one, int) else ctypes.c_char_p(one) for one in arguments]
    return _checked(_libc.syscall(ctypes.c_long(number), *given))


def _prctl(option: int, *arguments: int) -> None:
    padded = [*arguments, 0, 0, 0, 0][:4]
    _checked(_libc.prctl(option, *map(ctypes.c_ulong, padded)))


def _try_prctl(option: int, *arguments: int) -> None:
    with contextlib.suppress(OSError):  # a capability that was not there to begin with
        _prctl(option, *arguments)


def _checked(result: int) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result
