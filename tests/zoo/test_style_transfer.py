"""The entry style-transfer, running: what it paints, how it tells of it, and what it does when the time is up."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

pytestmark = pytest.mark.slow


def opened(file: dict[str, Any]) -> Image.Image:
    return Image.open(io.BytesIO(base64.b64decode(file["data"]))).convert("RGB")


def colours(picture: Image.Image) -> np.ndarray:
    """The mean and the spread of the three."""
    rows = np.asarray(picture.resize((96, 96)), dtype=float).reshape(-1, 3) / 255
    return np.concatenate([rows.mean(0), rows.std(0)])


def outlines(picture: Image.Image) -> np.ndarray:
    down, across = np.gradient(np.asarray(picture.resize((96, 64)).convert("L"), dtype=float))
    return np.hypot(down, across).ravel()


def test_the_example_is_painted_in_the_style_with_its_outlines_kept(
    zoo: Callable[[str], Any], example: Callable[[str], Any]
) -> None:
    inputs = example("style-transfer")
    answer = zoo("style-transfer").predict(inputs)

    photo, style, painting = opened(inputs["content"]), opened(inputs["style"]), opened(answer)
    assert painting.size == photo.size  # the example asks for its own
    assert 0 < answer["steps"] <= inputs["steps"]
    assert answer["seconds"] > 0
    assert answer["precision"] in ("float32", "bfloat16")
    before = np.linalg.norm(colours(photo) - colours(style))
    assert np.linalg.norm(colours(painting) - colours(style)) < 0.6 * before
    kept = np.corrcoef(outlines(painting), outlines(photo))[0, 1]
    assert kept > np.corrcoef(outlines(painting), outlines(style))[0, 1]
    assert kept > 0.12


def test_a_tall_picture_keeps_its_proportions(zoo: Callable[[str], Any], example: Callable[[str], Any]) -> None:
    inputs = example("style-transfer")
    buffer = io.BytesIO()
    opened(inputs["content"]).crop((40, 0, 80, 100)).save(buffer, "PNG")
    tall = {"name": "tall.png", "data": base64.b64encode(buffer.getvalue()).decode()}

    answer = zoo("style-transfer").predict(inputs | {"content": tall, "size": 120, "steps": 10})

    assert opened(answer).size == (48, 120)


def test_progress_is_told_line_by_line(zoo: Callable[[str], Any], example: Callable[[str], Any]) -> None:
    inputs = example("style-transfer") | {"progress": True, "size": 96, "steps": 12}
    frames = zoo("style-transfer").client.stream(
        "predict", json.dumps(inputs).encode(), content_type="application/json", timeout_seconds=600
    )
    lines = [json.loads(line) for line in b"".join(bytes(frame.payload) for frame in frames).splitlines()]

    assert lines[0] == {"step": 1, "of": 12}
    assert [line["step"] for line in lines[:-1]] == list(range(1, len(lines)))
    assert opened(lines[-1]["image"]).width == 96


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"strength": 1.5}, "strength must be a number from 0 to 1."),
        ({"size": 4000}, "size must be a number from 96 to 512."),
        ({"steps": "many"}, "steps must be a number from 10 to 400."),
        ({"style": None}, 'Send a picture as {"style": '),
        ({"content": {"data": "YWJj"}}, "The picture in content cannot be read"),
    ],
    ids=["strength", "size", "steps", "no style", "no picture"],
)
def test_what_is_wrong_is_said(
    zoo: Callable[[str], Any], example: Callable[[str], Any], wrong: dict[str, Any], said: str
) -> None:
    assert said in zoo("style-transfer").refusal(example("style-transfer") | wrong)


def test_when_the_time_is_up_there_is_a_painting_all_the_same(
    zoo: Any, example: Callable[[str], Any], package_with: Callable[..., Path]
) -> None:
    package = package_with("style-transfer")
    code = package / "model" / "model.py"
    text = code.read_text(encoding="utf-8")
    assert "PAINTING_SECONDS = 40.0" in text
    code.write_text(text.replace("PAINTING_SECONDS = 40.0", "PAINTING_SECONDS = 0.0"), encoding="utf-8")
    inputs = example("style-transfer") | {"steps": 200}

    answer = zoo.start(package).predict(inputs)

    assert answer["steps"] == 3  # one at each of its sizes
    assert opened(answer).size == opened(inputs["content"]).size
