"""The Open Inference Protocol, version 2: its requests as what a model takes, and what the model gives as its answers.

https://github.com/kserve/open-inference-protocol, with the binary tensor data extension. The addresses are the
platform's business; a worker sees a body, and what its frame says of it.
"""

from __future__ import annotations

import json
import math
import zlib
from dataclasses import dataclass, field
from typing import Any, Dict, List, Mapping, Optional

from tenfold_runtime import tensors
from tenfold_runtime.answers import Answer
from tenfold_runtime.encoding import decode_json, encode_json, out_of_memory
from tenfold_runtime.faults import Fault
from tenfold_runtime.frames import MAX_PAYLOAD_BYTES
from tenfold_runtime.requests import Call
from tenfold_runtime.tensors import BF16, BY_DTYPE, BYTES, DATATYPES, Tensor, refuse, shown

OUTPUT = "output"  # the name of a result that has none of its own

_BINARY = "application/octet-stream"
_MOST_EMPTY = 1_000_000  # places for values in a tensor that has none
_LONGEST = 2**48  # of a dimension
_WINDOW_BITS = {"gzip": 31, "deflate": 15}
_SCALARS = {"float": "FP64", "int": "INT64", "bool": "BOOL"}


@dataclass(frozen=True)
class Asked:
    """A request, read. `outputs` are the wanted ones and whether each is to be binary; None: all, as `binary` says."""

    id: Optional[str]
    inputs: Dict[str, Tensor]
    outputs: Optional[Dict[str, bool]]
    binary: bool


@dataclass(frozen=True)
class InferenceAnswer(Answer):
    """`json_length` is where binary tensors begin behind the JSON; None: there are none."""

    json_length: Optional[int] = None

    def fields(self) -> Dict[str, Any]:
        more = {} if self.json_length is None else {"json_length": self.json_length}
        return {**super().fields(), **more}


class _OneAnswer(Call):
    """The protocol has no streams, and no responses of one's own."""

    @property
    def gathers(self) -> bool:
        return True

    @property
    def takes_responses(self) -> bool:
        return False


class Inference(_OneAnswer):
    """One request of the protocol on its way through a model, which knows nothing of it.

    `with_lists`: the model's input is annotated, so that it gets lists and not arrays.
    """

    def __init__(
        self, header: Mapping[str, Any], payload: bytes, signature: Signature, *, with_lists: bool = False
    ) -> None:
        super().__init__(header, payload)
        self._header = header
        self._signature = signature
        self._with_lists = with_lists
        self._asked: Optional[Asked] = None
        self._is_given = False

    @property
    def size(self) -> int:
        return _inflated_limit(self._header) if self._header.get("encoding") else len(self.payload)

    def body(self) -> Any:
        """What the model takes. Raises Fault `bad_input`.

        Read again each time: a model that is tried a second time may have changed the arrays of the first in place.
        """
        if self._is_given:
            self._asked = None
        self._is_given = True
        return self._signature.body(self.asked.inputs, with_lists=self._with_lists)

    @property
    def asked(self) -> Asked:
        if self._asked is None:
            self._asked = read_request(self.payload, self._header)
        return self._asked

    def encode(self, result: Any) -> InferenceAnswer:
        """The answer. Raises Fault `bad_output`, and `bad_input` when an output was asked for that there is not."""
        asked = self.asked
        outputs = outputs_of(result)
        self._signature.learn(outputs)
        said: Dict[str, Any] = {}
        for key in ("model", "version"):
            if key in self._header:
                said["model_name" if key == "model" else "model_version"] = self._header[key]
        if asked.id is not None:
            said["id"] = asked.id
        return _written(said, outputs, asked)


class Example(_OneAnswer):
    """The model's own example, predicted to learn what its outputs are."""

    def __init__(self, signature: Signature) -> None:
        super().__init__({}, json.dumps(signature.example).encode())
        self._signature = signature

    def encode(self, result: Any) -> Answer:
        self._signature.learn(outputs_of(result))
        return Answer()


# --- requests


def read_request(payload: bytes, header: Mapping[str, Any]) -> Asked:
    """Reads a body. Raises Fault `bad_input`, `bad_encoding`, and `too_large` when there is no memory for it.

    `header` has the lengths and the encoding that came with it: `json_length`, `encoding`, `inflated_limit`.
    """
    try:
        return _read(payload, header)
    except MemoryError:
        raise out_of_memory() from None


