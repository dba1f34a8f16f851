import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { Script } from "node:vm";
import { describe, expect, test } from "vitest";
import { ExpressionError, type Json, parse } from "./index";

interface Vector {
  readonly expr: string;
  readonly scope: Readonly<Record<string, unknown>>;
  readonly result?: Json;
  readonly error?: string;
  readonly dependencies?: readonly (readonly string[])[];
}

const folder = join(import.meta.dirname, "../../../../worklets/vectors");
const themes = readdirSync(folder)
  .filter((name) => name.endsWith(".json"))
  .map((name) => [name, JSON.parse(readFileSync(join(folder, name), "utf8")) as Vector[]] as const);

function outcome({ expr, scope }: Vector) {
  try {
    const expression = parse(expr);
    return { result: expression.evaluate(scope), dependencies: expression.dependencies };
  } catch (error) {
    if (error instanceof ExpressionError) return { error: error.code };
    throw error;
  }
}

function wanted({ result, error, dependencies }: Vector) {
  return error === undefined ? { result, dependencies } : { error };
}

test("there are at least 500 vectors, a third of them hostile", () => {
  const count = themes.reduce((total, [, vectors]) => total + vectors.length, 0);
  const hostile = themes.filter(([name]) => name.startsWith("hostile"));
  expect(count).toBeGreaterThanOrEqual(500);
  expect(hostile.reduce((total, [, vectors]) => total + vectors.length, 0)).toBeGreaterThanOrEqual(count / 3);
});

describe.each(themes)("%s", (_, vectors) => {
  test.each(
    vectors.map((vector, index) => [index, JSON.stringify(vector.expr).slice(0, 80), vector] as const),
  )("%i: %s", (_index, _expr, vector) => {
    expect(outcome(vector)).toEqual(wanted(vector));
  });
});

test("every expression that parses here is JavaScript: the language is a subset", () => {
  const parsed = themes.flatMap(([, vectors]) => vectors.filter((vector) => vector.error === undefined));
  for (const { expr } of parsed) {
    // Compiled by the host's own parser, never run.
    expect(() => new Script(`(${expr}\n)`), expr.slice(0, 80)).not.toThrow();
  }
});
