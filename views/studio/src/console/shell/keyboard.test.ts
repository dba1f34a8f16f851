import { describe, expect, it } from "vitest";
import { rank } from "./palette-search";
import { type Press, readPress } from "./shortcuts";

const press = (key: string, change: Partial<Press> = {}): Press => ({
  key,
  ctrlKey: false,
  metaKey: false,
  altKey: false,
  isTyping: false,
  at: 1000,
  ...change,
});

describe("shortcuts", () => {
  it("go somewhere by two letters", () => {
    const { chordAt } = readPress(press("g"), null);
    expect(readPress(press("a", { at: 1500 }), chordAt)).toEqual({ command: { go: "apps" }, chordAt: null });
  });

  it("forget the first letter after a while", () => {
    expect(readPress(press("a", { at: 9000 }), 1000).command).toBeNull();
  });

  it("leave those who type alone, except for the palette", () => {
    expect(readPress(press("g", { isTyping: true }), null).chordAt).toBeNull();
    expect(readPress(press("?", { isTyping: true }), null).command).toBeNull();
    expect(readPress(press("k", { isTyping: true, ctrlKey: true }), null).command).toBe("palette");
  });

  it("leave the browser's own alone", () => {
    expect(readPress(press("g", { ctrlKey: true }), null)).toEqual({ command: null, chordAt: null });
  });
});

describe("the palette", () => {
  const items = [
    { title: "Models", group: "Pages" },
    { title: "Members", group: "Pages" },
    { title: "churn-model", group: "Models" },
    { title: "iris", detail: "sklearn", group: "Models" },
  ];
  const titles = (text: string) => rank(items, text).map(({ title }) => title);

  it("offers everything at first", () => {
    expect(titles(" ")).toEqual(items.map(({ title }) => title));
  });

  it("finds by beginning, by word, by details and by letters in order", () => {
    expect(titles("mod")).toEqual(["Models", "churn-model"]);
    expect(titles("sklearn")).toEqual(["iris"]);
    expect(titles("mbrs")).toEqual(["Members"]);
    expect(titles("zzz")).toEqual([]);
  });
});
