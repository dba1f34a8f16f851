"""Texts of a request."""

from __future__ import annotations

from typing import Any


class HTTPException(Exception):
    """What the caller did wrong: answered with its status and text, not as a fault of the model."""

    def __init__(self, status_code: int, detail: str) -> None:
        super().__init__(detail)
        self.status_code = status_code
        self.detail = detail


def text_of(inputs: Any, field: str = "text") -> str:
    """The text in {"text": "..."}, or a text alone."""
    text = inputs.get(field) if isinstance(inputs, dict) else inputs
    if not isinstance(text, str) or not text.strip():
        raise HTTPException(400, f'Send a text: {{"{field}": "..."}}.')
    return text


def lines_of(inputs: Any, field: str = "text") -> list[str]:
    """The lines of the text that have something on them."""
    return [line.strip() for line in text_of(inputs, field).splitlines() if line.strip()]
