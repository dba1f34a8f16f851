"""The Open Inference Protocol in a real worker: what a model gets of a request, and what becomes of its answer."""

from __future__ import annotations

import gzip
import json
import shutil
import struct
import tempfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tenfold_runtime import encoding
from tenfold_runtime.client import Client
from tenfold_runtime.faults import Fault
from tenfold_runtime.frames import Frame
from tenfold_runtime.inference import Signature, read_request

from .conftest import Workers

WITHOUT_NUMPY = """
    import sys
    sys.modules["numpy"] = None  # as in an environment that has none
"""
ECHO = """
    class Model:
        def predict(self, inputs):
            return inputs
"""
SEEN = """
    class Model:
        def predict(self, body):
            return {"seen": repr(body)}
"""
ARRAYS: dict[str, Any] = {
    "BOOL": np.array([[True, False]]),
    "UINT8": np.array([0, 255], dtype="uint8"),
    "UINT16": np.array([65535], dtype="uint16"),
    "UINT32": np.array([[2**32 - 1], [0]], dtype="uint32"),
    "UINT64": np.array([2**64 - 1, 1], dtype="uint64"),
    "INT8": np.array([-128, 127], dtype="int8"),
    "INT16": np.array([-32768], dtype="int16"),
    "INT32": np.array([[[-(2**31)]]], dtype="int32"),
    "INT64": np.array([-(2**63), 2**63 - 1], dtype="int64"),
    "FP16": np.array([0.5, -2.0], dtype="float16"),
    "FP32": np.array([[1.5, -0.25], [3e38, 0.1]], dtype="float32"),
    "FP64": np.array([0.1, 1e300]),
    "BYTES": np.array([["a", "grün"], ["", "d"]], dtype=object),
}


@pytest.fixture(scope="module")
def serve() -> Iterator[Callable[..., Client]]:
    """`serve(source, config=None)`: a client of a worker with that model. Models that are alike share one."""
    folder = Path(tempfile.mkdtemp(prefix="tf-"))
    workers, clients = Workers(folder), dict[str, Client]()

    def start(source: str, config: Mapping[str, Any] | None = None) -> Client:
        key = source + json.dumps(config)
        if key not in clients:
            clients[key] = workers.model(source, config=config).ready()
        return clients[key]

    yield start
    workers.close()
    shutil.rmtree(folder, ignore_errors=True)


def said_of(name: str, datatype: str, array: Any, **more: Any) -> dict[str, Any]:
    return {"name": name, "datatype": datatype, "shape": list(array.shape), **more}


def raw_of(array: Any) -> bytes:
    if array.dtype.kind != "O":
        return bytes(array.tobytes())
    items = [one if isinstance(one, bytes) else one.encode() for one in array.ravel()]
    return b"".join(struct.pack("<I", len(item)) + item for item in items)


def request_of(arrays: Mapping[str, Any], *binary: str, **more: Any) -> tuple[bytes, int | None]:
    """A body, and the length of its JSON. Names are datatypes, or datatypes with a number: `FP32 2`."""
    inputs, parts = [], []
    for name, array in arrays.items():
        datatype = name.partition(" ")[0]
        if name in binary:
            parts.append(raw_of(array))
            inputs.append(said_of(name, datatype, array, parameters={"binary_data_size": len(parts[-1])}))
        else:
            inputs.append(said_of(name, datatype, array, data=array.ravel().tolist()))
    head = json.dumps({"inputs": inputs, **more}).encode()
    return head + b"".join(parts), len(head) if binary else None


def infer(client: Client, body: bytes | dict[str, Any], length: int | None = None, **header: Any) -> Frame:
    payload = body if isinstance(body, bytes) else json.dumps(body).encode()
    if length is not None:
        header["json_length"] = length
    return client.request("infer", payload, model="m", version="3", **header)


