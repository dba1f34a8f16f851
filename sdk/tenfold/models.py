"""A deployed model: ask it, look at it, promote and roll back its versions."""

from __future__ import annotations

import html
import io
import json
import math
import mimetypes
import webbrowser
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.parse import quote

from tenfold.client import Client
from tenfold.errors import Conflict, NotFound
from tenfold.files import File
from tenfold.predictions import AsyncPrediction
from tenfold.schema import Field, ModelSchema

PRODUCTION = "production"
PREDICT_SECONDS = 60.0
BATCH_ROWS = 10_000
MAX_SHOWN_BODY = 4000


class Model:
    """One model of a workspace, at one version or alias.

    Get one from `tenfold.deploy` or `tenfold.model("name@alias")`.
    """

    def __init__(
        self, client: Client, name: str, reference: str | int | None = None, version: dict[str, Any] | None = None
    ) -> None:
        self.client = client
        self.name = name
        self.reference = None if reference is None else str(reference)
        self._version = version

    @classmethod
    def find(cls, client: Client, reference: str) -> Model:
        """By "name", "name@alias" or "name@3". Raises NotFound."""
        name, _, wanted = reference.partition("@")
        found = cls(client, name, wanted or None)
        found.refresh()
        return found

    def __repr__(self) -> str:
        at = f"@{self.reference}" if self.reference else ""
        return f"<Model {self.name}{at}: {self.status}, {self.url}>"

    # Asking it

    def predict(self, inputs: Any = None, /, *, timeout: float = PREDICT_SECONDS, **arguments: Any) -> Any:
        """What the model says about `inputs`.

        A table model takes rows (a DataFrame, an array, a list of lists or of dicts; one row may come alone) and
        returns its predictions as a numpy array, as the model itself would. A tensor model takes an array whose first
        dimension is the batch (several by name, in a dict or as arguments) and returns one, or several by name. Other
        models take the value, or their arguments in a dict or by name, and return the answer as JSON has it; a Path or
        a picture is sent as a file. `timeout` is in seconds. Raises InvalidInput, ModelFailed, TimedOut, Unavailable.
        """
        if self._form == "table":
            answers = [answer["predictions"] for answer in self._ask_rows(_joined(inputs, arguments), timeout)]
            return _as_array([one for answer in answers for one in answer])
        return self._reads(self.raw(self._body(inputs, arguments), timeout=timeout))

    def predict_async(self, inputs: Any = None, /, **arguments: Any) -> AsyncPrediction:
        """The same, answered later: returns as soon as the platform has the request for certain.

        `.result(timeout)` of what it returns is what `predict` would have returned. The platform carries it out,
        also when this process ends; `Model.prediction(id)` finds it again for seven days.
        """
        body = self._body(inputs, arguments)
        path, headers = self._predict_path, {"Prefer": "respond-async"}
        if isinstance(body, bytes | bytearray):
            headers["Content-Type"] = "application/octet-stream"
            response = self.client.gateway.request("POST", path, content=bytes(body), headers=headers)
        else:
            response = self.client.gateway.request("POST", path, json=body, headers=headers)
        return AsyncPrediction(self.client, response.json(), self._reads)

    def prediction(self, id: str) -> AsyncPrediction:
        """One of its asynchronous predictions, by the id that `predict_async` gave it. Raises NotFound."""
        told = self.client.gateway.json("GET", self._path("predictions", id))
        return AsyncPrediction(self.client, told, self._reads)

    def stream(self, inputs: Any = None, /, *, timeout: float = PREDICT_SECONDS, **arguments: Any) -> Iterator[Any]:
        """What the model says, piece by piece as it says it: texts, values or bytes, as its generator yields them.

        A model that does not stream gives one piece. `timeout` is for each piece, in seconds.
        """
        body = self._body(inputs, arguments)
        options: dict[str, Any] = {"json": body}
        if isinstance(body, bytes | bytearray):
            options = {"content": bytes(body), "headers": {"Content-Type": "application/octet-stream"}}
        with self.client.gateway.stream("POST", self._predict_path, timeout=timeout, **options) as response:
            kind = response.headers.get("content-type", "").partition(";")[0]
            if kind == "application/x-ndjson":
                yield from (json.loads(line) for line in response.iter_lines() if line)
            elif kind == "application/json":
                yield self._reads(json.loads(response.read()))
            elif kind.startswith("text/"):
                yield from response.iter_text()
            else:
                yield from response.iter_bytes()

    def predict_proba(self, inputs: Any, *, timeout: float = PREDICT_SECONDS) -> Any:
        """The probabilities of the classes, one row for each row of `inputs`, in the order of `classes`."""
        answers = list(self._ask_rows(inputs, timeout))
        if any("probabilities" not in answer for answer in answers if answer["predictions"]):
            raise Conflict(f"The model {self.name} gives no probabilities.", hint="Its estimator has no predict_proba.")
        return _as_array([row for answer in answers for row in answer.get("probabilities", [])])

    def raw(self, body: Any, *, timeout: float = PREDICT_SECONDS) -> Any:
        """The model's own answer to a JSON body (or to bytes), as it came."""
        path = self._predict_path
        if isinstance(body, bytes | bytearray):
            headers = {"Content-Type": "application/octet-stream"}
            response = self.client.gateway.request("POST", path, content=bytes(body), headers=headers, timeout=timeout)
        else:
            response = self.client.gateway.request("POST", path, json=body, timeout=timeout)
        kind = response.headers.get("content-type", "")
        if kind.startswith("application/json"):
            return response.json()
        return response.text if kind.startswith(("text/", "application/x-ndjson")) else response.content

    @property
    def classes(self) -> list[Any] | None:
        """The classes, in the order of the probabilities."""
        return self.schema.output.classes if self.schema else None

    # Looking at it

    @property
    def version(self) -> int | None:
        """The number of the version that this handle asks; None while its alias means none."""
        return None if self._details is None else int(self._details["number"])

    @property
    def status(self) -> str:
        """pending, building, starting, failed; once prepared: stopped, asleep, starting, running, unhealthy."""
        self.refresh()
        details = self._details
        if details is None:
            return "not deployed"
        return str(details["deployment"]["status"] if details["state"] == "ready" else details["state"])

    @property
    def schema(self) -> ModelSchema | None:
        """What it takes and gives; None for a foreign folder that says nothing about it."""
        details = self._details
        return ModelSchema.of(details["schema"]) if details and details["schema"] else None

    @property
    def url(self) -> str:
        """Where to send predictions."""
        return f"{self.client.gateway_url}{self._predict_path}"

    @property
    def app_url(self) -> str | None:
        """The address of the app that was made for it, to be sent to a colleague."""
        app = self._details and self._details["app"]
        return str(app["url"]) if app else None

    def open(self) -> None:
        """Opens its app in the browser."""
        url = self.app_url
        if url is None:
            raise NotFound(f"The model {self.name} has no app.", hint="Deploy it with an example or a schema.")
        webbrowser.open(url)

    def curl(self) -> str:
        """A line that asks it from a terminal. The key stays in $TENFOLD_KEY."""
        example = self._details["example"] if self._details else None
        body = _first_row_only(example if example is not None else {}, self.schema)
        return curl_line(self.url, body)

    def versions(self) -> list[dict[str, Any]]:
        """Every version, newest first, as the API shows it."""
        return list(self.client.items("models", self.name, "versions"))

    def logs(self, *, follow: bool = False) -> None:
        """Prints the log of its build and of its replicas; with `follow`, until Ctrl+C."""
        for line in self.follow_log() if follow else self.log_lines():
            print(line)  # noqa: T201 (this is what it is for)

    def log_lines(self, *, sources: Sequence[str] = ("fetch", "environment", "worker")) -> list[str]:
        after, found = 0, list[str]()
        while True:
            page = self.client.get("models", self.name, "versions", self._number, "logs", after=after)
            found += [text for one in page["items"] if one["source"] in sources for text in one["text"].splitlines()]
            if not page["items"]:
                return found
            after = page["next_after"]

    def follow_log(self) -> Iterator[str]:
        from tenfold.deploying import follow_version  # it imports this module

        for event in follow_version(self.client, self.name, self._number, follow=True):
            if event.name == "log":
                yield from event.data["text"].splitlines()

    def metrics(self, minutes: int = 60, *, step: int | None = None) -> dict[str, Any]:
        """Requests, errors and durations of the last minutes: `totals`, and `points` with one for each `step` minutes.

        Of the version that the handle names by its number or alias, else of all: `versions` has a line for each.
        """
        version = self._number if self.reference else None
        found: dict[str, Any] = self.client.get(
            "models", self.name, "metrics", minutes=minutes, step=step, version=version
        )
        return found

    def compare(self, before: int | Model, after: int | Model | None = None) -> dict[str, Any]:
        """What differs between two versions (`before` and this one, when `after` is not named): `config`,
        `environment`, `schema` and `files`, each a list of {path, kind, before, after}."""
        numbers = [one._number if isinstance(one, Model) else one for one in (before, self if after is None else after)]
        found: dict[str, Any] = self.client.get(
            "models", self.name, "compare", **dict(zip(("from", "to"), numbers, strict=True))
        )
        return found

    def download(self, path: str | Path) -> Path:
        """Writes its package, as it was deployed: into a new folder, or one archive when `path` ends with .tar.gz.

        The folder can be changed and deployed again. Raises Conflict when something is there already.
        """
        from tenfold.downloads import download_package  # few need it

        return download_package(self.client, self.name, self._number, Path(path))

    def summary(self) -> list[tuple[str, str]]:
        """What to tell after a deploy: labels and texts."""
        details = self._details or {}
        aliases = details.get("aliases") or []
        at = f" ({', '.join(aliases)})" if aliases else ""
        lines = [("Version", f"{self.name} {self.version}{at}")]
        endpoint = Model(self.client, self.name, None if PRODUCTION in aliases else self.version, self._version)
        lines += [("Endpoint", endpoint.url), ("Try it", endpoint.curl())]
        if self.schema:
            lines.append(("Takes", describe_inputs(self.schema)))
            lines.append(("Gives", describe_output(self.schema)))
        if self.app_url:
            lines.append(("App", self.app_url))
        return lines

    # Changing it

    def promote(self, version: int | None = None, alias: str = PRODUCTION) -> Model:
        """Makes `alias` mean a version (this handle's own, when not named). Returns a handle of the alias."""
        number = version if version is not None else self._number
        self.client.put("models", self.name, "aliases", alias, body={"version": number})
        return Model.find(self.client, f"{self.name}@{alias}")

    def rollback(self, alias: str | None = None) -> Model:
        """Makes `alias` mean the newest ready version before the one it means now. Raises Conflict without one.

        The alias is the handle's own, as in `tenfold.model("churn@staging")`, else production.
        """
        alias = alias or self._alias
        current = self.client.get("models", self.name)["aliases"].get(alias)
        if current is None:
            raise Conflict(f"{self.name}@{alias} means no version, so there is nothing to roll back.")
        older = [one["number"] for one in self.versions() if one["number"] < current and one["state"] == "ready"]
        if not older:
            raise Conflict(f"There is no ready version of {self.name} before version {current}.")
        return self.promote(older[0], alias)

    def canary(self, version: int | None, percent: float = 10.0, alias: str | None = None) -> Model:
        """Lets another version answer `percent` of the alias's calls; None ends that. Promoting a version ends it too.

        The alias is the handle's own, else production. Raises Conflict when the version is not ready, or is the one
        that the alias means.
        """
        alias = alias or self._alias
        if version is None:
            self.client.delete("models", self.name, "aliases", alias, "canary")
        else:
            body = {"version": version, "percent": percent}
            self.client.put("models", self.name, "aliases", alias, "canary", body=body)
        return self

    def shadow(
        self, version: int | None, percent: float = 10.0, alias: str | None = None, *, tolerance: float | None = None
    ) -> Model:
        """Sends `percent` (1 to 100) of the alias's calls to another version as well; None ends that.

        Callers get the answers of the alias's own version, as before. The other's are compared with them: see
        `shadow_report`. Promoting the other version ends it too, and what was found is deleted with it.

        alias: the handle's own, else production.
        tolerance: of two numbers that count as equal, as a share of the larger one; a millionth unless said.

        Raises Conflict when the version is not ready, or is the one that the alias means.
        """
        alias = alias or self._alias
        if version is None:
            self.client.delete("models", self.name, "aliases", alias, "shadow")
        else:
            body = {"version": version, "percent": percent}
            if tolerance is not None:
                body["tolerance"] = tolerance
            self.client.put("models", self.name, "aliases", alias, "shadow", body=body)
        return self

    def shadow_report(self, alias: str | None = None) -> dict[str, Any]:
        """What the alias's shadow has come to so far, a few seconds ago.

        `versions` has a line for each version that answered callers: calls `compared`, `equal`, `different`,
        `primary_failed`, `shadow_failed` and `dropped`, and the durations of both. `differences` are the newest calls
        that the shadow answered otherwise, or failed at: `path` is the first place where the answers differ; `request`
        and both answers are texts, cut when they are long. Raises NotFound when the alias has no shadow.
        """
        path = ("models", self.name, "aliases", alias or self._alias, "shadow")
        report: dict[str, Any] = self.client.get(*path)
        return {**report, "differences": self.client.get(*path, "differences")["items"]}

    def scale(self, min: int | None = None, max: int | None = None, idle: float | None = None) -> Model:
        """How many replicas each running version of the model has; what is not said stays as it is.

        min: how many there are at least. 0 lets it sleep: without a replica, until somebody calls it. That call waits
            for the cold start.
        max: how many there are at most. More are started while calls wait, and stopped again when they are not needed.
        idle: seconds without a call before it sleeps, a whole number up to a day.

        Raises InvalidInput.
        """
        body: dict[str, Any] = {}
        replicas = {name: value for name, value in (("min", min), ("max", max)) if value is not None}
        if replicas:
            body["replicas"] = replicas
        if idle is not None:
            body["idle_seconds"] = idle
        if body:
            self.client.patch("models", self.name, body=body)
        return self

    def restart(self) -> Model:
        """New replicas in the place of its running ones, which answer until those can."""
        return self.refresh(self.client.ask("models", self.name, "versions", self._number, "restart", body={}))

    def serve_original(self) -> Model:
        """Takes the compiled form of its version back, or stops making one: it is served as it was deployed.

        For good: the next deploy makes a version that is compiled again.
        """
        return self.refresh(self.client.ask("models", self.name, "versions", self._number, "serve-original", body={}))

    def delete(self) -> None:
        """Deletes the model with all its versions."""
        self.client.delete("models", self.name)

    def refresh(self, version: dict[str, Any] | None = None) -> Model:
        """Looks again at what the platform knows about it."""
        self._version = version if version is not None else self._fetch()
        self.__dict__.pop("_form", None)
        return self

    # Details

    @property
    def _details(self) -> dict[str, Any] | None:
        if self._version is None:
            self._version = self._fetch()
        return self._version

    @property
    def _number(self) -> int:
        if self.version is None:
            raise NotFound(f"{self.name}@{self.reference or PRODUCTION} means no version yet.")
        return self.version

    @property
    def _alias(self) -> str:
        return self.reference if self.reference and not self.reference.isdigit() else PRODUCTION

    @property
    def _predict_path(self) -> str:
        return self._path("predict")

    def _path(self, *parts: str) -> str:
        """On the gateway."""
        return "/".join(["/v1", quote(self.client.workspace, safe=""), "models", self._target, *parts])

    @property
    def _target(self) -> str:
        return f"{self.name}@{self.reference}" if self.reference else self.name

    @cached_property
    def _form(self) -> str:
        return self.schema.form if self.schema else "value"

    def _fetch(self) -> dict[str, Any] | None:
        number = self.reference
        if number is None or not number.isdigit():
            model = self.client.get("models", self.name)
            wanted = model["aliases"].get(number or PRODUCTION)
            if wanted is None and number is not None:
                there = ", ".join(sorted(model["aliases"])) or "none"
                raise NotFound(f"The model {self.name} has no alias {number!r}.", hint=f"It has: {there}.")
            if wanted is None:
                wanted = model["latest_version"]
            if wanted is None:
                return None
            number = str(wanted)
        found: dict[str, Any] = self.client.get("models", self.name, "versions", number)
        return found

    def _body(self, inputs: Any, arguments: Mapping[str, Any]) -> Any:
        """Rows or tensors below `inputs`; arguments by name; a model with one field also takes its value alone."""
        schema = self.schema
        if self._form == "table":
            return table_body(_joined(inputs, arguments))
        if self._form == "tensor":
            return {"inputs": json_value(_joined(inputs, arguments))}
        if isinstance(inputs, Mapping) or (inputs is None and arguments):
            return sendable({**(inputs or {}), **arguments})
        if schema is not None and schema.form == "record" and schema.fields:
            return sendable({schema.fields[0].name: inputs, **arguments})
        return inputs if isinstance(inputs, bytes | bytearray) else sendable(inputs)

    def _reads(self, answer: Any) -> Any:
        """What `predict` returns for an answer of the model."""
        if self._form not in ("table", "tensor") or not isinstance(answer, dict) or "predictions" not in answer:
            return answer
        told = answer["predictions"]
        return {name: _as_array(one) for name, one in told.items()} if isinstance(told, dict) else _as_array(told)

    def _ask_rows(self, inputs: Any, timeout: float) -> Iterator[dict[str, Any]]:
        for body in table_bodies(inputs):
            yield self.raw(body, timeout=timeout)

    def _repr_html_(self) -> str:
        rows = "".join(
            f"<tr><th style='text-align:left'>{html.escape(label)}</th><td>{_linked(text)}</td></tr>"
            for label, text in [*self.summary(), ("Status", self.status)]
        )
        return f"<table><caption>{html.escape(self.name)}</caption>{rows}</table>"


