/** Steps of a run as bars on one time line. Pure: the page only draws. */

import type { Step } from "../api/types";
import type { NodeMark } from "../graph/GraphView";

export interface Bar {
  step: Step;
  key: string;
  /** Shares of the whole run, in percent. */
  left: number;
  width: number;
}

const LEAST_WIDTH = 0.6;

export function waterfall(steps: readonly Step[], runMs: number | null): Bar[] {
  const ends = steps.map((step) => (step.offset_ms ?? 0) + (step.duration_ms ?? 0));
  const whole = Math.max(runMs ?? 0, ...ends, 0.001);
  return [...steps]
    .sort((a, b) => order(a) - order(b) || a.path.localeCompare(b.path) || a.attempt - b.attempt)
    .map((step) => {
      const left = Math.min(100 - LEAST_WIDTH, Math.max(0, ((step.offset_ms ?? 0) / whole) * 100));
      const width = Math.max(LEAST_WIDTH, ((step.duration_ms ?? 0) / whole) * 100);
      return { step, key: stepKey(step), left, width: Math.min(width, 100 - left) };
    });
}

export function stepKey({ path, attempt }: Pick<Step, "path" | "attempt">): string {
  return `${path}#${attempt}`;
}

/** How each node of the graph went: by its last attempt. A map's items count for the map's own node. */
export function marksOf(steps: readonly Step[]): Record<string, NodeMark> {
  const marks: Record<string, NodeMark & { attempt: number }> = {};
  for (const step of steps) {
    const node = nodeOf(step.path);
    const isItem = node !== step.path;
    const known = marks[node];
    if (isItem && known && step.state !== "failed") continue;
    if (known && !isItem && known.attempt > step.attempt) continue;
    marks[node] = {
      state: step.state,
      durationMs: step.state === "skipped" ? null : step.duration_ms,
      attempt: step.attempt,
    };
  }
  return marks;
}

/** `scan[3].ocr` belongs to the node `scan`. */
export function nodeOf(path: string): string {
  return path.split(/[.[]/)[0] ?? path;
}

function order(step: Step): number {
  return step.offset_ms ?? Number.POSITIVE_INFINITY;
}
