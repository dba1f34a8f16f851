"""The type of a file from its content, by the network of the package magika."""

from __future__ import annotations

from typing import Any

from magika import Magika

from model.files import bytes_of


class Model:
    def load(self) -> None:
        self._magika = Magika()

    def predict(self, inputs: Any) -> list[dict[str, Any]]:
        """{"file": file} to one row about it."""
        found = self._magika.identify_bytes(bytes_of(inputs))
        kind = found.output
        row = {
            "description": kind.description,
            "confidence": round(float(found.score), 4),
            "type": str(kind.label),
            "mime_type": kind.mime_type,
            "group": kind.group,
            "extensions": ", ".join(kind.extensions),
        }
        return [row]
