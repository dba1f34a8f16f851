"""Compiles the model of this package to ONNX, and proves that the compiled form answers as the model does.

`Compiler` takes the place of the package's own class: it is started once, in the model's environment with skl2onnx and
onnxruntime beside it, and its one answer is the compiled form with a report, or why there is none. The proof compares
whole answers: the model's own class on one side, _compiled.py on the other, given the same bodies. Python 3.9 and
later.
"""

from __future__ import annotations

import json
import math
import random
import re
import statistics
import sys
import tempfile
import time
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy

from . import _compiled
from ._fields import HTTPException, shown
from ._landmarks import Landmarks, Unknown, landmarks

EXACT = 1e-9  # of a number's size: both computed in float64
CLOSE = 1e-5  # one of them computed in float32
SMALL = 1e-4  # of a typical number: differences of numbers below are seen against this
ROWS = 512
SWEEP_ROWS = 1500  # each landmark in a row that is likely otherwise
MOST_CELLS = 200_000
FEWEST_ROWS = 100
MOST_BYTES = 200 * 1024**2
OPSET = 21
TIMED_ROWS = 64
LARGEST = ((3.4028234663852886e38, 1e39, "float32"), (1.7976931348623157e308, math.inf, "float64"))
TIMES = 5


class Refused(Exception):
    """The model stays as it is; the message says why."""


class Compiler:
    """Loads the model, and answers every call with its compiled form."""

    def __init__(self, config: dict[str, Any], data_dir: str) -> None:
        from .model import Model  # type: ignore[import-not-found, unused-ignore]  # the package's own class

        self._config = config
        self._model = Model(config, data_dir)

    def load(self) -> None:
        self._model.load()

    def predict(self) -> dict[str, Any]:
        """{"state": "proven" or "refused", "reason", "report", "files": {name in data/: bytes}}."""
        return compile_model(self._model, self._config)


def compile_model(model: Any, config: dict[str, Any]) -> dict[str, Any]:
    """What `Compiler` answers, of a loaded model of this package."""
    started = time.monotonic()
    about = config["model_metadata"]["tenfold"]
    report: dict[str, Any] = {}
    files: dict[str, bytes] = {}
    reason = ""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            report, files = _compile(model, about, config)
    except Refused as refused:
        reason = str(refused)
    report["seconds"] = round(time.monotonic() - started, 3)
    return {"state": "refused" if reason else "proven", "reason": reason, "report": report, "files": files}


def _compile(model: Any, about: dict[str, Any], config: dict[str, Any]) -> tuple[dict[str, Any], dict[str, bytes]]:
    if about["adapter"] != "sklearn":
        raise Refused(f"Models of {about['framework']} are not compiled.")
    estimator = _simplified(model._read())
    _check_kind(estimator, about)
    try:
        found = landmarks(estimator, [one["name"] for one in about["schema"]["fields"]])
    except Unknown as unknown:
        raise Refused(str(unknown)) from None
    proof = _Proof.of(model, found, about, config)
    trees, why = _Trees(), []
    for candidate in _candidates(about):
        if candidate.number == "float32" and found.exactly:
            what = f"A {found.exactly[0]} compares what was computed before it, and that can be had in float32 only."
            why.append((3, what))
            continue
        try:
            trees.begin(exact=candidate.number == "float64")
            graph = candidate.convert(estimator, about)
            content = (trees.exact(graph) if candidate.number == "float64" else graph).SerializeToString()
        except Exception as error:  # converters fail in every way there is
            why.append((2, _in_short(error)))
            continue
        for by_share in (True, False) if proof.is_by_share and _has_trees(graph) else (False,):
            came_to = 1
            try:
                form = _form(content, candidate, about, proof, by_share)
                came_to = 0
                report = proof.compare(content, form)
            except Refused as refused:
                why.append((came_to, str(refused)))
                continue
            if candidate.number != "float64":
                report["precision"] = candidate.number
            files = {"model.onnx": content, "compiled.json": json.dumps(form).encode("utf-8")}
            return {**report, "inputs": candidate.number}, files
    raise Refused(min(why, key=lambda one: one[0])[1])  # the first that came as far as the proof says most