def outputs_of(frame: Frame) -> dict[str, tuple[str, list[int], Any]]:
    """Each output's datatype, shape and flat values: bytes where they came as such."""
    assert frame.ok, frame.header
    length = frame.header.get("json_length")
    assert frame.header["content_type"] == ("application/json" if length is None else "application/octet-stream")
    position = len(frame.payload) if length is None else length
    found = {}
    for one in json.loads(frame.payload[:position])["outputs"]:
        values: Any = one.get("data")
        if "parameters" in one:
            end = position + one["parameters"]["binary_data_size"]
            values, position = frame.payload[position:end], end
        found[one["name"]] = (one["datatype"], one["shape"], values)
    assert position == len(frame.payload)
    return found


@pytest.mark.parametrize("are_binary", [False, True])
def test_every_datatype_goes_in_and_comes_out(serve, are_binary: bool) -> None:
    client = serve(ECHO)
    body, length = request_of(ARRAYS, *(ARRAYS if are_binary else ()), parameters={"binary_data_output": are_binary})
    found = outputs_of(infer(client, body, length))
    assert found == {
        name: (name, list(array.shape), raw_of(array) if are_binary else array.ravel().tolist())
        for name, array in ARRAYS.items()
    }


def test_without_numpy_the_values_are_lists(serve) -> None:
    client = serve(WITHOUT_NUMPY + SEEN)
    arrays = {
        "FP32": np.array([[0.5, 2]], dtype="float32"),
        "INT8": np.array([-1], dtype="int8"),
        "BOOL": np.array([True]),
    }
    arrays |= {"BYTES": np.array([["a"], ["b"]], dtype=object), "BF16": np.array([0x3FC0], dtype="uint16")}
    body, length = request_of(arrays, *arrays)
    assert outputs_of(infer(client, body, length))["seen"][2] == [
        "{'FP32': [[0.5, 2.0]], 'INT8': [-1], 'BOOL': [True], 'BYTES': [['a'], ['b']], 'BF16': [1.5]}"
    ]
    echo = serve(WITHOUT_NUMPY + ECHO)
    body, length = request_of(arrays, *arrays, parameters={"binary_data_output": True})
    assert outputs_of(infer(echo, body, length)) == {
        "FP32": ("FP64", [1, 2], struct.pack("<2d", 0.5, 2)),
        "INT8": ("INT64", [1], struct.pack("<q", -1)),
        "BOOL": ("BOOL", [1], b"\x01"),
        "BYTES": ("BYTES", [2, 1], raw_of(arrays["BYTES"])),
        "BF16": ("FP64", [1], struct.pack("<d", 1.5)),
    }


def test_arrays_may_be_written_to_wherever_they_lie_in_the_body(serve) -> None:
    source = """
        class Model:
            def predict(self, inputs):
                array = inputs["FP32"]
                assert array.flags.aligned and array.flags.writeable
                array += 1
                return {"sum": array}
    """
    client = serve(source)
    for padding in range(8):
        body, length = request_of({"FP32": np.array([1.5, 2], dtype="float32")}, "FP32", id="x" * padding)
        assert outputs_of(infer(client, body, length))["sum"] == ("FP32", [2], [2.5, 3.0])


def test_json_and_binary_are_mixed_as_each_tensor_says(serve) -> None:
    client = serve(ECHO)
    arrays = {"FP32": ARRAYS["FP32"], "INT64": ARRAYS["INT64"], "FP32 2": np.array([7], dtype="float32")}
    wanted = [
        {"name": "INT64", "parameters": {"binary_data": True}},
        {"name": "FP32 2", "parameters": {"binary_data": False}},
    ]
    body, length = request_of(arrays, "FP32", "FP32 2", outputs=wanted, id="41")
    frame = infer(client, body, length)
    assert outputs_of(frame) == {"INT64": ("INT64", [2], raw_of(ARRAYS["INT64"])), "FP32 2": ("FP32", [1], [7.0])}
    head = json.loads(frame.payload[: frame.header["json_length"]])
    assert (head["id"], head["model_name"], head["model_version"]) == ("41", "m", "3")


