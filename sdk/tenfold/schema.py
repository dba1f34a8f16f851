"""What a model takes and gives, in the form that the platform makes forms, endpoints and apps from."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any, Literal

FieldType = Literal["float", "int", "str", "bool", "json", "file", "image", "tensor"]
Form = Literal["table", "record", "value", "tensor"]
OutputKind = Literal["classification", "regression", "scores", "text", "image", "table", "json"]


@dataclass(frozen=True)
class Field:
    """One value that the model takes: a column of a table, an argument of a function.

    `choices` are the only values allowed; `minimum` and `maximum` bound a number; `step` and `default` are for forms.
    Of a tensor, `dtype` is numpy's name of its type (or "str"), and `shape` its dimensions, None for one of any length;
    the first is the batch.
    """

    name: str
    type: FieldType
    title: str | None = None
    description: str | None = None
    nullable: bool = False
    choices: list[Any] | None = None
    minimum: float | None = None
    maximum: float | None = None
    step: float | None = None
    default: Any = None
    dtype: str | None = None
    shape: list[int | None] | None = None


@dataclass(frozen=True)
class Output:
    """What the model answers. `classes` and `probabilities` belong to classification, `name` to regression."""

    kind: OutputKind = "json"
    name: str | None = None
    classes: list[Any] | None = None
    probabilities: bool = False


@dataclass(frozen=True)
class ModelSchema:
    """What a model takes and gives.

    `form` is "table" (rows of fields), "record" (one object of fields), "tensor" (arrays by name) or "value" (any JSON,
    as one field says).
    """

    form: Form
    fields: tuple[Field, ...] = ()
    output: Output = field(default_factory=Output)

    def to_json(self) -> dict[str, Any]:
        return {
            "version": 1,
            "form": self.form,
            "fields": [_without_nothing(asdict(one)) for one in self.fields],
            "output": _without_nothing(asdict(self.output)),
        }

    @classmethod
    def of(cls, given: ModelSchema | dict[str, Any]) -> ModelSchema:
        """From its JSON form. Raises TypeError or KeyError when that is not one."""
        if isinstance(given, ModelSchema):
            return given
        return cls(
            form=given["form"],
            fields=tuple(Field(**one) for one in given.get("fields", ())),
            output=Output(**given.get("output", {})),
        )


def _without_nothing(values: dict[str, Any]) -> dict[str, Any]:
    flags = ("nullable", "probabilities")
    return {name: value for name, value in values.items() if value is not None and (value or name not in flags)}
