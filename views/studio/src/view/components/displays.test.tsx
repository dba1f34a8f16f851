import { act, screen, within } from "@testing-library/react";
import { afterEach, describe, expect, it, vi } from "vitest";
import type { NodeSpec } from "../engine/document";
import { draw, drawOne } from "../testing/draw";
import { figureOf } from "./chart/traces";
import { scoresOf } from "./class-scores/scores";
import { imageSource } from "./image/source";
import { spanStyle } from "./row";
import { cellText, columnsOf, rowsOf } from "./table/rows";

afterEach(() => vi.restoreAllMocks());

describe("a component that shows a query's data", () => {
  const show: NodeSpec = {
    type: "statistic",
    at: ["page", "body", "a0"],
    props: { label: "Price", value: "=q.data" },
  };

  it("waits, shows it, and says what went wrong in its place", async () => {
    const { engine, calls } = await draw({
      queries: { q: { run: "load", in: {} } },
      nodes: {
        show,
        again: {
          type: "button",
          at: ["page", "body", "a1"],
          props: { label: "Again" },
          on: { click: [{ run: "q" }] },
        },
      },
    });
    expect(screen.getByLabelText("Loading")).toBeInTheDocument();
    await act(async () => calls[0]?.answer(12));
    expect(screen.getByRole("group", { name: "Price" })).toHaveTextContent("12");
    await act(async () => void engine.emit("again", "click"));
    await act(async () => calls[1]?.fail("The model ran out of memory."));
    expect(screen.getByRole("alert")).toHaveTextContent("The model ran out of memory.");
  });
});

it("a component that breaks is a message in its place; the rest stays", async () => {
  vi.spyOn(console, "error").mockImplementation(() => {});
  const nodes: Record<string, NodeSpec> = {
    bad: { type: "no-such-thing", at: ["page", "body", "a0"] },
    good: { type: "heading", at: ["page", "body", "a1"], props: { text: "Still here" } },
  };
  await draw({ nodes });
  expect(screen.getByRole("alert")).toHaveTextContent("cannot be shown");
  expect(screen.getByRole("heading", { name: "Still here" })).toBeInTheDocument();
});

describe("markdown", () => {
  it("shows HTML as text and follows only safe links", async () => {
    await drawOne("markdown", {
      text: '<img src=x onerror="alert(1)"> [bad](javascript:alert(1)) [data](data:text/html,x) [good](https://example.com) ![far](https://evil.example/x.png)',
    });
    expect(await screen.findByRole("link", { name: "good" })).toHaveAttribute("href", "https://example.com");
    expect(screen.getAllByRole("link")).toHaveLength(1);
    expect(document.querySelector("img")).toBeNull();
    expect(screen.getByText(/onerror/)).toBeInTheDocument();
  });
});

describe("an image", () => {
  const data = "iVBORw0KGgoAAAANSUhEUg==";
  it.each([
    [{ name: "a.png", type: "image/png", size: 1, data }, `data:image/png;base64,${data}`],
    [`data:image/png;base64,${data}`, `data:image/png;base64,${data}`],
    [data, `data:image/png;base64,${data}`],
    ["/files/a.png", "/files/a.png"],
    ["data:image/svg+xml;base64,PHN2Zy8+PHN2Zy8+", null],
    ["https://evil.example/a.png", null],
    ["//evil.example/a.png", null],
    ["javascript:alert(1)", null],
    [null, null],
  ])("%j", (value, expected) => expect(imageSource(value)).toBe(expected));
});

