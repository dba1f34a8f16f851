/** What can be wrong with one expression, or with a value that holds several. */

export type Code =
  | "syntax"
  | "forbidden_name"
  | "unknown_function"
  | "unknown_method"
  | "bad_argument"
  | "bad_operand"
  | "bad_value"
  | "bad_name"
  | "fuel"
  | "too_large";

/**
 * An expression that does not parse, or whose evaluation stopped.
 * `position` is the 0-based column in the source, counted in characters (code points), without the leading `=`.
 */
export class ExpressionError extends Error {
  override readonly name = "ExpressionError";

  constructor(
    readonly code: Code,
    message: string,
    public position = 0,
    readonly hint = "",
  ) {
    super(message);
  }

  override toString(): string {
    return `column ${this.position + 1}: ${this.message}.${this.hint ? ` ${this.hint}` : ""}`;
  }
}

/** One thing wrong with a value; `path` reads like `in.items[0]`, `column` is 0-based within the expression. */
export interface Problem {
  readonly path: string;
  readonly message: string;
  readonly hint: string;
  readonly code: string;
  readonly column: number | null;
}

/** Everything wrong with the expressions of one value, each with its path. */
export class BindingErrors extends Error {
  override readonly name = "BindingErrors";

  constructor(readonly problems: readonly Problem[]) {
    const count = problems.length;
    const lines = problems.map(({ path, column, message, hint }) => {
      const where = column === null ? path : `${path} (column ${column + 1})`;
      return `  ${where}: ${message}.${hint ? ` ${hint}` : ""}`;
    });
    super([`value has ${count} problem${count === 1 ? "" : "s"}:`, ...lines].join("\n"));
  }
}

export type Path = readonly (string | number)[];

/** Write a path as people read it: `nodes.clean.in.items[0]`. */
export function joinPath(path: Path): string {
  let text = "";
  for (const part of path) {
    if (typeof part === "number") text += `[${part}]`;
    else text += text ? `.${part}` : part;
  }
  return text;
}

/** The candidate that `word` was probably meant to be, if one is near enough. */
export function closest(word: string, candidates: Iterable<string>): string | null {
  const allowed = Math.max(1, Math.min(3, Math.floor(word.length / 3)));
  let best: string | null = null;
  let least = allowed + 1;
  for (const candidate of [...candidates].sort()) {
    const distance = edits(word.toLowerCase(), candidate.toLowerCase());
    if (distance < least) [best, least] = [candidate, distance];
  }
  return best;
}

function edits(a: string, b: string): number {
  if (Math.abs(a.length - b.length) > 3) return 4;
  let row = Array.from({ length: b.length + 1 }, (_, index) => index);
  for (let i = 0; i < a.length; i += 1) {
    const next = [i + 1];
    for (let j = 0; j < b.length; j += 1) {
      const replaced = (row[j] ?? 0) + (a[i] === b[j] ? 0 : 1);
      next.push(Math.min(replaced, (row[j + 1] ?? 0) + 1, (next[j] ?? 0) + 1));
    }
    row = next;
  }
  return row[b.length] ?? 0;
}
