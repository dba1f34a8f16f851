"""A model in a worker: made from its package, loaded once in the background, then asked to predict."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import os
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any, Awaitable, Callable, Dict, Mapping, Optional

from tenfold_runtime import build, places, streams
from tenfold_runtime.answers import Answer, Output
from tenfold_runtime.batching import BATCHED, Batcher, Entry, Reply, Settings
from tenfold_runtime.faults import Fault, bad_output, load_failed
from tenfold_runtime.frames import Frame
from tenfold_runtime.inference import Example, Inference
from tenfold_runtime.methods import (
    OPENAI_METHODS,
    Endpoint,
    LoadedModel,
    Method,
    awaited,
    constructor_arguments,
    reported,
)
from tenfold_runtime.package import LazyDataResolver, Secrets, enter, forget, model_class, read_config
from tenfold_runtime.requests import Call
from tenfold_runtime.responses import is_response, respond
from tenfold_runtime.sockets import Conversation
from tenfold_runtime.threads import Interrupted, Slots, Threads, UserLoop

_THREADS = 40
_MOST_PLACES = 1000
_HEALTH_CHECK_SECONDS = 0.5
_NOTICE_SECONDS = 5.0  # what a method that has the request gets to notice that its caller is gone

Prepare = Callable[[], Any]


class ModelHost:
    """Loads the model in the background and answers for it. Lives on the worker's event loop.

    `inside` names the module that its package is imported into, of a worker that other models are in as well: it then
    leaves alone what is all of theirs, such as the working folder, the import path and what is logged.
    """

    kind = "model"

    def __init__(
        self,
        root: Path,
        secrets_folder: Optional[Path],
        environment: Optional[Mapping[str, Any]],
        loop: asyncio.AbstractEventLoop,
        inside: Optional[str] = None,
    ) -> None:
        self._root = root
        self._inside = inside
        self._secrets_folder = secrets_folder
        self._environment = environment
        self._loop = loop
        self._threads = Threads(loop, limit=_THREADS)
        self._places = Threads(loop, limit=_MOST_PLACES)  # how many really run in it is decided by slots
        self._user_loop = UserLoop(loop)
        self._model: Optional[LoadedModel] = None
        self.slots = Slots(1)
        self._batcher: Optional[Batcher] = None
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
            fields.update(places=self._model.concurrency, occupied=self.occupied, methods=self._model.methods)
            if self._batcher is not None:
                fields.update(self._batcher.health(self.occupied))
        if self._model is not None and self._model.is_healthy is not None:
            fields["healthy"] = await self._ask_model(self._model.is_healthy)
        return fields

    async def loaded(self) -> None:
        await asyncio.wait([self._loading])

    @property
    def reads_requests(self) -> bool:
        """Until it is loaded, nobody knows; when batches have ended, it may be because it streams after all."""
        is_off = self._batcher is not None and self._batcher.is_off
        return self._model is None or is_off or self._model.reads_requests

    @property
    def places(self) -> Optional[int]:
        return None if self._batcher is None else self._batcher.places

    def operations(self) -> Mapping[str, Callable[[Frame, Output], Awaitable[Answer]]]:
        return {
            "predict": self.predict,
            "infer": self.predict,
            "infer_metadata": self.infer_metadata,
            "method": self.method,
            "websocket": self.websocket,
            "schema": self.schema,
            "metrics": self.metrics,
        }

    def close(self) -> None:
        """Lets go of the model. What its code is still at in threads is interrupted; it ends by itself, or never."""
        self._loading.cancel()
        if self._health_check is not None:
            self._health_check.cancel()
        for user_code in (self._threads, self._places, self._user_loop):
            user_code.close()
        self._model = self._batcher = None
        if self._inside is not None:
            forget(self._root, self._inside)

    def submit(self, frame: Frame, reply: Reply) -> Optional[Entry]:
        """Takes a request for predict into the next batch, of a model that has batches."""
        batcher, model = self._batcher, self._model
        if batcher is None or model is None or batcher.is_off or frame.header.get("op") not in BATCHED:
            return None
        return batcher.submit(_call_of(frame, model), reply)

    async def predict(self, frame: Frame, output: Output) -> Answer:
        """The body of the answer, or what ends a stream whose parts went to `output`. Raises Fault."""
        model = self._ready()
        if model.predict is None:
            raise _no_such_method("predict", model)
        return await self._answer(model, _call_of(frame, model), output)

    async def infer_metadata(self, frame: Frame, output: Output) -> Answer:  # noqa: ARG002 (all operations have both)
        """Inputs and outputs as the Open Inference Protocol has them. Unknown, the example is predicted for them."""
        model = self._ready()
        signature = model.signature
        if signature.outputs is None and signature.example is not None and model.predict is not None:
            with contextlib.suppress(Fault):  # an example that fails tells nothing
                await self._answer(model, Example(signature), output)
        return Answer.of(signature.describe())

    async def _answer(self, model: LoadedModel, call: Call, output: Output) -> Answer:
        watch = _ReadWatch(self._loop, output, model.read_timeout_seconds)
        try:
            return await self._predict(model, call, output)
        except asyncio.CancelledError:
            call.disconnect()
            watch.raise_if_late()
            raise
        finally:
            watch.stop()

    async def method(self, frame: Frame, output: Output) -> Answer:
        """One of the methods that speak OpenAI's protocol, as `predict`."""
        model = self._ready()
        name = str(frame.header.get("method"))
        endpoint = model.endpoints.get(name)
        if name not in OPENAI_METHODS or endpoint is None:
            raise _no_such_method(name, model)
        call = Call(frame.header, frame.payload)
        watch = _ReadWatch(self._loop, output, model.read_timeout_seconds)
        try:
            value = await self._drained(endpoint.method, partial(_inputs, endpoint, call), call, output)
            return await self._encoded(value, call)
        except asyncio.CancelledError:
            call.disconnect()
            watch.raise_if_late()
            raise
        finally:
            watch.stop()

    async def websocket(self, frame: Frame, output: Output) -> Answer:
        """A conversation, over the output's channel."""
        model = self._ready()
        channel = output.channel
        if model.websocket is None or channel is None:
            raise _no_such_method("websocket", model)
        call, function = Call(frame.header, frame.payload), model.websocket.function

        async def converse() -> Answer:
            return await Conversation(call, channel).hold(function)

        try:
            answer: Answer = await self._user_loop.run(converse, patience_seconds=_NOTICE_SECONDS)
        except asyncio.CancelledError:
            channel.end()
            raise
        return answer

    async def schema(self, *_: object) -> Answer:
        """What the annotations tell about input and output."""
        answer: Answer = await self._threads.run(partial(Answer.of, self._ready().schema()))
        return answer

    async def metrics(self, *_: object) -> Answer:
        """What the model counts with prometheus_client, if it does."""
        answer: Answer = await self._threads.run(_metrics)
        return answer

    # Loading

    async def _load(self) -> None:
        started = time.perf_counter()
        try:
            model = await self._threads.run(self._make)
            await self._set_up(model)
            await self._run_load(model)
        except asyncio.CancelledError:
            raise
        except BaseException as error:
            self._failure = _load_fault(error).again()  # a fresh one: the old one holds on to the frames it came from
        else:
            self.slots = Slots(model.concurrency)
            self._batcher = self._make_batcher(model)
            self._model = model
        self._since = time.time()
        self._load_seconds = time.perf_counter() - started

    def _make(self) -> LoadedModel:
        config = read_config(self._root)
        if self._inside is None:
            self._move_in(config)
        kind = model_class(self._root, config, self._inside)
        data_dir = self._root / str(config["data_dir"])
        with contextlib.suppress(OSError):  # a package without data has an empty folder for it, as in Truss
            data_dir.mkdir(exist_ok=True)
        offered = {
            "config": config,
            "data_dir": data_dir,
            "secrets": Secrets(self._secrets_folder, config["secrets"]),
            "lazy_data_resolver": LazyDataResolver(data_dir),
            "environment": None if self._environment is None else dict(self._environment),
        }
        return LoadedModel(kind(**constructor_arguments(kind, offered)), config)

    def _move_in(self, config: Mapping[str, Any]) -> None:
        """Makes the process the package's own, and what its author expects around it."""
        streams.show_logging(debug=bool(config["runtime"]["enable_debug_logs"]))
        enter(self._root, config)
        build.run_once(self._root, config)
        places.prepare(self._root, config, self._secrets_folder)

    async def _set_up(self, model: LoadedModel) -> None:
        if model.setup_environment is not None and self._environment is not None:
            await self._apply(model.setup_environment, partial(_same, dict(self._environment)), None)

    async def _run_load(self, model: LoadedModel) -> None:
        if model.load is None:
            return
        retries = int(os.environ.get("NUM_LOAD_RETRIES_TRUSS", "1"))
        for _ in range(max(0, retries)):
            try:
                await self._apply(model.load, _nothing, None)
                return
            except asyncio.CancelledError:
                raise
            except BaseException:
                streams.report("load failed and is tried once more")
        await self._apply(model.load, _nothing, None)

    def _make_batcher(self, model: LoadedModel) -> Optional[Batcher]:
        if model.predict_batch is None:
            return None
        example = model.config["model_metadata"].get("example_model_input")
        settings = Settings.of(model.config["runtime"].get("batch"))
        endpoint = model.endpoints["predict"]
        return Batcher(
            self._loop,
            self._places,
            self.slots,
            endpoint,
            model.predict_batch,
            settings,
            example,
            may_hold_loop=model.says_rows_are_independent,
        )

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
            self._healthy = bool(await self._apply(method, _nothing, None))
        except Fault:
            self._healthy = False

    # Predicting

    async def _predict(self, model: LoadedModel, call: Call, output: Output) -> Answer:
        predict = model.predict
        assert predict is not None
        prepare: Prepare = partial(_inputs, model.endpoints["predict"], call)
        if model.preprocess is not None:
            prepare = partial(_same, await self._apply(model.preprocess, prepare, call))
        if model.postprocess is None:
            async with _Slot(self) as slot:
                value = await self._drained(predict, prepare, call, output, slot)
            return await self._encoded(value, call)
        async with _Slot(self) as slot:
            result = await self._result(predict, prepare, call, slot)
            if inspect.isgenerator(result) or inspect.isasyncgen(result) or is_response(result):
                raise _postprocess_excluded(result)
        value = await self._drained(model.postprocess, partial(_same, result), call, output)
        return await self._encoded(value, call)

    async def _apply(self, method: Method, argument: Prepare, call: Optional[Call]) -> Any:
        """What a method returns, outside of the places of predict."""
        patience = _NOTICE_SECONDS if method.takes_request else 0.0
        if method.is_async:
            value = await self._threads.run(argument)
            return await self._user_loop.run(partial(method.on_loop, value, call), patience_seconds=patience)
        value = await self._threads.run(lambda: method(argument(), call), patience_seconds=patience)
        if inspect.isawaitable(value):
            return await self._user_loop.run(partial(awaited, value), patience_seconds=patience)
        return value

    async def _result(self, method: Method, prepare: Prepare, call: Call, slot: _Slot) -> Any:
        """What predict returns, as it is."""
        patience = _NOTICE_SECONDS if method.takes_request else 0.0
        if method.is_async:
            value = await self._user_loop.run(
                lambda: method.on_loop(prepare(), call), ended=slot.hold(), patience_seconds=patience
            )
        else:
            value = await self._places.run(
                lambda: method(prepare(), call), ended=slot.hold(), patience_seconds=patience
            )
        if inspect.isawaitable(value):
            return await self._user_loop.run(partial(awaited, value), ended=slot.hold(), patience_seconds=patience)
        return value

    async def _drained(
        self, method: Method, prepare: Prepare, call: Call, output: Output, slot: Optional[_Slot] = None
    ) -> Any:
        """What a method that has the last word returns, as an Answer if it is one already: the end of a stream."""
        hold = _hold_nothing if slot is None else slot.hold
        threads = self._threads if slot is None else self._places
        patience = _NOTICE_SECONDS if method.takes_request else 0.0
        if method.is_async:
            value = await self._user_loop.run(
                lambda: method.on_loop(prepare(), call), ended=hold(), patience_seconds=patience
            )
        else:
            value = await threads.run(
                partial(_answered_here, method, prepare, call, output), ended=hold(), patience_seconds=patience
            )
        if inspect.isawaitable(value):
            value = await self._user_loop.run(partial(awaited, value), ended=hold(), patience_seconds=patience)
        if inspect.isasyncgen(value):
            drain = partial(_drained_on_loop, value, call, output)
            return await self._user_loop.run(drain, ended=hold(), patience_seconds=patience)
        if is_response(value):
            if not call.takes_responses:
                raise _no_tensors()
            run = partial(_responded, value, call, output)
            return await self._user_loop.run(run, ended=hold(), patience_seconds=patience)
        if inspect.isgenerator(value):
            return await threads.run(partial(_drained, value, call, output), ended=hold(), patience_seconds=patience)
        return value

    async def _encoded(self, value: Any, call: Call) -> Answer:
        answer: Answer = value
        if not isinstance(value, Answer):
            answer = await self._threads.run(partial(Answer.of, value, call))
        return answer


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


