"""A model in a worker: made from its package, loaded once in the background, then asked to predict."""

from __future__ import annotations

import asyncio
import inspect
import time
from functools import partial
from pathlib import Path
from typing import Any, Awaitable, Callable, Dict, List, Mapping, Optional

from tenfold_runtime import streams
from tenfold_runtime.annotations import Check, checker, hints, schema_of
from tenfold_runtime.answers import Answer, Output
from tenfold_runtime.encoding import decode_body
from tenfold_runtime.faults import Fault, user_fault
from tenfold_runtime.frames import Frame
from tenfold_runtime.package import LazyDataResolver, Secrets, enter, load_failed, model_class, read_config
from tenfold_runtime.threads import Interrupted, Threads, UserLoop, is_async

_THREADS = 40
_MOST_PLACES = 1000
_HEALTH_CHECK_SECONDS = 0.5


class Method:
    """One method of the user's class, and how it wants to be called."""

    def __init__(self, function: Callable[..., Any], name: str, *, takes_input: bool = True) -> None:
        self.function = function
        self.name = name
        self.is_async = is_async(function)
        self.takes_input = _takes_input(function, name) if takes_input else _takes_nothing(function, name)

    def __call__(self, value: Any) -> Any:
        """Calls it here and now; what it raises becomes the user's Fault."""
        try:
            return self.function(value) if self.takes_input else self.function()
        except Interrupted:
            raise
        except BaseException as error:
            raise reported(error) from None

    async def on_loop(self, value: Any) -> Any:
        result = self(value)
        return await _awaited(result) if inspect.isawaitable(result) else result


class LoadedModel:
    """The user's model, ready to be called: its methods, what its annotations promise, and its configuration."""

    def __init__(self, instance: Any, config: Mapping[str, Any]) -> None:
        self.instance = instance
        self.concurrency = max(1, int(config["runtime"]["predict_concurrency"]))
        predict = getattr(instance, "predict", None)
        if not callable(predict):
            raise load_failed(
                f"{type(instance).__name__} has no method predict.", hint="Define `def predict(self, inputs)` on it."
            )
        self.predict = Method(predict, "predict")
        self.preprocess = _optional_method(instance, "preprocess")
        self.postprocess = _optional_method(instance, "postprocess")
        self.is_healthy = _optional_method(instance, "is_healthy", takes_input=False)
        first, last = self.preprocess or self.predict, self.postprocess or self.predict
        self.input_annotation = _input_annotation(first)
        self.output_annotation = hints(last.function).get("return", inspect.Parameter.empty)
        self.check: Optional[Check] = checker(self.input_annotation, light=False)
        self._needs_input = first.takes_input

    def inputs(self, payload: bytes, content_type: str) -> Any:
        """The request's body as the first method takes it. Raises Fault `bad_input`."""
        if not payload and not self._needs_input:
            return None
        value = decode_body(payload, content_type)
        return value if self.check is None else self.check(value)

    def schema(self) -> Dict[str, Any]:
        return {"inputs": schema_of(self.input_annotation), "outputs": schema_of(self.output_annotation)}


