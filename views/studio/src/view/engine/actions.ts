import { type Binding, bind } from "../../expr";
import type { ActionSpec, Json, JsonObject } from "./document";
import { messageOf, type Outcome } from "./query";
import { isObject, textOf, truthy } from "./values";

export type ToastKind = "info" | "success" | "warning" | "error";

/** What actions do to the world. The engine gives the first half, the page the second. */
export interface ActionHost {
  scope(event: JsonObject): JsonObject;
  runQuery(name: string): Promise<Outcome>;
  set(path: string, value: Json): void;
  reset(name: string): void;
  setOpen(node: string, open: boolean): void;
  toast(text: string, kind: ToastKind): void;
  navigate(target: NavigateTarget): void;
  download(file: DownloadFile): void;
  copy(text: string): Promise<void>;
}

export type NavigateTarget =
  | { view: string; params: Record<string, Json> }
  | { url: string; newTab: boolean };

export interface DownloadFile {
  name: string;
  type: string;
  /** Base64 when `encoded`, else the text itself. */
  data: string;
  encoded: boolean;
}

interface Step {
  kind: string;
  /** As written: names of queries and nodes are never expressions. */
  written: Json;
  value: Binding;
  condition: Binding | null;
}

/** The actions of one event, parsed once. */
export class ActionList {
  private readonly steps: Step[];

  constructor(specs: readonly ActionSpec[]) {
    this.steps = specs.map(stepOf);
  }

  get queries(): string[] {
    return this.steps.filter(({ kind }) => kind === "run").map(({ written }) => String(written));
  }

  /** Do them in turn. Stops at the first that fails, and says so; a query that failed shows its error where it is used. */
  async run(event: JsonObject, host: ActionHost): Promise<void> {
    for (const step of this.steps) {
      try {
        if (step.condition && !truthy(step.condition.evaluate(host.scope(event)) as Json)) continue;
        if (!(await perform(step, event, host))) return;
      } catch (error) {
        host.toast(messageOf(error), "error");
        return;
      }
    }
  }
}

function stepOf(spec: ActionSpec): Step {
  const kind = Object.keys(spec).find((key) => key !== "if") ?? "";
  const written = spec[kind] ?? null;
  return { kind, written, value: bind(written), condition: spec.if === undefined ? null : bind(spec.if) };
}

/** Do one step; false means stop. */
async function perform(step: Step, event: JsonObject, host: ActionHost): Promise<boolean> {
  if (step.kind === "run") return (await host.runQuery(String(step.written))) === "ok";
  if (step.kind === "open" || step.kind === "close") {
    host.setOpen(String(step.written), step.kind === "open");
    return true;
  }
  if (step.kind === "reset") {
    for (const name of [step.written].flat()) host.reset(String(name));
    return true;
  }
  const value = step.value.evaluate(host.scope(event)) as Json;
  switch (step.kind) {
    case "set":
      for (const [path, assigned] of Object.entries(isObject(value) ? value : {})) host.set(path, assigned);
      return true;
    case "toast":
      host.toast(toastText(value), toastKind(value));
      return true;
    case "navigate":
      host.navigate(navigateTarget(value));
      return true;
    case "download":
      host.download(downloadFile(value));
      return true;
    case "copy":
      await host.copy(typeof value === "string" ? value : JSON.stringify(value, null, 2));
      return true;
    default:
      throw new Error(`This view asks for “${step.kind}”, which this server does not know.`);
  }
}

function toastText(value: Json): string {
  return textOf(isObject(value) ? value.text : value);
}

function toastKind(value: Json): ToastKind {
  const kind = isObject(value) ? value.kind : null;
  return kind === "success" || kind === "warning" || kind === "error" ? kind : "info";
}

function navigateTarget(value: Json): NavigateTarget {
  if (!isObject(value)) throw new Error("There is nowhere to go.");
  if (typeof value.view === "string") {
    return { view: value.view, params: isObject(value.params) ? value.params : {} };
  }
  const url = textOf(value.url);
  if (!isSafeUrl(url)) throw new Error("This link is not one that can be followed safely.");
  return { url, newTab: value.new_tab === true };
}

const SAFE_PROTOCOLS = new Set(["http:", "https:", "mailto:", "tel:"]);

/** Whether following it can only ever open a page, a mail or a call. */
export function isSafeUrl(url: string): boolean {
  if (!url.trim()) return false;
  try {
    return SAFE_PROTOCOLS.has(new URL(url, "https://here.invalid/").protocol);
  } catch {
    return false;
  }
}

/** A file value keeps its name and type; text is saved as it is; anything else as JSON. */
export function downloadFile(value: Json): DownloadFile {
  const wanted = isObject(value) && "data" in value ? value : { data: value };
  const data = wanted.data ?? null;
  if (isFileValue(data)) {
    return { name: textOf(wanted.name) || data.name, type: data.type, data: data.data, encoded: true };
  }
  if (isFileValue(wanted)) return { name: wanted.name, type: wanted.type, data: wanted.data, encoded: true };
  if (typeof data === "string") {
    return {
      name: textOf(wanted.name) || "download.txt",
      type: textOf(wanted.type) || "text/plain",
      data,
      encoded: false,
    };
  }
  return {
    name: textOf(wanted.name) || "download.json",
    type: textOf(wanted.type) || "application/json",
    data: JSON.stringify(data, null, 2),
    encoded: false,
  };
}

export interface FileValue {
  name: string;
  type: string;
  size: number;
  data: string;
}

export function isFileValue(value: unknown): value is FileValue & JsonObject {
  return (
    isObject(value) &&
    typeof value.name === "string" &&
    typeof value.type === "string" &&
    typeof value.size === "number" &&
    typeof value.data === "string"
  );
}
