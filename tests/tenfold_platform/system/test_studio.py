"""The console's one page and its files."""

from __future__ import annotations

import gzip

import pytest


@pytest.fixture
def studio(settings):
    assets = settings.studio_dir / "assets"
    assets.mkdir(parents=True)
    (settings.studio_dir / "index.html").write_text("<title>Tenfold</title>")
    (settings.studio_dir / "favicon.svg").write_text("<svg/>")
    (settings.studio_dir / "view.html").write_text("another page")
    (assets / "index-1a2b.js").write_text("let everything = 1")
    (assets / "index-1a2b.js.gz").write_bytes(gzip.compress(b"let everything = 1"))
    (settings.studio_dir.parent / "secret.txt").write_text("secret")
    (assets / "link.txt").symlink_to(settings.studio_dir.parent / "secret.txt")
    return settings.studio_dir


@pytest.mark.parametrize(
    "path", ["/", "/sign-in", "/default/models/wine", "/default/apps/a/views/b", "/view.html", "/x.js"]
)
def test_every_other_address_is_the_page(path, studio, client):
    answer = client.get(path)
    assert (answer.status_code, answer.text) == (200, "<title>Tenfold</title>")
    assert answer.headers["content-type"].startswith("text/html")
    assert answer.headers["cache-control"] == "no-cache"


def test_the_page_may_load_its_own_and_talk_to_the_gateway(studio, client):
    policy = client.get("/").headers["content-security-policy"].split("; ")
    assert "script-src 'self'" in policy
    assert "connect-src 'self' http://127.0.0.1:7071" in policy
    assert {"default-src 'self'", "frame-ancestors 'none'", "base-uri 'none'", "object-src 'none'"} <= set(policy)
    assert not any("unsafe" in rule for rule in policy if not rule.startswith("style-src"))


@pytest.mark.parametrize(
    "path", ["/api", "/api/", "/Api/v1/x", "/assets", "/assets/missing.js", "/v1/x", "/docs", "/a//b"]
)
def test_some_never_are(path, studio, client):
    assert client.get(path).status_code == 404


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "OPTIONS"])
def test_the_page_is_read_only(method, studio, client):
    assert client.request(method, "/").status_code == 404


def test_a_file_is_kept_for_good_and_comes_compressed(studio, client):
    plain = client.get("/assets/index-1a2b.js", headers={"Accept-Encoding": "identity"})
    packed = client.get("/assets/index-1a2b.js", headers={"Accept-Encoding": "br;q=1, gzip"})
    assert plain.text == packed.text == "let everything = 1"
    assert ("content-encoding" in plain.headers, packed.headers["content-encoding"]) == (False, "gzip")
    for answer in (plain, packed):
        assert answer.headers["cache-control"] == "public, max-age=31536000, immutable"
        assert answer.headers["vary"] == "Accept-Encoding"
        assert answer.headers["content-type"].startswith("text/javascript")
    assert client.get("/favicon.svg").headers["content-type"] == "image/svg+xml"


@pytest.mark.parametrize(
    "path", ["../secret.txt", "%2e%2e/secret.txt", "..%2f..%2fsecret.txt", "link.txt", "/etc/passwd", "%2fetc/passwd"]
)
def test_nothing_outside_its_folder_is_served(path, studio, client):
    assert "secret" not in client.get("/assets/" + path).text
    assert "root:" not in client.get("/assets/" + path).text


def test_a_checkout_without_a_built_studio_says_how_to_build_it(settings, client):
    assert not settings.studio_dir.exists()
    answer = client.get("/anything")
    assert answer.status_code == 200
    assert "./dev ui" in answer.text


def test_who_comes_by_the_views_host_is_sent_to_the_consoles(studio, client):
    """The cookie belongs to one host name, and published views live on the other."""
    answer = client.get("/default/models?tab=runs", headers={"Host": "127.0.0.1:7070"})
    assert (answer.status_code, answer.headers["location"]) == (307, "http://localhost:7070/default/models?tab=runs")
    for host in ("localhost:7070", "tenfold.internal", "127.0.0.1:8080", "[", ""):
        assert client.get("/", headers={"Host": host}).status_code == 200
