/** The view document as the browser gets it: see docs/reference/views.md and `client_document` in tenfold_views. */

export type Json = null | boolean | number | string | Json[] | { [key: string]: Json };
export type JsonObject = { [key: string]: Json };

export type ValueType = "str" | "int" | "float" | "bool" | "json";

export interface ParamSpec {
  type: ValueType;
  default?: Json;
  required?: boolean;
}

export interface StateSpec {
  scope: "url" | "page";
  type: ValueType;
  default?: Json;
}

export interface QuerySpec {
  run: "auto" | "manual" | "load";
  in: Json;
  when?: Json;
  debounce_ms?: number;
  timeout_ms?: number;
  confirm?: string;
}

/** One action of an event: its kind is the key beside `if`. */
export type ActionSpec = JsonObject;

export type Width = "base" | "sm" | "md" | "lg";

export interface NodeSpec {
  type: string;
  at?: [parent: string, slot: string, order: string];
  props?: JsonObject;
  span?: Partial<Record<Width, number>>;
  when?: Json;
  on?: Record<string, ActionSpec[]>;
}

export interface ViewDocument {
  view: number;
  name: string;
  title: string;
  description?: string;
  params?: Record<string, ParamSpec>;
  state?: Record<string, StateSpec>;
  queries: Record<string, QuerySpec>;
  nodes: Record<string, NodeSpec>;
}

export const ROOT = "page";

/** The names of a node's children in one slot, in the order they are drawn. */
export function childrenOf(document: ViewDocument, parent: string, slot: string): string[] {
  return Object.entries(document.nodes)
    .filter(([, node]) => node.at?.[0] === parent && node.at[1] === slot)
    .sort(([leftName, left], [rightName, right]) => compareOrder(left, leftName, right, rightName))
    .map(([name]) => name);
}

function compareOrder(left: NodeSpec, leftName: string, right: NodeSpec, rightName: string): number {
  const a = `${left.at?.[2] ?? ""} ${leftName}`;
  const b = `${right.at?.[2] ?? ""} ${rightName}`;
  return a < b ? -1 : a > b ? 1 : 0;
}
