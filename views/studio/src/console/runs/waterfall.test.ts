import { describe, expect, it } from "vitest";
import type { Step } from "../api/types";
import { callerName } from "./caller";
import { marksOf, waterfall } from "./waterfall";

const step = (path: string, change: Partial<Step> = {}): Step => ({
  path,
  kind: "pre",
  attempt: 1,
  state: "succeeded",
  input: null,
  output: null,
  error: null,
  logs: "",
  started_at: null,
  duration_ms: 10,
  offset_ms: 0,
  ...change,
});

describe("the waterfall", () => {
  it("places steps by when they began, on the run's time line", () => {
    const bars = waterfall(
      [step("b", { offset_ms: 50, duration_ms: 25 }), step("a", { duration_ms: 50 })],
      100,
    );
    expect(bars.map(({ key, left, width }) => [key, left, width])).toEqual([
      ["a#1", 0, 50],
      ["b#1", 50, 25],
    ]);
  });

  it("keeps what is too short to see visible, and inside", () => {
    const [bar] = waterfall([step("a", { offset_ms: 100, duration_ms: 0 })], 100);
    expect(bar?.width).toBeGreaterThan(0);
    expect((bar?.left ?? 0) + (bar?.width ?? 0)).toBeLessThanOrEqual(100);
  });

  it("ends with what never began", () => {
    const bars = waterfall(
      [step("skipped", { offset_ms: null, duration_ms: null, state: "skipped" }), step("a")],
      null,
    );
    expect(bars.map(({ step }) => step.path)).toEqual(["a", "skipped"]);
  });
});

describe("the graph's colours", () => {
  it("are those of the last attempt", () => {
    const marks = marksOf([step("a", { attempt: 2, duration_ms: 7 }), step("a", { state: "failed" })]);
    expect(marks.a).toMatchObject({ state: "succeeded", durationMs: 7 });
  });

  it("show a map as failed when one of its items is", () => {
    const marks = marksOf([step("scan"), step("scan[0].ocr"), step("scan[1].ocr", { state: "failed" })]);
    expect(marks.scan?.state).toBe("failed");
  });
});

it.each([
  ["key:abc", "key abc"],
  ["view:main", "view main"],
  ["user:dana@example.com", "dana@example.com"],
  ["", "unknown"],
])("the caller %j reads %j", (caller, name) => {
  expect(callerName(caller)).toBe(name);
});