def test_raw_bytes_stay_bytes_and_texts_become_texts(serve) -> None:
    client = serve(SEEN)
    arrays = {"BYTES": np.array([b"\xff", b"a"], dtype=object), "BYTES 2": np.array(["a"], dtype=object)}
    body, length = request_of(arrays, *arrays)
    (seen,) = outputs_of(infer(client, body, length))["seen"][2]
    assert "array([b'\\xff', b'a'], dtype=object)" in seen
    assert "array(['a'], dtype=object)" in seen


@pytest.mark.parametrize(
    ("result", "output"),
    [
        ("3", ("INT64", [1], [3])),
        ("'text'", ("BYTES", [1], ["text"])),
        ("[[1, 2.5], [None, 4]]", ("FP64", [2, 2], [1.0, 2.5, None, 4.0])),
        ("[1, None]", ("FP64", [2], [1.0, None])),
        ("[10**400, 1.5]", ("BYTES", [2], ["1" + "0" * 400, "1.5"])),
        ("[[True], [False]]", ("BOOL", [2, 1], [True, False])),
        ("['a', 'b']", ("BYTES", [2], ["a", "b"])),
        ("[{'a': 1}, {'a': 2}]", ("BYTES", [2], ['{"a":1}', '{"a":2}'])),
        ("[[1], [2, 3]]", ("BYTES", [2], ["[1]", "[2,3]"])),
        ("[]", ("FP64", [0], [])),
        ("numpy.float32(0.5)", ("FP32", [1], [0.5])),
        ("[numpy.int8(1), numpy.int8(2)]", ("INT8", [2], [1, 2])),
        ("[numpy.zeros(2), numpy.ones(2)]", ("FP64", [2, 2], [0.0, 0.0, 1.0, 1.0])),
        ("numpy.arange(6, dtype='>i4').reshape(2, 3).T", ("INT32", [3, 2], [0, 3, 1, 4, 2, 5])),
        ("numpy.array(['2026-01-02'], dtype='datetime64[D]')", ("BYTES", [1], ["2026-01-02"])),
    ],
)
def test_a_result_without_names_is_one_output(serve, result: str, output: Any) -> None:
    client = serve(f"import numpy\nclass Model:\n    def predict(self, inputs):\n        return {result}\n")
    body, _ = request_of({"BOOL": ARRAYS["BOOL"]})
    assert outputs_of(infer(client, body)) == {"output": output}


def test_an_answer_that_names_several_predictions_gives_an_output_for_each(serve) -> None:
    source = """
        class Model:
            def predict(self, inputs):
                return {"predictions": {"left": [1], "right": [2]}, "note": "x"}
    """
    body, _ = request_of({"BOOL": ARRAYS["BOOL"]})
    found = outputs_of(infer(serve(source), body))
    assert found == {"left": ("INT64", [1], [1]), "right": ("INT64", [1], [2]), "note": ("BYTES", [1], ["x"])}


def test_a_stream_is_gathered(serve) -> None:
    source = """
        class Model:
            def predict(self, inputs):
                yield "a"
                yield "b"
    """
    body, _ = request_of({"BOOL": ARRAYS["BOOL"]})
    assert outputs_of(infer(serve(source), body)) == {"output": ("BYTES", [1], ["ab"])}


def test_nan_is_null_in_json_and_itself_in_binary(serve) -> None:
    client = serve(ECHO)
    array = np.array([np.nan, 1], dtype="float32")
    body, length = request_of({"FP32": array}, "FP32")
    frame = infer(client, body, length)
    assert outputs_of(frame)["FP32"][2] == [None, 1.0]
    assert "NaN" in frame.header["warnings"][0]
    again = {"inputs": [said_of("FP32", "FP32", array, data=[None, 1])], "parameters": {"binary_data_output": True}}
    assert outputs_of(infer(client, again))["FP32"][2] == array.tobytes()


# --- schemas


