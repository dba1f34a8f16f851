"""The built page of published views, in Chromium, under the policy that the gateway sends."""

import json
import re
import shutil
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page

from tenfold_views import ViewBuilder, client_document, load_manifest

STUDIO = Path(__file__).resolve().parents[2] / "views" / "studio"
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; font-src 'self'; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'; trusted-types 'none'"
)
PAYLOADS = [
    "<script>window.hacked=1</script>",
    '<img src=x onerror="window.hacked=1">',
    "[x](javascript:window.hacked=1)",
    '"><svg onload="window.hacked=1">',
    "javascript:window.hacked=1",
    "data:text/html,<script>parent.hacked=1</script>",
]
LISTEN = """
window.refused = [];
document.addEventListener("securitypolicyviolation", (event) => window.refused.push(event.violatedDirective));
"""

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    npx = shutil.which("npx")
    assert npx, "Node is needed to build the studio: install Node 20 or later, then run `npm ci` in views/studio."
    folder = tmp_path_factory.mktemp("dist")
    subprocess.run(
        [npx, "vite", "build", "--mode", "view", "--outDir", str(folder), "--logLevel", "error"],
        cwd=STUDIO,
        check=True,
        timeout=300,
    )
    return folder


class Gateway(ThreadingHTTPServer):
    """As much of the gateway as the page asks for."""

    def __init__(self, folder: Path) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.folder = folder
        self.document: dict[str, Any] = {}
        self.data: Any = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/acme/demo/main"


class Handler(BaseHTTPRequestHandler):
    server: Gateway

    def do_GET(self) -> None:
        if "/views/" in self.path:
            self.answer({"view": "main", "release": 1, "document": self.server.document})
        elif self.path.startswith("/view-assets/"):
            file = self.server.folder / self.path.removeprefix("/")
            kinds = {".js": "text/javascript", ".css": "text/css", ".woff2": "font/woff2", ".svg": "image/svg+xml"}
            self.reply(file.read_bytes(), kinds[file.suffix], {"x-content-type-options": "nosniff"})
        else:
            page = (self.server.folder / "view.html").read_bytes()
            self.reply(page, "text/html; charset=utf-8", {"content-security-policy": POLICY})

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        if self.path == "/v1/views/session":
            views = [{"name": "main", "title": "Main"}]
            viewer = {"name": "visitor", "role": None}
            app = {"name": "demo", "title": "Demo"}
            expires = "2999-01-01T00:00:00Z"
            self.answer(
                {"token": "t", "expires_at": expires, "viewer": viewer, "app": app, "views": views, "home": "main"}
            )
        else:
            self.answer({"data": self.server.data, "run": None, "seconds": 0.01})

    def answer(self, value: Any) -> None:
        self.reply(json.dumps(value).encode(), "application/json", {})

    def reply(self, body: bytes, kind: str, headers: dict[str, str]) -> None:
        self.send_response(200)
        for name, value in {"content-type": kind, "content-length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture(scope="module")
def gateway(built: Path) -> Iterator[Gateway]:
    with Gateway(built) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def page(browser: Any) -> Iterator[Page]:
    context = browser.new_context(viewport={"width": 360, "height": 740})
    context.add_init_script(LISTEN)
    page = context.new_page()
    faults: list[str] = []
    page.on("pageerror", lambda error: faults.append(str(error)))
    yield page
    assert faults == []
    context.close()


def refused(page: Page) -> list[str]:
    return page.evaluate("window.refused")  # type: ignore[no-any-return]


def test_nothing_in_the_bundle_makes_code_from_text(built: Path) -> None:
    scripts = sorted((built / "view-assets").glob("*.js"))
    assert scripts
    made = re.compile(r"new Function\b|(?<![.\w$])eval\(")
    assert [script.name for script in scripts if made.search(script.read_text(encoding="utf-8"))] == []


def test_the_first_load_is_small(built: Path) -> None:
    html = (built / "view.html").read_text(encoding="utf-8")
    first = re.findall(r'(?:src|href)="/(view-assets/[^"]+)"', html)
    font = next((built / "view-assets").glob("inter-latin-*.woff2"))
    size = font.stat().st_size + sum((built / f"{name}.br").stat().st_size for name in first)
    assert size < 250_000


def test_an_app_is_used_under_the_policy_without_a_refusal(gateway: Gateway, page: Page) -> None:
    view = ViewBuilder("main", title="Iris")
    view.query("predict", worklet="predict", inputs={"row": "=form.value"})
    row = view.add("row", "row")
    fields = [{"name": "length", "type": "float"}, {"name": "photo", "type": "image", "nullable": True}]
    form = {"schema": {"fields": fields}, "submit_label": "Predict"}
    row.add("form", "schema-form", form, on={"submit": [{"run": "predict"}, {"open": "box"}]})
    row.add("scores", "class-scores", {"scores": "=predict.data.scores"})
    view.add("chart", "chart", {"rows": "=predict.data.rows", "x": "name", "y": "n"})
    view.add("table", "table", {"rows": "=predict.data.rows"})
    view.add("box", "modal", {"title": "Done"}).add("text", "markdown", {"text": "**All** done"})
    gateway.document = client_document(view.view())
    gateway.data = {"scores": {"setosa": 0.9, "other": 0.1}, "rows": [{"name": "a", "n": 1}, {"name": "b", "n": 2}]}
    page.goto(gateway.url + "#k=secret")
    page.get_by_label("Length").fill("4.2")
    page.get_by_role("button", name="Predict").click()
    page.get_by_role("dialog", name="Done").get_by_text("All").wait_for()
    page.keyboard.press("Escape")
    page.get_by_text("90 % sure").wait_for()
    page.locator(".js-plotly-plot svg.main-svg").first.wait_for()
    page.get_by_role("cell", name="b").wait_for()
    page.get_by_role("button", name="Colours").click()
    assert "secret" not in page.url
    assert page.evaluate("document.documentElement.scrollWidth") == 360
    assert refused(page) == []


@pytest.mark.parametrize("payload", PAYLOADS)
def test_no_text_that_a_view_or_a_model_gives_is_ever_run(gateway: Gateway, page: Page, payload: str) -> None:
    gateway.document = client_document(hostile_view(payload).view())
    gateway.data = {payload: payload, "rows": [{payload: payload}], "error": payload}
    page.goto(gateway.url)
    page.get_by_role("heading", level=1).wait_for()
    page.wait_for_load_state("networkidle")
    for link in page.get_by_role("link").all():
        assert (link.get_attribute("href") or "").startswith(("#", "main", "http"))
    assert page.evaluate("window.hacked") is None
    assert page.locator("#root script, #root iframe, #root object, #root embed").count() == 0


def hostile_view(payload: str) -> ViewBuilder:
    """Every component with the payload in every property that can hold text, written and computed."""
    view = ViewBuilder("main", title=payload, description=payload)
    view.query("answer", worklet="answer", run="load")
    for index, component in enumerate(load_manifest().components.values()):
        if component.type in ("page", "chart"):
            continue
        texts = ("text", "image", "json", "list", "rows", "scores")
        written: dict[str, Any] = {name: payload for name, prop in component.props.items() if prop.type in texts}
        written |= {name: [payload] for name, prop in component.props.items() if prop.type in ("list", "options")}
        computed = dict.fromkeys(written, "=answer.data")
        view.add(f"w{index}", component.type, written)
        view.add(f"c{index}", component.type, computed)
    return view
