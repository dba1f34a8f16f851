import type { Json } from "../../engine/document";
import { isObject } from "../../engine/values";
import { text } from "../contract";

export interface Option {
  value: Json;
  label: string;
  /** What the list tells options apart by: values may be numbers, and 1 is not "1". */
  key: string;
}

/** Options as written (values, or `{value, label}`), without doubles. */
export function optionsOf(written: Json | undefined): Option[] {
  const options = (Array.isArray(written) ? written : []).map((entry) => {
    const value = isObject(entry) && "value" in entry ? (entry.value ?? null) : entry;
    const label = isObject(entry) && "label" in entry ? text(entry.label) : text(value);
    return { value, label, key: keyOf(value) };
  });
  return options.filter(({ key }, index) => options.findIndex((other) => other.key === key) === index);
}

export function keyOf(value: Json): string {
  return JSON.stringify(value);
}
