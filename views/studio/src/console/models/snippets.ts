/** "Call it from": the same request in the languages people paste into. */

import type { Json, ModelSchema } from "../api/types";
import { exampleBody } from "./schema-body";

export type Language = "curl" | "python" | "javascript";

export interface Call {
  /** The full address that is posted to. */
  url: string;
  body: Json;
}

export const KEY_PLACEHOLDER = "YOUR_KEY";

export function snippet(language: Language, { url, body }: Call, key = KEY_PLACEHOLDER): string {
  if (language === "curl") return curl(url, body, key);
  if (language === "python") return python(url, body, key);
  return javascript(url, body, key);
}

export function modelCall(endpoint: string, schema: ModelSchema | null, example: Json | undefined): Call {
  return { url: endpoint, body: example ?? exampleBody(schema) };
}

export function deployExample(consoleUrl: string, key = KEY_PLACEHOLDER): string {
  return [
    "import tenfold",
    `client = tenfold.connect("${consoleUrl}", key="${key}")`,
    'churn = client.deploy(clf, "churn", example=X.iloc[:3])',
  ].join("\n");
}

function curl(url: string, body: Json, key: string): string {
  return [
    `curl ${shellQuoted(url)} \\`,
    `  -H ${shellQuoted(`Authorization: Bearer ${key}`)} \\`,
    "  -H 'Content-Type: application/json' \\",
    `  -d ${shellQuoted(compactJson(body))}`,
  ].join("\n");
}

function python(url: string, body: Json, key: string): string {
  return [
    "import requests",
    "",
    "response = requests.post(",
    `    ${pythonLiteral(url)},`,
    `    headers={"Authorization": "Bearer ${key}"},`,
    `    json=${indented(pythonLiteral(body), 4)},`,
    "    timeout=30,",
    ")",
    "response.raise_for_status()",
    "print(response.json())",
  ].join("\n");
}

function javascript(url: string, body: Json, key: string): string {
  return [
    `const response = await fetch(${JSON.stringify(url)}, {`,
    '  method: "POST",',
    `  headers: { Authorization: "Bearer ${key}", "Content-Type": "application/json" },`,
    `  body: JSON.stringify(${indented(JSON.stringify(body, null, 2), 2)}),`,
    "});",
    "if (!response.ok) throw new Error(await response.text());",
    "console.log(await response.json());",
  ].join("\n");
}

function shellQuoted(text: string): string {
  return `'${text.replaceAll("'", "'\\''")}'`;
}

function compactJson(value: Json): string {
  return JSON.stringify(value);
}

/** JSON as a Python literal: `true` is `True`. Short values stay on one line. */
export function pythonLiteral(value: Json, depth = 0): string {
  if (value === null) return "None";
  if (typeof value === "boolean") return value ? "True" : "False";
  if (typeof value === "number") return String(value);
  if (typeof value === "string") return JSON.stringify(value);
  const isList = Array.isArray(value);
  const parts = isList
    ? value.map((item) => pythonLiteral(item, depth + 1))
    : Object.entries(value).map(
        ([name, item]) => `${JSON.stringify(name)}: ${pythonLiteral(item, depth + 1)}`,
      );
  const [open, close] = isList ? ["[", "]"] : ["{", "}"];
  const line = `${open}${parts.join(", ")}${close}`;
  if (line.length <= 72 && !line.includes("\n")) return line;
  const pad = "    ".repeat(depth + 1);
  return `${open}\n${parts.map((part) => `${pad}${part},`).join("\n")}\n${"    ".repeat(depth)}${close}`;
}

function indented(text: string, spaces: number): string {
  return text.replaceAll("\n", `\n${" ".repeat(spaces)}`);
}