class _ReadWatch:
    """Ends a stream whose next part does not come in time, by cancelling the task that serves it."""

    def __init__(self, loop: asyncio.AbstractEventLoop, output: Output, seconds: float) -> None:
        self._loop = loop
        self._output = output
        self._seconds = seconds
        self._task = asyncio.current_task()
        self._timer: Optional[asyncio.TimerHandle] = None
        self._stopped = False
        self._late = False
        output.begun = self._begin

    def stop(self) -> None:
        self._stopped = True
        if self._timer is not None:
            self._timer.cancel()

    def raise_if_late(self) -> None:
        if self._late:
            raise Fault(
                "stream_timeout",
                f"The model gave no part of its stream for {self._seconds:g} s.",
                status=504,
                source="user",
                hint="Let it yield more often, or raise runtime.streaming_read_timeout in config.yaml.",
            ) from None

    def _begin(self) -> None:
        self._loop.call_soon_threadsafe(self._check)

    def _check(self) -> None:
        since = self._output.waiting_since
        remaining = self._seconds if since is None else since + self._seconds - time.monotonic()
        if self._stopped:
            return
        if remaining > 0:
            self._timer = self._loop.call_later(remaining, self._check)
            return
        self._late = True
        if self._task is not None:
            self._task.cancel()


def _answered_here(method: Method, prepare: Prepare, call: Call, output: Output) -> Any:
    """The whole way in one thread where nothing else has to run in between.

    A change of threads costs more than many a predict.
    """
    value = method(prepare(), call)
    if inspect.isgenerator(value):
        return _drained(value, call, output)
    if inspect.isawaitable(value) or inspect.isasyncgen(value) or is_response(value):
        return value
    return Answer.of(value, call)


