import type { Json, ViewDocument } from "../engine/document";
import type { QueryAnswer } from "../engine/query";

export interface Session {
  token: string;
  /** Unix time in milliseconds. */
  expiresAt: number;
  viewer: { name: string; role: string | null };
  app: { name: string; title: string };
  views: { name: string; title: string }[];
  home: string | null;
}

export interface LoadedView {
  view: string;
  release: number;
  document: ViewDocument;
}

/**
 * What the visitor was given: a share link's key, a one-time token from the studio, the view token that such a token
 * was traded for (what a reload has), or nothing (a public app).
 */
export type Grant = { kind: "key" | "open" | "view"; value: string } | { kind: "none" };

/** The grant, kept for this tab. */
export interface GrantShelf {
  read(): Grant;
  write(grant: Grant): void;
}

export interface Place {
  workspace: string;
  app: string;
}

/** An answer that is not the one asked for. `status` 0: the server was not reached at all. */
export class ApiError extends Error {
  constructor(
    readonly status: number,
    readonly code: string,
    message: string,
    readonly hint: string | null = null,
  ) {
    super(hint ? `${message.replace(/[.\s]+$/, "")}. ${hint}` : message);
  }
}

const RENEW_BEFORE_MS = 5 * 60_000;

/** Talks to the gateway for one app. Holds the token in memory only, and renews it before it ends. */
export class ViewApi {
  private session: Session | null = null;
  private opening: Promise<Session> | null = null;

  constructor(
    private readonly place: Place,
    private readonly grants: GrantShelf,
    private readonly fetcher: typeof fetch = (input, init) => fetch(input, init),
    private readonly now: () => number = Date.now,
  ) {}

  /** The session, made on the first call and again shortly before it ends. */
  async open(): Promise<Session> {
    if (this.session && this.session.expiresAt - this.now() > RENEW_BEFORE_MS) return this.session;
    this.opening ??= this.exchange().finally(() => {
      this.opening = null;
    });
    try {
      return await this.opening;
    } catch (error) {
      // An old token that still holds is better than none, for instance while offline.
      if (this.session && this.session.expiresAt > this.now()) return this.session;
      throw error;
    }
  }

  async view(name: string, signal?: AbortSignal): Promise<LoadedView> {
    return (await this.call(
      "GET",
      `${this.base()}/views/${encodeURIComponent(name)}`,
      undefined,
      signal,
    )) as LoadedView;
  }

  async query(view: string, query: string, values: Json, signal: AbortSignal): Promise<QueryAnswer> {
    const path = `${this.base()}/views/${encodeURIComponent(view)}/queries/${encodeURIComponent(query)}`;
    const answer = (await this.call("POST", path, { values }, signal)) as Partial<QueryAnswer>;
    return { data: answer.data ?? null, run: answer.run ?? null, seconds: answer.seconds ?? null };
  }

  private base(): string {
    return `/v1/${encodeURIComponent(this.place.workspace)}/apps/${encodeURIComponent(this.place.app)}`;
  }

  private async exchange(): Promise<Session> {
    const grant = this.grants.read();
    const given = grant.kind === "key" || grant.kind === "open" ? { [grant.kind]: grant.value } : {};
    const credential = grant.kind === "view" ? grant.value : null;
    const answer = await this.request("POST", "/v1/views/session", { ...this.place, ...given }, credential);
    const session = answer as Omit<Session, "expiresAt"> & { expires_at: string };
    // A token from the studio works once, and for two minutes: what it was traded for is what renews and reloads.
    if (grant.kind === "open" || grant.kind === "view")
      this.grants.write({ kind: "view", value: session.token });
    this.session = { ...session, expiresAt: Date.parse(session.expires_at) };
    return this.session;
  }

  /** A call with the token; one that was refused for the token is tried once more with a new one. */
  private async call(method: string, path: string, body: unknown, signal?: AbortSignal): Promise<unknown> {
    const { token } = await this.open();
    try {
      return await this.request(method, path, body, token, signal);
    } catch (error) {
      if (!(error instanceof ApiError) || error.status !== 401) throw error;
      this.session = null;
      const { token: fresh } = await this.open();
      return this.request(method, path, body, fresh, signal);
    }
  }

  private async request(
    method: string,
    path: string,
    body: unknown,
    token: string | null,
    signal?: AbortSignal,
  ): Promise<unknown> {
    const headers: Record<string, string> = { Accept: "application/json" };
    if (token) headers.Authorization = `Bearer ${token}`;
    if (body !== undefined) headers["Content-Type"] = "application/json";
    let response: Response;
    try {
      response = await this.fetcher(path, {
        method,
        headers,
        body: body === undefined ? undefined : JSON.stringify(body),
        signal,
        credentials: "omit",
        cache: "no-store",
      });
    } catch (error) {
      if (signal?.aborted) throw error;
      throw new ApiError(
        0,
        "unreachable",
        "The server could not be reached.",
        "Check your connection and try again.",
      );
    }
    const answer = await readJson(response);
    if (!response.ok) throw errorOf(response.status, answer);
    return answer;
  }
}

async function readJson(response: Response): Promise<unknown> {
  const text = await response.text();
  if (!text) return null;
  try {
    return JSON.parse(text);
  } catch {
    if (!response.ok) return null;
    throw new ApiError(response.status, "bad_answer", "The server's answer could not be read.", "Try again.");
  }
}

function errorOf(status: number, answer: unknown): ApiError {
  const { code, message, hint } = ((answer as { error?: Record<string, string> } | null)?.error ??
    {}) as Record<string, string>;
  return new ApiError(status, code ?? "unknown", message ?? fallbackMessage(status), hint ?? null);
}

function fallbackMessage(status: number): string {
  if (status === 413) return "This is too large to send.";
  if (status === 429) return "There are many requests just now. Try again in a moment.";
  if (status === 504) return "This took too long.";
  return "The server could not do this. Try again in a moment.";
}
