import { isFileValue } from "../../engine/actions";
import type { Json, JsonObject } from "../../engine/document";
import { isObject, same } from "../../engine/values";
import { flag, number, text } from "../contract";

export type FieldType = "float" | "int" | "str" | "bool" | "json" | "file" | "image";
const TYPES: readonly FieldType[] = ["float", "int", "str", "bool", "json", "file", "image"];

export interface Field {
  name: string;
  type: FieldType;
  title: string;
  description: string;
  nullable: boolean;
  choices: Json[] | null;
  minimum: number | undefined;
  maximum: number | undefined;
  step: number | undefined;
  default: Json;
  multiline: boolean;
}

/** The fields of a model schema, or of a bare list. What is not a field is left out. */
export function fieldsOf(schema: Json | undefined): Field[] {
  const written = isObject(schema) ? schema.fields : schema;
  if (!Array.isArray(written)) return [];
  const entries = written.filter(
    (entry): entry is JsonObject => isObject(entry) && typeof entry.name === "string",
  );
  return entries.map((entry) => fieldOf(entry, entries.length === 1));
}

function fieldOf(entry: JsonObject, alone: boolean): Field {
  const type = TYPES.find((known) => known === entry.type) ?? "json";
  return {
    name: text(entry.name),
    type,
    title: text(entry.title) || titleOf(text(entry.name)),
    description: text(entry.description),
    nullable: flag(entry.nullable),
    choices: Array.isArray(entry.choices) && entry.choices.length > 0 ? entry.choices : null,
    minimum: number(entry.minimum),
    maximum: number(entry.maximum),
    step: number(entry.step),
    default: entry.default ?? null,
    multiline: entry.multiline === undefined ? alone && type === "str" : flag(entry.multiline),
  };
}

/** `petal_length` reads as "Petal length"; a name that someone styled, such as "Petal Length (cm)", stays. */
function titleOf(name: string): string {
  if (/[A-Z\s]/.test(name)) return name;
  const words = name.replace(/[_-]+/g, " ").trim();
  return words.charAt(0).toUpperCase() + words.slice(1);
}

export interface FormState {
  value: JsonObject;
  errors: Record<string, string>;
  /** Text of JSON fields and numbers as it is being typed. */
  texts: Record<string, string>;
}

/** What the form holds: what it began with, and over it what a person entered since. */
export function formState(props: JsonObject, local: JsonObject): FormState {
  const fields = fieldsOf(props.schema);
  const initial = isObject(props.initial) ? props.initial : {};
  // When it begins with other values, what was entered before is about something else.
  const current = same(local.base ?? {}, initial);
  const entered = current && isObject(local.values) ? local.values : {};
  const texts = current && isObject(local.texts) ? (local.texts as Record<string, string>) : {};
  const value: JsonObject = {};
  const errors: Record<string, string> = {};
  for (const field of fields) {
    const given = field.name in entered ? entered[field.name] : (initial[field.name] ?? startOf(field));
    value[field.name] = given ?? null;
    const problem = problemOf(field, given ?? null, texts[field.name]);
    if (problem) errors[field.name] = problem;
  }
  return { value, errors, texts };
}

function startOf(field: Field): Json {
  if (field.default !== null) return field.default;
  return field.type === "bool" && !field.nullable && !field.choices ? false : null;
}

/** The patch of local state when a field got a value (and, for what is typed, its text). */
export function entered(
  props: JsonObject,
  local: JsonObject,
  name: string,
  value: Json,
  typed?: string,
): JsonObject {
  const initial = isObject(props.initial) ? props.initial : {};
  const current = same(local.base ?? {}, initial);
  const values = current && isObject(local.values) ? local.values : {};
  const texts = { ...(current && isObject(local.texts) ? local.texts : {}) };
  if (typed === undefined) delete texts[name];
  else texts[name] = typed;
  return { base: initial, values: { ...values, [name]: value }, texts };
}

export function problemOf(field: Field, value: Json, typed?: string): string | null {
  if (field.type === "json" && typed !== undefined && typed.trim() && parsedJson(typed) === undefined)
    return "This is not JSON.";
  const missing = value === null || (value === "" && field.default !== "");
  if (missing) return field.nullable ? null : "This is needed.";
  if (field.choices) {
    return field.choices.some((choice) => same(choice, value)) ? null : "Choose one of the list.";
  }
  if (field.type === "int" || field.type === "float") return numberProblem(field, value);
  if (field.type === "image" && isFileValue(value) && !value.type.startsWith("image/"))
    return "This is not an image.";
  return null;
}

function numberProblem(field: Field, value: Json): string | null {
  if (typeof value !== "number") return "This is not a number.";
  if (field.type === "int" && !Number.isInteger(value)) return "A whole number.";
  if (field.minimum !== undefined && value < field.minimum) return `Not less than ${field.minimum}.`;
  if (field.maximum !== undefined && value > field.maximum) return `Not more than ${field.maximum}.`;
  return null;
}

export function parsedJson(typed: string): Json | undefined {
  try {
    return JSON.parse(typed) as Json;
  } catch {
    return undefined;
  }
}

/** A step that suits the field: its own, a hundredth of its range, or one. */
export function stepOf(field: Field): number {
  if (field.step !== undefined) return field.step;
  if (field.type === "int") return 1;
  const { minimum, maximum } = field;
  if (minimum === undefined || maximum === undefined || maximum <= minimum) return 0.1;
  return 10 ** Math.floor(Math.log10((maximum - minimum) / 20));
}
