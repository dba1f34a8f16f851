"""Workers' addresses, opened so that a worker cannot make them lead to another one."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager

from tenfold_runtime.frames import Address

_OPENED = "/proc/self/fd"


@contextmanager
def pinned(address: Address) -> Iterator[Address]:
    """The address of the very socket that is at a path now; good within the context.

    The folder of its socket is the worker's to write to. A link there, which it can make while the platform looks at
    another thing, is not followed. Raises OSError where there is no socket.
    """
    if not address.is_unix:
        yield address
    elif not hasattr(os, "O_PATH") or not os.path.isdir(_OPENED):
        _check(address, os.lstat(address.path))
        yield address
    else:
        descriptor = os.open(address.path, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            _check(address, os.fstat(descriptor))
            yield Address(path=f"{_OPENED}/{descriptor}")
        finally:
            os.close(descriptor)


def _check(address: Address, found: os.stat_result) -> None:
    if not stat.S_ISSOCK(found.st_mode):
        raise ConnectionRefusedError(f"There is no socket at {address}.")
