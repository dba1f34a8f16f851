import { describe, expect, it } from "vitest";
import type { GraphEdge, GraphNode } from "../api/types";
import { firstViewport, layout } from "./layout";

const node = (id: string, column?: number, row = 0, kind = "pre") =>
  ({ id, kind, title: id, target: "", column, row, ports: [] }) as unknown as GraphNode;
const edge = (source: string, target: string, port = "", kind: GraphEdge["kind"] = "data"): GraphEdge => ({
  source,
  target,
  port,
  kind,
});

describe("the layout", () => {
  it("goes from left to right as the compiler says, and never overlaps", () => {
    const { nodes } = layout({
      nodes: [node("a", 0), node("c", 1, 1), node("b", 1, 0), node("d", 2)],
      edges: [],
    });
    const at = Object.fromEntries(nodes.map(({ node, x, y }) => [node.id, { x, y }]));
    expect(at.a?.x).toBeLessThan(at.b?.x ?? 0);
    expect(at.b?.x).toBe(at.c?.x);
    expect(at.b?.y).toBeLessThan(at.c?.y ?? 0);
    const places = nodes.map(({ x, y }) => `${x},${y}`);
    expect(new Set(places).size).toBe(nodes.length);
  });

  it("puts a lone box beside the middle of a full column", () => {
    const { nodes } = layout({ nodes: [node("a", 0), node("b", 1, 0), node("c", 1, 1)], edges: [] });
    const y = Object.fromEntries(nodes.map(({ node, y }) => [node.id, y]));
    expect(y.a).toBe(((y.b ?? 0) + (y.c ?? 0)) / 2);
  });

  it("finds columns itself where they are missing", () => {
    const graph = {
      nodes: [node("a"), node("b"), node("c")],
      edges: [edge("a", "b"), edge("b", "c"), edge("a", "c")],
    };
    const x = Object.fromEntries(layout(graph).nodes.map(({ node, x }) => [node.id, x]));
    expect(x.a).toBeLessThan(x.b ?? 0);
    expect(x.b).toBeLessThan(x.c ?? 0);
  });

  it("ends even on a cycle", () => {
    const { nodes } = layout({ nodes: [node("a"), node("b")], edges: [edge("a", "b"), edge("b", "a")] });
    expect(nodes).toHaveLength(2);
  });

  it("draws the ports between two boxes as one line, control apart", () => {
    const graph = {
      nodes: [node("a", 0), node("b", 1)],
      edges: [
        edge("a", "b", "text"),
        edge("a", "b", "label"),
        edge("a", "b", "yes", "control"),
        edge("a", "gone", "x"),
      ],
    };
    expect(layout(graph).edges).toEqual([
      { id: "a>b:data", source: "a", target: "b", label: "text, label", isControl: false },
      { id: "a>b:control", source: "a", target: "b", label: "yes", isControl: true },
    ]);
  });
});

describe("what is seen first", () => {
  const small = layout({ nodes: [node("a", 0), node("b", 1)], edges: [] });
  const wide = layout({
    nodes: Array.from({ length: 9 }, (_, column) => node(`n${column}`, column)),
    edges: [],
  });
  const frame = { width: 900, height: 300 };

  it("is a small graph in the middle, at its own size", () => {
    const { x, zoom } = firstViewport(small, frame);
    expect(zoom).toBe(1);
    expect(x).toBe((frame.width - small.width) / 2);
  });

  it("is the beginning of a wide one, large enough to read", () => {
    const { x, zoom } = firstViewport(wide, frame);
    expect(zoom).toBeGreaterThan(0.7);
    expect(x).toBeLessThan(40);
  });
});
