"""Serves a Hugging Face pipeline. Written by `tenfold.deploy`; change it as you like.

Takes an object of the task's fields, such as {"text": "..."}; where text is all there is, also {"inputs": [texts]},
which gives a list of answers. Classifications answer {label: score}; text-generation gives the new text, piece by piece
to those who read a stream; a model with a chat template also answers chat completions as OpenAI's API does.
"""

from __future__ import annotations

import importlib
import json
import threading
import time
import uuid
from collections.abc import Iterator, Mapping
from io import BytesIO
from pathlib import Path
from typing import Any

from ._fields import listed, read_value, refuse, shown

MOST_LABELS = 20


class Model:
    def __init__(self, config: dict[str, Any], data_dir: str, secrets: Any) -> None:
        self._data = Path(data_dir)
        self._about = config["model_metadata"]["tenfold"]
        self._task = self._about["task"]
        self._fields = self._about["schema"]["fields"]
        self._secrets = secrets
        self._pipe: Any = None
        if self._about.get("is_chat"):
            self.chat_completions = self._chat

    def load(self) -> None:
        transformers = importlib.import_module("transformers")
        if "hub" in self._about:
            self._pipe = self._from_hub(transformers)
        else:
            self._pipe = transformers.pipeline(
                self._task, model=str(self._data / "pipeline"), **_own_dtype(transformers)
            )
        self._pipe.model.eval()
        for name, values in self._about.get("parameters", {}).items():
            getattr(self._pipe, f"_{name}_params").update({key: _value(one) for key, one in values.items()})

    def predict(self, inputs: Any) -> Any:
        several = self._texts(inputs)
        if several is not None:
            return [self._answer({"text": text}) for text in several]
        values = self._read(inputs)
        if self._task == "text-generation":
            return self._generated(
                values.pop("text"), _options(values.get("max_new_tokens"), values.get("temperature"))
            )
        return self._answer(values)

    def _from_hub(self, transformers: Any) -> Any:
        hub = self._about["hub"]
        token = dict(self._secrets or {}).get("HF_TOKEN")
        try:
            return transformers.pipeline(self._task, model=hub["model"], revision=hub.get("revision"), token=token)
        except OSError as error:
            raise RuntimeError(
                f"{hub['model']} could not be fetched from the Hugging Face Hub: {error} It needs a network and, for a "
                "model that is not public, the secret HF_TOKEN."
            ) from error

    # What comes in

    def _texts(self, body: Any) -> list[str] | None:
        """The texts of {"inputs": ...}, as Hugging Face's own API takes them, where one text is all that is needed."""
        if not isinstance(body, dict) or set(body) != {"inputs"} or self._fields[0]["name"] != "text":
            return None
        if any("default" not in field and not field.get("nullable") for field in self._fields[1:]):
            return None
        texts = body["inputs"] if isinstance(body["inputs"], list) else [body["inputs"]]
        return [read_value(text, self._fields[0], f"Text {number}") for number, text in enumerate(texts)]

    def _read(self, body: Any) -> dict[str, Any]:
        names = [field["name"] for field in self._fields]
        if self._about["schema"]["form"] == "value":
            return {names[0]: body}
        if not isinstance(body, dict) and len([one for one in self._fields if "default" not in one]) == 1:
            body = {names[0]: body}
        if not isinstance(body, dict):
            refuse(f"The body is {shown(body)}, and must be an object with: {listed(names)}.")
        unknown = [str(name) for name in body if name not in names]
        if unknown:
            refuse(f"There is no field {listed(unknown)}. The model takes: {listed(names)}.")
        found = {}
        for field in self._fields:
            name = field["name"]
            if name not in body and "default" not in field and not field.get("nullable"):
                refuse(f"The field {name!r} is missing. The model takes: {listed(names)}.")
            value = read_value(body.get(name, field.get("default")), field, repr(name))
            found[name] = open_picture(value[2]) if field["type"] == "image" and value is not None else value
        return found

    # What goes out

    def _answer(self, values: dict[str, Any]) -> Any:
        pipe, task = self._pipe, self._task
        if task == "text-generation":
            return "".join(self._generated(values["text"], {}))
        if task == "text-classification":
            return _scores(pipe(values["text"], top_k=None))
        if task == "zero-shot-classification":
            found = pipe(values["text"], candidate_labels=_labels(values["labels"]))
            return dict(zip(found["labels"], found["scores"]))  # noqa: B905 (of one length)
        if task == "zero-shot-image-classification":
            return _scores(pipe(values["image"], candidate_labels=_labels(values["labels"])))
        if task == "image-classification":
            return _scores(pipe(values["image"], top_k=min(MOST_LABELS, len(pipe.model.config.id2label))))
        if task == "audio-classification":
            return _scores(pipe(values["audio"][2], top_k=min(MOST_LABELS, len(pipe.model.config.id2label))))
        if task == "automatic-speech-recognition":
            return pipe(values["audio"][2])["text"]
        if task == "question-answering":
            return pipe(question=values["question"], context=values["context"])
        if task in ("document-question-answering", "visual-question-answering"):
            return pipe(image=values["image"], question=values["question"])
        if task == "feature-extraction":
            return pipe(values["text"])[0]
        if task == "object-detection":
            return [{**one, **one.pop("box")} for one in pipe(values["image"])]
        if task == "depth-estimation":
            return picture_to_json(pipe(values["image"])["depth"])
        if task == "image-to-text":
            return pipe(values["image"])[0]["generated_text"]
        (value,) = values.values()
        result = pipe(value)
        texts = ("generated_text", "summary_text", "translation_text")
        if isinstance(result, list) and len(result) == 1 and isinstance(result[0], dict):
            return next((result[0][name] for name in texts if name in result[0]), result)
        return result

    def _generated(self, prompt: Any, options: dict[str, Any]) -> Iterator[str]:
        """The new text as it is made; the generation stops when nobody reads on."""
        transformers = importlib.import_module("transformers")
        pieces = transformers.TextIteratorStreamer(self._pipe.tokenizer, skip_prompt=True, skip_special_tokens=True)
        left = threading.Event()
        failures: list[BaseException] = []

        def generate() -> None:
            try:
                stop = transformers.StoppingCriteriaList([lambda tokens, *_, **__: _all_over(tokens, left)])
                self._pipe(prompt, streamer=pieces, stopping_criteria=stop, **options)
            except BaseException as error:  # raised again where it is waited for
                failures.append(error)
                pieces.end()

        thread = threading.Thread(target=generate, daemon=True)
        thread.start()
        try:
            for piece in pieces:
                if piece:
                    yield piece
        finally:
            left.set()
            thread.join()
        if failures:
            raise failures[0]

    # Chat

    def _chat(self, inputs: Any) -> Any:
        """A request of OpenAI's chat completions."""
        if not isinstance(inputs, dict) or not isinstance(inputs.get("messages"), list) or not inputs["messages"]:
            refuse("The body must hold messages: " + '{"messages": [{"role": "user", "content": "..."}]}.')
        messages = [_message(one, number) for number, one in enumerate(inputs["messages"])]
        limit = inputs.get("max_completion_tokens") or inputs.get("max_tokens")
        pieces = self._generated(messages, _options(limit, inputs.get("temperature")))
        head = {
            "id": f"chatcmpl-{uuid.uuid4().hex}",
            "created": int(time.time()),
            "model": str(inputs.get("model") or ""),
        }
        if inputs.get("stream"):
            return _events(head, pieces)
        text = "".join(pieces)
        count = len(self._pipe.tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_dict=False))
        made = len(self._pipe.tokenizer.encode(text, add_special_tokens=False))
        return {
            **head,
            "object": "chat.completion",
            "choices": [{"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}],
            "usage": {"prompt_tokens": count, "completion_tokens": made, "total_tokens": count + made},
        }


def _events(head: dict[str, Any], pieces: Iterator[str]) -> Iterator[str]:
    def event(delta: dict[str, Any], reason: Any) -> str:
        choice = {"index": 0, "delta": delta, "finish_reason": reason}
        return "data: " + json.dumps({**head, "object": "chat.completion.chunk", "choices": [choice]}) + "\n\n"

    yield event({"role": "assistant", "content": ""}, None)
    for piece in pieces:
        yield event({"content": piece}, None)
    yield event({}, "stop")
    yield "data: [DONE]\n\n"


def _message(one: Any, number: int) -> dict[str, str]:
    if not isinstance(one, dict) or not isinstance(one.get("role"), str):
        refuse(f"Message {number} is {shown(one)}, and must be " + '{"role": "user", "content": "..."}.')
    content = one.get("content")
    if isinstance(content, list):
        content = "".join(str(part.get("text", "")) for part in content if isinstance(part, dict))
    if not isinstance(content, str):
        refuse(f"The content of message {number} is {shown(content)}, and must be a text.")
    return {"role": one["role"], "content": content}


def _options(most: Any, temperature: Any) -> dict[str, Any]:
    """Of a generation; what is not said is as the model's own configuration has it."""
    options: dict[str, Any] = {}
    if most is not None:
        options["max_new_tokens"] = read_value(most, {"type": "int", "minimum": 1}, "The number of new tokens")
    if temperature is not None:
        value = read_value(temperature, {"type": "float", "minimum": 0}, "'temperature'")
        options.update({"do_sample": True, "temperature": value} if value else {"do_sample": False})
    return options


def _all_over(tokens: Any, left: threading.Event) -> Any:
    torch = importlib.import_module("torch")
    return torch.full((tokens.shape[0],), left.is_set(), dtype=torch.bool, device=tokens.device)


def _own_dtype(transformers: Any) -> dict[str, str]:
    """The argument that asks for the numbers as they were saved; it has changed its name."""
    return {"dtype" if int(transformers.__version__.partition(".")[0]) > 4 else "torch_dtype": "auto"}


def _value(written: Any) -> Any:
    if not isinstance(written, Mapping) or set(written) != {"name"}:
        return written
    module, _, path = written["name"].partition(":")
    found: Any = importlib.import_module(module)
    for part in path.split("."):
        found = getattr(found, part)
    return found


def _scores(found: Any) -> dict[str, float]:
    return {one["label"]: one["score"] for one in found}


def _labels(value: Any) -> list[str]:
    labels = [part.strip() for part in value.split(",")] if isinstance(value, str) else value
    if not isinstance(labels, list) or not labels or not all(isinstance(one, str) and one for one in labels):
        refuse(f"'labels' is {shown(value)}, and must be a list of texts.")
    return labels


def open_picture(data: bytes) -> Any:
    image = importlib.import_module("PIL.Image")
    try:
        return image.open(BytesIO(data)).convert("RGB")
    except Exception as error:  # pillow raises many kinds for a broken picture
        refuse(f"The picture cannot be read: {error}")


def picture_to_json(picture: Any) -> dict[str, Any]:
    import base64

    buffer = BytesIO()
    picture.save(buffer, format="PNG")
    data = buffer.getvalue()
    return {"name": "image.png", "type": "image/png", "size": len(data), "data": base64.b64encode(data).decode()}
