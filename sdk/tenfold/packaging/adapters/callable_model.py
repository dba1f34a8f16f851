"""Serves a function, or a class with `predict`. Written by `tenfold.deploy`; change it as you like.

The body is an object of the arguments by name; a model of one container (or unannotated) argument takes any JSON value
as it is. What it returns is the answer; pictures are answered as {"name", "type", "size", "data": base64}.
"""

from __future__ import annotations

import base64
import importlib
import inspect
import io
import pickle
import typing
from pathlib import Path
from typing import Any

from model._fields import listed, read_value, refuse, shown  # type: ignore[import-not-found]

PASSED_ON = (
    "postprocess",
    "is_healthy",
    "setup_environment",
    "chat_completions",
    "completions",
    "embeddings",
    "messages",
    "responses",
)
"""Methods that the worker calls as the class has them."""


class Model:
    def __init__(
        self,
        config: dict[str, Any],
        data_dir: str,
        secrets: Any,
        environment: Any = None,
        lazy_data_resolver: Any = None,
    ) -> None:
        self._about = config["model_metadata"]["tenfold"]
        self._schema = self._about["schema"]
        offered = {"config": config, "data_dir": Path(data_dir), "secrets": secrets}
        self._inner = self._make({**offered, "environment": environment, "lazy_data_resolver": lazy_data_resolver})
        is_function = self._about["what"] == "function"
        self._call = self._inner if is_function else self._inner.predict
        self._is_async = inspect.iscoroutinefunction(self._call)
        self._preprocess = None if is_function else getattr(self._inner, "preprocess", None)
        if callable(self._preprocess):
            self.preprocess = self._prepared
        if not is_function and not callable(self._preprocess) and callable(getattr(self._inner, "predict_batch", None)):
            self.rows_are_independent = getattr(self._inner, "rows_are_independent", False)
            self.predict_batch = self._batched
        for name in () if is_function else PASSED_ON:
            if callable(getattr(self._inner, name, None)):
                setattr(self, name, getattr(self._inner, name))

    def load(self) -> Any:
        load = getattr(self._inner, "load", None) if self._about["what"] != "function" else None
        return load() if callable(load) else None

    def predict(self, inputs: Any) -> Any:
        result = self._call(inputs) if callable(self._preprocess) else self._called(self._call, inputs)
        return self._later(result) if self._is_async else answered(result)

    async def _later(self, result: Any) -> Any:
        return answered(await result)

    def _batched(self, bodies: list[Any]) -> list[Any]:
        """What the class's own predict_batch gives for the bodies that can be read: each the only argument, or the
        arguments by name.
        """
        names = [field["name"] for field in self._schema["fields"]]
        results: list[Any] = [None] * len(bodies)
        read: dict[int, Any] = {}
        for index, body in enumerate(bodies):
            try:
                arguments = self._arguments(body)
                if len(names) > 1:
                    read[index] = arguments
                elif arguments:
                    read[index] = arguments[0] if isinstance(arguments, list) else arguments[names[0]]
                else:  # the function's own default
                    results[index] = self.predict(body)
            except Exception as error:
                results[index] = error
        given = self._inner.predict_batch(list(read.values())) if read else []
        if len(given) != len(read):
            raise ValueError(f"predict_batch was given {len(read)} bodies and returned {len(given)} results.")
        for index, result in zip(read, given):  # noqa: B905 (of one length)
            results[index] = answered(result)
        return results

    def _prepared(self, inputs: Any) -> Any:
        return self._called(self._preprocess, inputs)

    def _called(self, function: Any, body: Any) -> Any:
        arguments = self._arguments(body)
        return function(*arguments) if isinstance(arguments, list) else function(**arguments)

    def _make(self, offered: dict[str, Any]) -> Any:
        if self._about["what"] == "instance":
            with open(offered["data_dir"] / "model.pickle", "rb") as file:
                return pickle.load(file)  # noqa: S301 (this worker is where it belongs)
        target: Any = importlib.import_module(self._about["module"])
        for part in self._about["name"].split("."):
            target = getattr(target, part)
        if self._about["what"] == "function":
            return target
        wanted = inspect.signature(target).parameters
        return target(**{name: value for name, value in offered.items() if name in wanted})

    def _arguments(self, body: Any) -> list[Any] | dict[str, Any]:
        """Positional arguments of a model that takes one value, else keyword arguments."""
        fields = self._schema["fields"]
        if self._schema["form"] == "value":
            return [self._converted(read_value(body, field, "The body"), field["name"]) for field in fields]
        names = [field["name"] for field in fields]
        if not isinstance(body, dict):
            refuse(f"The body is {shown(body)}, and must be an object with: {listed(names)}.")
        unknown = [str(name) for name in body if name not in names]
        if unknown:
            refuse(f"There is no argument {listed(unknown)}. The model takes: {listed(names)}.")
        found: dict[str, Any] = {}
        for field in fields:
            name = field["name"]
            has_own_default = name not in self._about["required"]
            is_empty = body.get(name) is None and not field.get("nullable")
            if has_own_default and (name not in body or is_empty):
                continue
            if name not in body:
                refuse(f"The argument {name!r} is missing. The model takes: {listed(names)}.")
            found[name] = self._converted(read_value(body[name], field, repr(name)), name)
        return found

    def _converted(self, value: Any, name: str) -> Any:
        """A value as the function's annotation asks for it."""
        kind = self._about.get("arguments", {}).get(name)
        if value is None or kind is None:
            return value
        if kind == "pydantic":
            return self._validated(value, name)
        if kind in ("tenfold.File", "tenfold.Image"):
            import tenfold  # the stand-in in packages/

            return getattr(tenfold, kind.partition(".")[2])(*value)
        if kind == "PIL.Image":
            return open_picture(value[2])
        if kind == "bytes":
            return value[2]
        if kind == "numpy":
            import numpy

            return numpy.asarray(value)
        if kind == "pandas":
            import pandas

            return pandas.DataFrame(value)
        return value

    def _validated(self, value: Any, name: str) -> Any:
        import pydantic

        function = self._preprocess if callable(self._preprocess) else self._call
        try:
            return pydantic.TypeAdapter(typing.get_type_hints(function)[name]).validate_python(value)
        except pydantic.ValidationError as error:
            problems = ("{}: {}".format(".".join(map(str, one["loc"])), one["msg"]) for one in error.errors())
            refuse("The input is not valid: " + "; ".join(problems))


def open_picture(data: bytes) -> Any:
    import PIL.Image

    try:
        picture = PIL.Image.open(io.BytesIO(data))
        picture.load()
    except Exception as error:  # pillow raises many kinds for a broken picture
        refuse(f"The picture cannot be read: {error}")
    return picture


def answered(result: Any) -> Any:
    """The result as JSON can carry it, where the worker does not know its type."""
    root = type(result).__module__.partition(".")[0]
    if root == "PIL" and hasattr(result, "save"):
        return picture_to_json(result)
    if root == "tenfold" and hasattr(result, "to_json"):
        return result.to_json()
    if root == "pandas" and hasattr(result, "columns"):
        return result.to_dict("records")
    return result


def picture_to_json(picture: Any) -> dict[str, Any]:
    buffer = io.BytesIO()
    if picture.mode not in ("1", "L", "LA", "I", "P", "RGB", "RGBA"):
        picture = picture.convert("RGB")
    picture.save(buffer, format="PNG")
    data = buffer.getvalue()
    return {"name": "image.png", "type": "image/png", "size": len(data), "data": base64.b64encode(data).decode()}