def _read(payload: bytes, header: Mapping[str, Any]) -> Asked:
    encoding = header.get("encoding")
    if encoding:
        payload = _inflated(payload, str(encoding), _inflated_limit(header))
    length = header.get("json_length")
    if length is not None and length > len(payload):
        refuse(f"Inference-Header-Content-Length is {length}, and the body has {len(payload)} bytes.")
    said = decode_json(payload if length is None else payload[:length])
    binary = memoryview(payload)[len(payload) if length is None else length :]
    if not isinstance(said, dict) or not isinstance(said.get("inputs"), list):
        refuse('The request is no object with a list of inputs: {"inputs": [{name, shape, datatype, data}]}.')
    parameters = _parameters(said, "The request")
    if parameters.get("sequence_id"):
        refuse("The request belongs to a sequence, and every request is answered by itself.")
    id = said.get("id")
    return Asked(
        id=None if id is None else str(id),
        inputs=_inputs(said["inputs"], binary),
        outputs=_wanted(said.get("outputs"), bool(parameters.get("binary_data_output"))),
        binary=bool(parameters.get("binary_data_output")),
    )


def _inflated_limit(header: Mapping[str, Any]) -> int:
    return int(header.get("inflated_limit") or MAX_PAYLOAD_BYTES)


def _inflated(payload: bytes, encoding: str, limit: int) -> bytes:
    if encoding not in _WINDOW_BITS:
        message = f"The body is packed as {encoding!r}, which cannot be read."
        raise Fault("bad_encoding", message, status=415, source="input", hint="Send it as gzip, deflate, or unpacked.")
    inflater = zlib.decompressobj(_WINDOW_BITS[encoding])
    try:
        inflated = inflater.decompress(payload, limit)
    except zlib.error as error:
        refuse(f"The body is not {encoding}: {error}.")
    if not inflater.eof:
        if inflater.unconsumed_tail:
            raise Fault(
                "too_large", f"The body has more than {limit} bytes once it is unpacked.", status=413, source="input"
            )
        refuse(f"The body's {encoding} ends too early.")
    return inflated


def _inputs(given: List[Any], binary: memoryview) -> Dict[str, Tensor]:
    found: Dict[str, Tensor] = {}
    position = 0
    for number, one in enumerate(given):
        name = _name(one, f"Input {number}")
        if name in found:
            refuse(f"The input {name!r} is there twice.")
        size = _parameters(one, f"The input {name!r}").get("binary_data_size")
        datatype, shape = _datatype(one, name), _shape(one, name)
        if size is None:
            if "data" not in one:
                refuse(f"The input {name!r} has no data.", "Give `data`, or the parameter `binary_data_size`.")
            found[name] = tensors.from_json(name, datatype, shape, one["data"])
            continue
        if "data" in one:
            refuse(f"The input {name!r} has both data and binary_data_size.")
        if type(size) is not int or size < 0 or size > len(binary) - position:
            refuse(f"The input {name!r} has {shown(size)} bytes, and {len(binary) - position} are left of the body.")
        found[name] = tensors.from_bytes(name, datatype, shape, binary[position : position + size])
        position += size
    if position != len(binary):
        refuse(f"The body has {len(binary) - position} bytes more than its inputs say.")
    return found


def _wanted(given: Any, binary: bool) -> Optional[Dict[str, bool]]:
    if given is None or given == []:
        return None
    if not isinstance(given, list):
        refuse("The request's outputs are no list.")
    wanted: Dict[str, bool] = {}
    for number, one in enumerate(given):
        name = _name(one, f"Output {number}")
        parameters = _parameters(one, f"The output {name!r}")
        if parameters.get("classification"):
            refuse(
                f"The output {name!r} is asked for as a classification, which is not supported.",
                "Ask for the output itself, and sort its values.",
            )
        said = parameters.get("binary_data")
        wanted[name] = binary if said is None else bool(said)
    return wanted


def _name(given: Any, what: str) -> str:
    if not isinstance(given, dict) or not isinstance(given.get("name"), str):
        refuse(f"{what} is no object with a name.")
    name: str = given["name"]
    return name


def _datatype(given: Mapping[str, Any], name: str) -> str:
    datatype = given.get("datatype")
    if not isinstance(datatype, str) or (datatype != BYTES and datatype not in DATATYPES):
        there_are = ", ".join([*DATATYPES, BYTES])
        refuse(f"The input {name!r} has the datatype {shown(datatype)}. There are: {there_are}.")
    return datatype


def _shape(given: Mapping[str, Any], name: str) -> List[int]:
    shape = given.get("shape")
    if not isinstance(shape, list) or len(shape) > 32 or not all(map(_is_length, shape)):
        refuse(f"The input {name!r} has the shape {shown(shape)}, which must be a list of whole numbers.")
    if 0 in shape and math.prod(max(one, 1) for one in shape) > _MOST_EMPTY:
        refuse(f"The input {name!r} has the shape {shape}, which holds nothing.")
    return list(shape)


def _is_length(given: Any) -> bool:
    return type(given) is int and 0 <= given <= _LONGEST


