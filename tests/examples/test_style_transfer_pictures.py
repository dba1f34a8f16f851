"""The style-transfer example's own code: what it takes for a picture, where it fetches from, what it writes down."""

from __future__ import annotations

import base64
import importlib.util
import io
import socket
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from PIL import Image

FOLDER = Path(__file__).resolve().parents[2] / "examples" / "style-transfer"


@pytest.fixture(scope="module")
def images() -> ModuleType:
    spec = importlib.util.spec_from_file_location("style_transfer_images", FOLDER / "code" / "images.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def encoded(size: tuple[int, int] = (64, 48), kind: str = "PNG", mode: str = "RGB", **options: Any) -> bytes:
    buffer = io.BytesIO()
    Image.new(mode, size, "red").save(buffer, kind, **options)
    return buffer.getvalue()


def a_file(data: bytes, name: str = "a.png") -> dict[str, Any]:
    return {"name": name, "type": "image/png", "size": len(data), "data": base64.b64encode(data).decode()}


def opened(file: dict[str, Any]) -> Image.Image:
    data = base64.b64decode(file["data"])
    assert len(data) == file["size"]
    return Image.open(io.BytesIO(data))


# --- what is a picture


def test_an_upload_is_made_smaller_and_its_name_and_size_are_kept(images: ModuleType) -> None:
    got = images.picture(a_file(encoded((3000, 1500)), "harbour.png"), None, "picture")

    assert opened(got["picture"]).size == (1024, 512)
    assert got["picture"]["type"] == "image/jpeg"
    assert (got["origin"], got["size"]) == ("harbour.png", "3000 x 1500")


def test_a_photo_that_lies_on_its_side_is_put_upright(images: ModuleType) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by a quarter
    got = images.picture(a_file(encoded((64, 32), "JPEG", exif=exif)), None, "picture")

    assert opened(got["picture"]).size == (32, 64)
    assert not opened(got["picture"]).getexif()


def test_what_is_transparent_becomes_paper(images: ModuleType) -> None:
    clear = io.BytesIO()
    Image.new("RGBA", (32, 32), (255, 0, 0, 0)).save(clear, "PNG")
    got = images.picture(a_file(clear.getvalue()), None, "picture")

    assert opened(got["picture"]).convert("RGB").getpixel((5, 5)) == (255, 255, 255)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"not a picture", "not a picture of a kind that is known here"),
        (encoded()[:60], "damaged"),
        (encoded((15, 200)), "too small or too narrow: 15 x 200"),
        (encoded((2000, 100)), "too small or too narrow: 2000 x 100"),
        (encoded((8000, 7000), "PNG", "1"), "more than 50 million pixels"),
        (encoded((40, 40), "TIFF"), "not a picture of a kind that is known here"),
        (b"\0" * 15_000_001, "larger than 15 MB"),
    ],
    ids=["text", "cut off", "too small", "too narrow", "a bomb", "TIFF", "too many bytes"],
)
def test_what_is_no_picture_is_refused_by_its_role(images: ModuleType, data: bytes, said: str) -> None:
    with pytest.raises(images.HTTPException, match=said) as refused:
        images.picture(a_file(data), None, "style")

    assert "The style" in refused.value.detail
    assert refused.value.status_code in (400, 413)


@pytest.mark.parametrize("data", ["not base64", "caf\u00e9"])
def test_what_is_not_base64_is_refused(images: ModuleType, data: str) -> None:
    with pytest.raises(images.HTTPException, match="The style is not a file: its data is not base64"):
        images.picture({"name": "a.png", "data": data}, None, "style")


def test_neither_file_nor_address(images: ModuleType) -> None:
    with pytest.raises(images.HTTPException, match="There is no style: upload a file or give an address"):
        images.picture(None, "  ", "style")


# --- addresses


