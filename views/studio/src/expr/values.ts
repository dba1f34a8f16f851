/**
 * Values and what may be asked of any of them: kind, truth, equality, order, text form, JSON text.
 *
 * Numbers are IEEE doubles; what is not finite is null, and there is no negative zero.
 * Text is a sequence of code points. A lone surrogate is replaced by U+FFFD before text is worked on.
 */

import { Moment } from "./dates";
import { ExpressionError } from "./errors";
import { FORBIDDEN } from "./syntax";
import { comparePoints, countPoints, pointAt, wellFormed } from "./text";

export type Json = null | boolean | number | string | Json[] | { [key: string]: Json };
export type Scope = Readonly<Record<string, unknown>>;
export type Plain = Readonly<Record<string, unknown>>;
export type Kind = "null" | "boolean" | "number" | "text" | "list" | "object" | "date";

export const TYPE_NAME: Readonly<Record<Kind, string>> = {
  null: "null",
  boolean: "true or false",
  number: "a number",
  text: "text",
  list: "a list",
  object: "an object",
  date: "a date",
};
const ORDER: Readonly<Record<Kind, number>> = {
  boolean: 0,
  number: 1,
  date: 2,
  text: 3,
  list: 4,
  object: 5,
  null: 6,
};

export const MAX_TEXT = 1_000_000;
export const MAX_ITEMS = 100_000;
export const MAX_VALUES = 250_000;
export const MAX_VALUE_DEPTH = 100;
export const FUEL = 200_000;
const TEXT_STEP = 256;
const LIST_STEP = 8;

/** Where an operation is written, for its errors. */
export interface Place {
  readonly position: number;
  readonly called: string;
}

export function badArgument(place: Place, message: string, hint = ""): ExpressionError {
  return new ExpressionError("bad_argument", `\`${place.called}\` ${message}`, place.position, hint);
}

/** One evaluation: the scope, the arrow functions' parameters, and the fuel that is left. */
export class Frame {
  readonly slots: unknown[];

  constructor(
    readonly scope: Scope,
    slots: number,
    public fuel: number,
  ) {
    this.slots = slots > 0 ? new Array(slots).fill(null) : NO_SLOTS;
  }

  spend(steps: number): void {
    this.fuel -= steps;
    if (this.fuel < 0) {
      const hint = "Work on fewer items, or use code.";
      throw new ExpressionError("fuel", "this expression takes too many steps", 0, hint);
    }
  }

  spendText(text: string): void {
    this.spend(Math.floor(text.length / TEXT_STEP));
  }
}

const NO_SLOTS: unknown[] = [];

export function kind(value: unknown): Kind {
  switch (typeof value) {
    case "string":
      return "text";
    case "number":
      return Number.isFinite(value) ? "number" : "null";
    case "boolean":
      return "boolean";
    case "undefined":
      return "null";
    case "object":
      if (value === null) return "null";
      if (Array.isArray(value)) return "list";
      if (value instanceof Moment) return "date";
      if (isPlain(value)) return "object";
  }
  const type = typeof value === "object" ? "host object" : typeof value;
  throw new ExpressionError(
    "bad_value",
    `a value of type ${type} is not JSON`,
    0,
    "Give the expression JSON values only.",
  );
}

/** Made by {} or JSON.parse, here or in another frame: its prototype, if any, is the root of all objects. */
function isPlain(value: object): value is Plain {
  const prototype: unknown = Object.getPrototypeOf(value);
  return prototype === null || prototype === Object.prototype || Object.getPrototypeOf(prototype) === null;
}

export function isObject(value: unknown): value is Plain {
  return kind(value) === "object";
}

/** As in JavaScript: null, false, 0 and empty text are false; empty lists and objects are true. */
export function truthy(value: unknown): boolean {
  return Boolean(value);
}

/** The number in its one form: never negative zero; null where it is not finite. */
export function number(value: number): number | null {
  return Number.isFinite(value) ? value + 0 : null;
}