def config_of(form: str, *fields: dict[str, Any], example: Any = None) -> dict[str, Any]:
    schema = {"version": 1, "form": form, "fields": list(fields), "output": {"kind": "json"}}
    return {"model_metadata": {"tenfold": {"framework": "custom", "schema": schema}, "example_model_input": example}}


TABLE = config_of(
    "table",
    {"name": "alcohol", "type": "float"},
    {"name": "colour", "type": "str", "nullable": True},
    {"name": "year", "type": "int"},
)


def test_a_table_comes_as_a_tensor_for_each_column(serve) -> None:
    client = serve(SEEN, TABLE)
    inputs = [
        {"name": "year", "datatype": "INT32", "shape": [2, 1], "data": [[1], [2]]},
        {"name": "alcohol", "datatype": "FP32", "shape": [2], "data": [0.5, None]},
        {"name": "colour", "datatype": "BYTES", "shape": [2], "data": ["red", "white"]},
    ]
    (seen,) = outputs_of(infer(client, {"inputs": inputs}))["seen"][2]
    assert seen == (
        "{'inputs': [{'year': 1, 'alcohol': 0.5, 'colour': 'red'}, {'year': 2, 'alcohol': None, 'colour': 'white'}]}"
    )
    (seen,) = outputs_of(infer(client, {"inputs": inputs[:2]}))["seen"][2]
    assert seen == "{'inputs': [{'year': 1, 'alcohol': 0.5}, {'year': 2, 'alcohol': None}]}"


def test_a_table_of_numbers_may_come_as_one_tensor(serve) -> None:
    client = serve(SEEN, TABLE)
    body, length = request_of({"FP64": np.array([[1, np.nan, 3]])}, "FP64")
    assert outputs_of(infer(client, body, length))["seen"][2] == ["{'inputs': [[1.0, None, 3.0]]}"]


RECORD = config_of(
    "record",
    {"name": "text", "type": "str"},
    {"name": "limit", "type": "int"},
    {"name": "options", "type": "json"},
    {"name": "picture", "type": "image"},
)


def test_a_functions_arguments_are_single_values(serve) -> None:
    client = serve(SEEN, RECORD)
    arrays = {
        "text": ("BYTES", np.array(["hello"], dtype=object)),
        "limit": ("INT64", np.array([[3]])),
        "options": ("BYTES", np.array(['{"a": [1]}'], dtype=object)),
        "picture": ("BYTES", np.array([b"\xff\xd8"], dtype=object)),
    }
    parts = [raw_of(array) for _, array in arrays.values()]
    inputs = [
        said_of(name, datatype, array, parameters={"binary_data_size": len(part)})
        for (name, (datatype, array)), part in zip(arrays.items(), parts, strict=True)
    ]
    head = json.dumps({"inputs": inputs}).encode()
    (seen,) = outputs_of(infer(client, head + b"".join(parts), len(head)))["seen"][2]
    assert seen == "{'text': 'hello', 'limit': 3, 'options': {'a': [1]}, 'picture': b'\\xff\\xd8'}"


def test_a_model_of_one_value_gets_it(serve) -> None:
    client = serve(SEEN, config_of("value", {"name": "numbers", "type": "json"}))
    inputs = [{"name": "numbers", "datatype": "INT8", "shape": [2, 2], "data": [1, 2, 3, 4]}]
    assert outputs_of(infer(client, {"inputs": inputs}))["seen"][2] == ["[[1, 2], [3, 4]]"]


def test_a_value_that_may_be_missing_is_none(serve) -> None:
    client = serve(SEEN, config_of("value", {"name": "limit", "type": "int", "nullable": True}))
    assert outputs_of(infer(client, {"inputs": []}))["seen"][2] == ["None"]


