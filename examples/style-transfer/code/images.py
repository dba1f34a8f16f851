"""What happens to pictures before and after the model: got, checked, made smaller, and labelled."""

from __future__ import annotations

import base64
import http.client
import io
import ipaddress
import socket
import ssl
import time
from pathlib import Path
from urllib.parse import SplitResult, quote, urljoin, urlsplit

from PIL import Image, ImageOps, UnidentifiedImageError
from PIL.PngImagePlugin import PngInfo

KINDS = ("JPEG", "PNG", "WEBP", "GIF", "BMP")
MOST_BYTES = 15_000_000
MOST_PIXELS = 50_000_000
SIDE = 1024  # pictures are made smaller than this before they travel to the model
ENLARGED = 2
FETCH_SECONDS = 20.0
REDIRECTS = 3
METHOD = "Optimisation over VGG16 features (Gatys and others)"
_PLAIN = "/%:@!$&'()*+,;=?~"  # not quoted in paths and queries
SAMPLES = Path(__file__).with_name("pictures")


class HTTPException(Exception):
    """Something about the pictures that the caller can put right: told as it is, with this status."""

    def __init__(self, detail: str, status_code: int = 400) -> None:
        super().__init__(detail)
        self.detail = detail
        self.status_code = status_code


def picture(file: dict | None, address: str | None, role: str) -> dict:
    """The picture of an uploaded file or, without one, of an address: upright, in RGB, of a size that is enough.

    Raises HTTPException, which names the role ("picture" or "style") and what is wrong.
    """
    if file is not None:
        data, origin = _decoded(file, role), str(file.get("name") or "a file")
    elif address and address.strip():
        data, origin = fetch(address.strip(), role), urlsplit(address.strip()).hostname or ""
    else:
        raise HTTPException(f"There is no {role}: upload a file or give an address.")
    image, before = _checked(data, role)
    return {"picture": _as_file(image, "JPEG", f"{role}.jpg"), "origin": origin, "size": f"{before[0]} x {before[1]}"}


def sign(painting: dict, content: dict, style: dict, strength: float) -> dict:
    """The painting, enlarged for the screen, with its story: as rows to show, and in the file, for after a download."""
    image = Image.open(io.BytesIO(base64.b64decode(painting["data"])))
    large = image.resize((ENLARGED * image.width, ENLARGED * image.height), Image.Resampling.LANCZOS)
    rows = [
        {"what": "Picture", "value": f"{content['origin']}, {content['size']} pixels"},
        {"what": "Style", "value": f"{style['origin']}, {style['size']} pixels"},
        {"what": "Painting", "value": f"{image.width} x {image.height} pixels, enlarged {ENLARGED} times"},
        {"what": "Style strength", "value": f"{strength:.0%}"},
        {
            "what": "Steps",
            "value": f"{painting['steps']} in {painting['seconds']:.1f} seconds, {painting['precision']}",
        },
        {"what": "Method", "value": METHOD},
    ]
    return {"picture": _as_file(large, "PNG", "painting.png", rows), "about": rows}


def samples() -> dict:
    """The pictures that come with the app, by name."""
    return {path.stem: _file(path.read_bytes(), "image/jpeg", path.name) for path in sorted(SAMPLES.glob("*.jpg"))}


def fetch(address: str, role: str = "picture") -> bytes:
    """What an address of the public web gives, within limits of size and time.

    A name is looked up once, everything it stands for must be public, and the connection goes to the very address that
    was checked. A redirect is a new address and checked like one.
    """
    deadline = time.monotonic() + FETCH_SECONDS
    for _ in range(REDIRECTS + 1):
        parts = _web_address(address, role)
        try:
            found = _get(parts, deadline, role)
        except (TimeoutError, OSError, http.client.HTTPException) as error:
            reason = "took too long" if isinstance(error, TimeoutError) else "cannot be reached"
            raise HTTPException(f"The address of the {role} {reason}: {parts.hostname}.") from error
        if isinstance(found, bytes):
            return found
        address = urljoin(address, found)
    raise HTTPException(f"The address of the {role} leads on and on: more than {REDIRECTS} redirects.")


def _web_address(address: str, role: str) -> SplitResult:
    """The address in the letters that travel: names and paths may be written in any."""
    try:
        parts = urlsplit(address)
        host, port = (parts.hostname or "").encode("idna").decode("ascii"), parts.port
    except ValueError:
        host, port = "", None
    if not host or port == 0 or parts.scheme not in ("http", "https"):
        raise HTTPException(f"The address of the {role} must begin with http:// or https:// and name a place.")
    if parts.username or parts.password:
        raise HTTPException(f"The address of the {role} must not hold a user name or a password.")
    place = (f"[{host}]" if ":" in host else host) + (f":{port}" if port else "")
    return SplitResult(parts.scheme, place, quote(parts.path, _PLAIN), quote(parts.query, _PLAIN), "")


