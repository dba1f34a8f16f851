"""The tour of the README: a notebook's few lines, then what a colleague does with the link."""

from __future__ import annotations

import importlib.util
import re
import sys
from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect
from sklearn.datasets import load_wine

from .conftest import ROOT, Installation, new_profile, wait_for

pytestmark = pytest.mark.e2e

ROW = 130


@pytest.fixture(scope="module")
def wine(installation: Installation) -> dict[str, Any]:
    """Deployed as the example does; the app as the platform describes it."""
    said = installation.run(sys.executable, "examples/wine.py").stdout
    assert "178" in said
    with installation.api() as api:
        return wait_for(lambda: _live(api.get("/apps/wine-quality").json()), 60)  # type: ignore[no-any-return]


def _live(app: dict[str, Any]) -> dict[str, Any] | None:
    return app if app.get("live_release") else None


def local_probabilities() -> dict[str, float]:
    """What the example's own pipeline says of one row, computed here without Tenfold."""
    spec = importlib.util.spec_from_file_location("wine", ROOT / "examples" / "wine.py")
    assert spec is not None
    assert spec.loader is not None
    wine = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(wine)
    features, _, pipeline = wine.train()
    return dict(zip(pipeline.classes_, pipeline.predict_proba(features.iloc[[ROW]])[0], strict=True))


def fill_row(page: Page) -> None:
    features = load_wine(as_frame=True).data
    inputs = page.locator("form input[type=text], form input[inputmode=decimal], form input[type=number]")
    expect(inputs).to_have_count(len(features.columns))
    for number, value in enumerate(features.iloc[ROW]):
        inputs.nth(number).fill(str(value))


def test_a_second_run_reuses_the_environment(installation: Installation, wine: dict[str, Any]) -> None:
    said = installation.run(sys.executable, "examples/wine.py").stdout
    assert "178" in said
    assert re.search(r"environment.*reused", said), said


def test_a_colleague_fills_the_form_and_sees_the_class_and_its_probabilities(
    page: Page, wine: dict[str, Any], screenshot: Callable[[Page, str], None]
) -> None:
    expected = local_probabilities()
    page.goto(wine["url"])
    expect(page.get_by_role("heading", name="Wine quality").first).to_be_visible()
    assert "#" not in page.url  # the key is not left in the address bar
    screenshot(page, "empty")
    fill_row(page)
    page.get_by_role("button", name="Predict").click()
    scores = page.get_by_role("list", name="Probabilities")
    expect(scores).to_be_visible()
    screenshot(page, "result")
    shown: dict[str, float] = {}
    for item in scores.get_by_role("listitem").all():
        found = re.fullmatch(r"(\w+)\s*([\d.]+)\s*%", item.inner_text().replace("\n", " "))
        assert found, item.inner_text()
        shown[found[1]] = float(found[2])
    assert shown.keys() == expected.keys()
    for name, probability in expected.items():
        assert shown[name] == pytest.approx(probability * 100, abs=0.051)
    expect(page.get_by_role("group", name="Prediction")).to_contain_text(max(expected, key=lambda n: expected[n]))


def test_on_a_phone_nothing_scrolls_sideways(
    browser: Browser, wine: dict[str, Any], screenshot: Callable[[Page, str], None]
) -> None:
    context = new_profile(browser, 360, 740, color_scheme="dark")
    phone = context.new_page()
    phone.goto(wine["url"])
    expect(phone.get_by_role("button", name="Predict")).to_be_visible()
    screenshot(phone, "phone-dark")
    assert phone.evaluate("document.documentElement.scrollWidth") <= 360
    context.close()


def test_a_link_with_a_wrong_key_opens_nothing(page: Page, wine: dict[str, Any]) -> None:
    page.goto(wine["url"].partition("#")[0] + "#k=" + "x" * 32)
    expect(page.get_by_text("not available").first).to_be_visible()
    expect(page.get_by_role("button", name="Predict")).to_have_count(0)