def _check_kind(estimator: Any, about: dict[str, Any]) -> None:
    if about["input"] == "values":
        raise Refused("It reads texts, which the compiled form would split into words by other rules.")
    if isinstance(getattr(estimator, "classes_", None), list):
        raise Refused("It gives several classes for each row.")
    odd = [one["name"] for one in about["schema"]["fields"] if one["type"] not in ("float", "int", "bool", "str")]
    odd += [name for name, dtype in about.get("dtypes", {}).items() if dtype["kind"] == "datetime"]
    if odd:
        raise Refused(f"The column {odd[0]!r} holds neither numbers nor texts of one type.")
    if about["input"] == "array" and _has_texts(about):
        raise Refused("It takes an array that holds texts. A model of a table with named columns can be compiled.")


def _has_texts(about: dict[str, Any]) -> bool:
    return any(one["type"] == "str" for one in about["schema"]["fields"])


def _in_short(error: Exception) -> str:
    """An error of a converter: those for what has no converter end in a page of advice."""
    missing = re.search(r"type '<class '(?:.*?\.)?(\w+)'>'", str(error))
    if type(error).__name__ in ("MissingShapeCalculator", "MissingConverter") and missing:
        return f"There is no converter for {missing[1]}."
    text = " ".join(str(error).split())
    return f"It cannot be converted: {text[:200] or type(error).__name__}"


# --- converting


@dataclass(frozen=True)
class _Candidate:
    """A way to convert: all columns as one matrix or each by itself, the type of numbers, and whether whole numbers
    stay such."""

    number: str
    layout: str
    whole: bool = False

    def convert(self, estimator: Any, about: dict[str, Any]) -> Any:
        """The graph (a ModelProto). Raises whatever the converter does."""
        from skl2onnx import convert_sklearn, get_latest_tested_opset_version
        from skl2onnx.common import data_types

        types = {
            "float64": data_types.DoubleTensorType,
            "float32": data_types.FloatTensorType,
            "int64": data_types.Int64TensorType,
            "str": data_types.StringTensorType,
        }
        fields = about["schema"]["fields"]
        if self.layout == "matrix":
            inputs = [("X", types[self.number]([None, len(fields)]))]
        else:
            inputs = [(one["name"], types[self.type_of(one)]([None, 1])) for one in fields]
        told = {"": min(OPSET, get_latest_tested_opset_version()), "ai.onnx.ml": 3}
        options = {"zipmap": False} if "probabilities" in about["methods"] else None
        return convert_sklearn(estimator, "compiled", inputs, target_opset=told, options=options)

    def type_of(self, column: dict[str, Any]) -> str:
        if column["type"] == "str":
            return "str"
        return "int64" if self.whole and column["type"] == "int" else self.number


def _candidates(about: dict[str, Any]) -> Iterator[_Candidate]:
    """Those most likely to agree first: in float64, as the model computes."""
    has_whole = any(one["type"] == "int" for one in about["schema"]["fields"])
    for number in ("float64", "float32"):
        if not _has_texts(about):
            yield _Candidate(number, "matrix")
        if about["input"] == "frame":
            yield _Candidate(number, "columns")
            if has_whole:
                yield _Candidate(number, "columns", whole=True)


