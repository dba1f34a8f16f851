"""What holds where an operator says nothing: for the settings, and for the command line that fills them."""

from __future__ import annotations

from typing import Final

MAX_PACKAGE_BYTES: Final = 64 * 1024**3
DISK_KEPT_FREE_BYTES: Final = 512 * 1024**2
ENVIRONMENTS_KEPT_DAYS: Final = 14
