"""Numbered steps that lift an older worklet document to the present version.

`STEPS[n]` takes a document of version n and returns it as version n + 1. Steps never change once released.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from tenfold_worklets.types import Json

Step = Callable[[dict[str, Json]], dict[str, Json]]

VERSION = 1
STEPS: Mapping[int, Step] = {}


class UpgradeError(ValueError):
    """A document that says no version, or one that this Tenfold does not know."""

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


def upgrade(
    document: Mapping[str, Json], *, key: str = "worklet", version: int = VERSION, steps: Mapping[int, Step] = STEPS
) -> dict[str, Json]:
    """The document as the present version writes it. The one given is not changed. Raises `UpgradeError`."""
    found = document.get(key)
    if found is None:
        raise UpgradeError(
            f"the document does not say its version: `{key}:` is missing", f"Write `{key}: {version}` first."
        )
    if isinstance(found, bool) or not isinstance(found, int) or found < 1:
        raise UpgradeError(f"`{key}: {found}` is not a version", f"Write `{key}: {version}`.")
    if found > version:
        message = f"the document has version {found}, and this Tenfold reads up to version {version}"
        raise UpgradeError(message, f"Upgrade Tenfold, or write the document as `{key}: {version}`.")
    upgraded = dict(document)
    for number in range(found, version):
        upgraded = {**steps[number](upgraded), key: number + 1}
    return upgraded