def _call_of(frame: Frame, model: LoadedModel) -> Call:
    if frame.header.get("op") != "infer":
        return Call(frame.header, frame.payload)
    is_annotated = model.endpoints["predict"].check is not None
    return Inference(frame.header, frame.payload, model.signature, with_lists=is_annotated)


def _inputs(endpoint: Endpoint, call: Call) -> Any:
    """The body as the method takes it. Raises Fault `bad_input`."""
    method = endpoint.method
    if not method.takes_input and (method.takes_request or not call.payload):
        return None
    value = call.body()
    return value if endpoint.check is None else endpoint.check(value)


def _drained(parts: Any, call: Call, output: Output) -> Answer:
    try:
        return output.drain(parts, call)
    except Interrupted:
        raise
    except BaseException as error:
        raise reported(error) from None
    finally:
        parts.close()


async def _drained_on_loop(parts: Any, call: Call, output: Output) -> Answer:
    try:
        return await output.drain_async(parts, call)
    except asyncio.CancelledError:
        raise
    except BaseException as error:
        raise reported(error) from None
    finally:
        await parts.aclose()


async def _responded(response: Any, call: Call, output: Output) -> Answer:
    try:
        return await respond(response, call, output)
    except asyncio.CancelledError:
        raise
    except BaseException as error:
        raise reported(error) from None


