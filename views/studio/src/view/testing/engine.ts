import { registry } from "../components";
import type { Json, ViewDocument } from "../engine/document";
import { Engine, type EngineOptions, type EngineUi } from "../engine/engine";
import type { Clock, QueryAnswer } from "../engine/query";
import type { Address } from "../engine/url-state";
import { kindsOf } from "../runtime";

/** A clock that stands still until it is told. */
export class TestClock implements Clock {
  private timers = new Map<number, { at: number; task: () => void }>();
  private time = 0;
  private last = 0;

  setTimeout(task: () => void, ms: number): number {
    this.last += 1;
    this.timers.set(this.last, { at: this.time + ms, task });
    return this.last;
  }

  clearTimeout(timer: number): void {
    this.timers.delete(timer);
  }

  now = (): number => this.time;

  pass(ms: number): void {
    this.time += ms;
    for (const [timer, { at, task }] of [...this.timers]) {
      if (at > this.time) continue;
      this.timers.delete(timer);
      task();
    }
  }
}

/** An address bar with a history. */
export class TestAddress implements Address {
  entries: string[];
  private listeners = new Set<() => void>();

  constructor(search = "") {
    this.entries = [search];
  }

  search = (): string => this.entries.at(-1) ?? "";
  push = (search: string): void => void this.entries.push(search);
  replace = (search: string): void => void this.entries.splice(-1, 1, search);
  onReturn = (listener: () => void): (() => void) => {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  };

  back(): void {
    this.entries.pop();
    for (const listener of this.listeners) listener();
  }
}

/** One call of a query that waits for the test to answer it. */
export interface Call {
  name: string;
  values: Json;
  signal: AbortSignal;
  answer(data: Json): Promise<void>;
  fail(message: string): Promise<void>;
}

export interface World {
  engine: Engine;
  calls: Call[];
  clock: TestClock;
  address: TestAddress;
  toasts: string[];
  went: unknown[];
  copied: string[];
  files: unknown[];
  confirmations: { question: string; answer: (yes: boolean) => void }[];
}

/** A view that runs, with everything around it in the test's hands. */
export function start(document: Partial<ViewDocument>, options: { search?: string } = {}): World {
  const clock = new TestClock();
  const address = new TestAddress(options.search);
  const world: Omit<World, "engine"> = {
    calls: [],
    clock,
    address,
    toasts: [],
    went: [],
    copied: [],
    files: [],
    confirmations: [],
  };
  const ui: EngineUi = {
    toast: (text, kind) => void world.toasts.push(`${kind}: ${text}`),
    confirm: (question) => new Promise((answer) => void world.confirmations.push({ question, answer })),
    navigate: (target) => void world.went.push(target),
    download: (file) => void world.files.push(file),
    copy: async (text) => void world.copied.push(text),
  };
  const callQuery: EngineOptions["callQuery"] = (name, values, signal) =>
    new Promise<QueryAnswer>((resolve, reject) => {
      world.calls.push({
        name,
        values,
        signal,
        answer: async (data) => {
          resolve({ data, run: "r1", seconds: 0.01 });
          await settle();
        },
        fail: async (message) => {
          reject(new Error(message));
          await settle();
        },
      });
    });
  const engine = new Engine(
    { view: 1, name: "main", title: "Main", queries: {}, nodes: {}, ...document },
    {
      components: kindsOf(registry),
      context: { app: { name: "demo", title: "Demo" }, viewer: { name: "visitor", role: null } },
      callQuery,
      ui,
      address,
      clock,
      now: clock.now,
    },
  );
  engine.start();
  return { engine, ...world };
}

/** Let every promise that is ready have its turn. */
export async function settle(): Promise<void> {
  for (let turn = 0; turn < 12; turn++) await Promise.resolve();
}
