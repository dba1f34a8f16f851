/** From a model's schema to a form's values, and from those to the body that predict takes. No React here. */

import type { Json, ModelSchema, SchemaField } from "../api/types";

/** What a control holds: text of a number or of JSON being typed, a switch, a chosen file. Empty text is "not given". */
export type FieldValue = string | boolean | number | FileValue | null;
export type FormValues = Record<string, FieldValue>;

export interface FileValue {
  name: string;
  type: string;
  size: number;
  data: string;
}

export interface BodyResult {
  body: Json;
  /** By field name; empty when the body may be sent. */
  problems: Record<string, string>;
}

export function fieldsOf(schema: ModelSchema | null | undefined): SchemaField[] {
  return schema?.fields ?? [];
}

/** Whether a form can be drawn at all; else only the raw JSON editor is offered. */
export function hasForm(schema: ModelSchema | null | undefined): boolean {
  return fieldsOf(schema).length > 0;
}

export function initialValues(schema: ModelSchema | null, example: Json | undefined): FormValues {
  const given = firstRow(schema, example);
  return Object.fromEntries(
    fieldsOf(schema).map((field) => [field.name, initialValue(field, given[field.name])]),
  );
}

export function bodyOf(schema: ModelSchema, values: FormValues): BodyResult {
  const problems: Record<string, string> = {};
  const record: Record<string, Json> = {};
  for (const field of fieldsOf(schema)) {
    const parsed = parseField(field, values[field.name] ?? null);
    if ("problem" in parsed) problems[field.name] = parsed.problem;
    else if (parsed.value !== undefined) record[field.name] = parsed.value;
  }
  return { body: wrap(schema, record), problems };
}

/** A body that shows the shape, for snippets and an empty editor. */
export function exampleBody(schema: ModelSchema | null): Json {
  if (!schema || !hasForm(schema)) return {};
  const record = Object.fromEntries(fieldsOf(schema).map((field) => [field.name, sampleOf(field)]));
  return wrap(schema, record);
}

function wrap(schema: ModelSchema, record: Record<string, Json>): Json {
  if (schema.form === "record") return record;
  if (schema.form === "value") return Object.values(record)[0] ?? null;
  if (schema.form === "tensor" && fieldsOf(schema).length === 1)
    return { inputs: Object.values(record)[0] ?? null };
  return { inputs: schema.form === "tensor" ? record : [record] };
}

/** The first row of an example in any of the bodies that predict accepts. */
function firstRow(schema: ModelSchema | null, example: Json | undefined): Record<string, Json> {
  const fields = fieldsOf(schema);
  if (example === undefined || example === null) return {};
  if (schema?.form === "value") {
    const [only] = fields;
    return only ? { [only.name]: example } : {};
  }
  if (schema?.form === "record") return isRecord(example) ? example : {};
  if (schema?.form === "tensor") return tensorsOf(fields, example);
  return rowOf(fields, tableRow(example));
}

/** Tensors by name; a model of one input takes its own without a name. */
function tensorsOf(fields: SchemaField[], example: Json): Record<string, Json> {
  const given = isRecord(example) ? (example.inputs ?? example.instances ?? example) : example;
  const [only] = fields;
  if (isRecord(given)) return given;
  return only && fields.length === 1 ? { [only.name]: given } : {};
}

function tableRow(example: Json): Json | undefined {
  if (Array.isArray(example)) return example[0];
  if (!isRecord(example)) return undefined;
  const rows = example.inputs ?? example.instances ?? example.dataframe_records;
  if (Array.isArray(rows)) return rows[0];
  const split = example.dataframe_split;
  if (!isRecord(split) || !Array.isArray(split.columns) || !Array.isArray(split.data)) return undefined;
  const [cells] = split.data;
  if (!Array.isArray(cells)) return undefined;
  return Object.fromEntries(split.columns.map((column, index) => [String(column), cells[index] ?? null]));
}

function rowOf(fields: SchemaField[], row: Json | undefined): Record<string, Json> {
  if (isRecord(row)) return row;
  if (!Array.isArray(row)) return {};
  return Object.fromEntries(fields.map((field, index) => [field.name, row[index] ?? null]));
}

function initialValue(field: SchemaField, given: Json | undefined): FieldValue {
  const value = given ?? field.default ?? null;
  if (field.type === "bool") return field.nullable && value === null ? null : value === true;
  if (field.type === "file" || field.type === "image") return isFile(value) ? value : null;
  if (value === null) return "";
  if (field.choices || field.type === "json" || field.type === "tensor")
    return typeof value === "string" && field.choices ? value : JSON.stringify(value);
  if (typeof value === "object") return JSON.stringify(value);
  return String(value);
}

type Parsed = { value: Json | undefined } | { problem: string };

