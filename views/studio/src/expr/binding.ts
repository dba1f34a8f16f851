/** Any JSON value with expressions nested in it, such as a component's `props`. */

import { BindingErrors, ExpressionError, joinPath, type Path, type Problem } from "./errors";
import { Expression, isExpression, literal, parse } from "./expression";
import { comparePoints } from "./text";
import type { Json, Scope } from "./values";

const MAX_BINDING_DEPTH = 64;

type Compiled = Expression | null | boolean | number | string | Compiled[] | { [key: string]: Compiled };

/** A value whose expressions are parsed; `evaluate` gives the value with all of them computed. */
export class Binding {
  readonly expressions: readonly (readonly [Path, Expression])[];
  readonly dependencies: readonly (readonly string[])[];
  readonly names: ReadonlySet<string>;
  readonly #compiled: Compiled;

  constructor(compiled: Compiled) {
    this.#compiled = compiled;
    this.expressions = [...expressionsIn(compiled, [])];
    const found = new Map(
      this.expressions.flatMap(([, { dependencies }]) =>
        dependencies.map((path) => [JSON.stringify(path), path]),
      ),
    );
    this.dependencies = [...found]
      .sort(([, a], [, b]) => comparePoints(a.join("\0"), b.join("\0")))
      .map(([, path]) => path);
    this.names = new Set(this.dependencies.map(([name = ""]) => name));
  }

  /** Whether the value needs nothing from the scope. */
  get isConstant(): boolean {
    return this.dependencies.length === 0;
  }

  /** Compute every expression, each with its own fuel. Throws BindingErrors with the path of all that failed. */
  evaluate(scope: Scope): Json {
    const problems: Problem[] = [];
    const value = evaluated(this.#compiled, scope, [], problems);
    if (problems.length > 0) throw new BindingErrors(problems);
    return value;
  }
}

/** Parse every expression in a value. Throws BindingErrors with all that do not parse. */
export function bind(value: unknown): Binding {
  const problems: Problem[] = [];
  const compiled = compiledFrom(value, [], problems);
  if (problems.length > 0) throw new BindingErrors(problems);
  return new Binding(compiled);
}

function compiledFrom(value: unknown, path: Path, problems: Problem[]): Compiled {
  if (path.length > MAX_BINDING_DEPTH) {
    const message = `this is nested more than ${MAX_BINDING_DEPTH} deep`;
    problems.push({ path: joinPath(path), message, hint: "", code: "too_large", column: null });
    return null;
  }
  if (typeof value === "string") return compiledText(value, path, problems);
  if (value === null || value === undefined) return null;
  if (typeof value === "boolean" || (typeof value === "number" && Number.isFinite(value))) return value;
  if (Array.isArray(value)) return value.map((item, index) => compiledFrom(item, [...path, index], problems));
  if (typeof value === "object") {
    return mapped(value, (item, key) => compiledFrom(item, [...path, key], problems));
  }
  const message = `a value of type ${typeof value} is not JSON`;
  problems.push({
    path: joinPath(path),
    message,
    hint: "Write JSON values.",
    code: "bad_value",
    column: null,
  });
  return null;
}

function compiledText(value: string, path: Path, problems: Problem[]): Compiled {
  if (!isExpression(value)) return literal(value);
  try {
    return parse(value.slice(1));
  } catch (error) {
    problems.push(problemOf(error, path));
    return null;
  }
}

function evaluated(compiled: Compiled, scope: Scope, path: Path, problems: Problem[]): Json {
  if (compiled instanceof Expression) {
    try {
      return compiled.evaluate(scope);
    } catch (error) {
      problems.push(problemOf(error, path));
      return null;
    }
  }
  if (Array.isArray(compiled)) {
    return compiled.map((item, index) => evaluated(item, scope, [...path, index], problems));
  }
  if (typeof compiled === "object" && compiled !== null) {
    return mapped(compiled, (item, key) => evaluated(item, scope, [...path, key], problems));
  }
  return compiled;
}

/** A new object with the same keys. They come from a document, so that even `__proto__` must be only a key. */
function mapped<T, R>(object: { readonly [key: string]: T } | object, change: (item: T, key: string) => R) {
  const entries = Object.entries(object as { readonly [key: string]: T });
  return Object.fromEntries(entries.map(([key, item]) => [key, change(item, key)]));
}

function problemOf(error: unknown, path: Path): Problem {
  if (!(error instanceof ExpressionError)) throw error;
  const { message, hint, code, position } = error;
  return { path: joinPath(path), message, hint, code, column: position };
}

function* expressionsIn(compiled: Compiled, path: Path): Generator<readonly [Path, Expression]> {
  if (compiled instanceof Expression) yield [path, compiled];
  else if (Array.isArray(compiled)) {
    for (const [index, item] of compiled.entries()) yield* expressionsIn(item, [...path, index]);
  } else if (typeof compiled === "object" && compiled !== null) {
    for (const [key, item] of Object.entries(compiled)) yield* expressionsIn(item, [...path, key]);
  }
}
