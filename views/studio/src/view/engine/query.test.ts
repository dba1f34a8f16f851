import { describe, expect, it } from "vitest";
import { settle, start } from "../testing/engine";
import type { NodeSpec } from "./document";
import { IDLE, next } from "./query";

const field: NodeSpec = { type: "text-input", at: ["page", "body", "a0"], props: { label: "Text" } };
const auto = { run: "auto" as const, in: { text: "=text.value" }, when: "=text.value != ''" };

describe("a query's states", () => {
  const ok = next(IDLE, { kind: "answered", answer: { data: 1, run: "r", seconds: 2 } });

  it("keeps the old answer while the next one is on its way, and drops it on an error", () => {
    const running = next(ok, { kind: "started" });
    expect(running).toMatchObject({ state: "running", running: true, ok: false, data: 1 });
    expect(next(running, { kind: "failed", message: "no" })).toEqual({
      ...IDLE,
      state: "error",
      error: "no",
    });
  });

  it("is stale when its inputs changed, and again when a rerun was cancelled", () => {
    expect(next(ok, { kind: "inputs changed" })).toMatchObject({ state: "stale", ok: false, data: 1 });
    expect(next(next(ok, { kind: "started" }), { kind: "cancelled" })).toMatchObject({
      state: "stale",
      data: 1,
    });
    expect(next(next(IDLE, { kind: "started" }), { kind: "cancelled" })).toEqual(IDLE);
    expect(next(IDLE, { kind: "inputs changed" })).toEqual(IDLE);
  });
});

describe("an automatic query", () => {
  it("waits for its condition, then for its debounce, then runs with the latest values", async () => {
    const { engine, calls, clock } = start({
      queries: { q: { ...auto, debounce_ms: 300 } },
      nodes: { text: field },
    });
    expect(calls).toEqual([]);
    for (const value of ["a", "ab", "abc"]) {
      engine.setLocal("text", { value });
      await settle();
      clock.pass(100);
    }
    expect(calls).toEqual([]);
    clock.pass(300);
    await settle();
    expect(calls.map(({ values }) => values)).toEqual([{ text: "abc" }]);
  });

  it("cancels the older run, and an answer that comes too late changes nothing", async () => {
    const { engine, calls, clock } = start({ queries: { q: auto }, nodes: { text: field } });
    for (const value of ["a", "b"]) {
      engine.setLocal("text", { value });
      await settle();
      clock.pass(0);
    }
    expect(calls.map(({ signal }) => signal.aborted)).toEqual([true, false]);
    await calls[1]?.answer("for b");
    await calls[0]?.answer("for a");
    expect(engine.query("q")).toMatchObject({ state: "ok", data: "for b" });
  });

  it("is cancelled when its condition ends", async () => {
    const { engine, calls, clock } = start({ queries: { q: auto }, nodes: { text: field } });
    engine.setLocal("text", { value: "a" });
    await settle();
    clock.pass(0);
    engine.setLocal("text", { value: "" });
    await settle();
    expect(calls[0]?.signal.aborted).toBe(true);
    expect(engine.query("q").state).toBe("idle");
  });

  it("without a condition waits until its inputs are there", async () => {
    const file: NodeSpec = { type: "file-picker", at: ["page", "body", "a0"], props: { label: "File" } };
    const queries = { q: { run: "auto" as const, in: { file: "=up.file" } } };
    const { engine, calls, clock } = start({ queries, nodes: { up: file } });
    expect(calls).toEqual([]);
    const value = { name: "a.txt", type: "text/plain", size: 1, data: "YQ==" };
    engine.setLocal("up", { file: value });
    await settle();
    clock.pass(0);
    expect(calls.map(({ values }) => values)).toEqual([{ file: value }]);
  });

  it("does not run again for the same inputs", async () => {
    const { engine, calls, clock } = start({ queries: { q: auto }, nodes: { text: field } });
    engine.setLocal("text", { value: "a" });
    await settle();
    clock.pass(0);
    await calls[0]?.answer(1);
    engine.setLocal("text", { touched: true });
    await settle();
    clock.pass(0);
    expect(calls).toHaveLength(1);
    expect(engine.query("q").state).toBe("ok");
  });
});

describe("other queries", () => {
  it("one of kind load runs once at the start, even without inputs", async () => {
    const { engine, calls } = start({ queries: { q: { run: "load", in: {} } } });
    await calls[0]?.fail("The model is not running.");
    expect(engine.query("q")).toMatchObject({
      state: "error",
      error: "The model is not running.",
      data: null,
    });
  });

  it("a manual one goes stale when what it was asked changes", async () => {
    const nodes = {
      text: field,
      go: {
        type: "button",
        at: ["page", "body", "a1"],
        props: { label: "Go" },
        on: { click: [{ run: "q" }] },
      },
    } satisfies Record<string, NodeSpec>;
    const { engine, calls } = start({
      queries: { q: { run: "manual", in: { text: "=text.value" } } },
      nodes,
    });
    const done = engine.emit("go", "click");
    await settle();
    await calls[0]?.answer(1);
    await done;
    expect(engine.query("q").state).toBe("ok");
    engine.setLocal("text", { value: "x" });
    await settle();
    expect(engine.query("q")).toMatchObject({ state: "stale", data: 1 });
  });

  it("says which input could not be computed", async () => {
    const { engine, calls } = start({ queries: { q: { run: "load", in: { n: "=num('x') + [1]" } } } });
    await settle();
    expect(calls).toEqual([]);
    expect(engine.query("q").state).toBe("error");
    expect(engine.query("q").error).toMatch(/\+|list|number/);
  });
});