def _get(parts: SplitResult, deadline: float, role: str) -> bytes | str:
    """The body, or where a redirect leads."""
    host, port = parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)
    connection, line = http.client.HTTPConnection(host, port), _connected(host, port, deadline, role)
    try:
        if parts.scheme == "https":
            line = ssl.create_default_context().wrap_socket(line, server_hostname=host)
        connection.sock = line
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        headers = {"Host": parts.netloc, "User-Agent": "tenfold-style-transfer", "Accept": "image/*"}
        connection.request("GET", target, headers=headers)
        answer = connection.getresponse()
        if answer.status in (301, 302, 303, 307, 308):
            return answer.getheader("Location") or ""
        if answer.status != 200:
            raise HTTPException(f"The address of the {role} answers with status {answer.status}: {host}.")
        kind = (answer.getheader("Content-Type") or "").split(";")[0].strip()
        if not kind.startswith("image/") and kind != "application/octet-stream":
            raise HTTPException(f"The address of the {role} is not that of a picture: it gives {kind or 'no type'}.")
        return _body(answer, line, deadline, role)
    finally:
        connection.close()
        line.close()


def _connected(host: str, port: int, deadline: float, role: str) -> socket.socket:
    """A connection to a public address of the host."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (socket.gaierror, UnicodeError):
        raise HTTPException(f"There is no {host}: check the address of the {role}.") from None
    addresses = list(dict.fromkeys(str(one[4][0]) for one in found))
    if not all(is_public(one) for one in addresses):
        raise HTTPException(f"The address of the {role} leads into a private network: {host}. Upload the file instead.")
    for number, one in enumerate(addresses, 1):
        try:
            return socket.create_connection((one, port), timeout=max(0.1, deadline - time.monotonic()))
        except OSError:
            if number == len(addresses):
                raise
    raise HTTPException(f"There is no {host}: check the address of the {role}.")


def is_public(address: str) -> bool:
    """Whether an IP address is one of the public internet, also when an IPv4 address hides in an IPv6 one."""
    ip = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(ip, ipaddress.IPv6Address):
        inner = ip.ipv4_mapped or ip.sixtofour or (ip.teredo[1] if ip.teredo else None)
        if ip in ipaddress.ip_network("64:ff9b::/96"):
            inner = ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
        if inner is not None:
            return is_public(str(inner))
    return ip.is_global and not ip.is_multicast


def _body(answer: http.client.HTTPResponse, line: socket.socket, deadline: float, role: str) -> bytes:
    parts, size = [], 0
    while True:
        left = deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError
        line.settimeout(left)
        part = answer.read1(65536)
        if not part:
            return b"".join(parts)
        size += len(part)
        if size > MOST_BYTES:
            raise HTTPException(f"The {role} is larger than {MOST_BYTES // 1_000_000} MB.", 413)
        parts.append(part)


def _decoded(file: dict, role: str) -> bytes:
    try:
        data = base64.b64decode(str(file.get("data") or ""), validate=True)
    except ValueError:
        raise HTTPException(f"The {role} is not a file: its data is not base64.") from None
    if len(data) > MOST_BYTES:
        raise HTTPException(f"The {role} is larger than {MOST_BYTES // 1_000_000} MB.", 413)
    return data


def _checked(data: bytes, role: str) -> tuple[Image.Image, tuple[int, int]]:
    """The picture as it is painted, and the size that it came in. The size is looked at before anything is unpacked."""
    try:
        image = Image.open(io.BytesIO(data), formats=KINDS)
        size = image.size
        if size[0] * size[1] > MOST_PIXELS:
            raise HTTPException(f"The {role} has more than {MOST_PIXELS // 1_000_000} million pixels.", 413)
        if min(size) < 16 or max(size) > 12 * min(size):
            raise HTTPException(f"The {role} is too small or too narrow: {size[0]} x {size[1]} pixels.")
        image.draft("RGB", (SIDE, SIDE))
        upright = ImageOps.exif_transpose(image).convert("RGBA")
    except UnidentifiedImageError:
        kinds = ", ".join(KINDS)
        raise HTTPException(f"The {role} is not a picture of a kind that is known here ({kinds}).") from None
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise HTTPException(f"The {role} is damaged and cannot be read.") from error
    upright.thumbnail((SIDE, SIDE), Image.Resampling.LANCZOS)
    paper = Image.new("RGBA", upright.size, "white")
    return Image.alpha_composite(paper, upright).convert("RGB"), size


def _as_file(image: Image.Image, kind: str, name: str, story: list[dict] | None = None) -> dict:
    buffer = io.BytesIO()
    if kind == "PNG":
        info = PngInfo()
        for row in story or []:
            info.add_itxt(row["what"], row["value"])
        image.save(buffer, "PNG", pnginfo=info)
    else:
        image.save(buffer, kind, quality=92)
    return _file(buffer.getvalue(), f"image/{kind.lower()}", name)


def _file(data: bytes, kind: str, name: str) -> dict:
    return {"name": name, "type": kind, "size": len(data), "data": base64.b64encode(data).decode("ascii")}