class _Trees:
    """What skl2onnx loses of trees, kept while it converts: thresholds and weights in float64, whether the input is
    rounded to float32 first (as scikit-learn does, but for trees of histograms), and where a missing value goes.

    The shares of a forest are sums that are divided in the end, as there: only so the same classes tie.
    """

    def __init__(self) -> None:
        self._kept: dict[str, dict[str, Any]] = {}
        self._is_exact = False
        from skl2onnx import operator_converters  # noqa: F401 (imports what is mended)
        from skl2onnx.common import tree_ensemble

        self._add_tree = tree_ensemble.add_tree_to_attribute_pairs
        self._add_node = tree_ensemble.add_node
        self._add_histograms = tree_ensemble.add_tree_to_attribute_pairs_hist_gradient_boosting
        tree_ensemble.add_node = self._node
        for name, module in list(sys.modules.items()):
            if name.startswith("skl2onnx.operator_converters.") and hasattr(module, "add_tree_to_attribute_pairs"):
                setattr(module, self._add_tree.__name__, self._tree)
            if name.startswith("skl2onnx.operator_converters.") and hasattr(module, self._add_histograms.__name__):
                setattr(module, self._add_histograms.__name__, self._histograms)

    def begin(self, *, exact: bool) -> None:
        """A conversion, in which trees are to be kept as they are or as the converter rounds them to float32."""
        self._is_exact = exact
        self._kept.clear()

    def _tree(
        self,
        pairs: dict[str, Any],
        is_classifier: bool,
        tree: Any,
        tree_id: int,
        tree_weight: float,
        bias: int,
        are_counts: bool,
        adjust_threshold_for_sklearn: bool = False,
        dtype: Any = None,
    ) -> None:
        is_exact, is_forest = self._is_exact, is_classifier and are_counts
        start, first_leaf = len(pairs["nodes_treeids"]), len(pairs.get("class_ids", ()))
        rounds = adjust_threshold_for_sklearn and not is_exact
        self._add_tree(pairs, is_classifier, tree, tree_id, tree_weight, bias, are_counts, rounds, dtype=dtype)
        sides = getattr(tree, "missing_go_to_left", None)
        if sides is not None:
            pairs["nodes_missing_value_tracks_true"][start:] = [int(one) for one in sides]
        if not is_exact:
            return
        if is_forest:
            leaves = ("class_treeids", "class_nodeids", "class_ids", "class_weights")
            for key in leaves:
                del pairs[key][first_leaf:]
            for node in numpy.flatnonzero(tree.children_left < 0).tolist():
                values = tree.value[node].ravel()
                total = values.sum()
                shares = values if abs(total - 1) < 1e-6 else values / total
                for at, share in enumerate(shares.tolist()):
                    for key, value in zip(leaves, (tree_id, node, at + bias, share)):  # noqa: B905 (of one length)
                        pairs[key].append(value)
        divisor = round(1 / tree_weight) if is_forest else 1
        self._keep(pairs, rounded=True, divisor=divisor, is_wide=dtype == numpy.float64)

    def _histograms(self, pairs: dict[str, Any], *rest: Any, **more: Any) -> None:
        self._add_histograms(pairs, *rest, **more)
        if self._is_exact:
            self._keep(pairs, rounded=False, divisor=1, is_wide=more.get("dtype") == numpy.float64)

    def _node(self, *values: Any, **more: Any) -> None:
        """onnx takes no numbers of numpy's here, which the nodes of histograms are."""
        self._add_node(*map(_python_number, values), **{key: _python_number(value) for key, value in more.items()})

    def _keep(self, pairs: dict[str, Any], **how: Any) -> None:
        lists = ("nodes_values", "class_weights", "target_weights")
        self._kept[pairs["name"]] = {"values": {key: pairs[key] for key in lists if key in pairs}, **how}

    def exact(self, graph: Any) -> Any:
        """The graph with its trees as they were; the converter's own output is float32, whatever it tells."""
        from onnx import TensorProto, helper, numpy_helper

        nodes: list[Any] = []
        outputs = {one.name: one for one in graph.graph.output}
        for number, node in enumerate(graph.graph.node):
            if not node.op_type.startswith("TreeEnsemble"):
                nodes.append(node)
                continue
            kept = self._kept.get(node.name, {"values": {}, "rounded": True, "divisor": 1, "is_wide": True})
            if kept["values"]:
                self._restore(node, kept["values"])
            low, back = node.input[0], f"tenfold_back_{number}"
            if kept["rounded"]:
                low = f"tenfold_low_{number}"
                nodes.append(helper.make_node("Cast", [node.input[0]], [low], to=TensorProto.FLOAT))
            nodes.append(helper.make_node("Cast", [low], [back], to=TensorProto.DOUBLE))
            node.input[0] = back
            last = len(node.output) - 1  # of a classifier the first is the label
            given, told, wide = f"tenfold_given_{number}", node.output[last], f"tenfold_wide_{number}"
            node.output[last] = given
            divisor = numpy_helper.from_array(
                numpy.array([kept["divisor"]], dtype="float64"), f"tenfold_count_{number}"
            )
            graph.graph.initializer.append(divisor)
            nodes.append(node)
            nodes.append(helper.make_node("Cast", [given], [wide], to=TensorProto.DOUBLE))
            if told in outputs:
                outputs[told].type.tensor_type.elem_type = TensorProto.DOUBLE
            if told in outputs or kept["is_wide"]:
                nodes.append(helper.make_node("Div", [wide, divisor.name], [told]))
            else:  # what follows was made for float32
                nodes.append(helper.make_node("Div", [wide, divisor.name], [f"{wide}_share"]))
                nodes.append(helper.make_node("Cast", [f"{wide}_share"], [told], to=TensorProto.FLOAT))
        del graph.graph.node[:]
        graph.graph.node.extend(nodes)
        for one in graph.opset_import:
            if one.domain == "ai.onnx.ml":
                one.version = 3
        return graph

    @staticmethod
    def _restore(node: Any, values: dict[str, list[float]]) -> None:
        from onnx import helper, numpy_helper

        doubles = dict(values)
        for one in node.attribute:
            if one.name == "base_values":
                doubles["base_values"] = list(one.floats)
        gone = {*doubles, "nodes_hitrates"}
        kept = [one for one in node.attribute if one.name not in gone]
        del node.attribute[:]
        node.attribute.extend(kept)
        for key, listed in doubles.items():
            tensor = numpy_helper.from_array(numpy.array(listed, dtype="float64"), key)
            node.attribute.append(helper.make_attribute(f"{key}_as_tensor", tensor))


