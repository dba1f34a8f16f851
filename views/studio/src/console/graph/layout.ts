/**
 * Where the boxes of a worklet go. The compiler gives each node a column and a row; this turns them into pixels and
 * places what has none, so that a drawing never fails for lack of a layout. No React here.
 */

import type { Graph, GraphEdge, GraphNode } from "../api/types";

export const NODE_HEIGHT = 60;
const NODE_WIDTH = 196;
/** Where the worklet begins and ends there is little to say. */
const END_WIDTH = 118;
const COLUMN_GAP = 84;
const ROW_STEP = NODE_HEIGHT + 38;

export interface PlacedNode {
  node: GraphNode;
  x: number;
  y: number;
  width: number;
}

export interface DrawnEdge {
  id: string;
  source: string;
  target: string;
  label: string;
  isControl: boolean;
}

export interface Drawing {
  nodes: PlacedNode[];
  edges: DrawnEdge[];
  width: number;
  height: number;
}

export function layout(graph: Graph): Drawing {
  const known = new Set(graph.nodes.map(({ id }) => id));
  const edges = graph.edges.filter(({ source, target }) => known.has(source) && known.has(target));
  const columns = columnsOf(graph.nodes, edges);
  const rowsIn = new Map<number, number>();
  for (const column of columns.values()) rowsIn.set(column, (rowsIn.get(column) ?? 0) + 1);
  const tallest = Math.max(1, ...rowsIn.values());
  const taken = new Map<number, number>();
  const lefts = leftsOf(graph.nodes, columns);

  const nodes = [...graph.nodes]
    .sort((a, b) => (a.row ?? 0) - (b.row ?? 0))
    .map((node) => {
      const column = columns.get(node.id) ?? 0;
      const place = taken.get(column) ?? 0;
      taken.set(column, place + 1);
      // A column with fewer boxes is centred beside the fullest one.
      const offset = (tallest - (rowsIn.get(column) ?? 1)) / 2;
      return { node, x: lefts.get(column) ?? 0, y: (place + offset) * ROW_STEP, width: widthOf(node) };
    });
  return {
    nodes,
    edges: joined(edges),
    width: Math.max(0, ...nodes.map(({ x, width }) => x + width)),
    height: (tallest - 1) * ROW_STEP + NODE_HEIGHT,
  };
}

/** The size the drawing wants, so that a small graph gets a small frame. */
export function frameHeight({ height }: Drawing): number {
  return Math.min(520, Math.max(190, height + 110));
}

export interface Viewport {
  x: number;
  y: number;
  zoom: number;
}

const LEAST_ZOOM = 0.72;
const MARGIN = 28;

/** All of it in the middle; but never too small to read: a wide graph begins at its left, and is dragged. */
export function firstViewport(drawing: Drawing, frame: { width: number; height: number }): Viewport {
  const fit = Math.min(
    (frame.width - 2 * MARGIN) / Math.max(1, drawing.width),
    (frame.height - 2 * MARGIN) / Math.max(1, drawing.height),
  );
  const zoom = Math.min(1, Math.max(LEAST_ZOOM, fit));
  const spare = frame.width - drawing.width * zoom;
  return {
    x: spare >= 2 * MARGIN ? spare / 2 : MARGIN,
    y: (frame.height - drawing.height * zoom) / 2,
    zoom,
  };
}

function widthOf({ kind }: GraphNode): number {
  return kind === "input" || kind === "return" || kind === "output" ? END_WIDTH : NODE_WIDTH;
}

function leftsOf(nodes: GraphNode[], columns: Map<string, number>): Map<number, number> {
  const widths = new Map<number, number>();
  for (const node of nodes) {
    const column = columns.get(node.id) ?? 0;
    widths.set(column, Math.max(widths.get(column) ?? 0, widthOf(node)));
  }
  const lefts = new Map<number, number>();
  let left = 0;
  for (const column of [...widths.keys()].sort((a, b) => a - b)) {
    lefts.set(column, left);
    left += (widths.get(column) ?? 0) + COLUMN_GAP;
  }
  return lefts;
}

/** Several ports between the same two nodes are one line that names them all. */
function joined(edges: GraphEdge[]): DrawnEdge[] {
  const lines = new Map<string, DrawnEdge & { ports: string[] }>();
  for (const { source, target, port, kind } of edges) {
    const id = `${source}>${target}:${kind}`;
    const line = lines.get(id) ?? { id, source, target, label: "", isControl: kind === "control", ports: [] };
    if (port && !line.ports.includes(port)) line.ports.push(port);
    lines.set(id, line);
  }
  return [...lines.values()].map(({ ports, ...line }) => ({ ...line, label: ports.join(", ") }));
}

function columnsOf(nodes: GraphNode[], edges: GraphEdge[]): Map<string, number> {
  if (nodes.every(({ column }) => Number.isInteger(column))) {
    return new Map(nodes.map(({ id, column }) => [id, column]));
  }
  return longestPaths(nodes, edges);
}

function longestPaths(nodes: GraphNode[], edges: GraphEdge[]): Map<string, number> {
  const columns = new Map(nodes.map(({ id }) => [id, 0]));
  // As many rounds as nodes settle any acyclic graph; a cycle (which the compiler refuses) ends here too.
  for (let round = 0; round < nodes.length; round += 1) {
    let isSettled = true;
    for (const { source, target } of edges) {
      const wanted = (columns.get(source) ?? 0) + 1;
      if (wanted > (columns.get(target) ?? 0) && wanted < nodes.length) {
        columns.set(target, wanted);
        isSettled = false;
      }
    }
    if (isSettled) break;
  }
  return columns;
}
