import type { Json, QuerySpec } from "./document";
import { same } from "./values";

export type QueryState = "idle" | "running" | "ok" | "error" | "stale";

/** What expressions see of a query. */
export interface QueryStatus {
  state: QueryState;
  data: Json;
  error: string | null;
  running: boolean;
  ok: boolean;
  seconds: number | null;
  run: string | null;
}

export interface QueryAnswer {
  data: Json;
  run: string | null;
  seconds: number | null;
}

export type Outcome = "ok" | "error" | "cancelled";

export type QueryEvent =
  | { kind: "started" }
  | { kind: "answered"; answer: QueryAnswer }
  | { kind: "failed"; message: string }
  | { kind: "inputs changed" }
  | { kind: "cancelled" }
  | { kind: "reset" };

export const IDLE: QueryStatus = {
  state: "idle",
  data: null,
  error: null,
  running: false,
  ok: false,
  seconds: null,
  run: null,
};

/** Every move that a query can make. While a new answer is on its way, the old one stays; an error removes it. */
export function next(status: QueryStatus, event: QueryEvent): QueryStatus {
  switch (event.kind) {
    case "started":
      return { ...status, state: "running", running: true, ok: false, error: null };
    case "answered":
      return { ...IDLE, ...event.answer, state: "ok", ok: true };
    case "failed":
      return { ...IDLE, state: "error", error: event.message };
    case "inputs changed":
      return status.state === "ok" ? { ...status, state: "stale", ok: false } : status;
    case "cancelled":
      return status.state === "running" ? withoutRun(status) : status;
    case "reset":
      return IDLE;
  }
}

function withoutRun(status: QueryStatus): QueryStatus {
  return status.data === null ? IDLE : { ...status, state: "stale", running: false };
}

export interface Clock {
  setTimeout(task: () => void, ms: number): number;
  clearTimeout(timer: number): void;
}

export const realClock: Clock = {
  setTimeout: (task, ms) => window.setTimeout(task, ms),
  clearTimeout: (timer) => window.clearTimeout(timer),
};

export interface QueryHost {
  /** The inputs as they are now. Throws with a readable message when one cannot be computed. */
  inputs(): Json;
  /** Whether its `when` holds, and (for an automatic query without one) whether its inputs are there. */
  allowed(): boolean;
  call(values: Json, signal: AbortSignal): Promise<QueryAnswer>;
  confirm(question: string): Promise<boolean>;
  publish(status: QueryStatus): void;
  clock: Clock;
}

/** Runs one query: at most one run counts, the latest; older ones are cancelled, on the server too. */
export class QueryRunner {
  private status = IDLE;
  private current: AbortController | null = null;
  private timer: number | null = null;
  private sent: { values: Json } | null = null;

  constructor(
    private readonly spec: QuerySpec,
    private readonly host: QueryHost,
  ) {}

  start(): void {
    if (this.spec.run !== "manual") this.runIfAllowed();
  }

  /** Its inputs or its condition may have changed. */
  inputsChanged(): void {
    if (this.sent && this.sameAsSent()) return;
    this.move({ kind: "inputs changed" });
    if (this.spec.run !== "auto") return;
    this.clearTimer();
    if (!this.host.allowed()) {
      this.cancel();
      return;
    }
    this.timer = this.host.clock.setTimeout(() => this.runIfAllowed(), this.spec.debounce_ms ?? 0);
  }

  /** Run now, whatever ran before. */
  async run(): Promise<Outcome> {
    this.clearTimer();
    if (!this.allowedByAuthor()) return "cancelled";
    if (this.spec.confirm && !(await this.host.confirm(this.spec.confirm))) return "cancelled";
    return this.send();
  }

  reset(): void {
    this.abort();
    this.move({ kind: "reset" });
  }

  dispose(): void {
    this.abort();
  }

  private runIfAllowed(): void {
    this.timer = null;
    if (this.host.allowed()) void this.send();
  }

  private allowedByAuthor(): boolean {
    return this.spec.when === undefined || this.host.allowed();
  }

  private async send(): Promise<Outcome> {
    this.current?.abort();
    const controller = new AbortController();
    this.current = controller;
    try {
      const values = this.host.inputs();
      this.sent = { values };
      this.move({ kind: "started" });
      const answer = await this.host.call(values, controller.signal);
      if (this.current !== controller) return "cancelled";
      this.move({ kind: "answered", answer });
      if (!this.sameAsSent()) this.move({ kind: "inputs changed" });
      return "ok";
    } catch (error) {
      if (this.current !== controller) return "cancelled";
      this.move({ kind: "failed", message: messageOf(error) });
      return "error";
    } finally {
      if (this.current === controller) this.current = null;
    }
  }

  private sameAsSent(): boolean {
    try {
      return this.host.allowed() && same(this.sent?.values, this.host.inputs());
    } catch {
      return false;
    }
  }

  private cancel(): void {
    this.abort();
    this.move({ kind: "cancelled" });
  }

  private abort(): void {
    this.clearTimer();
    this.current?.abort();
    this.current = null;
    this.sent = null;
  }

  private clearTimer(): void {
    if (this.timer !== null) this.host.clock.clearTimeout(this.timer);
    this.timer = null;
  }

  private move(event: QueryEvent): void {
    const status = next(this.status, event);
    if (status === this.status) return; // told already
    this.status = status;
    this.host.publish(status);
  }
}

export function messageOf(error: unknown): string {
  if (error instanceof Error && error.message) return error.message;
  return "Something went wrong.";
}