def _python_number(value: Any) -> Any:
    if isinstance(value, (bool, numpy.bool_)):
        return int(value)
    return value.item() if isinstance(value, numpy.integer) else value


def _simplified(estimator: Any) -> Any:
    """Without settings that no converter takes, and that say nothing about predictions."""
    settings = estimator.get_params(deep=True)
    return estimator.set_params(**{name: False for name in settings if name.rpartition("__")[2] == "flatten_transform"})


# --- what the twin is told


def _has_trees(graph: Any) -> bool:
    return any(node.op_type == "TreeEnsembleClassifier" for node in graph.graph.node)


def _form(
    content: bytes, candidate: _Candidate, about: dict[str, Any], proof: _Proof, by_share: bool
) -> dict[str, Any]:
    """compiled.json: see _compiled.py, which reads it."""
    session = _opened(content)
    inputs = [one.name for one in session.get_inputs()]
    outputs = [one.name for one in session.get_outputs()]
    names = [one["name"] for one in about["schema"]["fields"]]
    form: dict[str, Any] = {"format": 1}
    if candidate.layout == "matrix":
        given = about.get("dtype") if about["input"] == "array" else None
        form["matrix"] = {"input": inputs[0], "type": candidate.number, "given": given or "float64"}
    else:
        fields = {one["name"]: one for one in about["schema"]["fields"]}
        # a converter drops the inputs of columns that nothing reads, and changes names that are no identifiers
        by_input = dict(zip(candidate_inputs(names), names))  # noqa: B905 (strict came with 3.10)
        unknown = [one for one in inputs if one not in by_input and one not in fields]
        if unknown:
            raise Refused(f"The converter made an input {unknown[0]!r} of no column.")
        form["columns"] = [
            {"index": names.index(column), "input": one, "type": candidate.type_of(fields[column])}
            for one in inputs
            for column in [one if one in fields else by_input[one]]
        ]
    form["dtypes"] = {
        name: dtype["name"]
        for name, dtype in about.get("dtypes", {}).items()
        if dtype["kind"] == "number" and dtype["name"] != "float64"
    }
    form |= proof.limits
    form |= proof.shape_of_answers(outputs, by_share)
    return form


def _opened(content: bytes) -> Any:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "model.onnx"
        file.write_bytes(content)
        try:
            return _compiled.open_session(file)
        except Exception as error:  # onnxruntime has kinds of its own
            raise Refused(f"What the converter wrote cannot be opened: {' '.join(str(error).split())[:200]}") from None


def candidate_inputs(names: list[str]) -> list[str]:
    """What skl2onnx calls inputs of these names."""
    plain = [re.sub(r"[^\w+]", "_", name) for name in names]
    return [f"_{name}" if name[:1].isdigit() else name for name in plain]