def _parameters(given: Mapping[str, Any], what: str) -> Mapping[str, Any]:
    parameters = given.get("parameters")
    if parameters is None:
        return {}
    if not isinstance(parameters, dict):
        refuse(f"{what} has parameters that are no object.")
    if "shared_memory_region" in parameters:
        refuse(f"{what} lies in shared memory, which is not supported.", "Send it as binary data.")
    return parameters


# --- answers


def outputs_of(result: Any) -> List[Tensor]:
    """A model's result as tensors: each entry of an object, those of its `predictions` where it gives several.

    Raises Fault `bad_output`.
    """
    if not isinstance(result, dict):
        return [tensors.of_result(OUTPUT, result)]
    named: Dict[str, Any] = {}
    for key, value in result.items():
        if key == "predictions" and isinstance(value, dict):
            named.update({str(name): part for name, part in value.items()})
        else:
            named[str(key)] = value
    return [tensors.of_result(name, value) for name, value in named.items()]


def _written(said: Dict[str, Any], outputs: List[Tensor], asked: Asked) -> InferenceAnswer:
    by_name = {one.name: one for one in outputs}
    wanted = asked.outputs
    if wanted is None:
        wanted = dict.fromkeys(by_name, asked.binary)
    unknown = [name for name in wanted if name not in by_name]
    if unknown:
        refuse(f"There is no output {', '.join(unknown)}. The model gives: {', '.join(by_name)}.")
    parts = []
    said["outputs"] = written = []
    for name, is_binary in wanted.items():
        output = by_name[name]
        entry: Dict[str, Any] = {"name": name, "datatype": output.datatype, "shape": output.shape}
        if is_binary:
            part = tensors.to_bytes(output)
            parts.append(part)
            entry["parameters"] = {"binary_data_size": len(part)}
        else:
            entry["data"] = tensors.to_json(output)
        written.append(entry)
    head, warnings = encode_json(said)
    if not any(wanted.values()):
        return InferenceAnswer(head, warnings=warnings)
    return InferenceAnswer(b"".join([head, *parts]), _BINARY, warnings, json_length=len(head))


# --- what the model takes and gives


@dataclass
class Signature:
    """A model's inputs and outputs, as its schema tells them; without one, any input reaches it by name.

    `outputs` are learned from what it answers.
    """

    form: Optional[str] = None
    fields: List[Mapping[str, Any]] = field(default_factory=list)
    platform: str = ""
    example: Any = None
    outputs: Optional[List[Dict[str, Any]]] = None

    @classmethod
    def of(cls, config: Mapping[str, Any]) -> Signature:
        metadata = config.get("model_metadata")
        metadata = metadata if isinstance(metadata, dict) else {}
        about = metadata.get("tenfold")
        about = about if isinstance(about, dict) else {}
        platform = str(about.get("framework") or "python")
        schema = about.get("schema")
        if not isinstance(schema, dict):
            return cls(platform=platform)
        return cls(schema.get("form"), schema.get("fields") or [], platform, metadata.get("example_model_input"))

    def body(self, inputs: Dict[str, Tensor], *, with_lists: bool) -> Any:
        """What the model is called with. Raises Fault `bad_input` when it takes other tensors."""
        if self.form == "table":
            return {"inputs": self._rows(inputs)}
        if self.form in ("record", "value"):
            self._check_names(inputs)
            values = {name: _value(tensor, self._field(name)) for name, tensor in inputs.items()}
            return values if self.form == "record" else next(iter(values.values()), None)
        values = {name: tensors.as_lists(one.values) if with_lists else one.values for name, one in inputs.items()}
        if self.form != "tensor":
            return values
        self._check_names(inputs)
        for name, tensor in inputs.items():
            _check_tensor(tensor, self._field(name))
        return {"inputs": values}

    def describe(self) -> Dict[str, Any]:
        """Inputs and outputs as the protocol's metadata has them."""
        return {
            "platform": self.platform,
            "inputs": [_described(one, self.form) for one in self.fields],
            "outputs": self.outputs or [],
        }

    def learn(self, outputs: List[Tensor]) -> None:
        if self.outputs is None:
            rows = self.form in ("table", "tensor")
            self.outputs = [
                {"name": one.name, "datatype": one.datatype, "shape": self._free(one.shape) if rows else one.shape}
                for one in outputs
            ]

    def _free(self, shape: List[int]) -> List[int]:
        """With -1 for what may be of any length: the rows, and everything where inputs have more than that free."""
        inner = [length for one in self.fields for length in (one.get("shape") or [None])[1:]]
        return [-1] * len(shape) if None in inner else [-1, *shape[1:]]

    def _field(self, name: str) -> Mapping[str, Any]:
        return next(one for one in self.fields if one["name"] == name)

    def _check_names(self, inputs: Mapping[str, Tensor]) -> None:
        names = [str(one["name"]) for one in self.fields]
        for name in inputs:
            if name not in names:
                refuse(f"There is no input {name!r}. The model takes: {_listed(names)}.")
        if self.form == "record":
            return  # the model knows which of its arguments may be left out
        for one in self.fields:
            if one["name"] not in inputs and not one.get("nullable"):
                refuse(f"The input {one['name']!r} is missing. The model takes: {_listed(names)}.")

    def _rows(self, inputs: Mapping[str, Tensor]) -> List[Any]:
        """A table's rows: of a tensor for each column, or of one that has all of them in its second dimension."""
        names = [str(one["name"]) for one in self.fields]
        first = next(iter(inputs.values()), None)
        if first is not None and len(inputs) == 1 and len(first.shape) == 2 and first.name not in names:
            if first.shape[1] != len(names):
                refuse(
                    f"The input {first.name!r} has {first.shape[1]} columns, and the model takes {len(names)}: "
                    f"{_listed(names)}."
                )
            return [[_cell(value) for value in row] for row in tensors.as_lists(first.values)]
        self._check_names(inputs)
        columns = {name: _column(tensor) for name, tensor in inputs.items()}
        lengths = {name: len(values) for name, values in columns.items()}
        if len(set(lengths.values())) > 1:
            told = _listed([f"{name} {length}" for name, length in lengths.items()])
            refuse(f"The inputs have different numbers of rows: {told}.")
        return [dict(zip(columns, row)) for row in zip(*columns.values())]  # noqa: B905 (of one length)