@pytest.mark.parametrize(
    "address",
    ["ftp://example.com/a.png", "file:///etc/passwd", "/a.png", "https://", "http://[::1", "http://a:99999/"],
)
def test_an_address_that_is_not_of_the_web(images: ModuleType, address: str) -> None:
    with pytest.raises(images.HTTPException, match="must begin with http:// or https://"):
        images.fetch(address)


def test_an_address_with_a_password_is_refused(images: ModuleType) -> None:
    with pytest.raises(images.HTTPException, match="must not hold a user name"):
        images.fetch("http://me:secret@example.com/a.png")


@pytest.mark.parametrize(
    "host",
    [
        *(
            "127.0.0.1",
            "localhost",
            "10.1.2.3",
            "192.168.0.1",
            "172.16.0.1",
            "169.254.169.254",
            "0.0.0.0",
            "100.64.0.1",
        ),
        *("[::1]", "[::ffff:127.0.0.1]", "[fd00::1]", "[fe80::1]", "[64:ff9b::7f00:1]", "[2002:7f00:1::]", "224.0.0.1"),
    ],
)
def test_a_private_address_is_refused_before_anything_is_sent(images: ModuleType, host: str) -> None:
    with pytest.raises(images.HTTPException, match="leads into a private network"):
        images.fetch(f"http://{host}:9/a.png")


def test_a_name_with_one_private_address_among_public_ones_is_refused(
    images: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    both = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (ip, 80)) for ip in ("93.184.215.14", "10.0.0.1")]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: both)

    with pytest.raises(images.HTTPException, match="leads into a private network"):
        images.fetch("http://both.example/a.png")


@pytest.mark.parametrize(
    ("address", "public"),
    [("93.184.215.14", True), ("2606:4700::1111", True), ("::ffff:93.184.215.14", True), ("fe80::1%eth0", False)],
)
def test_public_addresses(images: ModuleType, address: str, public: bool) -> None:
    assert images.is_public(address) is public


Page = Callable[[BaseHTTPRequestHandler], None]


@pytest.fixture
def website(images: ModuleType, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, dict[str, Page]]]:
    """A server on this machine that counts as public. `localhost` does not."""
    pages: dict[str, Page] = {}

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            pages[self.path](self)

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    port = server.server_address[1]
    real = socket.getaddrinfo
    found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port))]

    def look_up(host: str, *arguments: Any, **options: Any) -> Any:
        return found if host == "pictures.example" else real(host, *arguments, **options)

    is_public = images.is_public
    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    allowed = {"127.0.0.1"}
    monkeypatch.setattr(images, "is_public", lambda ip: ip in allowed or is_public(ip))
    yield f"http://pictures.example:{port}", pages
    server.shutdown()
    thread.join()
    server.server_close()