class ModelHost:
    """Loads the model in the background and answers `predict` and `schema`. Lives on the worker's event loop."""

    kind = "model"

    def __init__(self, root: Path, secrets_folder: Optional[Path], loop: asyncio.AbstractEventLoop) -> None:
        self._root = root
        self._secrets = Secrets(secrets_folder)
        self._threads = Threads(loop, limit=_THREADS)
        self._places = Threads(loop, limit=_MOST_PLACES)  # how many really run in it is decided by slots
        self._user_loop = UserLoop(loop)
        self._model: Optional[LoadedModel] = None
        self.slots = asyncio.Semaphore(1)
        self.occupied = 0
        self._failure: Optional[Fault] = None
        self._since = time.time()
        self._load_seconds: Optional[float] = None
        self._loading = loop.create_task(self._load())
        self._health_check: Optional["asyncio.Task[None]"] = None
        self._healthy: Optional[bool] = None

    # What the server asks

    async def health(self) -> Dict[str, Any]:
        fields: Dict[str, Any] = {"state": self._state(), "since": self._since}
        if self._load_seconds is not None:
            fields["load_seconds"] = round(self._load_seconds, 6)
        if self._failure is not None:
            fields["error"] = self._failure.to_json()
        if self._model is not None:
            fields.update(places=self._model.concurrency, occupied=self.occupied)
        if self._model is not None and self._model.is_healthy is not None:
            fields["healthy"] = await self._ask_model(self._model.is_healthy)
        return fields

    def operations(self) -> Mapping[str, Callable[[Frame, Output], Awaitable[Answer]]]:
        return {"predict": self.predict, "schema": self.schema}

    async def predict(self, frame: Frame, output: Output) -> Answer:
        """The body of the answer, or what ends a stream whose parts went to `output`. Raises Fault."""
        model = self._ready()
        content_type = str(frame.header.get("content_type") or "application/json")
        prepare: Callable[[], Any] = partial(model.inputs, frame.payload, content_type)
        if model.preprocess is not None:
            prepare = partial(_same, await self._apply(model.preprocess, prepare))
        async with _Slot(self) as slot:
            result = await self._predict(model, prepare, output, slot)
        if isinstance(result, Answer):
            return result
        if model.postprocess is not None:
            result = await self._apply(model.postprocess, partial(_same, result))
        answer: Answer = await self._threads.run(partial(Answer.of, result))
        return answer

    async def schema(self, *_: object) -> Answer:
        """What the annotations tell about input and output."""
        answer: Answer = await self._threads.run(partial(Answer.of, self._ready().schema()))
        return answer

    # Loading

    async def _load(self) -> None:
        started = time.perf_counter()
        try:
            model = await self._threads.run(self._make)
            await self._run_load(model)
        except asyncio.CancelledError:
            raise
        except BaseException as error:
            self._failure = _load_fault(error).again()  # a fresh one: the old one holds on to the frames it came from
        else:
            self.slots = asyncio.Semaphore(model.concurrency)
            self._model = model
        self._since = time.time()
        self._load_seconds = time.perf_counter() - started

    def _make(self) -> LoadedModel:
        config = read_config(self._root)
        enter(self._root, config)
        kind = model_class(self._root, config)
        data_dir = self._root / str(config["data_dir"])
        offered = {
            "config": config,
            "data_dir": data_dir,
            "secrets": self._secrets,
            "lazy_data_resolver": LazyDataResolver(data_dir),
            "environment": None,
        }
        return LoadedModel(kind(**_constructor_arguments(kind, offered)), config)

    async def _run_load(self, model: LoadedModel) -> None:
        load = _optional_method(model.instance, "load", takes_input=False)
        if load is None:
            return
        try:
            await self._apply(load, _nothing)
        except asyncio.CancelledError:
            raise
        except BaseException:
            streams.report("load failed and is tried once more")
            await self._apply(load, _nothing)

    def _state(self) -> str:
        if self._failure is not None:
            return "failed"
        return "loading" if self._model is None else "ready"

    def _ready(self) -> LoadedModel:
        if self._failure is not None:
            raise self._failure.again()
        if self._model is None:
            raise Fault("not_ready", "The model is still loading.", status=503, hint="Try again in a moment.")
        return self._model

    async def _ask_model(self, method: Method) -> Optional[bool]:
        """What the model's own is_healthy says, or said last when it takes long to say it."""
        if self._health_check is None or self._health_check.done():
            self._health_check = asyncio.ensure_future(self._check_health(method))
        await asyncio.wait([self._health_check], timeout=_HEALTH_CHECK_SECONDS)
        return self._healthy

    async def _check_health(self, method: Method) -> None:
        try:
            self._healthy = bool(await self._apply(method, _nothing))
        except Fault:
            self._healthy = False

    # Predicting

    async def _apply(self, method: Method, argument: Callable[[], Any]) -> Any:
        if method.is_async:
            value = await self._threads.run(argument)
            return await self._user_loop.run(partial(method.on_loop, value))
        value = await self._threads.run(lambda: method(argument()))
        return await self._user_loop.run(partial(_awaited, value)) if inspect.isawaitable(value) else value

    async def _predict(self, model: LoadedModel, prepare: Callable[[], Any], output: Output, slot: _Slot) -> Any:
        """An Answer, or a value that is not encoded yet."""
        predict = model.predict
        if predict.is_async:
            result = await self._user_loop.run(lambda: predict.on_loop(prepare()), ended=slot.hold())
        else:
            result = await self._places.run(partial(_predict_here, model, prepare, output), ended=slot.hold())
        if inspect.isawaitable(result):
            result = await self._user_loop.run(partial(_awaited, result), ended=slot.hold())
        if inspect.isasyncgen(result):
            return await self._user_loop.run(partial(_drained_on_loop, result, output), ended=slot.hold())
        if inspect.isgenerator(result):
            return await self._places.run(partial(_drained, result, output), ended=slot.hold())
        return result


