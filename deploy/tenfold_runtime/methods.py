"""The methods of a model's class: which there are, how each wants to be called, and what is wrong with them.

The rules are Truss's, so that a class written for it runs here, and one written here runs there.
"""

from __future__ import annotations

import asyncio
import enum
import inspect
from typing import Any, Awaitable, Callable, Dict, List, Mapping, Optional

from tenfold_runtime import streams
from tenfold_runtime.annotations import Check, checker, hints, schema_of, truss_schema
from tenfold_runtime.faults import Fault, load_failed, user_fault
from tenfold_runtime.inference import Signature
from tenfold_runtime.requests import Call, is_request_type
from tenfold_runtime.sockets import make_socket_class
from tenfold_runtime.threads import Interrupted, is_async

OPENAI_METHODS = ("chat_completions", "completions", "embeddings", "messages", "responses")
_BESIDE_WEBSOCKET = ("predict", "preprocess", "postprocess")


class Takes(enum.Enum):
    """What a method is called with."""

    NOTHING = "nothing"
    INPUTS = "inputs"
    REQUEST = "request"
    BOTH = "both"


class Method:
    """One method of the user's class, and how it wants to be called."""

    def __init__(self, function: Callable[..., Any], name: str, takes: Takes) -> None:
        self.function = function
        self.name = name
        self.is_async = is_async(function)
        self.takes_input = takes in (Takes.INPUTS, Takes.BOTH)
        self.takes_request = takes in (Takes.REQUEST, Takes.BOTH)

    def __call__(self, value: Any, call: Optional[Call] = None) -> Any:
        """Calls it here and now; what it raises becomes the user's Fault."""
        try:
            if self.takes_request:
                assert call is not None
                return self.function(value, call.request) if self.takes_input else self.function(call.request)
            return self.function(value) if self.takes_input else self.function()
        except Interrupted:
            raise
        except BaseException as error:
            raise reported(error) from None

    async def on_loop(self, value: Any, call: Optional[Call] = None) -> Any:
        result = self(value, call)
        return await awaited(result) if inspect.isawaitable(result) else result


class Endpoint:
    """A method that a request's body goes to: what its annotation checks, and whether it needs a body at all."""

    def __init__(self, method: Method) -> None:
        self.method = method
        self.annotation = _input_annotation(method)
        self.check: Optional[Check] = checker(self.annotation, light=False)