def test_an_annotated_model_gets_lists_that_its_annotation_can_check(serve) -> None:
    source = """
        import pydantic

        class Row(pydantic.BaseModel):
            values: list[float]

        class Model:
            def predict(self, row: Row):
                return sum(row.values)
    """
    client = serve(source)
    inputs = [{"name": "values", "datatype": "FP32", "shape": [2], "data": [1, 2]}]
    assert outputs_of(infer(client, {"inputs": inputs})) == {"output": ("FP64", [1], [3.0])}
    wrong = infer(client, {"inputs": [{**inputs[0], "name": "other"}]})
    assert (wrong.header["status"], wrong.header["code"]) == (400, "bad_input")


TENSORS = config_of(
    "tensor",
    {"name": "image", "type": "tensor", "dtype": "float32", "shape": [None, 2, 2]},
    {"name": "mask", "type": "tensor", "dtype": "bool", "shape": [None], "nullable": True},
    {"name": "half", "type": "tensor", "dtype": "bfloat16", "shape": None, "nullable": True},
    example={"inputs": {"image": [[[1, 2], [3, 4]]]}},
)
TENSOR_MODEL = """
    import numpy

    class Model:
        def predict(self, body):
            image = numpy.asarray(body["inputs"]["image"], dtype="float32")
            return {"predictions": {"mean": image.mean(axis=(1, 2)), "flat": image.reshape(len(image), -1)}}
"""


def test_a_model_of_tensors_gets_arrays_by_name(serve) -> None:
    client = serve(SEEN, TENSORS)
    arrays = {"image": ("FP32", ARRAYS["FP32"][None]), "half": ("BF16", np.array([0x3FC0], dtype="uint16"))}
    parts = [raw_of(array) for _, array in arrays.values()]
    inputs = [
        said_of(name, datatype, array, parameters={"binary_data_size": len(part)})
        for (name, (datatype, array)), part in zip(arrays.items(), parts, strict=True)
    ]
    head = json.dumps({"inputs": inputs}).encode()
    (seen,) = outputs_of(infer(client, head + b"".join(parts), len(head)))["seen"][2]
    assert seen.startswith("{'inputs': {'image': array([[[")
    assert seen.endswith("'half': array([1.5], dtype=float32)}}")


def test_metadata_says_what_the_schema_says_and_what_the_example_shows(serve) -> None:
    client = serve(TENSOR_MODEL, TENSORS)
    described = client.request("infer_metadata").json()
    assert described == {
        "platform": "custom",
        "inputs": [
            {"name": "image", "datatype": "FP32", "shape": [-1, 2, 2]},
            {"name": "mask", "datatype": "BOOL", "shape": [-1]},
            {"name": "half", "datatype": "BF16", "shape": [-1]},
        ],
        "outputs": [
            {"name": "mean", "datatype": "FP32", "shape": [-1]},
            {"name": "flat", "datatype": "FP32", "shape": [-1, 4]},
        ],
    }
    stream = "class Model:\n    def predict(self, inputs):\n        yield 1\n        yield 2\n"
    streamed = serve(stream, TENSORS).request("infer_metadata").json()
    assert streamed["outputs"] == [{"name": "output", "datatype": "INT64", "shape": [-1]}]
    table = serve(ECHO, TABLE).request("infer_metadata").json()
    assert table["inputs"] == [
        {"name": "alcohol", "datatype": "FP64", "shape": [-1]},
        {"name": "colour", "datatype": "BYTES", "shape": [-1]},
        {"name": "year", "datatype": "INT64", "shape": [-1]},
    ]
    assert table["outputs"] == []  # nobody has asked it anything, and it has no example


def test_a_model_with_batches_answers_the_same(serve) -> None:
    source = """
        class Model:
            rows_are_independent = True

            def predict(self, inputs):
                return {"sum": inputs["FP32"] + 1}

            def predict_batch(self, bodies):
                return [self.predict(body) for body in bodies]
    """
    client = serve(source)
    body, length = request_of({"FP32": ARRAYS["FP32"]}, "FP32", parameters={"binary_data_output": True})
    expected = {"sum": ("FP32", [2, 2], raw_of(ARRAYS["FP32"] + np.float32(1)))}
    assert outputs_of(infer(client, body, length)) == expected
    short = infer(client, body[:-1], length)
    assert (short.header["status"], short.header["code"]) == (400, "bad_input")
    unknown, _ = request_of({"FP32": ARRAYS["FP32"]}, outputs=[{"name": "nope"}])
    refused = infer(client, unknown)
    assert (refused.header["status"], refused.header["message"]) == (
        400,
        "There is no output nope. The model gives: sum.",
    )
    assert outputs_of(infer(client, body, length)) == expected


