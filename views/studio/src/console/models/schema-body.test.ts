import { describe, expect, it } from "vitest";
import type { Json, ModelSchema, SchemaField } from "../api/types";
import { bodyOf, exampleBody, initialValues, parseJson } from "./schema-body";

const schema = (form: "table" | "record" | "value", ...fields: SchemaField[]): ModelSchema => ({
  version: 1,
  form,
  fields,
});
const age: SchemaField = { name: "age", type: "int", minimum: 0, maximum: 120, default: null, choices: null };
const plan: SchemaField = { name: "plan", type: "str", choices: ["free", "paid"] };
const active: SchemaField = { name: "active", type: "bool" };

describe("the form begins with the example", () => {
  const table = schema("table", age, plan, active);
  const values = { age: "42", plan: "paid", active: true };
  const bodies: [string, Json][] = [
    ["rows of fields", { inputs: [{ age: 42, plan: "paid", active: true }] }],
    ["rows in field order", { inputs: [[42, "paid", true]] }],
    ["instances", { instances: [{ age: 42, plan: "paid", active: true }] }],
    ["dataframe_records", { dataframe_records: [{ age: 42, plan: "paid", active: true }] }],
    [
      "dataframe_split",
      { dataframe_split: { columns: ["plan", "age", "active"], data: [["paid", 42, true]] } },
    ],
    ["bare rows", [[42, "paid", true]]],
  ];
  it.each(bodies)("%s", (_, example) => {
    expect(initialValues(table, example)).toEqual(values);
  });

  it("of a record, or of one value", () => {
    expect(initialValues(schema("record", age), { age: 7 })).toEqual({ age: "7" });
    expect(initialValues(schema("value", { name: "value", type: "json" }), { a: [1] })).toEqual({
      value: '{"a":[1]}',
    });
  });

  it("or with defaults, or empty", () => {
    const preset = { ...age, default: 30 };
    expect(initialValues(schema("table", preset, plan, active), undefined)).toEqual({
      age: "30",
      plan: "",
      active: false,
    });
  });
});

describe("the body is what predict takes", () => {
  it("a table's row", () => {
    const { body, problems } = bodyOf(schema("table", age, plan, active), {
      age: "42",
      plan: "paid",
      active: false,
    });
    expect(problems).toEqual({});
    expect(body).toEqual({ inputs: [{ age: 42, plan: "paid", active: false }] });
  });

  it("a record itself, without what has a default and was left empty", () => {
    const { body, problems } = bodyOf(
      schema("record", age, { name: "note", type: "json", default: { a: 1 } }),
      { age: "3", note: "" },
    );
    expect(problems).toEqual({});
    expect(body).toEqual({ age: 3 });
  });

  it("a value itself", () => {
    expect(bodyOf(schema("value", { name: "value", type: "json" }), { value: "[1, 2]" }).body).toEqual([
      1, 2,
    ]);
  });

  it("choices keep their type", () => {
    const stars: SchemaField = { name: "stars", type: "int", choices: [1, 2, 3] };
    expect(bodyOf(schema("record", stars), { stars: "2" }).body).toEqual({ stars: 2 });
  });

  it("an empty field that may be empty is null", () => {
    expect(bodyOf(schema("record", { ...age, nullable: true }), { age: "" })).toEqual({
      body: { age: null },
      problems: {},
    });
  });

  it("a file is sent as it was read", () => {
    const file = { name: "a.png", type: "image/png", size: 3, data: "AAAA" };
    expect(bodyOf(schema("value", { name: "picture", type: "image" }), { picture: file }).body).toEqual(file);
  });

  it("everything that is wrong is said at once, by field", () => {
    const fields = [
      age,
      { ...plan },
      { name: "rate", type: "float" as const },
      { name: "more", type: "json" as const },
    ];
    const { problems } = bodyOf(schema("table", ...fields), {
      age: "200",
      plan: "gold",
      rate: "much",
      more: "{",
    });
    expect(problems).toEqual({
      age: "At most 120.",
      plan: "Choose one of free, paid.",
      rate: "Write a number.",
      more: expect.stringMatching(/^Not JSON/),
    });
  });

  it.each([
    ["", "This is needed."],
    ["1.5", "Write a whole number."],
    ["-1", "At least 0."],
  ])("a whole number of %j: %s", (text, problem) => {
    expect(bodyOf(schema("table", age), { age: text }).problems).toEqual({ age: problem });
  });
});

describe("an example is made up where there is none", () => {
  it("from choices, bounds and types", () => {
    const floor: SchemaField = { name: "floor", type: "float", minimum: 2.5 };
    expect(exampleBody(schema("table", floor, plan, active))).toEqual({
      inputs: [{ floor: 2.5, plan: "free", active: false }],
    });
  });

  it("and is empty without a schema", () => {
    expect(exampleBody(null)).toEqual({});
  });
});

it("raw JSON says where it is wrong", () => {
  expect(parseJson("{")).toEqual({ problem: expect.stringMatching(/^Not JSON: /) });
  expect(parseJson("null")).toEqual({ value: null });
});