# --- the proof


@dataclass
class _Proof:
    """Rows, and what the model answers for them. scale: of a typical number in its answers to ordinary rows."""

    about: dict[str, Any]
    config: dict[str, Any]
    model: Any
    rows: list[list[Any]]
    answer: dict[str, Any]
    scale: float
    limits: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, model: Any, found: Landmarks, about: dict[str, Any], config: dict[str, Any]) -> _Proof:
        names = [one["name"] for one in about["schema"]["fields"]]
        example = _example_rows(config["model_metadata"].get("example_model_input"), about)
        ordinary, others = generate(about, found, example)
        whole = next((row for row in (*ordinary, *others) if None not in row and _taken(model, [row])), None)
        if whole is None:
            raise Refused("Of the generated rows there is none that the model takes.")
        limits, more = _limits(model, about, whole)
        full = [at for at, name in enumerate(names) if name in limits["no_gaps"]]

        def taken(rows: list[list[Any]]) -> list[list[Any]]:
            return _taken(model, [row for row in rows if all(row[at] is not None for at in full)])

        ordinary = taken(ordinary)
        rows = [*ordinary, *taken(others), *more]
        if len(rows) < FEWEST_ROWS:
            raise Refused(f"Only {len(rows)} of the generated rows are such that the model takes them.")
        answer = _asked(model, rows)
        return cls(about, config, model, rows, answer, _typical(answer["predictions"][: len(ordinary)]), limits)

    @property
    def is_by_share(self) -> bool:
        """Whether the model itself names the class with the largest share. Of two classes onnxruntime names another
        where trees are not of the form that it expects.
        """
        classes, shares = self.answer.get("classes"), self.answer.get("probabilities")
        if classes is None or shares is None:
            return False
        named = [classes[row.index(max(row))] for row in shares]
        return bool(named == self.answer["predictions"])

    def shape_of_answers(self, outputs: list[str], by_share: bool) -> dict[str, Any]:
        """Which output of the graph is what, and the form of the model's own answer."""
        told: dict[str, Any] = {}
        predictions = self.answer["predictions"]
        shape, leaf = _shape(predictions[0])
        told["predictions"] = {"output": outputs[0], "type": _kind(leaf), "shape": shape}
        if "probabilities" in self.answer:
            if len(outputs) < 2:
                raise Refused("The converted model gives no probabilities.")
            told["probabilities"] = {"output": outputs[1]}
        if "classes" in self.answer:
            told["classes"] = self.answer["classes"]
            if by_share:
                told["predictions"]["by_share"] = True
            elif told["predictions"]["type"] not in ("str", "int64"):  # converters know labels of these types only
                told["labels"] = [[int(one), one] for one in told["classes"]]
        return told

    def compare(self, content: bytes, form: dict[str, Any]) -> dict[str, Any]:
        """The report of a compiled form that answers alike. Raises Refused."""
        if len(content) > MOST_BYTES:
            raise Refused(f"The compiled form takes {len(content) / 1e6:.0f} MB, and may take {MOST_BYTES / 1e6:.0f}.")
        with tempfile.TemporaryDirectory() as folder:
            (Path(folder) / "model.onnx").write_bytes(content)
            (Path(folder) / "compiled.json").write_text(json.dumps(form), "utf-8")
            twin = _compiled.Model(self.config, folder)
            twin.load()
        ours = self._asked_twin(twin, self.rows)
        largest, relative = _difference(self.answer, ours, self.rows, self.scale)
        for at, row in enumerate(self.rows[:8]):
            alone = _difference(_cut(self.answer, at), self._asked_twin(twin, [row]), [row], self.scale)
            largest, relative = max(largest, alone[0]), max(relative, alone[1])
        if largest > CLOSE:
            raise Refused(f"Numbers differ by {largest:.2g} of their size, more than float32 accounts for.")
        times = _times(self.model, twin, self.rows)
        if times["compiled"][1] > times["original"][1] and times["compiled"][0] > times["original"][0] / 2:
            raise Refused("The compiled form answers alike, and is not faster.")
        report: dict[str, Any] = {
            "rows": len(self.rows),
            "largest_difference": largest,
            "largest_relative_difference": relative,
            "precision": "float64" if largest <= EXACT else "float32",
            "size_bytes": len(content),
            "microseconds": times,
        }
        if "classes" in self.answer:
            report["classes_seen"] = len(set(map(str, self.answer["predictions"])))
        return report

    @staticmethod
    def _asked_twin(twin: Any, rows: list[list[Any]]) -> dict[str, Any]:
        try:
            return _asked(twin, rows)
        except Exception as error:  # whatever onnxruntime raises: the model itself has answered
            raise Refused(f"The compiled form fails on rows that the model answers: {_one_line(error)}") from None


