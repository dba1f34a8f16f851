import type { Json, ParamSpec, StateSpec, ValueType } from "./document";
import { same } from "./values";

/** Where the address bar is read and written; a test gives its own. */
export interface Address {
  search(): string;
  push(search: string): void;
  replace(search: string): void;
  /** Call back when the person goes back or forward. Gives the way to stop. */
  onReturn(listener: () => void): () => void;
}

export const windowAddress: Address = {
  search: () => window.location.search,
  push: (search) => window.history.pushState(null, "", window.location.pathname + search),
  replace: (search) => window.history.replaceState(null, "", window.location.pathname + search),
  onReturn: (listener) => {
    window.addEventListener("popstate", listener);
    return () => window.removeEventListener("popstate", listener);
  },
};

/** The value that a text of the address stands for, or the default when it stands for none of that type. */
export function decode(text: string | null, spec: { type: ValueType; default?: Json }): Json {
  const fallback = spec.default ?? null;
  if (text === null) return fallback;
  switch (spec.type) {
    case "str":
      return text;
    case "int":
      return /^[-+]?\d{1,15}$/.test(text) ? Number(text) : fallback;
    case "float":
      return text.trim() !== "" && Number.isFinite(Number(text)) ? Number(text) : fallback;
    case "bool":
      return text === "true" || text === "1" ? true : text === "false" || text === "0" ? false : fallback;
    case "json":
      return fallback;
  }
}

export function readParams(search: string, specs: Record<string, ParamSpec>): Record<string, Json> {
  const query = new URLSearchParams(search);
  return mapValues(specs, (spec, name) => decode(query.get(name), spec));
}

export function readState(search: string, specs: Record<string, StateSpec>): Record<string, Json> {
  const query = new URLSearchParams(search);
  const kept = Object.entries(specs).filter(([, spec]) => spec.scope === "url");
  return mapValues(Object.fromEntries(kept), (spec, name) => decode(query.get(name), spec));
}

/** The address with these values of state in it; what equals its default is left out, what is not state stays. */
export function withState(
  search: string,
  specs: Record<string, StateSpec>,
  values: Record<string, Json>,
): string {
  const query = new URLSearchParams(search);
  for (const [name, spec] of Object.entries(specs)) {
    if (spec.scope !== "url") continue;
    const value = values[name] ?? null;
    if (value === null || typeof value === "object" || same(value, spec.default ?? null)) query.delete(name);
    else query.set(name, String(value));
  }
  return asSearch(query);
}

/** The address of another view: `/{workspace}/{app}/{view}?…`. */
export function searchOf(params: Record<string, Json>): string {
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(params)) {
    if (value !== null && typeof value !== "object") query.set(name, String(value));
  }
  return asSearch(query);
}

function asSearch(query: URLSearchParams): string {
  const text = query.toString();
  return text ? `?${text}` : "";
}

function mapValues<In, Out>(
  entries: Record<string, In>,
  map: (value: In, name: string) => Out,
): Record<string, Out> {
  return Object.fromEntries(Object.entries(entries).map(([name, value]) => [name, map(value, name)]));
}