class LoadedModel:
    """The user's model, ready to be called: its methods, what its annotations promise, and its configuration.

    Raises Fault `load_failed` when the methods do not make a model.
    """

    def __init__(self, instance: Any, config: Mapping[str, Any]) -> None:
        self.instance = instance
        self.config = config
        self.signature = Signature.of(config)
        runtime = config["runtime"]
        self.concurrency = max(1, int(runtime["predict_concurrency"]))
        self.read_timeout_seconds = float(runtime.get("streaming_read_timeout") or 60)
        self.preprocess = _find(instance, "preprocess")
        self.predict = _find(instance, "predict")
        self.postprocess = _find(instance, "postprocess")
        self.websocket = _find(instance, "websocket")
        self.load = _find_without(instance, "load")
        self.is_healthy = _find_without(instance, "is_healthy")
        self.setup_environment = _find(instance, "setup_environment")
        self.says_rows_are_independent = getattr(instance, "rows_are_independent", False) is True
        self.predict_batch = self._find_batch(instance, runtime.get("batch"))
        self.endpoints: Dict[str, Endpoint] = {}
        self._check_combination()
        if self.predict is not None:
            self.endpoints["predict"] = Endpoint(self.preprocess or self.predict)
        for name in OPENAI_METHODS:
            method = _find(instance, name)
            if method is not None:
                self.endpoints[name] = Endpoint(method)

    @property
    def methods(self) -> List[str]:
        """What can be called from outside."""
        return [*self.endpoints, *(["websocket"] if self.websocket is not None else [])]

    @property
    def reads_requests(self) -> bool:
        """Whether predict is given the caller's request, or could answer with a stream, which not all clients take."""
        on_the_way = [method for method in (self.preprocess, self.predict, self.postprocess) if method is not None]
        return any(method.takes_request for method in on_the_way) or self.predict_batch is None

    def schema(self) -> Dict[str, Any]:
        """JSON Schemas as far as annotations tell, and the answer of Truss's own schema route (null: it has none)."""
        predict = self.endpoints.get("predict")
        if predict is None:
            return {"inputs": None, "outputs": None, "truss": None}
        last = self.postprocess or self.predict
        assert last is not None
        output = hints(last.function).get("return", inspect.Parameter.empty)
        return {
            "inputs": schema_of(predict.annotation),
            "outputs": schema_of(output),
            "truss": truss_schema(predict.annotation, output),
        }

    def _find_batch(self, instance: Any, batch: Any) -> Optional[Callable[..., Any]]:
        """`predict_batch(bodies) -> results`, where it is to be used.

        Without a word in the configuration only that of a class which says that its rows are independent: others
        have had a method of this name for purposes of their own.
        """
        is_asked_for = isinstance(batch, Mapping)
        if batch == "off" or not (is_asked_for or self.says_rows_are_independent):
            return None
        function = getattr(instance, "predict_batch", None)
        predict = self.predict
        if predict is None or predict.is_async or not predict.takes_input or predict.takes_request:
            problem = "only a plain `def predict(self, inputs)` can be part of one"
        elif self.preprocess is not None or self.postprocess is not None:
            problem = "a model with preprocess or postprocess answers call by call"
        elif inspect.isgeneratorfunction(predict.function):
            problem = "predict is a generator"
        elif not callable(function) or not _takes_one_list(function):
            problem = "the model has no `def predict_batch(self, bodies)` that returns a list of results"
        else:
            return function  # type: ignore[no-any-return]
        if is_asked_for:
            streams.report(f"runtime.batch has no effect: {problem}.")
        return None

    def _check_combination(self) -> None:
        kind = type(self.instance).__name__
        if self.websocket is None and self.predict is None:
            raise load_failed(
                f"{kind} has no method predict, and no websocket.", hint="Define `def predict(self, inputs)` on it."
            )
        if self.websocket is not None:
            self._check_websocket(kind, self.websocket)
        if self.preprocess and self.predict and self.predict.takes_request and not self.predict.takes_input:
            raise load_failed(
                f"{kind}.predict takes only the request, so what preprocess returns would be lost.",
                hint="Define it as `def predict(self, inputs, request: Request)`, or remove preprocess.",
            )
        if self.postprocess and self.postprocess.takes_request and not self.postprocess.takes_input:
            raise load_failed(
                f"{kind}.postprocess takes only the request, so what predict returns would be lost.",
                hint="Define it as `def postprocess(self, outputs, request: Request)`.",
            )

    def _check_websocket(self, kind: str, websocket: Method) -> None:
        others = [name for name in _BESIDE_WEBSOCKET if callable(getattr(self.instance, name, None))]
        if others:
            raise load_failed(
                f"{kind} has both websocket and {', '.join(others)}.",
                hint="A model speaks one of the two: deploy the other one as a model of its own.",
            )
        if not websocket.takes_input or websocket.takes_request:
            raise load_failed(
                f"{kind}.websocket{_signature(websocket.function)} must have only one argument.",
                hint="Define it as `async def websocket(self, websocket)`.",
            )
        if not inspect.iscoroutinefunction(inspect.unwrap(websocket.function)):
            raise load_failed(
                f"{kind}.websocket is not an async function.", hint="Define it as `async def websocket(...)`."
            )
        make_socket_class()  # raises where the environment has no starlette


def reported(error: BaseException) -> Fault:
    """The user's Fault, its traceback written to the log."""
    fault = user_fault(error)
    if fault is not error and fault.traceback:
        streams.report(fault.traceback)
    return fault


async def awaited(value: Awaitable[Any]) -> Any:
    try:
        return await value
    except asyncio.CancelledError:
        raise
    except BaseException as error:
        raise reported(error) from None