def _asked(model: Any, rows: list[list[Any]]) -> dict[str, Any]:
    answer: dict[str, Any] = model.predict({"inputs": rows})
    return answer


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__


def _taken(model: Any, rows: list[list[Any]]) -> list[list[Any]]:
    """The rows that fit the schema. Raises Refused for one that fits, and that the model fails on."""
    try:
        _asked(model, rows)
    except Exception as error:  # the schema's refusal of a row, or whatever the model itself raises
        if len(rows) > 1:
            middle = len(rows) // 2
            return [*_taken(model, rows[:middle]), *_taken(model, rows[middle:])]
        if isinstance(error, HTTPException):
            return []
        what = f"The model itself fails on the row {shown(rows[0])}, which fits its schema: {_one_line(error)}"
        raise Refused(what) from None
    return rows


def _limits(model: Any, about: dict[str, Any], row: list[Any]) -> tuple[dict[str, Any], list[list[Any]]]:
    """What the model refuses although its schema does not: missing values, and numbers beyond its type. The compiled
    form must refuse them too, for a graph answers anything. Also rows with missing values that it does take.
    """
    fields = about["schema"]["fields"]
    numbers = [at for at, one in enumerate(fields) if one["type"] == "float"]

    def refuses(at: int, value: Any) -> bool:
        try:
            _asked(model, [[*row[:at], value, *row[at + 1 :]]])
        except HTTPException:
            return False  # by the schema: both read it alike
        except Exception:
            return True
        return False

    missing = dict.fromkeys(numbers, math.nan) | {at: None for at, one in enumerate(fields) if one.get("nullable")}
    no_gaps = [at for at, value in missing.items() if refuses(at, value)]
    limits: dict[str, Any] = {"no_gaps": [fields[at]["name"] for at in no_gaps], "largest": None}
    for largest, beyond, kind in LARGEST:
        if any(refuses(at, beyond) for at in numbers[:20]):
            limits |= {"largest": largest, "largest_of": f"dtype('{kind}')"}
            break
    taken = [at for at in numbers if at not in no_gaps][:20]
    return limits, [[*row[:at], math.nan, *row[at + 1 :]] for at in taken]


def _difference(
    expected: dict[str, Any], found: dict[str, Any], rows: list[list[Any]], scale: float
) -> tuple[float, float]:
    """The largest difference of two numbers: as the proof measures it, and as a share of the larger of the two.

    A prediction is measured against its own size, and one that is small against a ten-thousandth of `scale`; a share
    against the whole. Raises Refused where answers are of another form, or name other classes.
    """
    if list(expected) != list(found) or expected.get("classes") != found.get("classes"):
        raise Refused(f"The compiled form answers with {', '.join(found)} and the model with {', '.join(expected)}.")
    largest = relative = 0.0
    for key, least in (("predictions", scale * SMALL), ("probabilities", 1.0)):
        if key not in expected:
            continue
        for row, one, other in zip(rows, expected[key], found[key]):  # noqa: B905 (strict came with 3.10)
            try:
                pairs = [*_apart(one, other)]
            except _Different:
                raise Refused(
                    f"For the row {shown(row)} the model answers {shown(one)}, the compiled form {shown(other)}."
                ) from None
            for a, b in pairs:
                largest = max(largest, abs(a - b) / max(abs(a), least))
                relative = max(relative, abs(a - b) / max(abs(a), abs(b)))
    return largest, relative


class _Different(Exception):
    """Two answers are of different kinds, or are different classes."""


