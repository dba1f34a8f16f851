"""Opens an ONNX model. Needs onnxruntime; Python 3.9 and later."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import onnxruntime

PREFERRED = ("CUDAExecutionProvider", "CPUExecutionProvider")


def open_session(data: Path) -> Any:
    """On a GPU where this build of onnxruntime has one, with as many threads as this worker was given."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = int(os.environ.get("OMP_NUM_THREADS") or 0)
    options.log_severity_level = 3
    there = onnxruntime.get_available_providers()
    return onnxruntime.InferenceSession(
        str(data / "model.onnx"), options, providers=[one for one in PREFERRED if one in there]
    )
