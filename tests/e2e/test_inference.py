"""NVIDIA's own client, unmodified, against a whole installation: it takes Tenfold for a Triton server."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import tritonclient.http as triton
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression
from tritonclient.utils import InferenceServerException, np_to_triton_dtype

import tenfold

from .conftest import ROOT, Installation, quiet

pytestmark = pytest.mark.e2e

PAIR = """
import numpy

class Model:
    def predict(self, body):
        left, right = (numpy.asarray(body["inputs"][name], dtype="float32") for name in ("left", "right"))
        names = [text.upper() for text in body["inputs"]["names"]]
        return {"predictions": {"sum": left + right, "product": left * right, "names": names}}
"""
PAIR_CONFIG = """
requirements: ["numpy"]
model_metadata:
  example_model_input: {inputs: {left: [[1, 2]], right: [[3, 4]], names: [a]}}
  tenfold:
    schema:
      version: 1
      form: tensor
      fields:
        - {name: left, type: tensor, dtype: float32, shape: [null, 2]}
        - {name: right, type: tensor, dtype: float32, shape: [null, 2]}
        - {name: names, type: tensor, dtype: str, shape: [null]}
      output: {kind: json}
"""
SAYS = """
class Model:
    def predict(self, inputs):
        return {says!r}
"""
LEFT = np.array([[1.5, 2], [3, 4]], dtype="float32")
RIGHT = np.array([[10, 20], [30, 40]], dtype="float32")
NAMES = np.array(["a", "grün"], dtype=object)


class KeyPlugin(triton.InferenceServerClientPlugin):
    def __init__(self, key: str) -> None:
        self._key = key

    def __call__(self, request: Any) -> None:
        request.headers["Authorization"] = f"Bearer {self._key}"


@pytest.fixture(scope="module")
def deploy(installation: Installation, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Any]]:
    folder = tmp_path_factory.mktemp("models")
    names: set[str] = set()
    with installation.client() as client:

        def run(model: Any, name: str, **options: Any) -> Any:
            names.add(name)
            return tenfold.deploy(model, name, client=client, progress=quiet(), app=False, **options)

        def run_source(source: str, name: str, config: str = "", **options: Any) -> Any:
            root = folder / f"{name}-{len(list(folder.iterdir()))}"
            (root / "model").mkdir(parents=True)
            (root / "model" / "model.py").write_text(source)
            (root / "config.yaml").write_text(config or "model_metadata: {tenfold: {}}\n")
            return run(root, name, **options)

        run.source = run_source  # type: ignore[attr-defined]
        yield run
        for name in names:
            client.model(name).delete()


@pytest.fixture(scope="module")
def pair(deploy: Any) -> None:
    deploy.source(PAIR, "pair", PAIR_CONFIG)


@pytest.fixture
def server(installation: Installation) -> Iterator[triton.InferenceServerClient]:
    client = triton.InferenceServerClient(installation.gateway.removeprefix("http://") + "/v1/default")
    client.register_plugin(KeyPlugin(installation.profile["key"]))
    yield client
    client.close()


def inputs_of(*, binary: bool = True, **arrays: Any) -> list[Any]:
    return [
        triton.InferInput(name, list(array.shape), np_to_triton_dtype(array.dtype)).set_data_from_numpy(
            array, binary_data=binary
        )
        for name, array in arrays.items()
    ]


def refusal_of(server: triton.InferenceServerClient, *arguments: Any, **options: Any) -> InferenceServerException:
    with pytest.raises(InferenceServerException) as caught:
        server.infer(*arguments, **options)
    return caught.value


def test_it_is_alive_and_says_what_it_is(server: triton.InferenceServerClient, pair: None) -> None:
    assert server.is_server_live()
    assert server.is_server_ready()
    assert server.is_model_ready("pair")
    assert server.is_model_ready("pair", "1")
    assert not server.is_model_ready("pair", "2")
    assert not server.is_model_ready("nobody")
    said = server.get_server_metadata()
    assert (said["name"], said["version"]) == ("tenfold", tenfold.__version__)
    assert "binary_tensor_data" in said["extensions"]


def test_a_model_tells_its_inputs_and_outputs(server: triton.InferenceServerClient, pair: None) -> None:
    metadata = server.get_model_metadata("pair")
    assert metadata == {
        "name": "pair",
        "versions": ["1"],
        "platform": metadata["platform"],
        "inputs": [
            {"name": "left", "datatype": "FP32", "shape": [-1, 2]},
            {"name": "right", "datatype": "FP32", "shape": [-1, 2]},
            {"name": "names", "datatype": "BYTES", "shape": [-1]},
        ],
        "outputs": metadata["outputs"],
    }
    assert [one["name"] for one in metadata["outputs"]] == ["sum", "product", "names"]
    assert server.get_model_config("pair")["input"][2] == {"name": "names", "data_type": "TYPE_STRING", "dims": [-1]}


@pytest.mark.parametrize("sent", [False, True], ids=["json-in", "binary-in"])
@pytest.mark.parametrize("given", [False, True], ids=["json-out", "binary-out"])
def test_several_inputs_and_outputs(server: triton.InferenceServerClient, pair: None, sent: bool, given: bool) -> None:
    outputs = [triton.InferRequestedOutput(name, binary_data=given) for name in ("names", "sum", "product")]
    inputs = inputs_of(left=LEFT, right=RIGHT, names=NAMES, binary=sent)
    answer = server.infer("pair", inputs, outputs=outputs, request_id="request 7")
    said = answer.get_response()
    assert (said["id"], said["model_name"], said["model_version"]) == ("request 7", "pair", "1")
    assert [one["name"] for one in said["outputs"]] == ["names", "sum", "product"]
    assert ["data" in one for one in said["outputs"]] == [not given] * 3
    assert np.array_equal(answer.as_numpy("sum"), LEFT + RIGHT)
    assert np.array_equal(answer.as_numpy("product"), LEFT * RIGHT)
    assert answer.as_numpy("sum").dtype == np.float32
    texts = [one if isinstance(one, str) else one.decode() for one in answer.as_numpy("names")]
    assert texts == ["A", "GRÜN"]


def test_all_outputs_come_when_none_is_named(server: triton.InferenceServerClient, pair: None) -> None:
    answer = server.infer("pair", inputs_of(left=LEFT, right=RIGHT, names=NAMES))
    assert np.array_equal(answer.as_numpy("product"), LEFT * RIGHT)
    assert answer.as_numpy("nothing") is None


@pytest.mark.parametrize("algorithm", ["gzip", "deflate"])
def test_packed_requests(server: triton.InferenceServerClient, pair: None, algorithm: str) -> None:
    answer = server.infer(
        "pair",
        inputs_of(left=LEFT, right=RIGHT, names=NAMES),
        request_compression_algorithm=algorithm,
        response_compression_algorithm=algorithm,
    )
    assert np.array_equal(answer.as_numpy("sum"), LEFT + RIGHT)


def test_calls_at_the_same_time(server: triton.InferenceServerClient, installation: Installation, pair: None) -> None:
    address = installation.gateway.removeprefix("http://") + "/v1/default"
    with triton.InferenceServerClient(address, concurrency=8) as client:
        client.register_plugin(KeyPlugin(installation.profile["key"]))
        under_way = [
            client.async_infer("pair", inputs_of(left=LEFT * number, right=RIGHT, names=NAMES)) for number in range(30)
        ]
        for number, one in enumerate(under_way):
            assert np.array_equal(one.get_result().as_numpy("sum"), LEFT * number + RIGHT)


def test_versions_are_chosen_by_the_path_and_the_index_lists_them(
    server: triton.InferenceServerClient, deploy: Any
) -> None:
    deploy.source(SAYS.format(says="one"), "says")
    deploy.source(SAYS.format(says="two"), "says", alias="staging")
    value = inputs_of(x=LEFT)

    def said(version: str) -> tuple[str, str]:
        answer = server.infer("says", value, model_version=version)
        return answer.get_response()["model_version"], answer.as_numpy("output")[0].decode()

    assert {version: said(version) for version in ("", "1", "2", "staging")} == {
        "": ("1", "one"),
        "1": ("1", "one"),
        "2": ("2", "two"),
        "staging": ("2", "two"),
    }
    index = [one for one in server.get_model_repository_index() if one["name"] == "says"]
    assert index == [
        {"name": "says", "version": "1", "state": "READY", "reason": ""},
        {"name": "says", "version": "2", "state": "READY", "reason": ""},
    ]


def test_errors_are_the_protocols(server: triton.InferenceServerClient, installation: Installation, pair: None) -> None:
    right = {"right": RIGHT, "names": NAMES}
    shape = refusal_of(server, "pair", inputs_of(left=LEFT[:, :1].copy(), **right))
    assert (shape.status(), shape.message()) == (
        "400",
        "The input 'left' has the shape [2, 1], and the model takes [-1, 2].",
    )
    name = refusal_of(server, "pair", inputs_of(middle=LEFT, **right))
    assert (name.status(), name.message()) == (
        "400",
        "There is no input 'middle'. The model takes: left, right, names.",
    )
    datatype = refusal_of(server, "pair", inputs_of(left=LEFT.astype("float64"), **right))
    assert datatype.message() == "The input 'left' has the datatype FP64, and the model takes FP32."
    wanted = [triton.InferRequestedOutput("nothing")]
    output = refusal_of(server, "pair", inputs_of(left=LEFT, **right), outputs=wanted)
    assert (output.status(), output.message()) == (
        "400",
        "There is no output nothing. The model gives: sum, product, names.",
    )
    assert refusal_of(server, "nobody", inputs_of(left=LEFT)).status() == "404"
    assert refusal_of(server, "pair", inputs_of(left=LEFT), model_version="9").status() == "404"
    with installation.api() as api:
        broken = api.post(f"{installation.gateway}/v1/default/v2/models/pair/infer", content=b'{"inputs": [')
    assert (broken.status_code, list(broken.json())) == (400, ["error"])
    assert "not valid JSON" in broken.json()["error"]
    with pytest.raises(InferenceServerException, match=r"\[404\]"):
        server.load_model("pair")


def test_the_page_for_triton_clients_is_true(
    deploy: Any, installation: Installation, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    iris = load_iris(as_frame=True)
    classifier = LogisticRegression(max_iter=500).fit(iris.data, iris.target_names[iris.target])
    deploy(classifier, "flowers", example=iris.data.iloc[:2])
    page = (ROOT / "docs" / "howto" / "call-with-a-triton-client.md").read_text()
    code = page.partition("```python\n")[2].partition("```")[0]
    monkeypatch.setenv("TENFOLD_KEY", installation.profile["key"])
    exec(compile(code.replace("127.0.0.1:7071", installation.gateway.removeprefix("http://")), "page", "exec"), {})
    printed = capsys.readouterr().out
    assert "'name': 'sepal length (cm)'" in printed
    assert "[b'setosa' b'virginica']" in printed


def test_a_table_of_columns(deploy: Any, server: triton.InferenceServerClient) -> None:
    iris = load_iris(as_frame=True)
    classifier = LogisticRegression(max_iter=500).fit(iris.data, iris.target)
    deploy(classifier, "columns", example=iris.data.iloc[:2])
    columns = {name: iris.data[name].to_numpy() for name in iris.data}
    answer = server.infer("columns", inputs_of(**columns))
    assert np.array_equal(answer.as_numpy("predictions"), classifier.predict(iris.data))
    assert np.array_equal(answer.as_numpy("probabilities"), classifier.predict_proba(iris.data))
    metadata = server.get_model_metadata("columns")
    assert {one["name"]: (one["datatype"], one["shape"]) for one in metadata["outputs"]} == {
        "predictions": ("INT64", [-1]),
        "probabilities": ("FP64", [-1, 3]),
        "classes": ("INT64", [-1]),
    }
