import type { Score } from "../../../kit/ScoreBars";
import type { Json } from "../../engine/document";
import { isObject, textOf } from "../../engine/values";

/** Scores in any of the forms a model gives them, best first; null where there are none. */
export function scoresOf(scores: Json | undefined, classes: Json | undefined): Score[] | null {
  const found = readScores(scores, Array.isArray(classes) ? classes : []);
  if (!found || found.length === 0) return null;
  return found.sort((left, right) => right.value - left.value);
}

function readScores(scores: Json | undefined, classes: Json[]): Score[] | null {
  if (isObject(scores)) {
    return Object.entries(scores).flatMap(([label, value]) =>
      typeof value === "number" ? [{ label, value }] : [],
    );
  }
  if (!Array.isArray(scores)) return null;
  // One row of many: a model answers a list of rows even when it was asked for one.
  if (scores.length === 1 && (Array.isArray(scores[0]) || (isObject(scores[0]) && !("label" in scores[0])))) {
    return readScores(scores[0], classes);
  }
  return scores.flatMap((entry, index) => {
    if (typeof entry === "number")
      return [{ label: textOf(classes[index]) || `Class ${index + 1}`, value: entry }];
    if (!isObject(entry)) return [];
    const value = entry.score ?? entry.probability ?? entry.value;
    return typeof value === "number" ? [{ label: textOf(entry.label ?? entry.class), value }] : [];
  });
}
