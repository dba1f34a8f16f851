/** An expression that was parsed once: what it depends on, what it gives, and how it reads under another name. */

import { compileNode, type Run, readRoot, staticPath } from "./compile";
import { ExpressionError } from "./errors";
import { isName, type Parsed, parseSource } from "./parser";
import { type Any, children, type Node, size } from "./syntax";
import { comparePoints, countPoints } from "./text";
import { Frame, FUEL, finished, type Json, own, type Scope } from "./values";

const LONG = 100;
const REPEATING: ReadonlySet<string> = new Set(["map", "flatMap", "reduce"]);

export interface EvaluateOptions {
  /** How many steps may be taken; 200,000 unless told. */
  readonly fuel?: number;
}

/** One parsed expression. It never changes. */
export class Expression {
  /** The paths that are read, sorted; names bound by arrow functions are left out, a computed key ends its path. */
  readonly dependencies: readonly (readonly string[])[];
  /** The first names of those paths. */
  readonly names: ReadonlySet<string>;
  readonly #parsed: Parsed;
  readonly #path: readonly string[] | null;
  readonly #run: Run;
  readonly #size: number;
  readonly #computed: boolean;

  constructor(
    readonly source: string,
    parsed: Parsed,
  ) {
    this.dependencies = paths(parsed.root);
    this.names = new Set(this.dependencies.map(([name = ""]) => name));
    this.#parsed = parsed;
    this.#path = staticPath(parsed.root);
    this.#run = compileNode(parsed.root);
    this.#size = size(parsed.root);
    this.#computed = buildsValues(parsed.root, this.#size);
  }

  /**
   * Compute the value from a scope of JSON values; what is missing in it is null.
   *
   * Throws ExpressionError when the expression asks for what cannot be (a number from a list), needs more fuel than
   * it has, or grows beyond the size limits.
   */
  evaluate(scope: Scope, options: EvaluateOptions = {}): Json {
    if (this.#path !== null) return read(scope, this.#path);
    const frame = new Frame(scope, this.#parsed.slots, options.fuel ?? FUEL);
    try {
      frame.spend(this.#size);
      return finished(this.#run(frame), this.#computed);
    } catch (error) {
      if (error instanceof RangeError) {
        throw new ExpressionError("too_large", "this expression is nested too deeply");
      }
      if (error instanceof ExpressionError)
        error.position = countPoints(this.source.slice(0, error.position));
      throw error;
    }
  }

  /**
   * The source with every reference to the root `old` written as `renamed`; everything else stays as it is.
   * A parameter that would capture the new name gets another name.
   */
  rename(old: string, renamed: string): string {
    if (!isName(renamed)) {
      throw new ExpressionError(
        "bad_name",
        `\`${renamed}\` cannot be a name`,
        0,
        "Use letters, digits, _ and $.",
      );
    }
    const { references } = this.#parsed;
    const moved = references.filter((reference) => reference.name === old && reference.slot === null);
    const taken = new Set([...references.map((reference) => reference.name), old, renamed]);
    const fresh = new Map<number, string>();
    for (const { name, slot, declares } of references) {
      if (!declares || slot === null || name !== renamed) continue;
      if (!moved.some((reference) => reference.inside.includes(slot))) continue;
      fresh.set(slot, freshName(renamed, taken));
    }
    let text = this.source;
    for (const reference of [...references].sort((a, b) => b.position - a.position)) {
      const name = moved.includes(reference) ? renamed : fresh.get(reference.slot ?? -1);
      if (name === undefined) continue;
      const written = reference.short ? `${reference.name}: ${name}` : name;
      const end = reference.position + reference.name.length;
      text = text.slice(0, reference.position) + written + text.slice(end);
    }
    return text;
  }
}

/** Parse an expression, written without its leading `=`. Throws ExpressionError. */
export function parse(source: string): Expression {
  return new Expression(source, parseSource(source));
}

/** Whether a value of a document is an expression: text that begins with `=`. */
export function isExpression(value: unknown): value is string {
  return typeof value === "string" && value.startsWith("=");
}

/** A text that is not an expression, as it is meant: `\=` at its beginning stands for `=`. */
export function literal(value: string): string {
  return value.startsWith("\\=") ? value.slice(1) : value;
}

function read(scope: Scope, path: readonly string[]): Json {
  let value: unknown = readRoot(scope, path[0] ?? "");
  for (let at = 1; at < path.length && value !== null; at += 1) value = own(value, path[at] ?? "");
  return value as Json;
}

function freshName(name: string, taken: Set<string>): string {
  let count = 2;
  while (taken.has(`${name}${count}`)) count += 1;
  taken.add(`${name}${count}`);
  return `${name}${count}`;
}

function paths(root: Node): readonly (readonly string[])[] {
  const found = new Map<string, readonly string[]>();
  const waiting: Any[] = [root];
  for (let node = waiting.pop(); node; node = waiting.pop()) {
    if (node.type === "name" || node.type === "member" || node.type === "index") {
      const path = takePath(node, waiting);
      if (path) found.set(JSON.stringify(path), path);
    } else waiting.push(...children(node));
  }
  return [...found.values()].sort(comparePaths);
}

/** The longest path that is known; computed keys, and what is not a path, are left waiting. */
function takePath(node: Node, waiting: Any[]): readonly string[] | null {
  let keys: string[] = [];
  for (let current = node; ; ) {
    if (current.type === "member") {
      keys.push(current.key);
      current = current.base;
    } else if (current.type === "index") {
      const key = literalKey(current.index);
      if (key === null) {
        keys = [];
        waiting.push(current.index);
      } else keys.push(key);
      current = current.base;
    } else if (current.type === "name") {
      return current.slot === null ? [current.name, ...keys.reverse()] : null;
    } else {
      waiting.push(current);
      return null;
    }
  }
}

function literalKey(node: Node): string | null {
  if (node.type !== "literal") return null;
  if (typeof node.value === "string") return node.value;
  return Number.isSafeInteger(node.value) && Number(node.value) >= 0 ? String(node.value) : null;
}

function comparePaths(a: readonly string[], b: readonly string[]): number {
  for (let at = 0; at < a.length && at < b.length; at += 1) {
    const order = comparePoints(a[at] ?? "", b[at] ?? "");
    if (order !== 0) return order;
  }
  return a.length - b.length;
}

/** Whether the result may hold dates, or hold one big value many times; then it is checked as it leaves. */
function buildsValues(root: Node, nodes: number): boolean {
  if (nodes > LONG) return true;
  const waiting: Any[] = [root];
  for (let node = waiting.pop(); node; node = waiting.pop()) {
    if (node.type === "call" && node.function === "date") return true;
    if (node.type === "method" && REPEATING.has(node.name)) return true;
    waiting.push(...children(node));
  }
  return false;
}