/** What is read from outside: missing is null, and so is a number that JSON cannot hold. */
export function clean(value: unknown): unknown {
  if (value === undefined) return null;
  return typeof value === "number" && !Number.isFinite(value) ? null : value;
}

/** Read a key of an object, or the length of text and lists. What is not there is null. */
export function own(value: unknown, key: string): unknown {
  if (typeof value === "string") return key === "length" ? countPoints(value) : null;
  if (typeof value !== "object" || value === null) return null;
  if (Array.isArray(value)) return key === "length" ? value.length : null;
  return Object.hasOwn(value, key) ? clean((value as Plain)[key]) : null;
}

/** Read `value[index]`. Forbidden keys are an error, whatever the value is. */
export function atIndex(value: unknown, index: unknown): unknown {
  if (typeof index === "string") return own(value, allowKey(index));
  if (kind(index) !== "number") return null;
  const wanted = index as number;
  if (typeof value !== "string" && !Array.isArray(value)) return own(value, numberText(wanted));
  if (!Number.isSafeInteger(wanted) || wanted < 0) return null;
  return typeof value === "string" ? pointAt(wellFormed(value), wanted) : clean(value[wanted]);
}

export function allowKey(key: string): string {
  if (FORBIDDEN.has(key)) {
    throw new ExpressionError("forbidden_name", `\`${key}\` may not be used`, 0, "Choose another key.");
  }
  return key;
}

/** Strict and deep: unlike kinds are never equal; lists and objects are equal when all they hold is. */
export function equal(frame: Frame, left: unknown, right: unknown, depth = 0): boolean {
  const of = kind(left);
  if (of !== kind(right)) return false;
  if (of === "null") return true;
  if (of === "date") return (left as Moment).milliseconds === (right as Moment).milliseconds;
  if (of !== "list" && of !== "object") return left === right;
  checkDepth(depth);
  if (of === "list") {
    const mine = left as unknown[];
    const theirs = right as unknown[];
    if (mine.length !== theirs.length) return false;
    frame.spend(mine.length);
    return mine.every((item, index) => equal(frame, item, theirs[index], depth + 1));
  }
  const mine = left as Plain;
  const theirs = right as Plain;
  const keys = Object.keys(mine);
  if (keys.length !== Object.keys(theirs).length) return false;
  frame.spend(keys.length);
  return keys.every((key) => Object.hasOwn(theirs, key) && equal(frame, mine[key], theirs[key], depth + 1));
}

/** The total order that sorting uses: false, true, numbers, dates, text, lists, objects, null. */
export function compare(frame: Frame, left: unknown, right: unknown, depth = 0): number {
  const of = kind(left);
  const other = kind(right);
  if (of !== other) return Math.sign(ORDER[of] - ORDER[other]);
  switch (of) {
    case "null":
      return 0;
    case "number":
      return sign(left as number, right as number);
    case "boolean":
      return sign(Number(left), Number(right));
    case "date":
      return sign((left as Moment).milliseconds, (right as Moment).milliseconds);
    case "text":
      return comparePoints(left as string, right as string);
  }
  checkDepth(depth);
  if (of === "object") return comparePoints(toJson(frame, left), toJson(frame, right));
  const mine = left as unknown[];
  const theirs = right as unknown[];
  const shared = Math.min(mine.length, theirs.length);
  frame.spend(shared);
  for (let index = 0; index < shared; index += 1) {
    const order = compare(frame, mine[index], theirs[index], depth + 1);
    if (order !== 0) return order;
  }
  return sign(mine.length, theirs.length);
}

function sign(left: number, right: number): number {
  return left < right ? -1 : left > right ? 1 : 0;
}

export function sortedBy(frame: Frame, items: readonly unknown[], keys: readonly unknown[]): unknown[] {
  frame.spend(items.length * Math.max(1, 32 - Math.clz32(items.length)));
  const order = items.map((_, index) => index);
  order.sort((a, b) => compare(frame, keys[a], keys[b]));
  return order.map((index) => items[index]);
}

