"""Until something is so: instead of a sleep that is long enough on one machine and too short on another."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

LONGEST_PAUSE_SECONDS = 0.25


def wait_for(condition: Callable[[], Any], seconds: float = 60, every: float = 0.05) -> Any:
    """The condition's first truthy value. Fails when there is none in time.

    It looks less often the longer it takes: a look may cost those that are waited for some of their time.
    """
    began = time.monotonic()
    while True:
        value = condition()
        if value:
            return value
        waited = time.monotonic() - began
        assert waited < seconds, f"{condition} was not met within {seconds} s"
        time.sleep(max(every, min(waited / 10, LONGEST_PAUSE_SECONDS)))