def _apart(one: Any, other: Any) -> Iterator[tuple[float, float]]:
    """The numbers of two answers that are not equal. Raises _Different."""
    if type(one) is not type(other):
        raise _Different
    if isinstance(one, list):
        if len(one) != len(other):
            raise _Different
        for a, b in zip(one, other):  # noqa: B905 (of one length)
            yield from _apart(a, b)
    elif one != other:
        if not isinstance(one, float) or math.isnan(one) != math.isnan(other):
            raise _Different
        if math.isnan(one):
            return
        if not math.isfinite(one) or not math.isfinite(other):
            raise _Different
        yield one, other


def _typical(predictions: list[Any]) -> float:
    """The size of a typical number in the answers, against which small ones are seen."""
    sizes = [abs(one) for one in _leaves(predictions) if isinstance(one, float) and math.isfinite(one) and one]
    return statistics.median(sizes) if sizes else 1.0


def _leaves(value: Any) -> Iterator[Any]:
    if isinstance(value, list):
        for one in value:
            yield from _leaves(one)
    else:
        yield value


def _cut(answer: dict[str, Any], at: int) -> dict[str, Any]:
    return {key: value if key == "classes" else [value[at]] for key, value in answer.items()}


def _shape(value: Any) -> tuple[list[int], Any]:
    shape = []
    while isinstance(value, list) and value:
        shape.append(len(value))
        value = value[0]
    return shape, value


def _kind(leaf: Any) -> str:
    kinds = {float: "float", int: "int64", str: "str", bool: "bool"}
    if type(leaf) not in kinds:
        raise Refused(f"It answers with {type(leaf).__name__}.")
    return kinds[type(leaf)]


def _times(model: Any, twin: Any, rows: list[list[Any]]) -> dict[str, list[float]]:
    """Microseconds of a call with one row, and with many: the best of a few."""
    many = rows[:TIMED_ROWS]
    found: dict[str, list[float]] = {"original": [], "compiled": []}
    for body in ([rows[0]], many):
        for name, one in (("original", model), ("compiled", twin)):
            best = math.inf
            for _ in range(TIMES):
                started = time.perf_counter()
                _asked(one, body)
                best = min(best, time.perf_counter() - started)
            found[name].append(round(best * 1e6, 1))
    return found


# --- rows


def _example_rows(example: Any, about: dict[str, Any]) -> list[list[Any]]:
    """As `tenfold.deploy` writes it: {"inputs": [{column: value}]}."""
    rows = example.get("inputs") if isinstance(example, dict) else None
    names = [one["name"] for one in about["schema"]["fields"]]
    if not isinstance(rows, list):
        return []
    return [[row.get(name) for name in names] for row in rows if isinstance(row, dict)]


