"""The OpenAPI document of an app's endpoints."""

import json

from tenfold_worklets.openapi import openapi_for_app

WORKLET = """
worklet: 1
name: classify-text
title: Classify
description: Sorts one message.
input:
  text: {type: str, example: hello, title: Message}
  limit: {type: int, default: 3}
  files: "list[file]?"
output: {label: {type: str, example: spam, description: The best}, score: float?}
nodes: {a: {model: m, in: {x: =input.text}}}
return: {label: =a.label, score: =a.score}
triggers: {api: {http: true}}
"""


def made(compiled, **app):
    plans = {"classify-text": compiled(WORKLET), "inner": compiled("worklet: 1\nname: inner")}
    app = {"name": "triage"} | app
    return openapi_for_app(app, plans, server_url="https://tenfold.example/", workspace="acme")


def test_each_http_worklet_has_its_endpoint(compiled):
    document = made(compiled, title="Triage", description="Sorts.")
    assert document["openapi"] == "3.1.0"
    assert document["info"] == {"title": "Triage", "description": "Sorts.", "version": "1"}
    assert document["servers"] == [{"url": "https://tenfold.example"}]
    assert list(document["paths"]) == ["/v1/acme/apps/triage/worklets/classify-text"]
    assert made(compiled)["info"]["title"] == "triage"


def test_the_body_is_the_input_and_the_answer_the_output(compiled):
    operation = made(compiled)["paths"]["/v1/acme/apps/triage/worklets/classify-text"]["post"]
    assert (operation["operationId"], operation["summary"]) == ("classify_text", "Classify")
    body = operation["requestBody"]["content"]["application/json"]
    assert body["example"] == {"text": "hello"}
    assert body["schema"]["required"] == ["text"]
    assert body["schema"]["additionalProperties"] is False
    assert body["schema"]["properties"]["text"] == {"type": "string", "title": "Message", "examples": ["hello"]}
    assert body["schema"]["properties"]["limit"] == {"type": "integer", "default": 3}
    assert body["schema"]["properties"]["files"]["type"] == ["array", "null"]
    answer = operation["responses"]["200"]["content"]["application/json"]
    assert answer["schema"]["required"] == ["label"]
    assert answer["schema"]["properties"]["score"] == {"type": ["number", "null"]}
    assert answer["example"] == {"label": "spam"}


def test_every_error_has_the_one_shape(compiled):
    document = made(compiled)
    operation = document["paths"]["/v1/acme/apps/triage/worklets/classify-text"]["post"]
    errors = set(operation["responses"]) - {"200"}
    assert errors == {"400", "401", "404", "429", "500", "503", "504"}
    for status in errors:
        name = operation["responses"][status]["$ref"].rpartition("/")[2]
        response = document["components"]["responses"][name]
        assert response["content"]["application/json"]["schema"] == {"$ref": "#/components/schemas/Error"}
    assert set(document["components"]["schemas"]["Error"]["properties"]["error"]["properties"]) == {
        "code",
        "message",
        "hint",
        "details",
        "request_id",
    }
    assert document["security"] == [{"key": []}]
    assert document["components"]["securitySchemes"]["key"]["scheme"] == "bearer"


def test_references_point_at_something_and_it_is_json(compiled):
    document = made(compiled)
    text = json.dumps(document)
    for part in text.split('"$ref": "#/')[1:]:
        place = document
        for key in part.partition('"')[0].split("/"):
            place = place[key]
        assert place


def test_an_example_that_lacks_a_required_input_is_left_out(compiled):
    plan = compiled("input: {a: {type: str, example: x}, b: str}\ntriggers: {api: {http: true}}")
    document = openapi_for_app({"name": "a"}, {"w": plan}, server_url="http://x", workspace="y")
    (path,) = document["paths"].values()
    assert "example" not in path["post"]["requestBody"]["content"]["application/json"]