# --- what travels


def table_bodies(inputs: Any) -> Iterator[dict[str, Any]]:
    """Requests for the rows of `inputs`, of at most BATCH_ROWS rows each."""
    rows, columns = _rows(inputs)
    for start in range(0, max(len(rows), 1), BATCH_ROWS):
        yield _table_body(rows[start : start + BATCH_ROWS], columns)


def table_body(inputs: Any) -> dict[str, Any]:
    """One request for all of the rows."""
    return _table_body(*_rows(inputs))


def _table_body(rows: list[Any], columns: list[str] | None) -> dict[str, Any]:
    return {"inputs": rows} if columns is None else {"dataframe_split": {"columns": columns, "data": rows}}


def _joined(inputs: Any, arguments: Mapping[str, Any]) -> Any:
    return {**(inputs or {}), **arguments} if arguments else inputs


def _rows(inputs: Any) -> tuple[list[Any], list[str] | None]:
    """Rows as JSON, and the columns' names where the rows are lists with names elsewhere."""
    if _is_pandas(inputs) and hasattr(inputs, "columns"):
        return json_value(inputs.astype(object).values.tolist()), [str(name) for name in inputs.columns]
    if _is_pandas(inputs) and all(isinstance(name, str) for name in inputs.index):
        return [{str(name): json_value(value) for name, value in inputs.items()}], None
    value = json_value(inputs)
    if not isinstance(value, list):
        return [value], None
    is_one_row = bool(value) and not any(isinstance(row, list | dict | str) for row in value)
    return ([value] if is_one_row else value), None


