/** A worklet as a picture: boxes by kind, lines with the ports they fill, optionally coloured by how a run went. */

import "@xyflow/react/dist/base.css";
import { useMantineColorScheme } from "@mantine/core";
import {
  Background,
  BackgroundVariant,
  Controls,
  type Edge,
  Handle,
  MarkerType,
  type Node,
  type NodeProps,
  Position,
  ReactFlow,
  type ReactFlowInstance,
  ReactFlowProvider,
} from "@xyflow/react";
import { createContext, type KeyboardEvent, memo, useContext, useMemo, useRef } from "react";
import type { Graph, GraphNode } from "../api/types";
import { formatMilliseconds } from "../ui/format";
import classes from "./GraphView.module.css";
import { kindOf } from "./kinds";
import { firstViewport, frameHeight, layout, NODE_HEIGHT } from "./layout";

export interface NodeMark {
  state: string;
  durationMs: number | null;
}

interface GraphViewProps {
  graph: Graph;
  label: string;
  selected?: string | null;
  onSelect?: (id: string) => void;
  marks?: Record<string, NodeMark>;
  height?: number;
}

type WorkletNode = Node<{ node: GraphNode; mark: NodeMark | undefined }, "worklet">;

const SelectContext = createContext<(id: string) => void>(() => {});
const nodeTypes = { worklet: memo(NodeCard) };

export function GraphView(props: GraphViewProps) {
  return (
    <ReactFlowProvider>
      <Drawing {...props} />
    </ReactFlowProvider>
  );
}

function Drawing({ graph, label, selected = null, onSelect, marks, height }: GraphViewProps) {
  const { colorScheme } = useMantineColorScheme();
  const drawing = useMemo(() => layout(graph), [graph]);
  const nodes = useMemo<WorkletNode[]>(
    () =>
      drawing.nodes.map(({ node, x, y, width }) => ({
        id: node.id,
        type: "worklet",
        position: { x, y },
        width,
        height: NODE_HEIGHT,
        data: { node, mark: marks?.[node.id] },
        selected: node.id === selected,
        draggable: false,
        connectable: false,
        focusable: false,
      })),
    [drawing, marks, selected],
  );
  const edges = useMemo<Edge[]>(
    () =>
      drawing.edges.map(({ id, source, target, label, isControl }) => ({
        id,
        source,
        target,
        label,
        className: isControl ? classes.control : classes.data,
        focusable: false,
        markerEnd: { type: MarkerType.ArrowClosed, width: 16, height: 16, color: "var(--tf-border-strong)" },
        labelBgPadding: [5, 2],
        labelBgBorderRadius: 4,
      })),
    [drawing],
  );

  const frame = useRef<HTMLElement>(null);
  const place = (flow: ReactFlowInstance<WorkletNode>) => {
    const { clientWidth, clientHeight } = frame.current ?? { clientWidth: 0, clientHeight: 0 };
    void flow.setViewport(firstViewport(drawing, { width: clientWidth, height: clientHeight }));
  };

  return (
    <SelectContext value={onSelect ?? nothing}>
      <section
        ref={frame}
        className={classes.frame}
        style={{ height: height ?? frameHeight(drawing) }}
        aria-label={label}
      >
        <ReactFlow
          nodes={nodes}
          edges={edges}
          nodeTypes={nodeTypes}
          colorMode={colorScheme === "auto" ? "system" : colorScheme}
          onInit={place}
          fitViewOptions={{ padding: 0.08, maxZoom: 1 }}
          minZoom={0.2}
          maxZoom={1.6}
          nodesDraggable={false}
          nodesConnectable={false}
          edgesFocusable={false}
          zoomOnScroll={false}
          preventScrolling={false}
          panOnScroll={false}
          proOptions={{ hideAttribution: true }}
        >
          <Background variant={BackgroundVariant.Dots} gap={18} size={1} />
          <Controls showInteractive={false} position="top-right" orientation="horizontal" />
        </ReactFlow>
      </section>
    </SelectContext>
  );
}

function NodeCard({ data: { node, mark }, selected }: NodeProps<WorkletNode>) {
  const select = useContext(SelectContext);
  const kind = kindOf(node.kind);
  const Icon = kind.icon;
  const name = node.title || node.id;
  const said = [kind.title, name, mark?.state].filter(Boolean).join(", ");
  return (
    <button
      type="button"
      className={`${classes.card} nopan`}
      style={{ "--kind": kind.colour }}
      data-selected={selected || undefined}
      data-state={mark?.state}
      aria-label={said}
      aria-pressed={selected}
      onClick={() => select(node.id)}
      onKeyDown={moveFocus}
    >
      <Handle type="target" position={Position.Left} className={classes.handle} />
      <span className={classes.icon}>
        <Icon size={18} aria-hidden />
      </span>
      <span className={classes.words}>
        <span className={classes.name}>{name}</span>
        {(node.target || kind.title.toLowerCase() !== name.toLowerCase()) && (
          <span className={classes.sub}>{node.target || kind.title}</span>
        )}
      </span>
      {mark && (
        <span className={classes.mark}>
          {mark.durationMs === null ? mark.state : formatMilliseconds(mark.durationMs)}
        </span>
      )}
      <Handle type="source" position={Position.Right} className={classes.handle} />
    </button>
  );
}

/** Arrows walk the boxes in reading order; Tab does too, but leaves at the end. */
function moveFocus(event: KeyboardEvent<HTMLButtonElement>): void {
  const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
  if (!step) return;
  const cards = [
    ...(event.currentTarget.closest("section")?.querySelectorAll<HTMLElement>(`.${classes.card}`) ?? []),
  ];
  cards[cards.indexOf(event.currentTarget) + step]?.focus();
  event.preventDefault();
}

function nothing(): void {}
