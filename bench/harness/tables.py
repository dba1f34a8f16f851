"""Tables of text, and the line that says where they were made."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Sequence
from pathlib import Path


def machine() -> str:
    """The machine, Python, the time and the load before the run, on one line."""
    names = [line.partition(":")[2].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name")]
    linux, load = platform.release().partition("-")[0], os.getloadavg()[0]
    return (
        f"{time.strftime('%Y-%m-%d %H:%M')}, {names[0] if names else platform.machine()}, {os.cpu_count()} cores, "
        f"Linux {linux}, Python {platform.python_version()}; load {load:.1f} at the start"
    )


def table(head: Sequence[str], rows: Sequence[Sequence[str]], *, texts: int = 1) -> str:
    """Columns as wide as they must be; the first `texts` of them to the left, numbers to the right."""
    widths = [max(len(row[at]) for row in (head, *rows) if at < len(row)) for at in range(len(head))]
    lines = []
    for row in (head, *rows):
        cells = [value.ljust(widths[at]) if at < texts else value.rjust(widths[at]) for at, value in enumerate(row)]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)


def _lines(path: str) -> list[str]:
    try:
        return Path(path).read_text().splitlines()
    except OSError:
        return []