# --- what is refused

ONE = {"name": "image", "datatype": "FP32", "shape": [1, 2, 2], "data": [1, 2, 3, 4]}


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"{", "not valid JSON"),
        (b"[]", "no object with a list of inputs"),
        ({"inputs": [1]}, "Input 0 is no object with a name"),
        ({"inputs": [{**ONE, "name": "picture"}]}, "There is no input 'picture'. The model takes: image, mask, half."),
        ({"inputs": [ONE, ONE]}, "The input 'image' is there twice."),
        ({"inputs": []}, "The input 'image' is missing."),
        ({"inputs": [{**ONE, "shape": [2, 2]}]}, "has the shape [2, 2], and the model takes [-1, 2, 2]."),
        ({"inputs": [{**ONE, "shape": [1, 4, 1]}]}, "has the shape [1, 4, 1], and the model takes [-1, 2, 2]."),
        ({"inputs": [{**ONE, "shape": [2, 2, 2]}]}, "has 4 values, and its shape [2, 2, 2] needs 8."),
        ({"inputs": [{**ONE, "shape": [-1, 2, 2]}]}, "must be a list of whole numbers"),
        ({"inputs": [{**ONE, "shape": [10**12, 0, 2]}]}, "which holds nothing"),
        ({"inputs": [{**ONE, "datatype": "FP64"}]}, "has the datatype FP64, and the model takes FP32."),
        ({"inputs": [{**ONE, "datatype": "FLOAT"}]}, "has the datatype 'FLOAT'. There are: BOOL,"),
        ({"inputs": [{**ONE, "datatype": ["FP32"]}]}, "has the datatype ['FP32']. There are: BOOL,"),
        ({"inputs": [{**ONE, "data": [1, "2", 3, 4]}]}, "holds '2', which is no FP32."),
        ({"inputs": [{**ONE, "data": [[1, 2], [3, "x"]]}]}, "holds 'x', which is no FP32."),
        ({"inputs": [{**ONE, "data": ["ab", [3], 4, 5]}]}, "holds 'ab', which is no FP32."),
        ({"inputs": [{**ONE, "data": [[1, 2], 3]}]}, "rows of different lengths"),
        ({"inputs": [{**ONE, "data": [1, 2, 3, {"a": 4}]}]}, "holds {'a': 4}, which is no FP32."),
        ({"inputs": [{**ONE, "data": [1, 1e39, 3, 4]}]}, "too large for FP32"),
        ({"inputs": [{**ONE, "data": [[1, 2], [3]]}]}, "rows of different lengths"),
        ({"inputs": [{**ONE, "data": 1}]}, "is not a list"),
        ({"inputs": [{**ONE, "datatype": "INT8", "data": [1, 300, 3, 4]}]}, "holds 300, which is no INT8."),
        ({"inputs": [{**ONE, "datatype": "UINT64", "data": [1, -1, 3, 4]}]}, "which is no UINT64."),
        ({"inputs": [{**ONE, "datatype": "INT64", "data": [1, 1.5, 3, 4]}]}, "holds 1.5, which is no INT64."),
        ({"inputs": [{**ONE, "datatype": "BOOL", "data": [1, 0, 2, 1]}]}, "holds 2, which is no BOOL."),
        ({"inputs": [{name: value for name, value in ONE.items() if name != "data"}]}, "has no data"),
        ({"inputs": [{**ONE, "parameters": {"binary_data_size": 16}}]}, "both data and binary_data_size"),
        ({"inputs": [{**ONE, "parameters": {"shared_memory_region": "r"}}]}, "shared memory"),
        ({"inputs": [ONE], "parameters": {"sequence_id": 7}}, "belongs to a sequence"),
        ({"inputs": [ONE], "outputs": [{"name": "nope"}]}, "There is no output nope. The model gives: mean, flat."),
        (
            {"inputs": [ONE], "outputs": [{"name": "mean", "parameters": {"classification": 2}}]},
            "asked for as a classification, which is not supported",
        ),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_request_is_said(serve, body: Any, said: str) -> None:
    answer = infer(serve(TENSOR_MODEL, TENSORS), body)
    assert (answer.header["status"], answer.header["source"]) == (400, "input"), answer.header
    assert said in answer.header["message"]


