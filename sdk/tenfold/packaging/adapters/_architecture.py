"""Makes a PyTorch module again from what was written down of it: its class, its attributes, and its weights apart.

What is written is JSON. Values that JSON does not have are objects of one key: {"tuple": [...]}, {"set": [...]},
{"size": [...]}, {"dict": [[key, value]]}, {"ordered": [[key, value]]}, {"float": "nan"}, {"dtype": "float32"},
{"device": "cpu"}, {"name": "module:Class"} for classes, functions and members of enumerations, {"parameter": key} and
{"tensor": key} for weights, {"object": {"class", "state"}}, {"module": {"id", "class", "state"}}, and {"again": id} for
a module that has been there before. No constructor is called, and nothing but what the class's own code does is run.
"""

from __future__ import annotations

import collections
import importlib
from collections.abc import Callable, Mapping
from typing import Any

Find = Callable[[str], Any]


def build(written: Any, weights: Mapping[str, Any], find: Find | None = None) -> Any:
    """The module. `find` turns "module:Class" into the object that is called so."""
    return _Builder(weights, find or imported).value(written)


def imported(name: str) -> Any:
    module, _, path = name.partition(":")
    found: Any = importlib.import_module(module)
    for part in path.split("."):
        found = getattr(found, part)
    return found


class _Builder:
    def __init__(self, weights: Mapping[str, Any], find: Find) -> None:
        self._weights = weights
        self._find = find
        self._torch: Any = importlib.import_module("torch")
        self._modules: dict[int, Any] = {}
        self._tensors: dict[str, Any] = {}

    def value(self, written: Any) -> Any:
        if isinstance(written, list):
            return [self.value(one) for one in written]
        if not isinstance(written, dict):
            return written
        ((kind, inner),) = written.items()
        return getattr(self, f"_{kind}")(inner)

    def _tuple(self, inner: Any) -> Any:
        return tuple(self.value(inner))

    def _set(self, inner: Any) -> Any:
        return set(self.value(inner))

    def _size(self, inner: Any) -> Any:
        return self._torch.Size(inner)

    def _dict(self, inner: Any) -> Any:
        return {self.value(key): self.value(one) for key, one in inner}

    def _ordered(self, inner: Any) -> Any:
        return collections.OrderedDict((self.value(key), self.value(one)) for key, one in inner)

    def _float(self, inner: Any) -> Any:
        return float(inner)

    def _dtype(self, inner: Any) -> Any:
        return getattr(self._torch, inner)

    def _device(self, inner: Any) -> Any:
        return self._torch.device(inner)

    def _name(self, inner: Any) -> Any:
        return self._find(inner)

    def _parameter(self, key: Any) -> Any:
        if key not in self._tensors:
            self._tensors[key] = self._torch.nn.Parameter(self._weights[key], requires_grad=False)
        return self._tensors[key]

    def _tensor(self, key: Any) -> Any:
        return self._tensors.setdefault(key, self._weights[key])

    def _object(self, inner: Any) -> Any:
        kind = self._find(inner["class"])
        made = kind.__new__(kind)
        made.__dict__.update(self.value(inner["state"]))
        return made

    def _module(self, inner: Any) -> Any:
        kind = self._find(inner["class"])
        made = kind.__new__(kind)
        self._modules[inner["id"]] = made  # before its attributes: one of them may hold it
        made.__setstate__(self.value(inner["state"]))
        return made

    def _again(self, number: Any) -> Any:
        return self._modules[number]
