"""Pictures in and out. A request and an answer carry a file as {"name", "type", "size", "data": base64}."""

from __future__ import annotations

import base64
import binascii
import io
from typing import Any

from PIL import Image, ImageOps


class HTTPException(Exception):
    """What the caller did wrong: answered with its status and text, not as a fault of the model."""

    def __init__(self, status_code: int, detail: str) -> None:
        super().__init__(detail)
        self.status_code = status_code
        self.detail = detail


def open_picture(inputs: Any, field: str = "image") -> Image.Image:
    """The picture of a request, upright, as RGB; what is transparent becomes white."""
    file = inputs.get(field) if isinstance(inputs, dict) else None
    data = file.get("data") if isinstance(file, dict) else file
    if not isinstance(data, str):
        example = f'{{"{field}": {{"name": "a.png", "type": "image/png", "data": "<base64>"}}}}'
        raise HTTPException(400, f"Send a picture as {example}.")
    try:
        picture = Image.open(io.BytesIO(base64.b64decode(data.rpartition(",")[2], validate=True)))
        upright = ImageOps.exif_transpose(picture).convert("RGBA")
    except (binascii.Error, OSError, ValueError, Image.DecompressionBombError) as error:
        raise HTTPException(400, f"The picture in {field} cannot be read: {error}.") from None
    return Image.alpha_composite(Image.new("RGBA", upright.size, "white"), upright).convert("RGB")


def as_file(picture: Image.Image, name: str) -> dict[str, Any]:
    """A picture as an answer carries it: a PNG file."""
    buffer = io.BytesIO()
    picture.save(buffer, "PNG", optimize=True)
    data = buffer.getvalue()
    return {"name": name, "type": "image/png", "size": len(data), "data": base64.b64encode(data).decode("ascii")}


def at_most(picture: Image.Image, side: int) -> Image.Image:
    """The picture, made smaller if its longer side is over `side` pixels."""
    small = picture.copy()
    small.thumbnail((side, side), Image.Resampling.LANCZOS)
    return small