@pytest.mark.parametrize(
    ("datatype", "size", "tail", "said"),
    [
        ("FP32", 12, b"\0" * 12, "has 12 bytes of binary data, and needs 16 of FP32"),
        ("FP32", 16, b"\0" * 12, "has 16 bytes, and 12 are left of the body"),
        ("FP32", 16, b"\0" * 17, "1 bytes more than its inputs say"),
        ("FP32", -1, b"", "has -1 bytes"),
        ("BYTES", 4, b"\x09\0\0\0", "ends within element 0"),
        ("BYTES", 8, b"\0" * 8, "does not hold 4 elements"),
        ("BYTES", 3, b"\0" * 3, "does not hold 4 elements"),
    ],
)
def test_what_is_wrong_with_binary_data_is_said(serve, datatype: str, size: int, tail: bytes, said: str) -> None:
    one = {"name": "x", "datatype": datatype, "shape": [4], "parameters": {"binary_data_size": size}}
    head = json.dumps({"inputs": [one]}).encode()
    answer = infer(serve(ECHO), head + tail, len(head))
    assert (answer.header["status"], answer.header["code"]) == (400, "bad_input"), answer.header
    assert said in answer.header["message"]


def test_one_long_text_among_numbers_takes_no_memory_to_speak_of(serve) -> None:
    client = serve(ECHO)
    before = client.health()["peak_rss_bytes"]
    one = {"name": "x", "datatype": "FP32", "shape": [1000]}
    for data in (["a" * 60_000] + [0] * 999, [["a" * 60_000]] + [[0]] * 999):
        answer = infer(client, {"inputs": [{**one, "data": data}]})
        assert answer.header["message"].endswith("aaa..., which is no FP32.")
    assert client.health()["peak_rss_bytes"] - before < 100_000_000


@pytest.mark.parametrize("has_orjson", [True, False])
def test_lengths_of_thousands_of_digits_are_refused(monkeypatch: pytest.MonkeyPatch, has_orjson: bool) -> None:
    if not has_orjson:
        monkeypatch.setattr(encoding, "orjson", None)
    length = "1" + "0" * 4000
    for shape in (f"[{length}, {length}]", f"[{2**49}]", f"[{2**48}, {2**48}, 2]"):
        body = b'{"inputs": [{"name": "x", "datatype": "FP32", "shape": %s, "data": [1]}]}' % shape.encode()
        with pytest.raises(Fault) as refused:
            read_request(body, {})
        assert refused.value.code == "bad_input"


def test_half_a_surrogate_pair_in_a_json_argument_is_no_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encoding, "orjson", None)  # which reads no such body
    signature = Signature("record", [{"name": "options", "type": "json"}])
    body = b'{"inputs": [{"name": "options", "datatype": "BYTES", "shape": [1], "data": ["%s"]}]}'
    wrong, right = (read_request(body % text, {}).inputs for text in (rb"\ud800", rb"\"\ud800\""))
    with pytest.raises(Fault) as refused:
        signature.body(wrong, with_lists=False)
    assert refused.value.code == "bad_input"
    assert signature.body(right, with_lists=False) == {"options": "\ud800"}


