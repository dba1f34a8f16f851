import { describe, expect, it } from "vitest";
import { appendLog, emptyLog, logAsText, searchLog } from "./logs";
import type { LogLine } from "./types";

const line = (id: number, text = `line ${id}`): LogLine => ({
  id,
  at: "2026-01-02T03:04:05Z",
  source: "worker",
  text,
});
const texts = (lines: readonly LogLine[]) => lines.map(({ text }) => text);

describe("a log", () => {
  it("takes what a reconnected stream repeats only once", () => {
    const before = appendLog(emptyLog, [line(1), line(2)]);
    const after = appendLog(before, [line(2), line(1), line(3), line(3)]);
    expect(texts(after.lines)).toEqual(["line 1", "line 2", "line 3"]);
    expect(after.lastId).toBe(3);
  });

  it("is the very same when nothing new came", () => {
    const before = appendLog(emptyLog, [line(1)]);
    expect(appendLog(before, [line(1)])).toBe(before);
  });

  it("puts what came out of order in order", () => {
    expect(texts(appendLog(emptyLog, [line(2), line(1)]).lines)).toEqual(["line 1", "line 2"]);
  });

  it("makes a row of each line of a chunk", () => {
    expect(texts(appendLog(emptyLog, [line(1, "a\nb\r\n\nc\n")]).lines)).toEqual(["a", "b", "", "c"]);
  });

  it("shows a progress bar as it was last drawn, without the terminal's colours", () => {
    const bar = "\u001b[32m10%\u001b[0m\r50%\r100%";
    expect(texts(appendLog(emptyLog, [line(1, bar)]).lines)).toEqual(["100%"]);
  });

  it("forgets the oldest and counts them", () => {
    const state = appendLog(appendLog(emptyLog, [line(1), line(2)], 3), [line(3), line(4), line(5)], 3);
    expect(texts(state.lines)).toEqual(["line 3", "line 4", "line 5"]);
    expect(state.droppedCount).toBe(2);
  });

  it("is searched without regard to case", () => {
    const { lines } = appendLog(emptyLog, [line(1, "Loading"), line(2, "ready"), line(3, "loading again")]);
    expect(searchLog(lines, " LOADING ")).toEqual([0, 2]);
    expect(searchLog(lines, " ")).toEqual([]);
  });

  it("is saved with its times", () => {
    expect(logAsText([line(1, "hello")])).toBe("2026-01-02T03:04:05Z worker hello\n");
  });
});