def _no_such_method(name: str, model: LoadedModel) -> Fault:
    return Fault(
        "no_such_method",
        f"The model has no method {name}. It has {', '.join(model.methods)}.",
        status=404,
        source="input",
        hint=f"Define `{name}` on its class, or call one that it has.",
    )


def _postprocess_excluded(result: Any) -> Fault:
    """Truss's rule: what a generator or a response gives cannot be processed any further."""
    if inspect.isgenerator(result):
        result.close()
    what = "a response object" if is_response(result) else "a generator (streaming)"
    message = f"If the predict function returns {what}, you cannot use postprocessing."
    streams.report(message)
    return Fault("user_error", message, source="user", hint="Do all of it in predict, and remove postprocess.")


def _no_tensors() -> Fault:
    return bad_output(
        "The model gave a response of its own, and a request of the Open Inference Protocol is answered with tensors.",
        hint="Return arrays, numbers or texts to such requests, or call the model's predict address.",
    )


def _metrics() -> Answer:
    client = sys.modules.get("prometheus_client")
    if client is None or not hasattr(client, "generate_latest"):
        return Answer(b"", "text/plain; version=0.0.4; charset=utf-8")
    for name in ("PROCESS_COLLECTOR", "PLATFORM_COLLECTOR", "GC_COLLECTOR"):  # about the process, not the model
        try:
            client.REGISTRY.unregister(getattr(client, name))
        except (KeyError, AttributeError):
            continue
    return Answer(client.generate_latest(client.REGISTRY), client.CONTENT_TYPE_LATEST)


def _same(value: Any) -> Any:
    return value


def _nothing() -> None:
    return None


def _hold_nothing() -> None:
    return None


def _load_fault(error: BaseException) -> Fault:
    if isinstance(error, Fault) and error.code == "load_failed":
        return error
    fault = reported(error)
    message = f"The model could not be loaded. {fault.message}"
    return load_failed(message, hint=fault.hint, traceback=fault.traceback)
