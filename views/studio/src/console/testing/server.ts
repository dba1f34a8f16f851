/** A server for tests: answers by method and path, remembers what was asked. */

import { vi } from "vitest";
import type { Json, Session } from "../api/types";

export interface Asked {
  method: string;
  path: string;
  query: URLSearchParams;
  headers: Headers;
  body: Json;
}

type Answer = Response | object | null;
type Handler = Answer | ((asked: Asked) => Answer | Promise<Answer>);

export class TestServer {
  readonly asked: Asked[] = [];
  isDown = false;
  readonly #routes = new Map<string, Handler>();

  /** `on("GET /models", {...})`: paths are below the workspace `default`, unless they begin with `/auth`, `/system` or `http`. */
  on(route: string, handler: Handler): this {
    this.#routes.set(route, handler);
    return this;
  }

  install(): this {
    vi.stubGlobal("fetch", (url: string, init?: RequestInit) => this.#answer(url, init));
    return this;
  }

  last(route: string): Asked | undefined {
    return this.asked.findLast(({ method, path }) => `${method} ${path}` === route);
  }

  async #answer(url: string, init: RequestInit = {}): Promise<Response> {
    if (this.isDown) throw new TypeError("Failed to fetch");
    const address = new URL(url, "http://console.test");
    const path = shortened(url, address);
    const asked: Asked = {
      method: init.method ?? "GET",
      path,
      query: address.searchParams,
      headers: new Headers(init.headers),
      body: typeof init.body === "string" ? (JSON.parse(init.body) as Json) : null,
    };
    this.asked.push(asked);
    const handler = this.#routes.get(`${asked.method} ${path}`);
    if (handler === undefined)
      return failure(404, "not_found", `There is nothing at ${asked.method} ${path}.`);
    const answer = typeof handler === "function" ? await handler(asked) : handler;
    if (answer instanceof Response) return answer.clone();
    return answer === null ? new Response(null, { status: 204 }) : json(answer);
  }
}

export function json(body: unknown, init: ResponseInit = {}): Response {
  return new Response(JSON.stringify(body), { status: 200, ...init });
}

export function failure(
  status: number,
  code: string,
  message: string,
  details: object[] = [],
  hint = "",
): Response {
  return json({ error: { code, message, hint, details, request_id: "req-1" } }, { status });
}

export function page<Item>(...items: Item[]) {
  return { items, next_cursor: null };
}

export function session(change: Partial<Session> = {}): Session {
  return {
    user: { id: "u1", email: "dana@example.com", name: "Dana", has_password: true, is_operator: true },
    workspaces: [{ name: "default", title: "Default", role: "admin" }],
    gateway_url: "http://gateway.test",
    console_url: "http://console.test",
    version: "0.1.0",
    ...change,
  };
}

function shortened(url: string, { pathname }: URL): string {
  if (url.startsWith("http")) return `${new URL(url).origin}${pathname}`;
  return pathname.replace("/api/v1", "").replace("/workspaces/default", "");
}
