"""OpenAPI 3.1 of the endpoints that an app's worklets have."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tenfold_worklets.plan import Plan, Port
from tenfold_worklets.types import Json, to_json_schema

_ERRORS: Mapping[str, tuple[str, str]] = {
    "400": ("BadInput", "The input does not match; `details` names the fields"),
    "401": ("Unauthorized", "The key is missing or not valid"),
    "404": ("NotFound", "There is no such worklet, or the key may not see it"),
    "429": ("TooMany", "Too many runs at once; try again after `Retry-After` seconds"),
    "500": ("RunFailed", "A step failed; `message` says which and why"),
    "503": ("NotReady", "Something the worklet needs is not running; try again after `Retry-After` seconds"),
    "504": ("DeadlinePassed", "The run took longer than its deadline"),
}
_RETRY_AFTER = {"429", "503"}


def openapi_for_app(
    app: Mapping[str, Json], worklets: Mapping[str, Plan], *, server_url: str, workspace: str
) -> dict[str, Json]:
    """Describe the worklets that have an HTTP trigger.

    `app` has the app's `name`, and `title` and `description` where it has them; `server_url` is the gateway's address,
    or `/` where the document is served from there.
    """
    served = {name: plan for name, plan in sorted(worklets.items()) if plan.http}
    return {
        "openapi": "3.1.0",
        "jsonSchemaDialect": "https://json-schema.org/draft/2020-12/schema",
        "info": _info(app),
        "servers": [{"url": server_url.rstrip("/") or "/"}],
        "security": [{"key": []}],
        "paths": {
            f"/v1/{workspace}/apps/{app['name']}/worklets/{name}": {"post": _operation(name, plan)}
            for name, plan in served.items()
        },
        "components": {
            "securitySchemes": {
                "key": {"type": "http", "scheme": "bearer", "description": "A workspace's key, `tf_…`"}
            },
            "schemas": {"Error": _ERROR_SCHEMA},
            "responses": {name: _error_response(status, text) for status, (name, text) in _ERRORS.items()},
        },
    }


def _info(app: Mapping[str, Json]) -> dict[str, Json]:
    info: dict[str, Json] = {"title": app.get("title") or app["name"], "version": "1"}
    if app.get("description"):
        info["description"] = app["description"]
    return info


def _operation(name: str, plan: Plan) -> dict[str, Json]:
    responses: dict[str, Json] = {
        "200": {
            "description": "What the worklet returned",
            "headers": {"X-Tenfold-Run": {"description": "The run's id", "schema": {"type": "string"}}},
            "content": {"application/json": {"schema": _output_schema(plan)} | _example(plan.output or ())},
        }
    }
    for status, (response, _) in _ERRORS.items():
        responses[status] = {"$ref": f"#/components/responses/{response}"}
    operation: dict[str, Json] = {
        "operationId": name.replace("-", "_"),
        "summary": plan.title or name,
        "tags": ["worklets"],
        "requestBody": {
            "required": True,
            "content": {"application/json": {"schema": object_schema(plan.input)} | _example(plan.input)},
        },
        "responses": responses,
    }
    if plan.description:
        operation["description"] = plan.description
    return operation


def object_schema(ports: Sequence[Port], *, closed: bool = True) -> dict[str, Json]:
    """The JSON Schema of an object with these ports as its members."""
    schema: dict[str, Json] = {"type": "object", "properties": {port.name: _port_schema(port) for port in ports}}
    if required := [port.name for port in ports if port.required]:
        schema["required"] = required
    if closed:
        schema["additionalProperties"] = False
    return schema


def _output_schema(plan: Plan) -> dict[str, Json]:
    return {} if plan.output is None else object_schema(plan.output, closed=False)


def _port_schema(port: Port) -> dict[str, Json]:
    schema = to_json_schema(port.type)
    for key in ("title", "description"):
        if text := getattr(port, key):
            schema[key] = text
    if port.has_default:
        schema["default"] = port.default
    if port.example is not None:
        schema["examples"] = [port.example]
    return schema


def _example(ports: Sequence[Port]) -> dict[str, Json]:
    """An example of the whole object, if every port that must be there has one."""
    known = {port.name: port.example for port in ports if port.example is not None}
    complete = known and all(port.name in known for port in ports if port.required)
    return {"example": known} if complete else {}


def _error_response(status: str, text: str) -> dict[str, Json]:
    response: dict[str, Json] = {
        "description": text,
        "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}},
    }
    if status in _RETRY_AFTER:
        response["headers"] = {"Retry-After": {"description": "Seconds", "schema": {"type": "integer"}}}
    return response


_ERROR_SCHEMA: Mapping[str, Json] = {
    "type": "object",
    "required": ["error"],
    "properties": {
        "error": {
            "type": "object",
            "required": ["code", "message", "request_id"],
            "properties": {
                "code": {"type": "string", "description": "Stable, for programs"},
                "message": {"type": "string", "description": "What went wrong, for people"},
                "hint": {"type": ["string", "null"], "description": "What to do about it"},
                "details": {"description": "For bad input, a list of {path, message, hint}"},
                "request_id": {"type": "string"},
            },
        }
    },
}
