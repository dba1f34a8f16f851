"""What a package says of its compiler: how the platform makes its compiled form, and proves it equal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

HELPERS = ("_compiling.py", "_compiled.py", "_landmarks.py")
"""Files of adapters/ that a package needs which can be compiled."""

COMPILER: Mapping[str, Any] = {
    "file": "_compiling.py",
    "class": "Compiler",
    "twin": "_compiled.py",
    "requires": ["onnxruntime>=1.17", "skl2onnx>=1.17", "orjson"],
    "keeps": ["numpy", "onnxruntime", "orjson"],
}
"""`model_metadata.tenfold.compiler`. `requires` comes to the model's environment for compiling; `keeps` is all that the
compiled form needs, at the versions that it was proven with."""


def not_compiled(why: str) -> dict[str, Any]:
    """In the place of a compiler: the reason is shown on the model's page."""
    return {"why_not": why}