def test_bytes_that_are_neither_true_nor_false_are_true(serve) -> None:
    body, length = request_of({"BOOL": np.array([0, 1, 2], dtype="uint8")}, "BOOL")
    source = "class Model:\n    def predict(self, inputs): return {'n': inputs['BOOL'].view('uint8').tolist()}\n"
    assert outputs_of(infer(serve(source), body, length))["n"][2] == [0, 1, 1]


@pytest.mark.parametrize("is_late", [False, True])
@pytest.mark.parametrize("batches", ["", "rows_are_independent = True\n    def predict_batch(self, x): return x"])
def test_a_response_of_the_models_own_is_no_answer_to_the_protocol(serve, batches: str, is_late: bool) -> None:
    source = f"""
from starlette.responses import JSONResponse
class Model:
    {batches if not is_late else ""}
    def {"postprocess" if is_late else "predict"}(self, inputs): return JSONResponse({{"secret": 1}}, status_code=201)
"""
    if is_late:
        source += "    def predict(self, inputs): return 1\n"
    client = serve(source)
    body, _ = request_of({"BOOL": ARRAYS["BOOL"]})
    answer = infer(client, body)
    assert (answer.header["status"], answer.header["code"]) == (500, "bad_output")
    assert "is answered with tensors" in answer.header["message"]
    assert client.request("predict", b"1").header["status"] == 201


def test_a_length_beyond_the_body_is_refused(serve) -> None:
    answer = infer(serve(ECHO), b"{}", 3)
    assert answer.header["message"] == "Inference-Header-Content-Length is 3, and the body has 2 bytes."


@pytest.mark.parametrize(
    ("shapes", "said"),
    [
        ({"alcohol": [2], "year": [1]}, "different numbers of rows: alcohol 2, year 1"),
        ({"alcohol": [1, 2], "year": [2]}, "it must be [rows] or [rows, 1]"),
        ({"x": [2, 2]}, "has 2 columns, and the model takes 3: alcohol, colour, year."),
        ({"alcohol": [2]}, "The input 'year' is missing"),
    ],
)
def test_what_does_not_make_a_table_is_refused(serve, shapes: dict[str, list[int]], said: str) -> None:
    inputs = [
        {"name": name, "datatype": "INT64", "shape": shape, "data": list(range(int(np.prod(shape))))}
        for name, shape in shapes.items()
    ]
    answer = infer(serve(ECHO, TABLE), {"inputs": inputs})
    assert answer.header["status"] == 400
    assert said in answer.header["message"]


def test_bytes_that_are_no_text_cannot_be_answered_as_json(serve) -> None:
    body, length = request_of({"BYTES": np.array([b"\xff"], dtype=object)}, "BYTES")
    answer = infer(serve(ECHO), body, length)
    assert answer.header["status"] == 400
    assert "Ask for it as binary data" in answer.header["hint"]


# --- packed bodies


@pytest.mark.parametrize(("encoding", "pack"), [("gzip", gzip.compress), ("deflate", zlib.compress)])
def test_a_packed_body_is_unpacked(serve, encoding: str, pack: Any) -> None:
    client = serve(ECHO)
    body, length = request_of({"FP32": ARRAYS["FP32"]}, "FP32", parameters={"binary_data_output": True})
    frame = infer(client, pack(body), length, encoding=encoding, inflated_limit=10_000)
    assert outputs_of(frame) == {"FP32": ("FP32", [2, 2], raw_of(ARRAYS["FP32"]))}
    broken = infer(client, pack(body)[:-5], length, encoding=encoding, inflated_limit=10_000)
    assert (broken.header["status"], broken.header["message"]) == (400, f"The body's {encoding} ends too early.")
    bomb = infer(client, pack(b" " * 1_000_000), encoding=encoding, inflated_limit=10_000)
    assert (bomb.header["status"], bomb.header["code"]) == (413, "too_large")
    unknown = infer(client, body, encoding="br")
    assert unknown.header["status"] == 415
