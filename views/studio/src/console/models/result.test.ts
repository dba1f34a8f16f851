import { describe, expect, it } from "vitest";
import { shownOf } from "./result";

const classes = { kind: "classification", classes: ["no", "yes"], probabilities: true } as const;

describe("an answer is shown by what the model gives", () => {
  it("classes as scores, the likeliest first", () => {
    const answer = { predictions: ["yes"], probabilities: [[0.1, 0.9]] };
    expect(shownOf({ ...classes, classes: ["no", "yes"] }, answer)).toEqual({
      kind: "scores",
      label: "yes",
      scores: [
        { label: "yes", value: 0.9 },
        { label: "no", value: 0.1 },
      ],
    });
  });

  it("a class alone where there are no probabilities", () => {
    expect(shownOf({ kind: "classification", classes: [0, 1] }, { predictions: [1] })).toEqual({
      kind: "scores",
      label: "1",
      scores: [],
    });
  });

  it("a number by its name", () => {
    expect(shownOf({ kind: "regression", name: "price" }, { predictions: [12.5] })).toEqual({
      kind: "number",
      name: "price",
      value: 12.5,
    });
    expect(shownOf({ kind: "regression" }, 3)).toEqual({ kind: "number", name: "Prediction", value: 3 });
  });

  it("scores of labels", () => {
    expect(shownOf({ kind: "scores" }, { good: 0.2, bad: 0.8 })).toMatchObject({
      kind: "scores",
      label: "bad",
    });
  });

  it("a table of records, whatever columns each has", () => {
    expect(shownOf({ kind: "table" }, [{ a: 1 }, { b: 2 }])).toEqual({
      kind: "table",
      columns: ["a", "b"],
      rows: [
        [1, null],
        [null, 2],
      ],
    });
  });

  it("an image, but only of a type that is safe to draw", () => {
    expect(shownOf({ kind: "image" }, { name: "x", type: "image/png", size: 1, data: "AA" })).toEqual({
      kind: "image",
      source: "data:image/png;base64,AA",
    });
    expect(
      shownOf({ kind: "image" }, { name: "x", type: "image/svg+xml", size: 1, data: "AA" }),
    ).toMatchObject({ kind: "json" });
  });

  it("JSON whenever the answer is not what the schema promised", () => {
    expect(shownOf(classes as never, { wrong: true })).toEqual({ kind: "json", value: { wrong: true } });
    expect(shownOf(undefined, [1, 2])).toEqual({ kind: "json", value: [1, 2] });
  });
});
