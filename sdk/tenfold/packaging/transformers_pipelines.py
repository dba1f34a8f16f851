"""Hugging Face pipelines as packages: saved with their weights (safetensors), or by their name on the Hub.

transformers is not imported here: a pipeline has brought it, and a name on the Hub needs it only where it runs.
"""

from __future__ import annotations

import enum
import os
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from tenfold.errors import CannotPackage
from tenfold.packaging.origins import pin_of_distribution, pins_of, with_own
from tenfold.packaging.package import Package, as_body, own_python, write_package
from tenfold.schema import Field, ModelSchema, Output

ADAPTER = "transformers_model.py"
ALSO_CALLED = {"sentiment-analysis": "text-classification", "ner": "token-classification"}
COMPANIONS = ("torchvision", "timm", "sentencepiece", "tiktoken", "accelerate")
"""Libraries that pipelines use where they are there."""
OFFLINE = {"HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
HUB_SECRETS = ("HF_TOKEN",)

TEXT = Field("text", "str")
IMAGE = Field("image", "image")
AUDIO = Field("audio", "file", description="a sound file, such as .wav or .flac")
LABELS = Field("labels", "json", description="the labels to choose from: a list of texts")
QUESTION = Field("question", "str")
GENERATION = (
    TEXT,
    Field("max_new_tokens", "int", title="Most new tokens", minimum=1, step=1, default=64),
    Field("temperature", "float", nullable=True, minimum=0, step=0.1, description="0 always takes the likeliest word"),
)
TASKS: Mapping[str, tuple[tuple[Field, ...], Output]] = {
    "audio-classification": ((AUDIO,), Output("scores")),
    "automatic-speech-recognition": ((AUDIO,), Output("text")),
    "depth-estimation": ((IMAGE,), Output("image")),
    "document-question-answering": ((IMAGE, QUESTION), Output("table")),
    "feature-extraction": ((TEXT,), Output("json")),
    "fill-mask": ((TEXT,), Output("table")),
    "image-classification": ((IMAGE,), Output("scores")),
    "image-feature-extraction": ((IMAGE,), Output("json")),
    "image-to-text": ((IMAGE,), Output("text")),
    "object-detection": ((IMAGE,), Output("table")),
    "question-answering": ((QUESTION, Field("context", "str")), Output("json")),
    "summarization": ((TEXT,), Output("text")),
    "text-classification": ((TEXT,), Output("scores")),
    "text-generation": (GENERATION, Output("text")),
    "text2text-generation": ((TEXT,), Output("text")),
    "token-classification": ((TEXT,), Output("table")),
    "translation": ((TEXT,), Output("text")),
    "visual-question-answering": ((IMAGE, QUESTION), Output("table")),
    "zero-shot-classification": ((TEXT, LABELS), Output("scores")),
    "zero-shot-image-classification": ((IMAGE, LABELS), Output("scores")),
}
"""What each task takes and gives. Others take any JSON value, and give what the pipeline does."""
HUB_NAME = re.compile(r"[\w.-]+(/[\w.-]+)?\Z")


@dataclass(frozen=True)
class HubModel:
    """A pipeline by its name on the Hugging Face Hub: what `tenfold.hub` gives."""

    task: str
    model: str
    revision: str | None = None


def hub(task: str, model: str, *, revision: str | None = None) -> HubModel:
    """A model of the Hugging Face Hub, to be deployed by its name: its worker fetches it when it starts.

    task: as transformers.pipeline takes it, such as "text-classification".
    model: "owner/name".
    revision: a tag or commit, for the same weights at every start.

    A model that is not public needs the workspace's secret HF_TOKEN. Raises CannotPackage for what is not a name.
    """
    if not HUB_NAME.match(model):
        raise CannotPackage(
            f"{model!r} is not a name on the Hugging Face Hub.",
            hint='Write it as owner/name: tenfold.hub("text-classification", "owner/name").',
        )
    return HubModel(ALSO_CALLED.get(task, task), model, revision)


def package_pipeline(
    model: Any,
    name: str,
    root: Path,
    *,
    example: Any = None,
    schema: ModelSchema | None = None,
    requirements: Sequence[str] | None = None,
    python: str | None = None,
    description: str | None = None,
) -> Package:
    """Writes a package of a pipeline, or of a name on the Hub, into `root`. Raises CannotPackage."""
    is_hub = isinstance(model, HubModel)
    task = ALSO_CALLED.get(model.task, model.task)
    learned = schema or _schema(task, {} if is_hub else _labels_of(model))
    body = _example_body(learned, example)
    settings: dict[str, Any] = {"adapter": "transformers", "task": task}
    notes: list[str] = []
    if is_hub:
        settings["hub"] = {"model": model.model} | ({"revision": model.revision} if model.revision else {})
        notes.append(f"its worker fetches {model.model} from the Hugging Face Hub when it starts: it needs a network")
        pins = _pins_or_names(("transformers", "torch", "numpy", *_pillow(learned)))
    else:
        _check_own(model)
        settings |= _parameters(model)
        if task == "text-generation" and getattr(model.tokenizer, "chat_template", None):
            settings["is_chat"] = True
        _save(model, root / "data" / "pipeline")
        there = {one for one in COMPANIONS if one in sys.modules}
        pins = pins_of({"transformers", "torch", "numpy", "safetensors", *there, *_modules_of_pillow(learned)})
    return write_package(
        root,
        name=name,
        adapter=ADAPTER,
        settings=settings,
        framework="transformers",
        schema=learned,
        example=body,
        requirements=with_own(pins, requirements),
        python_version=python or own_python(),
        description=description,
        environment_variables={"TOKENIZERS_PARALLELISM": "false"} if is_hub else OFFLINE,
        secrets=HUB_SECRETS if is_hub else (),
        notes=notes,
    )


# --- what it takes and gives


def _schema(task: str, labels: Mapping[str, Any]) -> ModelSchema:
    known = TASKS.get(task) or TASKS.get(re.sub(r"^translation_\w+$", "translation", task))
    if known is None:
        return ModelSchema("value", (Field("input", "json"),), Output("json"))
    fields, output = known
    if output.kind == "scores" and labels:
        output = Output("scores", classes=list(labels.values()))
    return ModelSchema("record", fields, output)


def _labels_of(pipe: Any) -> dict[str, Any]:
    """Labels that have names; LABEL_0 says nothing."""
    config = getattr(pipe.model, "config", None)
    labels = dict(getattr(config, "id2label", None) or {})
    is_named = pipe.task.startswith("zero-shot") or all(re.match(r"LABEL_\d+\Z", str(one)) for one in labels.values())
    return {} if is_named else {str(key): str(one) for key, one in labels.items()}


def _example_body(schema: ModelSchema, example: Any) -> Any:
    if example is None or schema.form == "value":
        return as_body(example)
    names = [one.name for one in schema.fields]
    first = schema.fields[0]
    if isinstance(example, list | tuple) and len(example) and not isinstance(example[0], dict):
        example = example[0]  # a few inputs, as a pipeline also takes them
    if not isinstance(example, Mapping):
        example = {first.name: example}
    unknown = [str(name) for name in example if name not in names]
    missing = [
        one.name for one in schema.fields if one.name not in example and one.default is None and not one.nullable
    ]
    if unknown or missing:
        said = f"has {', '.join(unknown)}" if unknown else f"lacks {', '.join(missing)}"
        raise CannotPackage(
            f"The example {said}, and the model takes: {', '.join(names)}.",
            hint="Give a dict: example={" + ", ".join(f"{one!r}: ..." for one in names) + "}.",
        )
    files = {one.name for one in schema.fields if one.type in ("image", "file")}
    return {
        str(name): as_body(Path(value) if name in files and isinstance(value, str) and os.path.exists(value) else value)
        for name, value in example.items()
    }


def _pillow(schema: ModelSchema) -> tuple[str, ...]:
    return ("pillow",) if any(one.type == "image" for one in schema.fields) else ()


def _modules_of_pillow(schema: ModelSchema) -> tuple[str, ...]:
    return ("PIL",) if _pillow(schema) else ()


def _pins_or_names(distributions: Sequence[str]) -> dict[str, str]:
    """At the versions that are installed here; what is not installed, at the newest that goes with the others."""
    found: dict[str, str] = {}
    for name in distributions:
        try:
            found[name] = pin_of_distribution(name)
        except metadata.PackageNotFoundError:
            found[name] = name
    return found


# --- saving


def _check_own(pipe: Any) -> None:
    """Only what transformers itself has can be read back without running code out of the package."""
    for one, what in ((pipe, "pipeline"), (pipe.model, "model")):
        kind = type(one)
        root = kind.__module__.partition(".")[0]
        if root == "peft" or hasattr(one, "merge_and_unload"):
            raise CannotPackage(
                f"The model is a {kind.__name__}: adapters, beside a base model that is not saved with them.",
                hint="Merge them first: pipe.model = pipe.model.merge_and_unload().",
            )
        if root != "transformers":
            raise CannotPackage(
                f"The {what}'s class {kind.__name__} is not one of transformers: its files alone cannot be read back.",
                hint="Write a class around it with the methods load (makes the pipeline) and predict, and deploy that.",
            )


def _save(pipe: Any, folder: Path) -> None:
    folder.mkdir(parents=True)
    try:
        pipe.save_pretrained(str(folder))
        processor = getattr(pipe, "processor", None)
        if processor is not None:
            processor.save_pretrained(str(folder))
    except Exception as error:  # whatever its configuration cannot say
        raise CannotPackage(
            f"The pipeline cannot be saved: {error}", hint="See what pipe.save_pretrained(folder) needs."
        ) from error


def _parameters(pipe: Any) -> dict[str, Any]:
    """What the pipeline was made with beyond its model, such as aggregation_strategy."""
    found: dict[str, dict[str, Any]] = {}
    for name in ("preprocess", "forward", "postprocess"):
        given = getattr(pipe, f"_{name}_params", None) or {}
        written = {key: _written(value) for key, value in given.items()}
        kept = {key: value for key, value in written.items() if value is not _Unwritable}
        if kept:
            found[name] = kept
    return {"parameters": found} if found else {}


class _Unwritable:
    """In the place of what JSON cannot carry: such a parameter was made from the model, and is made again."""


def _written(value: Any) -> Any:
    if isinstance(value, enum.Enum):
        kind = type(value)
        return {"name": f"{kind.__module__}:{kind.__qualname__}.{value.name}"}
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, list) and all(isinstance(one, bool | int | float | str) for one in value):
        return value
    return _Unwritable
