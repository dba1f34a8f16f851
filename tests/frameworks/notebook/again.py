"""For the scripts of these tests: what each of them does with the model it has deployed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import tenfold


def redeployed(model: tenfold.Model, example: Any = None) -> tenfold.Model:
    """Downloads the model's package, and deploys the folder as a model of its own: `<name>-again`."""
    folder = Path(model.download(Path(f"{model.name}-package")))
    return tenfold.deploy(folder, f"{model.name}-again", example=example, app=False)


def report(**found: Any) -> None:
    """Ends the script with a line for the test; arrays as lists."""
    print(json.dumps(found, default=_plain))  # noqa: T201 (the test reads it)


def _plain(value: Any) -> Any:
    if hasattr(value, "to_json"):
        return value.to_json()
    return value.tolist() if hasattr(value, "tolist") else str(value)