function parseField(field: SchemaField, value: FieldValue): Parsed {
  if (isEmpty(value)) return emptyField(field);
  if (field.choices) return parseChoice(field.choices, String(value));
  switch (field.type) {
    case "float":
    case "int":
      return parseNumber(field, String(value));
    case "bool":
      return { value: value === true };
    case "json":
      return parseJson(String(value));
    case "tensor":
      return parseTensor(field, String(value));
    case "file":
    case "image":
      return isFile(value) ? { value: { ...value } } : { problem: "Choose a file." };
    case "str":
      return { value: String(value) };
  }
}

function emptyField(field: SchemaField): Parsed {
  if (field.nullable) return { value: null };
  if (hasDefault(field)) return { value: undefined };
  if (field.type === "str" && !field.choices) return { value: "" };
  return { problem: "This is needed." };
}

function parseChoice(choices: Json[], chosen: string): Parsed {
  const value = choices.find((choice) => choiceKey(choice) === chosen);
  return value === undefined ? { problem: `Choose one of ${choices.map(choiceKey).join(", ")}.` } : { value };
}

/** How a choice is written in a select: text as it is, everything else as JSON. */
export function choiceKey(choice: Json): string {
  return typeof choice === "string" ? choice : JSON.stringify(choice);
}

function parseNumber(field: SchemaField, text: string): Parsed {
  const value = Number(text.trim().replace(/(?<=\d),(?=\d{3}\b)/g, ""));
  if (!Number.isFinite(value)) return { problem: "Write a number." };
  if (field.type === "int" && !Number.isInteger(value)) return { problem: "Write a whole number." };
  if (isGiven(field.minimum) && value < field.minimum) return { problem: `At least ${field.minimum}.` };
  if (isGiven(field.maximum) && value > field.maximum) return { problem: `At most ${field.maximum}.` };
  return { value };
}

export function parseJson(text: string): { value: Json } | { problem: string } {
  try {
    return { value: JSON.parse(text) as Json };
  } catch (error) {
    return { problem: `Not JSON: ${error instanceof Error ? error.message : String(error)}` };
  }
}

function parseTensor(field: SchemaField, text: string): Parsed {
  const parsed = parseJson(text);
  if ("problem" in parsed || !field.shape) return parsed;
  const found = shapeOf(parsed.value);
  const fits =
    found?.length === field.shape.length &&
    field.shape.every((size, at) => size === null || size === found[at]);
  return fits ? parsed : { problem: `A tensor of the shape ${shapeText(field.shape)}, as nested lists.` };
}

/** The lengths of nested lists, outermost first; null when they are ragged. */
function shapeOf(value: Json): number[] | null {
  if (!Array.isArray(value)) return [];
  const inner = value.map(shapeOf);
  const [first] = inner;
  if (!first) return value.length === 0 ? [0] : null;
  const isEven = inner.every((shape) => shape && shape.join() === first.join());
  return isEven ? [value.length, ...first] : null;
}

/** `float32, any × 28 × 28`; null for what is no tensor of a known shape. */
export function tensorText({ type, dtype, shape }: SchemaField): string | null {
  return type === "tensor" && shape ? `${dtype ?? "numbers"}, ${shapeText(shape)}` : null;
}

/** `any × 28 × 28`: sizes that are free are called any. */
function shapeText(shape: (number | null)[]): string {
  return shape.map((size) => size ?? "any").join(" × ") || "one number";
}

function sampleOf(field: SchemaField): Json {
  if (hasDefault(field)) return field.default as Json;
  const [choice] = field.choices ?? [];
  if (choice !== undefined) return choice;
  switch (field.type) {
    case "float":
    case "int":
      return field.minimum ?? 0;
    case "bool":
      return false;
    case "str":
      return "text";
    case "json":
      return {};
    case "tensor":
      return sampleTensor(field.shape ?? [1]);
    case "file":
    case "image":
      return { name: "file", type: "application/octet-stream", size: 0, data: "" };
  }
}

const MOST_SAMPLED = 64;

function sampleTensor(shape: (number | null)[]): Json {
  if (shape.reduce<number>((size, each) => size * (each ?? 1), 1) > MOST_SAMPLED) return [];
  return shape.reduceRight<Json>((inner, size) => Array.from({ length: size ?? 1 }, () => inner), 0);
}

function hasDefault(field: SchemaField): boolean {
  return field.default !== undefined && field.default !== null;
}

function isGiven(bound: number | null | undefined): bound is number {
  return bound !== undefined && bound !== null;
}

function isEmpty(value: FieldValue): boolean {
  return value === null || (typeof value === "string" && value.trim() === "");
}

function isFile(value: unknown): value is FileValue {
  return isRecord(value) && typeof value.data === "string" && typeof value.name === "string";
}

function isRecord(value: unknown): value is Record<string, Json> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