def constructor_arguments(kind: Any, offered: Mapping[str, Any]) -> Dict[str, Any]:
    """Those of the offered arguments that the class's constructor names."""
    if kind.__init__ is object.__init__ and kind.__new__ is object.__new__:
        return {}  # inspect would come to that by reading a signature written in C, which takes it 8 ms
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


def _find(instance: Any, name: str) -> Optional[Method]:
    function = getattr(instance, name, None)
    return Method(function, name, _takes(function, name)) if callable(function) else None


def _find_without(instance: Any, name: str) -> Optional[Method]:
    """A method that is called without arguments."""
    function = getattr(instance, name, None)
    if not callable(function):
        return None
    required = [parameter.name for parameter in _parameters(function) if _is_required(parameter)]
    if required:
        raise load_failed(
            f"{name}{_signature(function)} asks for {', '.join(required)}; it is called without arguments.",
            hint=f"Define it as `def {name}(self)`. What it needs comes with the constructor.",
        )
    return Method(function, name, Takes.NOTHING)


def _takes(function: Callable[..., Any], name: str) -> Takes:
    """What the method's signature asks for. Raises Fault `load_failed`, naming it, when it asks for something else."""
    parameters = _parameters(function)
    annotations = hints(function)
    positional = [parameter for parameter in parameters if parameter.kind in _POSITIONAL]
    required = [parameter for parameter in parameters if _is_required(parameter)]
    requests = [parameter for parameter in positional if _is_request(parameter, annotations, positional)]
    shown = f"{name}{_signature(function)}"
    if len(required) > 2 or any(parameter.kind is parameter.KEYWORD_ONLY for parameter in required):
        raise load_failed(
            f"{shown} asks for {', '.join(parameter.name for parameter in required)}.",
            hint=f"A method takes at most two arguments: `def {name}(self, inputs, request: Request)`.",
        )
    if requests and requests[0] is positional[0] and len(required) > 1:
        raise load_failed(
            f"{shown} has the request as the first of two arguments.",
            hint=f"It must be the second: `def {name}(self, inputs, request: Request)`.",
        )
    if len(required) > 1 and required[1] not in requests:
        raise load_failed(
            f"{shown} asks for {required[0].name} and {required[1].name}; the second of two must be the request.",
            hint=f"Define it as `def {name}(self, inputs)` or `def {name}(self, inputs, request: Request)`.",
        )
    if not positional:
        return Takes.NOTHING
    if requests and requests[0] is positional[0]:
        return Takes.REQUEST
    is_second = len(positional) > 1 and positional[1] in requests
    return Takes.BOTH if is_second else Takes.INPUTS


def _is_request(
    parameter: inspect.Parameter, annotations: Mapping[str, Any], positional: List[inspect.Parameter]
) -> bool:
    """By its annotation, as Truss does.

    The second argument also by its name alone, for environments without starlette.
    """
    annotation = annotations.get(parameter.name, parameter.annotation)
    if is_request_type(annotation):
        return True
    if isinstance(annotation, str) and annotation.rpartition(".")[2] == "Request":  # a name for type checkers only
        return True
    is_untold = annotation is parameter.empty or annotation is Any
    return is_untold and parameter.name == "request" and len(positional) > 1 and parameter is positional[1]


_POSITIONAL = (
    inspect.Parameter.POSITIONAL_ONLY,
    inspect.Parameter.POSITIONAL_OR_KEYWORD,
    inspect.Parameter.VAR_POSITIONAL,
)


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


def _takes_one_list(function: Callable[..., Any]) -> bool:
    """Whether it can be called with one argument, here and now."""
    if is_async(function) or inspect.isgeneratorfunction(function):
        return False
    try:
        inspect.signature(function).bind([])
    except (TypeError, ValueError):
        return False
    return True


def _signature(function: Callable[..., Any]) -> str:
    try:
        return str(inspect.signature(function))
    except (TypeError, ValueError):
        return "(...)"
