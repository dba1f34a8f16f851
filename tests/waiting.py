"""Until something is so: instead of a sleep that is long enough on one machine and too short on another."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any


def wait_for(condition: Callable[[], Any], seconds: float = 60, every: float = 0.05) -> Any:
    """The condition's first truthy value. Fails when there is none in time."""
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < deadline, f"{condition} was not met within {seconds} s"
        time.sleep(every)
