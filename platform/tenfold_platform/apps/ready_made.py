"""The app that a model comes with: one worklet (pre, model, post) and one view, made from the model's schema.

It is an ordinary app, saved and editable. For as long as nobody has edited it, it follows the model: a new production
version makes a new release. Once edited, it is its author's.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from tenfold_expressions import dump_yaml
from tenfold_platform.apps import service
from tenfold_platform.apps.tables import Access, AppTable, ReleaseTable
from tenfold_platform.ids import new_id
from tenfold_platform.models.tables import ModelTable, VersionTable

MADE_BY = "tenfold"
VIEW = "app"
WORKLET = "predict"

STEPS = '''"""The two steps around the model. Change them freely: this app is yours."""

FIELDS = {fields}
CLASSES = {classes}


def prepare(values: dict) -> {body_type}:
    """The form's values as the body that the model takes."""
    missing = [name for name, field in FIELDS.items() if not field["nullable"] and values.get(name) is None]
    if missing:
        raise ValueError(f"Fill in: {{', '.join(missing)}}.")
    unknown = [name for name in values if name not in FIELDS]
    if unknown:
        raise ValueError(f"There is no field named {{unknown[0]}}. Fields are: {{', '.join(FIELDS)}}.")
    record = {{name: values.get(name) for name in FIELDS}}
    return {body}