describe("a table", () => {
  const rows = [
    { name: "b", n: 10 },
    { name: "a", n: 9 },
    { name: "c", n: null },
  ];

  it("takes rows in any shape, and finds its columns", () => {
    expect(rowsOf([[1, 2], 3])).toEqual([{ 0: 1, 1: 2 }, { value: 3 }]);
    expect(columnsOf(null, rows).map(({ key, align }) => [key, align])).toEqual([
      ["name", "left"],
      ["n", "right"],
    ]);
    expect([cellText(1 / 3), cellText(2, 2), cellText(true), cellText({ a: 1 })]).toEqual([
      "0.333333",
      "2.00",
      "Yes",
      '{"a":1}',
    ]);
  });

  it("sorts by a heading, numbers by size", async () => {
    const { user } = await drawOne("table", { rows, label: "Things" });
    const table = await screen.findByRole("table", { name: "Things" });
    const names = () =>
      within(table)
        .getAllByRole("row")
        .slice(1)
        .map((row) => row.firstChild?.textContent);
    await user.click(within(table).getByRole("button", { name: "n" }));
    const descending = names();
    await user.click(within(table).getByRole("button", { name: "n" }));
    expect([
      descending.indexOf("b") < descending.indexOf("a"),
      names().indexOf("a") < names().indexOf("b"),
    ]).toEqual([true, true]);
    expect(within(table).getByRole("columnheader", { name: "n" })).toHaveAttribute("aria-sort", "ascending");
  });

  it("searches, pages and lets a row be chosen by keyboard", async () => {
    const many = Array.from({ length: 12 }, (_, index) => ({ id: `row ${index}` }));
    const { user, outputs } = await drawOne("table", {
      rows: many,
      page_size: 5,
      select: "single",
      label: "Things",
    });
    const table = await screen.findByRole("table", { name: "Things" });
    await user.click(screen.getByRole("button", { name: "Next page" }));
    expect(screen.getByText("6–10 of 12")).toBeInTheDocument();
    await user.type(screen.getByRole("searchbox", { name: "Search Things" }), "row 11");
    expect(screen.getByText("1 row")).toBeInTheDocument();
    (within(table).getAllByRole("row")[1] as HTMLElement).focus();
    await user.keyboard("{Enter}");
    expect(outputs().selected).toEqual({ id: "row 11" });
  });
});

describe("class scores", () => {
  const best = [
    { label: "a", value: 0.9 },
    { label: "b", value: 0.1 },
  ];
  it.each([
    [{ b: 0.1, a: 0.9 }, null, best],
    [[0.9, 0.1], ["a", "b"], best],
    [[[0.1, 0.9]], ["b", "a"], best],
    [
      [
        { label: "b", score: 0.1 },
        { label: "a", score: 0.9 },
      ],
      null,
      best,
    ],
    [[{ b: 0.1, a: 0.9 }], null, best],
    [[], null, null],
    ["text", null, null],
  ])("%j", (scores, classes, expected) => expect(scoresOf(scores, classes)).toEqual(expected));
});

describe("a chart", () => {
  const rows = [
    { day: 1, a: 2, b: 3, kind: "x" },
    { day: 2, a: 4, b: 5, kind: "y" },
  ];
  it("draws every numeric column when none is named", () => {
    expect(figureOf({ kind: "line", rows })?.data.map(({ name, y }) => [name, y])).toEqual([
      ["a", [2, 4]],
      ["b", [3, 5]],
    ]);
  });
  it("splits by a column, and leaves a Plotly figure as it is", () => {
    expect(
      figureOf({ kind: "bar", rows, x: "day", y: "a", color: "kind" })?.data.map(({ name, x }) => [name, x]),
    ).toEqual([
      ["x", [1]],
      ["y", [2]],
    ]);
    const figure = { data: [{ type: "heatmap", z: [[1]] }], layout: { title: { text: "T" } } };
    expect(figureOf({ figure, rows })).toEqual(figure);
  });
  it("has nothing to draw without rows or numbers", () => {
    expect([figureOf({ rows: [] }), figureOf({ rows: [{ a: "x" }] }), figureOf({ figure: {} })]).toEqual([
      null,
      null,
      null,
    ]);
  });
});

it("a row's children share it, or take what they say at each width", () => {
  expect(spanStyle(undefined, 3)).toEqual({
    "--span-base": 12,
    "--span-sm": 12,
    "--span-md": 4,
    "--span-lg": 4,
  });
  expect(spanStyle({ base: 6, lg: 3 }, 2)).toEqual({
    "--span-base": 6,
    "--span-sm": 6,
    "--span-md": 6,
    "--span-lg": 3,
  });
});
