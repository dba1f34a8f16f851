import { describe, expect, it } from "vitest";
import { linePath, momentText, niceMaximum, timeTicks } from "./time-chart";

describe("a chart over time", () => {
  it.each([
    [0, 1],
    [1, 1],
    [3, 5],
    [11, 20],
    [21, 25],
    [0.0031, 0.005],
    [100, 100],
  ])("ends its axis for %d at %d", (value, top) => {
    expect(niceMaximum(value)).toBeCloseTo(top, 10);
  });

  it("names about five moments", () => {
    expect(timeTicks(Array.from({ length: 60 }, (_, index) => index))).toEqual([5, 15, 25, 35, 45, 55]);
    expect(timeTicks([1, 2])).toEqual([0, 1]);
    expect(timeTicks([])).toEqual([]);
  });

  it("says the day where a span has several", () => {
    const noon = new Date(2026, 0, 5, 12).getTime();
    expect(momentText(noon, [noon - 3600_000, noon])).toBe("12:00");
    expect(momentText(noon, [noon - 4 * 24 * 3600_000, noon])).toMatch(/^Mon,? 12:00$/);
  });

  it("lifts the line where there is no value", () => {
    const path = linePath(
      [1, 2, null, 3],
      (index) => index,
      (value) => value,
    );
    expect(path).toBe("M0.0 1.0L1.0 2.0M3.0 3.0");
  });
});
