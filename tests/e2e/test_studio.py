"""The studio, as its first admin meets it: signed in by the link, around the rooms, by mouse and by keyboard."""

from __future__ import annotations

import re
from collections.abc import Callable

import httpx
import pytest
from playwright.sync_api import Browser, Page, expect

from .conftest import Installation, wait_for
from .test_hostile_models import CONFIG, deploy

pytestmark = pytest.mark.e2e

SCHEMA = {"form": "table", "fields": [{"name": "x", "type": "float"}], "output": {"kind": "regression"}}
CODE = (
    "class Model:\n    def predict(self, inputs):\n        print('asked')\n"
    "        return {'predictions': [row['x'] * 3 for row in inputs['inputs']]}\n"
)


@pytest.fixture(scope="module")
def tripler(installation: Installation) -> None:
    """A model with an app, called once through its app."""
    deploy(installation, "tripler", CODE, config=CONFIG, request={"schema": SCHEMA, "example": {"inputs": [{"x": 2}]}})
    with installation.api() as api:
        wait_for(lambda: api.get("/apps/tripler").json().get("live_release"), 60)
    url = f"{installation.gateway}/v1/default/apps/tripler/worklets/predict"
    headers = {"Authorization": f"Bearer {installation.profile['key']}"}
    answer = httpx.post(url, json={"values": {"x": 5}}, headers=headers, timeout=60)
    assert answer.json() == {"result": {"prediction": 15}}


def sign_in(page: Page, installation: Installation) -> str:
    """Through a one-time link. Returns the address of the workspace's rooms."""
    page.goto(installation.sign_in_link)
    page.get_by_role("button", name="Skip for now").click()
    page.wait_for_url(re.compile(r"/w/default/"))
    return page.url.partition("/w/default/")[0] + "/w/default"


def test_a_link_signs_in_once_and_not_again(browser: Browser, page: Page, installation: Installation) -> None:
    link = installation.sign_in_link
    page.goto(link)
    expect(page.get_by_text("Welcome to Tenfold")).to_be_visible()
    other = browser.new_context()
    again = other.new_page()
    again.goto(link)
    expect(again.get_by_text(re.compile("no longer works", re.I)).first).to_be_visible()
    other.close()


def test_the_rooms(
    page: Page, installation: Installation, tripler: None, screenshot: Callable[[Page, str], None]
) -> None:
    rooms = sign_in(page, installation)
    page.goto(f"{rooms}/models")
    expect(page.get_by_role("link", name="tripler").first).to_be_visible()
    screenshot(page, "models")

    page.goto(f"{rooms}/models/tripler")
    expect(page.get_by_role("heading", name="tripler")).to_be_visible()
    expect(page.get_by_text("curl").first).to_be_visible()
    screenshot(page, "model")

    page.goto(f"{rooms}/models/tripler/playground")
    page.get_by_label("x").first.fill("4")
    page.get_by_role("button", name="Predict").click()
    expect(page.get_by_text("12", exact=True).first).to_be_visible()
    screenshot(page, "playground")

    page.goto(f"{rooms}/models/tripler/versions/1")
    expect(page.get_by_text("Load the model")).to_be_visible()
    expect(page.get_by_text("asked").first).to_be_visible()
    screenshot(page, "version")

    page.goto(f"{rooms}/apps/tripler/worklets")
    for node in ("prepare", "score", "present"):
        expect(page.get_by_text(node, exact=True).first).to_be_visible()
    screenshot(page, "worklet")

    page.goto(f"{rooms}/runs")
    page.get_by_role("row").filter(has_text="tripler").first.click()
    expect(page.get_by_text("Steps").first).to_be_visible()
    expect(page.get_by_text("score", exact=True).first).to_be_visible()
    screenshot(page, "run")


def test_a_view_opens_from_the_studio_as_the_signed_in_member(
    page: Page, installation: Installation, tripler: None
) -> None:
    rooms = sign_in(page, installation)
    page.goto(f"{rooms}/apps/tripler")
    with page.context.expect_page() as opened:
        page.get_by_role("button", name="Open").or_(page.get_by_role("link", name="Open")).first.click()
    view = opened.value
    expect(view.get_by_role("button", name="Predict")).to_be_visible()
    assert view.url.startswith(installation.gateway)


def test_a_key_is_made_shown_once_works_and_is_revoked(page: Page, installation: Installation, tripler: None) -> None:
    rooms = sign_in(page, installation)
    page.goto(f"{rooms}/keys")
    page.get_by_role("button", name="Create a key").first.click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Name").fill("a service")
    dialog.get_by_role("button", name="Create", exact=True).click()
    shown = dialog.get_by_text(re.compile(r"^tf_[a-z0-9]{12}_[A-Za-z0-9_-]{43}$")).first
    expect(shown).to_be_visible()
    key = shown.inner_text().strip()
    url = f"{installation.gateway}/v1/default/models/tripler/predict"

    def status() -> int:
        headers = {"Authorization": f"Bearer {key}"}
        return httpx.post(url, json={"inputs": [{"x": 1}]}, headers=headers, timeout=30).status_code

    wait_for(lambda: status() == 200, 5)
    dialog.get_by_role("button", name="I have copied it").click()
    expect(page.get_by_text(key)).to_have_count(0)
    page.get_by_role("row").filter(has_text="a service").get_by_role("button", name="Revoke").click()
    page.get_by_role("dialog").get_by_role("button", name=re.compile("revoke", re.I)).click()
    wait_for(lambda: status() == 401, 5)


def test_by_keyboard_alone_from_the_list_to_a_model(page: Page, installation: Installation, tripler: None) -> None:
    sign_in(page, installation)
    expect(page.get_by_role("link", name="tripler").first).to_be_visible()
    page.keyboard.press("Control+k")
    expect(page.get_by_role("dialog")).to_be_visible()
    page.keyboard.type("tripler")
    expect(page.get_by_role("dialog").get_by_text("tripler").first).to_be_visible()
    page.keyboard.press("Enter")
    page.wait_for_url(re.compile(r"/(models|apps)/tripler"))


def test_signed_out_every_room_leads_to_the_sign_in_page(page: Page, installation: Installation) -> None:
    page.goto(f"{installation.profile['url']}/w/default/models")
    expect(page.get_by_role("button", name=re.compile("sign in", re.I)).first).to_be_visible()
