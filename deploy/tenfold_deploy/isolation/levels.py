"""Finds out, by trying, how well this machine can isolate workers."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

from tenfold_deploy.isolation import confinement, seccomp, views
from tenfold_deploy.scheduler import Isolation, Network

_TRY_SECONDS = 20.0
_INSTALL = "install bubblewrap (apt install bubblewrap, dnf install bubblewrap)"
_ALLOW_NAMESPACES = (
    "allow unprivileged user namespaces (sysctl kernel.unprivileged_userns_clone=1, "
    "kernel.apparmor_restrict_unprivileged_userns=0; in a container, run it with a seccomp profile that has them)"
)


def find_isolation(network: Network) -> Isolation:
    """The best level that works here, and what keeps it from a better one.

    Tries once per process, which takes some 50 ms. Where the level is none the network is open, whatever was asked for.
    """
    found = _tried()
    return found if found.level == "none" else replace(found, network=network)


def bubblewrap() -> str | None:
    return shutil.which("bwrap")


@lru_cache
def _tried() -> Isolation:
    missing = _missing_for_strict()
    if missing is None:
        return Isolation("strict")
    lacking = _missing_for_reduced()
    if lacking is None:
        return Isolation("reduced", missing=(missing,))
    return Isolation("none", missing=(missing, lacking))


def _missing_for_strict() -> str | None:
    """None when a sandbox could really be started."""
    if sys.platform != "linux" or not seccomp.is_supported():
        return "Only Linux on x86-64 and ARM can isolate workers."
    program = bubblewrap()
    if program is None:
        return f"Bubblewrap is not on this machine: {_INSTALL}."
    python = Path(sys.executable)
    view = views.view_of(python, read=(), write=(), hidden=Path("/"))
    options = views.bubblewrap_arguments(view, network=False, environment={}, folder="/")
    command = [sys.executable, "-I", "-S", "-c", "pass"]
    with tempfile.TemporaryFile() as code:
        code.write(seccomp.program(sockets_out=True))
        code.seek(0)
        try:
            done = subprocess.run(
                [program, "--seccomp", str(code.fileno()), *options, "--", *command],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                encoding="utf-8",
                errors="replace",
                timeout=_TRY_SECONDS,
                pass_fds=[code.fileno()],
                env={},
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            return f"Bubblewrap could not be started: {error}."
    if done.returncode == 0:
        return None
    said = (done.stderr.strip().splitlines() or [f"it ended with exit code {done.returncode}"])[-1]
    return f"Bubblewrap does not work here ({said}): {_ALLOW_NAMESPACES}."


def _missing_for_reduced() -> str | None:
    if confinement.landlock_abi() < 1:
        return "The kernel has no Landlock: it takes Linux 5.13, with landlock among its security modules (lsm=)."
    if not os.path.exists("/proc/sys/kernel/seccomp"):
        return "The kernel has no seccomp filters."
    return None
