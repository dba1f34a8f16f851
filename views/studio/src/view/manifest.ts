import manifest from "../../../tenfold_views/manifest.json";
import type { JsonObject } from "./engine/document";

interface PropEntry {
  type: string;
  description: string;
  required?: boolean;
  default?: unknown;
  enum?: string[];
  feeds?: boolean;
}

export interface ManifestEntry {
  title: string;
  group: string;
  description: string;
  props: Record<string, PropEntry>;
  outputs: Record<string, { type: string; description: string; settable?: boolean }>;
  events: Record<string, { description: string }>;
  slots: Record<string, { title: string }>;
  gathers?: boolean;
  opens?: boolean;
  spans?: boolean;
}

/** The component manifest, one truth with the lint: what every component takes, gives, does and holds. */
export const components = manifest.components as unknown as Record<string, ManifestEntry>;
export const actionKinds = Object.keys(manifest.actions);

export function defaultsOf(entry: ManifestEntry): JsonObject {
  const given = Object.entries(entry.props).filter(([, prop]) => prop.default !== undefined);
  return Object.fromEntries(given.map(([name, prop]) => [name, prop.default])) as JsonObject;
}