class _Slot:
    """One of the places in which predict may run.

    It is free again when everything that was started in it is really over.
    """

    def __init__(self, host: ModelHost) -> None:
        self._host = host
        self._holders = 0

    async def __aenter__(self) -> _Slot:
        await self._host.slots.acquire()
        self._host.occupied += 1
        self._holders = 1
        return self

    async def __aexit__(self, *_: object) -> None:
        self._drop()

    def hold(self) -> Callable[[], None]:
        """Keeps the place until the returned function is called."""
        self._holders += 1
        return self._drop

    def _drop(self) -> None:
        self._holders -= 1
        if self._holders == 0:
            self._host.occupied -= 1
            self._host.slots.release()


def _predict_here(model: LoadedModel, prepare: Callable[[], Any], output: Output) -> Any:
    """The whole way in one thread where nothing else has to run in between.

    A change of threads costs more than many a predict.
    """
    value = model.predict(prepare())
    if inspect.isgenerator(value):
        return _drained(value, output)
    if model.postprocess is not None or inspect.isawaitable(value) or inspect.isasyncgen(value):
        return value
    return Answer.of(value)


def _drained(parts: Any, output: Output) -> Answer:
    try:
        return output.drain(parts)
    except Interrupted:
        raise
    except BaseException as error:
        raise reported(error) from None
    finally:
        parts.close()


async def _drained_on_loop(parts: Any, output: Output) -> Answer:
    try:
        return await output.drain_async(parts)
    except asyncio.CancelledError:
        raise
    except BaseException as error:
        raise reported(error) from None
    finally:
        await parts.aclose()


async def _awaited(value: Awaitable[Any]) -> Any:
    try:
        return await value
    except asyncio.CancelledError:
        raise
    except BaseException as error:
        raise reported(error) from None


def reported(error: BaseException) -> Fault:
    """The user's Fault, its traceback written to the log."""
    fault = user_fault(error)
    if fault is not error and fault.traceback:
        streams.report(fault.traceback)
    return fault


def _same(value: Any) -> Any:
    return value


def _nothing() -> None:
    return None


def _load_fault(error: BaseException) -> Fault:
    if isinstance(error, Fault) and error.code == "load_failed":
        return error
    fault = reported(error)
    message = f"The model could not be loaded. {fault.message}"
    return load_failed(message, hint=fault.hint, traceback=fault.traceback)


def _optional_method(instance: Any, name: str, *, takes_input: bool = True) -> Optional[Method]:
    function = getattr(instance, name, None)
    return Method(function, name, takes_input=takes_input) if callable(function) else None


def _constructor_arguments(kind: Any, offered: Mapping[str, Any]) -> Dict[str, Any]:
    parameters = _parameters(kind)
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters):
        return dict(offered)
    unknown = [parameter.name for parameter in parameters if _is_required(parameter) and parameter.name not in offered]
    if unknown:
        raise load_failed(
            f"{kind.__name__}.__init__ asks for {', '.join(unknown)}, which a model is not given.",
            hint=f"It may ask for any of {', '.join(offered)}, or take **kwargs.",
        )
    return {parameter.name: offered[parameter.name] for parameter in parameters if parameter.name in offered}


def _takes_input(function: Callable[..., Any], name: str) -> bool:
    parameters = _parameters(function)
    positional = [
        parameter
        for parameter in parameters
        if parameter.kind in (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD, parameter.VAR_POSITIONAL)
    ]
    required = [parameter for parameter in parameters if _is_required(parameter)]
    if len(required) > 1 or any(parameter.kind is parameter.KEYWORD_ONLY for parameter in required):
        raise load_failed(
            f"{name}{_signature(function)} asks for {', '.join(parameter.name for parameter in required)}.",
            hint=f"Define it as `def {name}(self, inputs)`, or without an argument.",
        )
    return bool(positional)


def _takes_nothing(function: Callable[..., Any], name: str) -> bool:
    required = [parameter.name for parameter in _parameters(function) if _is_required(parameter)]
    if required:
        raise load_failed(
            f"{name}{_signature(function)} asks for {', '.join(required)}; it is called without arguments.",
            hint=f"Define it as `def {name}(self)`. What it needs comes with the constructor.",
        )
    return False


def _input_annotation(method: Method) -> Any:
    if not method.takes_input:
        return inspect.Parameter.empty
    first = _parameters(method.function)[0].name
    return hints(method.function).get(first, inspect.Parameter.empty)


def _is_required(parameter: inspect.Parameter) -> bool:
    variable = parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
    return parameter.default is parameter.empty and not variable


def _parameters(function: Callable[..., Any]) -> List[inspect.Parameter]:
    try:
        return list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError):  # compiled code may not tell
        return []


def _signature(function: Callable[..., Any]) -> str:
    try:
        return str(inspect.signature(function))
    except (TypeError, ValueError):
        return "(...)"