def json_value(value: Any) -> Any:
    """Plain JSON out of numbers, arrays, tables, dates and containers; missing values become null."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, str | bool | int):
        return value
    if isinstance(value, Mapping):
        return {str(key): json_value(one) for key, one in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [json_value(one) for one in value]
    if type(value).__name__ in ("NAType", "NaTType"):
        return None
    if _is_pandas(value) and hasattr(value, "columns"):
        return [json_value(row) for row in value.astype(object).to_dict("records")]
    if hasattr(value, "toarray"):
        value = value.toarray()
    if hasattr(value, "numpy") and not hasattr(value, "tolist"):  # TensorFlow's
        value = value.numpy()
    if hasattr(value, "tolist"):
        return json_value(value.tolist())
    if hasattr(value, "isoformat"):
        return value.isoformat()
    if hasattr(value, "item"):
        return json_value(value.item())
    raise TypeError(f"An object of the class {type(value).__name__} cannot be sent as JSON.")


def sendable(value: Any) -> Any:
    """JSON in which files, bytes and pictures are {name, type, size, data}."""
    if isinstance(value, Mapping):
        return {str(key): sendable(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [sendable(one) for one in value]
    if isinstance(value, Path):
        media = mimetypes.guess_type(value.name)[0] or "application/octet-stream"
        return File(value.name, media, value.read_bytes()).to_json()
    if isinstance(value, bytes | bytearray):
        return File("upload", "application/octet-stream", bytes(value)).to_json()
    if type(value).__module__.partition(".")[0] == "PIL":
        buffer = io.BytesIO()
        value.save(buffer, format="PNG")
        return File("image.png", "image/png", buffer.getvalue()).to_json()
    return value.to_json() if isinstance(value, File) else json_value(value)


def _is_pandas(value: Any) -> bool:
    return type(value).__module__.partition(".")[0] == "pandas"


def _as_array(values: list[Any]) -> Any:
    """A numpy array where numpy is installed: who has a table model usually has it."""
    try:
        import numpy  # optional: the base install does not bring it
    except ImportError:
        return values
    return numpy.array(_with_nan(values))


def _with_nan(values: list[Any]) -> list[Any]:
    """JSON has no NaN: it came as null."""
    return [math.nan if value is None else _with_nan(value) if isinstance(value, list) else value for value in values]


def curl_line(url: str, body: Any) -> str:
    """A line that sends a JSON body from a terminal. The key stays in $TENFOLD_KEY."""
    headers = "-H \"Authorization: Bearer $TENFOLD_KEY\" -H 'Content-Type: application/json'"
    text = json.dumps(_without_bytes(body))
    if len(text) > MAX_SHOWN_BODY:  # a tensor: nobody pastes that
        return f"curl {url} {headers} -d @input.json"
    quoted = text.replace("'", "'\\''")
    return f"curl {url} {headers} -d '{quoted}'"


def _without_bytes(value: Any) -> Any:
    """The value with a placeholder for what no one pastes into a terminal: base64 of a file."""
    if isinstance(value, dict):
        is_file = isinstance(value.get("data"), str) and {"name", "type"} <= value.keys()
        return {key: "BASE64" if is_file and key == "data" else _without_bytes(one) for key, one in value.items()}
    return [_without_bytes(one) for one in value] if isinstance(value, list) else value


def _first_row_only(example: Any, schema: ModelSchema | None) -> Any:
    """An example that fits on a line, its fields in the order of the schema."""
    if not isinstance(example, dict):
        return example
    names = [field.name for field in schema.fields] if schema else []
    rows = example.get("inputs")
    if isinstance(rows, list):
        return {**example, "inputs": [_ordered(row, names) for row in rows[:1]]}
    return _ordered(example, names)


def _ordered(row: Any, names: Sequence[str]) -> Any:
    if not isinstance(row, dict):
        return row
    return {
        name: row[name] for name in [*(one for one in names if one in row), *(one for one in row if one not in names)]
    }


def describe_inputs(schema: ModelSchema) -> str:
    """The fields on one line: `alcohol float, colour str (red|white)`."""
    shown = []
    for field in schema.fields[:8]:
        choices = (
            f" ({'|'.join(map(str, field.choices[:5]))}{'|…' if len(field.choices) > 5 else ''})"
            if field.choices
            else ""
        )
        shown.append(f"{field.name} {_type_of(field)}{'?' if field.nullable else ''}{choices}")
    more = f" and {len(schema.fields) - 8} more" if len(schema.fields) > 8 else ""
    return f"{schema.form}: {', '.join(shown)}{more}" if shown else schema.form


def _type_of(field: Field) -> str:
    if field.type != "tensor":
        return field.type
    shape = ", ".join("?" if size is None else str(size) for size in field.shape or ())
    return f"{field.dtype or 'tensor'}[{shape}]" if field.shape is not None else field.dtype or "tensor"


def describe_output(schema: ModelSchema) -> str:
    output = schema.output
    if output.classes:
        classes = ", ".join(map(str, output.classes[:8])) + (", …" if len(output.classes) > 8 else "")
        return f"{output.kind} ({classes}){' with probabilities' if output.probabilities else ''}"
    return output.kind


def _linked(text: str) -> str:
    shown = html.escape(text)
    if text.startswith(("http://", "https://")):
        return f"<a href='{shown}' target='_blank' rel='noopener'>{shown}</a>"
    return f"<code>{shown}</code>" if text.startswith("curl ") else shown
