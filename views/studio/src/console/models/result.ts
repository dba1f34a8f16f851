/** How an answer is best shown. Decided by the schema, and by the answer itself where the schema is silent or wrong. */

import type { Score } from "../../kit/ScoreBars";
import type { Json, OutputSchema } from "../api/types";

export type Shown =
  | { kind: "scores"; label: string | null; scores: Score[] }
  | { kind: "number"; name: string; value: number }
  | { kind: "text"; text: string }
  | { kind: "image"; source: string }
  | { kind: "table"; columns: string[]; rows: Json[][] }
  | { kind: "json"; value: Json };

export function shownOf(output: OutputSchema | undefined, answer: Json): Shown {
  switch (output?.kind) {
    case "classification":
      return classification(output, answer) ?? generic(answer);
    case "regression":
      return regression(output, answer) ?? generic(answer);
    case "scores":
      return scores(answer) ?? generic(answer);
    case "text":
      return typeof answer === "string" ? { kind: "text", text: answer } : generic(answer);
    case "image":
      return image(answer) ?? generic(answer);
    case "table":
      return table(answer) ?? generic(answer);
    default:
      return generic(answer);
  }
}

function classification(output: OutputSchema, answer: Json): Shown | null {
  if (!isRecord(answer) || !Array.isArray(answer.predictions) || answer.predictions.length !== 1) return null;
  const label = textOf(answer.predictions[0] ?? null);
  const classes = Array.isArray(answer.classes) ? answer.classes : (output.classes ?? []);
  const row = Array.isArray(answer.probabilities) ? answer.probabilities[0] : undefined;
  if (!Array.isArray(row) || row.length !== classes.length || !row.every(isNumber)) {
    return { kind: "scores", label, scores: [] };
  }
  const values = classes.map((name, index) => ({ label: textOf(name), value: row[index] as number }));
  return { kind: "scores", label, scores: values.sort((a, b) => b.value - a.value) };
}

function regression(output: OutputSchema, answer: Json): Shown | null {
  const value =
    isRecord(answer) && Array.isArray(answer.predictions) && answer.predictions.length === 1
      ? answer.predictions[0]
      : answer;
  return isNumber(value) ? { kind: "number", name: output.name || "Prediction", value } : null;
}

function scores(answer: Json): Shown | null {
  if (!isRecord(answer)) return null;
  const entries = Object.entries(answer);
  if (entries.length === 0 || !entries.every(([, value]) => isNumber(value))) return null;
  const values = entries.map(([label, value]) => ({ label, value: value as number }));
  values.sort((a, b) => b.value - a.value);
  return { kind: "scores", label: values[0]?.label ?? null, scores: values };
}

function image(answer: Json): Shown | null {
  if (typeof answer === "string" && /^data:image\/(png|jpeg|webp|gif);base64,/.test(answer))
    return { kind: "image", source: answer };
  if (!isRecord(answer) || typeof answer.data !== "string") return null;
  const type =
    typeof answer.type === "string" && /^image\/(png|jpeg|webp|gif)$/.test(answer.type) ? answer.type : null;
  return type ? { kind: "image", source: `data:${type};base64,${answer.data}` } : null;
}

function table(answer: Json): Shown | null {
  const rows = isRecord(answer) && Array.isArray(answer.rows) ? answer.rows : answer;
  if (!Array.isArray(rows) || rows.length === 0 || !rows.every(isRecord)) return null;
  const columns = [...new Set(rows.flatMap((row) => Object.keys(row)))];
  return { kind: "table", columns, rows: rows.map((row) => columns.map((column) => row[column] ?? null)) };
}

function generic(answer: Json): Shown {
  if (isRecord(answer) && Array.isArray(answer.predictions) && Object.keys(answer).length === 1) {
    const shown = table(answer.predictions);
    if (shown) return shown;
  }
  if (typeof answer === "string") return { kind: "text", text: answer };
  if (isNumber(answer)) return { kind: "number", name: "Answer", value: answer };
  return { kind: "json", value: answer };
}

function textOf(value: Json): string {
  return typeof value === "string" ? value : JSON.stringify(value);
}

function isNumber(value: unknown): value is number {
  return typeof value === "number";
}

function isRecord(value: unknown): value is Record<string, Json> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