def answer(data: bytes = b"", status: int = 200, **headers: str) -> Page:
    def send(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(status)
        for name, value in headers.items():
            handler.send_header(name.replace("_", "-"), value)
        handler.send_header("Content-Length", str(len(data)))
        handler.end_headers()
        handler.wfile.write(data)

    return send


def test_a_picture_is_fetched_through_a_redirect(images: ModuleType, website: tuple[str, dict[str, Page]]) -> None:
    base, pages = website
    pages["/here"] = answer(status=302, Location="/a.png?large=1")
    pages["/a.png?large=1"] = answer(encoded(), Content_Type="image/png")

    got = images.picture(None, f" {base}/here ", "picture")

    assert (got["origin"], got["size"]) == ("pictures.example", "64 x 48")


def test_an_address_in_other_letters_is_fetched(images: ModuleType, website: tuple[str, dict[str, Page]]) -> None:
    base, pages = website
    pages["/caf%C3%A9%20noir.png?a=%C3%BC"] = answer(encoded(), Content_Type="image/png")

    assert images.fetch(f"{base}/café noir.png?a=ü") == encoded()


def test_a_redirect_into_a_private_network_is_refused(images: ModuleType, website: tuple[str, dict[str, Page]]) -> None:
    base, pages = website
    pages["/a.png"] = answer(status=301, Location="http://169.254.169.254/latest")

    with pytest.raises(images.HTTPException, match=r"leads into a private network: 169\.254\.169\.254"):
        images.fetch(f"{base}/a.png")


@pytest.mark.parametrize(
    ("page", "said"),
    [
        (answer(status=404), "answers with status 404"),
        (answer(b"<html>", Content_Type="text/html; charset=utf-8"), "not that of a picture: it gives text/html"),
        (answer(status=302, Location="/a.png"), "more than 3 redirects"),
        (answer(status=302), "more than 3 redirects|must begin with"),
        (answer(status=302, Location="ftp://example.com/"), "must begin with http"),
    ],
    ids=["missing", "a page", "in circles", "to nowhere", "to another scheme"],
)
def test_what_an_address_can_do_wrong(
    images: ModuleType, website: tuple[str, dict[str, Page]], page: Page, said: str
) -> None:
    base, pages = website
    pages["/a.png"] = page

    with pytest.raises(images.HTTPException, match=said):
        images.fetch(f"{base}/a.png")


def test_a_picture_without_end_is_cut_off(
    images: ModuleType, website: tuple[str, dict[str, Page]], monkeypatch: pytest.MonkeyPatch
) -> None:
    base, pages = website
    monkeypatch.setattr(images, "MOST_BYTES", 1000)

    def endless(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Type", "image/png")
        handler.end_headers()
        try:
            for _ in range(100_000):
                handler.wfile.write(b"x" * 1000)
        except OSError:
            pass

    pages["/a.png"] = endless
    with pytest.raises(images.HTTPException, match="is larger than"):
        images.fetch(f"{base}/a.png")


def test_an_address_that_never_answers_takes_too_long(
    images: ModuleType, website: tuple[str, dict[str, Page]], monkeypatch: pytest.MonkeyPatch
) -> None:
    base, pages = website
    over = threading.Event()
    pages["/a.png"] = lambda _: over.wait(60) and None  # type: ignore[func-returns-value]
    monkeypatch.setattr(images, "FETCH_SECONDS", 0.3)
    try:
        with pytest.raises(images.HTTPException, match=r"took too long: pictures\.example"):
            images.fetch(f"{base}/a.png")
    finally:
        over.set()


def test_nobody_listens(images: ModuleType, website: tuple[str, dict[str, Page]]) -> None:
    base, _ = website
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]

    with pytest.raises(images.HTTPException, match=r"cannot be reached: 127\.0\.0\.1"):
        images.fetch(f"http://127.0.0.1:{port}/a.png")
    assert base


# --- the story of a painting


def test_a_painting_is_enlarged_and_keeps_its_story_in_the_file(images: ModuleType) -> None:
    painting = a_file(encoded((96, 64))) | {"steps": 40, "seconds": 3.21, "precision": "float32"}
    signed = images.sign(
        painting,
        {"origin": "harbour.png", "size": "3000 x 1500"},
        {"origin": "museum.example", "size": "800 x 600"},
        0.5,
    )

    image = opened(signed["picture"])
    assert image.size == (192, 128)
    assert image.text == {row["what"]: row["value"] for row in signed["about"]}  # type: ignore[attr-defined]
    assert image.text == {  # type: ignore[attr-defined]
        "Picture": "harbour.png, 3000 x 1500 pixels",
        "Style": "museum.example, 800 x 600 pixels",
        "Painting": "96 x 64 pixels, enlarged 2 times",
        "Style strength": "50%",
        "Steps": "40 in 3.2 seconds, float32",
        "Method": images.METHOD,
    }


def test_the_samples_are_pictures(images: ModuleType) -> None:
    samples = images.samples()

    assert set(samples) == {"dahlia", "pagoda", "glass", "swirls", "woodcut"}
    assert all(max(opened(file).size) <= 512 for file in samples.values())


def test_the_model_folder_is_the_zoo_entry() -> None:
    entry = FOLDER.parents[1] / "platform" / "tenfold_platform" / "zoo" / "entries" / "style-transfer"

    assert (FOLDER / "model").resolve() == entry
