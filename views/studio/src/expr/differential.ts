/**
 * One half of the differential test: reads cases as JSON lines, writes what this half makes of each.
 * `tests/tenfold_expressions/test_differential.py` bundles and runs it.
 */

import { createInterface } from "node:readline";
import { ExpressionError, type Json, parse } from "./index";

interface Case {
  readonly expr: string;
  readonly scope: Readonly<Record<string, unknown>>;
}

type Outcome =
  | { readonly result: Json; readonly dependencies: readonly (readonly string[])[] }
  | { readonly error: string; readonly position: number; readonly message: string };

function outcome({ expr, scope }: Case): Outcome {
  try {
    const expression = parse(expr);
    return { result: expression.evaluate(scope), dependencies: expression.dependencies };
  } catch (error) {
    if (!(error instanceof ExpressionError)) throw error;
    return { error: error.code, position: error.position, message: `${error.message} | ${error.hint}` };
  }
}

for await (const line of createInterface({ input: process.stdin })) {
  process.stdout.write(`${JSON.stringify(outcome(JSON.parse(line) as Case))}\n`);
}
