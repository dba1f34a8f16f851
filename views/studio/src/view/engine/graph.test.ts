import { describe, expect, it, vi } from "vitest";
import { CycleError, Graph } from "./graph";

function sealed(build: (graph: Graph) => void): Graph {
  const graph = new Graph();
  build(graph);
  graph.seal();
  return graph;
}

describe("Graph", () => {
  it("computes a diamond once, in order, when its source changes", async () => {
    const computed: string[] = [];
    const graph = sealed((g) => {
      g.source("a", 1);
      const cell = (id: string, uses: string[]) =>
        g.computed(id, uses, () => {
          computed.push(id);
          return uses.reduce((sum, used) => sum + (g.get(used) as number), 1);
        });
      cell("d", ["b", "c"]);
      cell("c", ["a", "b"]);
      cell("b", ["a"]);
    });
    computed.length = 0;
    graph.set("a", 10);
    await Promise.resolve();
    expect(computed).toEqual(["b", "c", "d"]);
    expect(graph.get("d")).toBe(34);
  });

  it("flushes once for many changes in a row", async () => {
    const graph = sealed((g) => {
      g.source("a", 0);
      g.computed("b", ["a"], () => g.get("a"));
    });
    const watcher = vi.fn();
    graph.watch(["a", "b"], watcher);
    for (let value = 1; value <= 5; value++) graph.set("a", value);
    expect(watcher).not.toHaveBeenCalled();
    await Promise.resolve();
    expect(watcher).toHaveBeenCalledTimes(1);
    expect(graph.get("b")).toBe(5);
  });

  it("stops where a value stays the same, even when it is a new object", async () => {
    const below = vi.fn(() => 0);
    const graph = sealed((g) => {
      g.source("a", 1);
      g.computed("parity", ["a"], () => ({ odd: (g.get("a") as number) % 2 === 1 }));
      g.computed("below", ["parity"], below);
    });
    const watcher = vi.fn();
    graph.watch(["parity"], watcher);
    graph.set("a", 3);
    await Promise.resolve();
    expect(below).toHaveBeenCalledTimes(1);
    expect(watcher).not.toHaveBeenCalled();
  });

  it("does not wake a watcher that stopped", async () => {
    const graph = sealed((g) => g.source("a", 1));
    const watcher = vi.fn();
    graph.watch(["a"], watcher)();
    graph.set("a", 2);
    await Promise.resolve();
    expect(watcher).not.toHaveBeenCalled();
  });

  it("names the loop it refuses", () => {
    expect(() =>
      sealed((g) => {
        g.computed("x", ["y"], () => 0);
        g.computed("y", ["x"], () => 0);
      }),
    ).toThrowError(new CycleError(["x", "y", "x"]));
  });

  it("gives up on watchers that chase each other, and says where", async () => {
    const runaway = vi.fn();
    const graph = new Graph(undefined, runaway);
    graph.source("a", 0);
    graph.seal();
    graph.watch(["a"], () => graph.set("a", (graph.get("a") as number) + 1));
    graph.set("a", 1);
    await vi.waitFor(() => expect(runaway).toHaveBeenCalledWith(["a"]));
  });

  it("flushes a thousand bindings in one go, each computed once", () => {
    let computed = 0;
    const graph = sealed((g) => {
      g.source("a", 0);
      for (let index = 0; index < 1000; index++)
        g.computed(`b${index}`, ["a"], () => {
          computed += 1;
          return (g.get("a") as number) + index;
        });
    });
    graph.set("a", 1);
    graph.flush();
    computed = 0;
    graph.set("a", 2);
    graph.set("a", 3);
    graph.flush();
    expect(computed).toBe(1000);
    expect(graph.get("b999")).toBe(1002);
  });
});