export function numberText(value: number): string {
  return Number.isFinite(value) ? String(value + 0) : "";
}

/** The text form: null is empty, dates are ISO, lists and objects are JSON. */
export function toText(frame: Frame, value: unknown): string {
  switch (kind(value)) {
    case "text":
      return wellFormed(value as string);
    case "null":
      return "";
    case "boolean":
      return value ? "true" : "false";
    case "number":
      return numberText(value as number);
    case "date":
      return (value as Moment).iso();
    default:
      return toJson(frame, value);
  }
}

/** Compact JSON, keys in JavaScript's order: whole numbers first, then as they were written. */
export function toJson(frame: Frame, value: unknown): string {
  const parts: string[] = [];
  writeJson(frame, value, parts, 0);
  return checkText(frame, parts.join(""));
}

function writeJson(frame: Frame, value: unknown, parts: string[], depth: number): void {
  checkDepth(depth);
  switch (kind(value)) {
    case "list": {
      const items = value as unknown[];
      frame.spend(items.length);
      for (let index = 0; index < items.length; index += 1) {
        parts.push(index ? "," : "[");
        writeJson(frame, items[index], parts, depth + 1);
      }
      parts.push(items.length ? "]" : "[]");
      return;
    }
    case "object": {
      const object = value as Plain;
      const keys = Object.keys(object);
      frame.spend(keys.length);
      keys.forEach((key, index) => {
        parts.push(`${index ? "," : "{"}${quoted(frame, key)}:`);
        writeJson(frame, object[key], parts, depth + 1);
      });
      parts.push(keys.length ? "}" : "{}");
      return;
    }
    case "text":
      parts.push(quoted(frame, value as string));
      return;
    case "date":
      parts.push(`"${(value as Moment).iso()}"`);
      return;
    default:
      parts.push(toText(frame, value) || "null");
  }
}

function quoted(frame: Frame, text: string): string {
  frame.spendText(text);
  return JSON.stringify(wellFormed(text));
}

export function checkText(frame: Frame, text: string): string {
  if (text.length > MAX_TEXT && countPoints(text) > MAX_TEXT) throw textTooLarge();
  frame.spendText(text);
  return text;
}

export function textTooLarge(): ExpressionError {
  return tooLarge(`this text would have more than ${MAX_TEXT} characters`);
}

export function checkItems(frame: Frame, count: number): void {
  if (count > MAX_ITEMS) throw tooLarge(`this list would have more than ${MAX_ITEMS} items`);
  frame.spend(Math.floor(count / LIST_STEP));
}

export function checkDepth(depth: number): void {
  if (depth > MAX_VALUE_DEPTH) throw tooLarge(`this value is nested more than ${MAX_VALUE_DEPTH} deep`);
}

function tooLarge(message: string): ExpressionError {
  return new ExpressionError("too_large", message, 0, "Work on less at once, or use code.");
}

/** The value as it leaves: dates as ISO text; what was put together here within its size. */
export function finished(value: unknown, computed: boolean): Json {
  if (value instanceof Moment) return value.iso();
  if (!computed || typeof value !== "object" || value === null) return value as Json;
  return copied(value, 0, { left: MAX_VALUES });
}

function copied(value: unknown, depth: number, budget: { left: number }): Json {
  checkDepth(depth);
  if (typeof value !== "object" || value === null) return (value ?? null) as Json;
  if (value instanceof Moment) return value.iso();
  const keys = Array.isArray(value) ? null : Object.keys(value);
  budget.left -= keys ? keys.length : (value as unknown[]).length;
  if (budget.left < 0) throw tooLarge(`this value would hold more than ${MAX_VALUES} values`);
  if (!keys) return (value as unknown[]).map((item) => copied(item, depth + 1, budget));
  const result: { [key: string]: Json } = {};
  for (const key of keys) {
    const item = copied((value as Plain)[key], depth + 1, budget);
    if (FORBIDDEN.has(key)) Object.defineProperty(result, key, { value: item, enumerable: true });
    else result[key] = item;
  }
  return result;
}
