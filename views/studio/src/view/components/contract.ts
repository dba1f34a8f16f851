import type { ReactNode } from "react";
import type { Json, JsonObject } from "../engine/document";
import type { ComponentKind, NodeStatus } from "../engine/engine";

/** What every component of a view is given. It draws, and it says what a person did; it decides nothing. */
export interface ViewProps {
  name: string;
  props: JsonObject;
  local: JsonObject;
  outputs: JsonObject;
  status: NodeStatus;
  busy: boolean;
  setLocal(patch: JsonObject): void;
  emit(event: string, payload?: JsonObject): void;
  /** What stands in one of its slots. */
  slot(name: string): ReactNode;
}

export interface ViewComponent {
  type: string;
  Component: (props: ViewProps) => ReactNode;
  outputsOf?: ComponentKind["outputsOf"];
  localFor?: ComponentKind["localFor"];
  /** Its height while nothing is there yet, in pixels: the skeleton keeps the page from jumping. */
  skeleton?: number;
}

/** Readers of props: a document may be wrong, and a component must not break for it. */

export function text(value: Json | undefined, fallback = ""): string {
  if (value === null || value === undefined) return fallback;
  return typeof value === "object" ? JSON.stringify(value) : String(value);
}

export function optionalText(value: Json | undefined): string | undefined {
  return text(value) || undefined;
}

export function number(value: Json | undefined): number | undefined {
  return typeof value === "number" && Number.isFinite(value) ? value : undefined;
}

export function flag(value: Json | undefined): boolean {
  return Boolean(value);
}

export function list(value: Json | undefined): Json[] {
  return Array.isArray(value) ? value : [];
}

export function oneOf<const T extends string>(
  value: Json | undefined,
  allowed: readonly T[],
  fallback: T,
): T {
  return allowed.includes(value as T) ? (value as T) : fallback;
}

export const SPACES = {
  none: "0",
  xs: "0.5rem",
  sm: "0.75rem",
  md: "1rem",
  lg: "1.5rem",
  xl: "2.25rem",
} as const;
const SPACE_NAMES = Object.keys(SPACES) as (keyof typeof SPACES)[];

export function space(value: Json | undefined, fallback: keyof typeof SPACES = "md"): string {
  return SPACES[oneOf(value, SPACE_NAMES, fallback)];
}
