"""Files and images as arguments of a model: `def predict(self, picture: tenfold.Image)`.

This file also travels in packages whose code imports tenfold, as a stand-in for the whole: standard library only.
"""

from __future__ import annotations

import base64
import io
from typing import Any


class File:
    """What a caller sent for a parameter annotated `tenfold.File`: its name, media type and bytes."""

    def __init__(self, name: str, type: str, data: bytes) -> None:
        self.name = name
        self.type = type
        self.data = data

    @property
    def size(self) -> int:
        return len(self.data)

    def text(self, encoding: str = "utf-8") -> str:
        return self.data.decode(encoding)

    def stream(self) -> io.BytesIO:
        """A binary file object, for readers that want one."""
        return io.BytesIO(self.data)

    def to_json(self) -> dict[str, Any]:
        return {"name": self.name, "type": self.type, "size": self.size, "data": base64.b64encode(self.data).decode()}

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name!r}, {self.type!r}, {self.size} bytes)"


class Image(File):
    """What a caller sent for a parameter annotated `tenfold.Image`. `open()` needs pillow in the requirements."""

    def open(self) -> Any:
        """The picture as a `PIL.Image.Image`."""
        import PIL.Image  # only where the model uses it

        return PIL.Image.open(self.stream())