def present(answer) -> dict:
    """The model's answer as the view shows it."""
{present}
'''

BODIES = {
    "table": ("dict", '{"inputs": [record]}'),
    "record": ("dict", "record"),
    "value": ("object", "next(iter(record.values()), None)"),
    "tensor": ("dict", '{"inputs": record}'),
    "one tensor": ("dict", '{"inputs": next(iter(record.values()))}'),
}

PRESENT = {
    "classification": """    prediction = answer["predictions"][0]
    scores = (answer.get("probabilities") or [None])[0]
    if scores is None:
        return {"prediction": prediction, "scores": None}
    classes = answer.get("classes") or CLASSES
    return {"prediction": prediction, "scores": {str(name): score for name, score in zip(classes, scores)}}""",
    "regression": """    prediction = answer["predictions"][0] if isinstance(answer, dict) else answer
    return {"prediction": prediction}""",
    "scores": """    best = max(answer, key=answer.get) if answer else None
    return {"prediction": best, "scores": answer}""",
    "text": """    return {"text": answer if isinstance(answer, str) else str(answer)}""",
    "image": """    return {"image": answer}""",
    "table": """    return {"rows": answer}""",
    "json": """    return {"value": answer}""",
}
PRESENT_TENSOR = {
    "classification": PRESENT["classification"],
    "regression": """    prediction = answer["predictions"][0]
    while isinstance(prediction, list) and len(prediction) == 1:
        prediction = prediction[0]
    return {"prediction": prediction}""",
}
ARRAYS_ONLY = """    answer = answer["predictions"]
"""


def files_for(model_name: str, description: str, schema: dict[str, Any], example: Any) -> dict[str, str]:
    """The app's files, by path."""
    title = model_name.replace("-", " ").capitalize()
    return {
        "app.yaml": dump_yaml(
            {"app": 1, "name": model_name, "title": title, "description": description, "home": VIEW}
            if description
            else {"app": 1, "name": model_name, "title": title, "home": VIEW}
        ),
        f"worklets/{WORKLET}.yaml": dump_yaml(_worklet(model_name, title)),
        f"views/{VIEW}.yaml": dump_yaml(_view(title, description, schema, example)),
        "code/steps.py": _steps(schema),
    }


def refresh(session: Session, model: ModelTable, version: VersionTable, now: datetime) -> ReleaseTable | None:
    """Makes the model's app, or releases it anew for a new production version. None when it was edited."""
    if not version.schema:
        return None
    files = {
        path: text.encode()
        for path, text in files_for(model.name, model.description, version.schema, version.example).items()
    }
    app = session.scalars(
        select(AppTable).where(AppTable.made_for_model_id == model.id).with_for_update()
    ).one_or_none()
    if app is None:
        app = _new_app(session, model)
    elif service.draft_digest(service.read_draft(session, app)) != app.made_digest:
        return None
    service.write_draft(session, app, files, updated_by=MADE_BY)
    app.made_digest = service.draft_digest(files)
    return service.create_release(
        session, app, note=f"For version {version.number} of {model.name}.", created_by=MADE_BY, now=now
    )


def _new_app(session: Session, model: ModelTable) -> AppTable:
    """Named like its model, or `<model>-app` where that name is taken. Shared by link: that is what it is for."""
    taken = set(session.scalars(select(AppTable.name).where(AppTable.workspace_id == model.workspace_id)))
    candidates = [model.name, *(f"{model.name[:55]}-app{number or ''}" for number in ["", *range(2, 100)])]
    app = AppTable(
        id=new_id(),
        workspace_id=model.workspace_id,
        name=next(name for name in candidates if name not in taken),
        access=Access.LINK,
        made_for_model_id=model.id,
    )
    session.add(app)
    session.flush()
    return app


def _worklet(model_name: str, title: str) -> dict[str, Any]:
    return {
        "worklet": 1,
        "name": WORKLET,
        "title": title,
        "input": {"values": "json"},
        "output": {"result": "json"},
        "nodes": {
            "prepare": {"pre": "code/steps.py:prepare", "in": {"values": "=input.values"}},
            "score": {"model": f"{model_name}@production", "in": "=prepare"},
            "present": {"post": "code/steps.py:present", "in": {"answer": "=score"}},
        },
        "return": {"result": "=present"},
        "triggers": {"api": {"http": True}},
    }


def _view(title: str, description: str, schema: dict[str, Any], example: Any) -> dict[str, Any]:
    view: dict[str, Any] = {"view": 1, "name": VIEW, "title": title}
    if description:
        view["description"] = description
    fields = [_form_field(field) for field in schema.get("fields", [])]
    form_props: dict[str, Any] = {"schema": fields, "submit_label": "Predict"}
    initial = first_record(schema, example)
    if initial:
        form_props["initial"] = initial
    wide = len(fields) > 1
    nodes: dict[str, Any] = {
        "columns": {"type": "row", "at": ["page", "body", "a0"]},
        "input_card": {
            "type": "card",
            "at": ["columns", "body", "a0"],
            "span": {"base": 12, "md": 7 if wide else 6},
            "props": {"title": "Input"},
        },
        "form": {
            "type": "schema-form",
            "at": ["input_card", "body", "a0"],
            "props": form_props,
            "on": {"submit": [{"run": "predict"}]},
        },
        "result_card": {
            "type": "card",
            "at": ["columns", "body", "a1"],
            "span": {"base": 12, "md": 5 if wide else 6},
            "props": {"title": "Result"},
        },
    }
    for number, (name, node) in enumerate(_result_nodes(schema.get("output", {})).items()):
        nodes[name] = {"type": node["type"], "at": ["result_card", "body", f"a{number}"], "props": node["props"]}
    view["queries"] = {"predict": {"worklet": WORKLET, "run": "manual", "in": {"values": "=form.value"}}}
    view["nodes"] = nodes
    return view


def _form_field(field: dict[str, Any]) -> dict[str, Any]:
    """An array is entered as JSON, under a line that says what fits."""
    if field["type"] != "tensor":
        return field
    shape = field.get("shape")
    sizes = ["any" if size is None else str(size) for size in shape] if shape is not None else None
    said = f"An array of {field.get('dtype') or 'numbers'}"
    said += "." if sizes is None else f" of the shape [{', '.join(sizes)}]; the first dimension is the batch."
    kept = {name: field[name] for name in ("name", "title", "nullable", "default") if field.get(name) is not None}
    return {**kept, "type": "json", "description": field.get("description") or said}


def _result_nodes(output: dict[str, Any]) -> dict[str, Any]:
    result = "=predict.data.result"
    match output.get("kind", "json"):
        case "classification" | "scores":
            nodes = {"prediction": _node("statistic", label="Prediction", value=f"{result}.prediction")}
            if output["kind"] == "scores" or output.get("probabilities"):
                nodes["scores"] = _node("class-scores", label="Probabilities", scores=f"{result}.scores")
            return nodes
        case "regression":
            label = output.get("name") or "Prediction"
            return {"prediction": _node("statistic", label=str(label), value=f"{result}.prediction")}
        case "text":
            return {"answer": _node("markdown", text=f"{result}.text")}
        case "image":
            return {"picture": _node("image", source=f"{result}.image", alt="The model's answer")}
        case "table":
            return {"rows": _node("table", rows=f"{result}.rows", label="Result")}
        case _:
            return {"answer": _node("json", value=f"{result}.value", label="Result")}


def _node(kind: str, **props: Any) -> dict[str, Any]:
    return {"type": kind, "props": props}


def first_record(schema: dict[str, Any], example: Any) -> dict[str, Any]:
    """The example's first row by field name: what the form is filled with at first. Files are for people to choose."""
    fields = schema.get("fields", [])
    names = [field["name"] for field in fields]
    files = {field["name"] for field in fields if field["type"] in ("file", "image")}
    match schema.get("form"), example:
        case "table", {"inputs": [dict() as row, *_]}:
            found = {name: row[name] for name in names if name in row}
        case "table", {"inputs": [list() as row, *_]}:
            found = dict(zip(names, row, strict=False))
        case "record", dict() as row:
            found = {name: row[name] for name in names if name in row}
        case "value", value if value is not None and names:
            found = {names[0]: value}
        case "tensor", {"inputs": dict() as arrays}:
            found = {
                name: _first_row(field, arrays[name])
                for name, field in zip(names, fields, strict=True)
                if name in arrays
            }
        case "tensor", {"inputs": array} if len(names) == 1:
            found = {names[0]: _first_row(fields[0], array)}
        case _:
            found = {field["name"]: field["default"] for field in fields if field.get("default") is not None}
    return {name: value for name, value in found.items() if value is not None and name not in files}


def _first_row(field: dict[str, Any], array: Any) -> Any:
    """Of any number of rows one, as of a table: that is what the result is shown of."""
    is_batch = (field.get("shape") or [0])[0] is None
    return array[:1] if is_batch and isinstance(array, list) else array


def _steps(schema: dict[str, Any]) -> str:
    form = schema.get("form", "value")
    is_tensor = form == "tensor"
    body_type, body = BODIES["one tensor" if is_tensor and len(schema.get("fields", [])) == 1 else form]
    output = schema.get("output", {})
    fields = {
        field["name"]: {"type": field["type"], "nullable": bool(field.get("nullable"))}
        for field in schema.get("fields", [])
    }
    return STEPS.format(
        fields=_python(fields),
        classes=_python(output.get("classes") or []),
        body_type=body_type,
        body=body,
        present=_present_tensor(output.get("kind", "json")) if is_tensor else PRESENT[output.get("kind", "json")],
    )


def _present_tensor(kind: str) -> str:
    return PRESENT_TENSOR.get(kind) or ARRAYS_ONLY + PRESENT[kind]


def _python(value: Any) -> str:
    """A literal, one entry a line."""
    if isinstance(value, dict):
        lines = "".join(f"    {key!r}: {entry!r},\n" for key, entry in value.items())
        return f"{{\n{lines}}}" if lines else "{}"
    return repr(value)