def generate(
    about: dict[str, Any], found: Landmarks, example: list[list[Any]]
) -> tuple[list[list[Any]], list[list[Any]]]:
    """Rows as the schema allows them, always the same ones: ordinary ones (the example, those that the model stored,
    likely ones), and others, which lie on an edge of what the model knows, or have gaps where a column may have them.
    """
    chance = random.Random(0)
    fields = about["schema"]["fields"]
    columns = [
        _Column.of(one, about, found.points.get(one["name"], []), [row[at] for row in example])
        for at, one in enumerate(fields)
    ]

    def likely() -> list[Any]:
        return [one.ordinary(chance) for one in columns]

    stored = [
        [one.near(value) if math.isfinite(value) else one.ordinary(chance) for one, value in zip(columns, row)]  # noqa: B905
        for row in found.rows
    ]
    count = max(FEWEST_ROWS + 20, min(ROWS, MOST_CELLS // max(1, len(columns))))
    ordinary, others = [*example, *stored], []
    for number in range(count):
        if number % 4 == 0:
            ordinary.append(likely())
        elif number % 4 == 1:
            others.append([one.edge(chance) for one in columns])
        else:  # few columns of a likely row on an edge
            row = list(chance.choice(example)) if example and number % 4 == 2 else likely()
            for at in chance.sample(range(len(columns)), k=min(len(columns), chance.choice((1, 1, 2, 3)))):
                row[at] = columns[at].edge(chance)
            others.append(row)
    each = min(SWEEP_ROWS, MOST_CELLS // max(1, len(columns))) // max(1, len(columns))
    for at, column in enumerate(columns):
        for value in column.sweep(chance, each):
            row = list(chance.choice(example)) if example and chance.random() < 0.5 else likely()
            row[at] = value
            others.append(row)
    nullable = [at for at, one in enumerate(fields) if one.get("nullable")]
    for number in range(min(64, count) if nullable else 0):
        row = likely()
        gaps = (
            nullable if number == 0 else [at for at in nullable if chance.random() < 0.4] or [chance.choice(nullable)]
        )
        for at in gaps:
            row[at] = None
        others.append(row)
    return ordinary, others


@dataclass(frozen=True)
class _Column:
    """Values of one column: `points` are those that the model or the schema knows."""

    kind: str
    points: list[Any]
    choices: list[Any] | None
    centre: float
    spread: float
    low: float
    high: float

    @classmethod
    def of(cls, told: dict[str, Any], about: dict[str, Any], found: list[Any], example: list[Any]) -> _Column:
        given = [told.get("default"), told.get("minimum"), told.get("maximum"), *example]
        points = [one for one in (*given, *found) if one is not None and one == one]  # noqa: PLR0124 (not NaN)
        kind = told["type"]
        if kind == "str":
            points = [one for one in points if isinstance(one, str)]
            return cls(kind, points, told.get("choices"), 0, 0, 0, 0)
        points = [one for one in points if isinstance(one, (int, float)) and math.isfinite(one)]
        numbers = [float(one) for one in points]
        centre = statistics.median(numbers) if numbers else 0.0
        spread = statistics.pstdev(numbers) if len(numbers) > 1 else 0.0
        low, high = _range(told, about)
        return cls(kind, points, told.get("choices"), centre, spread or abs(centre) or 1.0, low, high)

    def ordinary(self, chance: random.Random) -> Any:
        if self.choices:
            return chance.choice(self.choices)
        if self.kind == "bool":
            return chance.random() < 0.5
        if self.kind == "str":
            return chance.choice(self.points) if self.points else chance.choice(("", "a", "b"))
        return self._fitting(chance.gauss(self.centre, self.spread))

    def edge(self, chance: random.Random) -> Any:
        if self.choices or self.kind == "bool":
            return self.ordinary(chance)
        if self.kind == "str":
            return chance.choice([*self.points, "", "never seen", " x", "\u00e9\u4e2d"])
        far = [self.centre + self.spread * factor for factor in (-1000.0, -10.0, -3.0, 3.0, 10.0, 1000.0)]
        others = [0.0, 1.0, -1.0, 1e-30, *far]
        if self.points and chance.random() < 0.6:
            return self._fitting(chance.choice(self.points))
        return self._fitting(chance.choice(others))

    def sweep(self, chance: random.Random, most: int) -> list[Any]:
        """Values that the model or the schema knows, each once."""
        if self.choices or self.kind == "bool":
            return []
        points = self.points if self.kind == "str" else [self._fitting(one) for one in self.points]
        points = list(dict.fromkeys(points))
        return points if len(points) <= most else chance.sample(points, most)

    def near(self, value: float) -> Any:
        """The value, as far as the column may have it."""
        if self.kind == "str":
            return self.points[0] if self.points else ""
        if self.kind == "bool":
            return value >= 0.5
        return min(self.choices, key=lambda one: abs(one - value)) if self.choices else self._fitting(value)

    def _fitting(self, value: float) -> Any:
        value = min(self.high, max(self.low, value))
        return round(value) if self.kind == "int" else float(value)


def _range(told: dict[str, Any], about: dict[str, Any]) -> tuple[float, float]:
    low, high = told.get("minimum"), told.get("maximum")
    name = str(about.get("dtypes", {}).get(told["name"], {}).get("name", "")).lower()
    if told["type"] == "int":
        info = numpy.iinfo(name if name.startswith(("int", "uint")) else "int64")
        widest: tuple[float, float] = (max(float(info.min), -(2.0**53)), min(float(info.max), 2.0**53))
    else:
        widest = (-1e30, 1e30)
    return widest[0] if low is None else float(low), widest[1] if high is None else float(high)
