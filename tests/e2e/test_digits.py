"""The digits example: a picture in, class scores out."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Page, expect
from sklearn.datasets import load_digits

from .conftest import ROOT, Installation, wait_for

pytestmark = pytest.mark.e2e


def png_of(index: int) -> bytes:
    """One of scikit-learn's digits as a person would have it: dark on white, larger, a PNG."""
    pixels = load_digits().images[index]
    image = Image.fromarray((255 - pixels * 255 / 16).astype(np.uint8)).resize((160, 160), Image.Resampling.BICUBIC)
    stream = io.BytesIO()
    image.save(stream, "PNG")
    return stream.getvalue()


@pytest.fixture(scope="module")
def digits(installation: Installation) -> dict[str, Any]:
    installation.run(sys.executable, ROOT / "examples" / "digits" / "deploy.py")

    def live() -> Any:
        with installation.api() as api:
            app = api.get("/apps/digits").json()
        return app if app.get("live_release") else None

    return wait_for(live, 60)  # type: ignore[no-any-return]


@pytest.mark.parametrize("index", [3, 10])
def test_a_picture_is_uploaded_and_its_digit_seen(
    page: Page, digits: dict[str, Any], index: int, tmp_path: Path, screenshot: Callable[[Page, str], None]
) -> None:
    picture = tmp_path / "digit.png"
    picture.write_bytes(png_of(index))
    page.goto(digits["url"])
    page.locator("input[type=file]").first.set_input_files(picture)
    page.get_by_role("button", name="Predict").click()
    scores = page.get_by_role("list", name="Probabilities")
    expect(scores).to_be_visible()
    screenshot(page, f"digit-{index}")
    best = scores.get_by_role("listitem").first
    expect(best).to_contain_text(str(load_digits().target[index]))
