"""Tells which modules of its environment a worker has imported, for the zygote that later ones are forked from."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import site
import sys
from typing import List

MOST_BYTES = 90_000

_before_fork: List[int] = []


def is_zygote() -> None:
    """What is imported from here on is a forked worker's own."""
    _before_fork.append(len(sys.modules))


def tell(path: str) -> None:
    """Writes their names as a JSON list, in the order in which they were first imported: of a forked worker what it has
    imported itself. A full disk is no error.
    """
    text = json.dumps(_imported())
    if len(text) > MOST_BYTES:
        return
    with contextlib.suppress(OSError):
        with open(f"{path}.partial", "w", encoding="ascii") as file:
            file.write(text)
        os.replace(f"{path}.partial", path)


def _imported() -> List[str]:
    folders = tuple(folder + os.sep for folder in site.getsitepackages())
    own = len(sys.modules) - sum(_before_fork)
    latest = list(itertools.islice(reversed(sys.modules.items()), max(0, own)))  # looking at one copies its pages
    found = []
    for name, module in reversed(latest):
        spec = getattr(module, "__spec__", None)
        origin = getattr(spec, "origin", None)
        if isinstance(origin, str) and origin.startswith(folders) and getattr(spec, "name", None) == name:
            found.append(name)
    return found
