/** A JSON value as the rows of a tree. Long lists and texts are shortened: the page must survive any answer. */

export type JsonType = "object" | "array" | "string" | "number" | "boolean" | "null" | "more";

export interface JsonRow {
  path: string;
  level: number;
  name: string | null;
  type: JsonType;
  text: string;
  isBranch: boolean;
  isOpen: boolean;
}

interface Options {
  depth: number;
  /** Paths that are the other way round than `depth` says. */
  toggled: ReadonlySet<string>;
  mostChildren?: number;
  mostText?: number;
}

export function rowsOf(
  value: unknown,
  { depth, toggled, mostChildren = 200, mostText = 2_000 }: Options,
): JsonRow[] {
  const rows: JsonRow[] = [];
  const add = (item: unknown, path: string, name: string | null, level: number): void => {
    const type = typeOf(item);
    const children = childrenOf(item);
    const isBranch = children.length > 0;
    const isOpen = isBranch && level < depth !== toggled.has(path);
    rows.push({
      path,
      level,
      name,
      type,
      text: textOf(item, type, children.length, mostText),
      isBranch,
      isOpen,
    });
    if (!isOpen) return;
    for (const [key, child] of children.slice(0, mostChildren)) add(child, `${path}/${key}`, key, level + 1);
    const hidden = children.length - mostChildren;
    if (hidden > 0) {
      const text = `… ${hidden.toLocaleString("en-US")} more`;
      rows.push({
        path: `${path}/…`,
        level: level + 1,
        name: null,
        type: "more",
        text,
        isBranch: false,
        isOpen: false,
      });
    }
  };
  add(value, "$", null, 0);
  return rows;
}

function typeOf(value: unknown): JsonType {
  if (value === null || value === undefined) return "null";
  if (Array.isArray(value)) return "array";
  const type = typeof value;
  return type === "string" || type === "number" || type === "boolean" ? type : "object";
}

function childrenOf(value: unknown): [string, unknown][] {
  if (Array.isArray(value)) return value.map((item, index) => [String(index), item]);
  return typeof value === "object" && value !== null ? Object.entries(value) : [];
}

function textOf(value: unknown, type: JsonType, count: number, mostText: number): string {
  if (type === "array") return count === 0 ? "[]" : `[ ${count.toLocaleString("en-US")} ]`;
  if (type === "object") return count === 0 ? "{}" : `{ ${count.toLocaleString("en-US")} }`;
  if (type === "null") return "null";
  const text = type === "string" ? JSON.stringify(value) : String(value);
  return text.length > mostText
    ? `${text.slice(0, mostText)}… (${text.length.toLocaleString("en-US")} characters)`
    : text;
}