def _check_tensor(tensor: Tensor, wanted: Mapping[str, Any]) -> None:
    datatype = BY_DTYPE.get(str(wanted.get("dtype") or "float32"))
    if datatype is not None and tensor.datatype != datatype and (datatype, tensor.datatype) != (BF16, "FP32"):
        refuse(f"The input {tensor.name!r} has the datatype {tensor.datatype}, and the model takes {datatype}.")
    shape = wanted.get("shape")
    if shape is None:
        return
    fits = len(shape) == len(tensor.shape)
    if fits and all(known is None or known == there for known, there in zip(shape, tensor.shape)):  # noqa: B905
        return
    refuse(f"The input {tensor.name!r} has the shape {tensor.shape}, and the model takes {_free_as_minus_one(shape)}.")


def _column(tensor: Tensor) -> List[Any]:
    if len(tensor.shape) > 2 or tensor.shape[1:] not in ([], [1]) or not tensor.shape:
        refuse(
            f"The input {tensor.name!r} has the shape {tensor.shape}, and is a column: it must be [rows] or [rows, 1]."
        )
    values: List[Any] = tensors.as_lists(tensor.values)
    return [_cell(value[0] if tensor.shape[1:] else value) for value in values]


def _cell(value: Any) -> Any:
    """A tensor says NaN where a table has null."""
    return None if isinstance(value, float) and math.isnan(value) else value


def _value(tensor: Tensor, wanted: Mapping[str, Any]) -> Any:
    """One value of a function's argument: of a tensor with one element, or of any for an argument that is a list."""
    values = tensors.as_lists(tensor.values)
    is_one = math.prod(tensor.shape) == 1
    if is_one:
        for _ in tensor.shape:
            values = values[0]
    if wanted.get("type") == "json":
        if not is_one or tensor.datatype != BYTES:
            return tensors.as_lists(tensor.values)
        return decode_json(values.encode("utf-8", "surrogatepass") if isinstance(values, str) else values)
    if wanted.get("type") == "tensor":
        return tensor.values
    if not is_one:
        refuse(f"The input {tensor.name!r} has the shape {tensor.shape}, and is a single value: it must be [1].")
    return _cell(values)


def _described(wanted: Mapping[str, Any], form: Optional[str]) -> Dict[str, Any]:
    """An input as metadata has it. Texts, files and what only JSON can tell are BYTES."""
    name, kind = wanted["name"], wanted.get("type")
    if kind == "tensor":
        datatype = BY_DTYPE.get(str(wanted.get("dtype") or "float32"), BYTES)
        return {"name": name, "datatype": datatype, "shape": _free_as_minus_one(wanted.get("shape") or [None])}
    return {"name": name, "datatype": _SCALARS.get(str(kind), BYTES), "shape": [-1] if form == "table" else [1]}


def _free_as_minus_one(shape: List[Optional[int]]) -> List[int]:
    return [-1 if one is None else one for one in shape]


def _listed(names: List[str]) -> str:
    return ", ".join(names[:20]) + (f" and {len(names) - 20} more" if len(names) > 20 else "")
