import type { Json, JsonObject } from "../../engine/document";
import { isObject, textOf } from "../../engine/values";
import { number, text } from "../contract";

export interface Column {
  key: string;
  title: string;
  align: "left" | "right";
  digits: number | undefined;
}

/** Rows as objects. Lists become columns by number, and a single value a column of its own. */
export function rowsOf(value: Json | undefined): JsonObject[] {
  if (!Array.isArray(value)) return [];
  return value.map((row) => {
    if (isObject(row)) return row;
    if (Array.isArray(row)) return Object.fromEntries(row.map((cell, index) => [String(index), cell]));
    return { value: row };
  });
}

/** The columns as written, or all that the first rows have. Numbers stand to the right. */
export function columnsOf(written: Json | undefined, rows: JsonObject[]): Column[] {
  const sample = rows.slice(0, 100);
  const keys = new Set(sample.flatMap((row) => Object.keys(row)));
  const entries = Array.isArray(written) && written.length > 0 ? written : [...keys];
  return entries.map((entry) => {
    const given = isObject(entry) ? entry : { key: entry };
    const key = text(given.key);
    const numeric =
      sample.some((row) => typeof row[key] === "number") &&
      sample.every((row) => isNumberOrNothing(row[key]));
    const align =
      given.align === "right" || given.align === "left" ? given.align : numeric ? "right" : "left";
    return { key, title: text(given.title) || key, align, digits: number(given.digits) };
  });
}

function isNumberOrNothing(value: Json | undefined): boolean {
  return value === null || value === undefined || typeof value === "number";
}

export function cellText(value: Json | undefined, digits?: number): string {
  if (typeof value === "number") {
    if (digits !== undefined) {
      return value.toLocaleString("en-US", { minimumFractionDigits: digits, maximumFractionDigits: digits });
    }
    return Number.isInteger(value) ? String(value) : String(Number(value.toPrecision(6)));
  }
  if (typeof value === "boolean") return value ? "Yes" : "No";
  return textOf(value);
}

const COLLATOR = new Intl.Collator(undefined, { numeric: true, sensitivity: "base" });

/** Numbers by size, texts as people order them, nothing last. */
export function compareCells(left: Json | undefined, right: Json | undefined): number {
  if (typeof left === "number" && typeof right === "number") return left - right;
  return COLLATOR.compare(textOf(left), textOf(right));
}

export function isNothing(value: Json | undefined): boolean {
  return value === null || value === undefined || value === "";
}
