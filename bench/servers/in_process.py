"""The model without any server: decode, predict, encode. `python in_process.py FOLDER WORKLOAD BODY SECONDS`"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import orjson
from predictor import Predictor


def main(folder: str, workload: str, body_file: str, seconds: str) -> None:
    predictor, body = Predictor(workload, folder), Path(body_file).read_bytes()
    times: list[float] = []
    end = time.perf_counter() + float(seconds)
    cpu = time.process_time()
    while (began := time.perf_counter()) < end:
        orjson.dumps(predictor.answer(orjson.loads(body)["inputs"]))
        times.append(time.perf_counter() - began)
    cpu = time.process_time() - cpu
    times.sort()
    print(json.dumps({
        "p50": times[len(times) // 2] * 1000, "p99": times[int(len(times) * 0.99)] * 1000,
        "rps": len(times) / sum(times), "cpu_ms": cpu / len(times) * 1000,
    }))  # fmt: skip


if __name__ == "__main__":
    main(*sys.argv[1:])
