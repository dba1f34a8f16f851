"""Files of a request: {"name", "type", "size", "data": base64}."""

from __future__ import annotations

import base64
import binascii
from typing import Any


class HTTPException(Exception):
    """What the caller did wrong: answered with its status and text, not as a fault of the model."""

    def __init__(self, status_code: int, detail: str) -> None:
        super().__init__(detail)
        self.status_code = status_code
        self.detail = detail


def bytes_of(inputs: Any, field: str = "file") -> bytes:
    """The content of the file in {"file": {...}}."""
    file = inputs.get(field) if isinstance(inputs, dict) else None
    data = file.get("data") if isinstance(file, dict) else file
    if not isinstance(data, str):
        raise HTTPException(400, f'Send a file as {{"{field}": {{"name": "a.bin", "data": "<base64>"}}}}.')
    try:
        return base64.b64decode(data.rpartition(",")[2], validate=True)
    except (binascii.Error, ValueError) as error:
        raise HTTPException(400, f"The data of {field} is not base64: {error}.") from None
