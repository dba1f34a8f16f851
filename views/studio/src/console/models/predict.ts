/** Calls the data plane as the signed-in user, with a token that lives for minutes. */

import type { WorkspaceApi } from "../api/client";
import { ApiError, errorOf, Unreachable } from "../api/errors";
import type { ConsoleToken, Json } from "../api/types";

export interface Outcome {
  value: Json;
  /** Seen from the browser: network, gateway and model together. */
  totalMs: number;
  workerMs: number | null;
  version: string | null;
  requestId: string | null;
  runId: string | null;
}

const RENEW_BEFORE_MS = 30_000;

const tokens = new WeakMap<WorkspaceApi, ConsoleToken>();

export async function call(
  api: WorkspaceApi,
  path: string,
  body: Json,
  signal?: AbortSignal,
): Promise<Outcome> {
  try {
    return await callOnce(api, path, body, signal);
  } catch (error) {
    // The key that signs tokens may have changed under a token that still looks fresh.
    if (!(error instanceof ApiError) || error.status !== 401 || !tokens.has(api)) throw error;
    tokens.delete(api);
    return callOnce(api, path, body, signal);
  }
}

async function callOnce(api: WorkspaceApi, path: string, body: Json, signal?: AbortSignal): Promise<Outcome> {
  const { token, gateway_url } = await freshToken(api);
  const startedAt = performance.now();
  const response = await post(`${gateway_url.replace(/\/$/, "")}${path}`, token, body, signal);
  const text = await response.text();
  const totalMs = performance.now() - startedAt;
  return {
    value: jsonOrText(text),
    totalMs,
    workerMs: workerTime(response.headers.get("server-timing")),
    version: response.headers.get("x-tenfold-version"),
    requestId: response.headers.get("x-request-id"),
    runId: response.headers.get("x-tenfold-run"),
  };
}

async function post(url: string, token: string, body: Json, signal?: AbortSignal): Promise<Response> {
  let response: Response;
  try {
    response = await fetch(url, {
      method: "POST",
      headers: { authorization: `Bearer ${token}`, "content-type": "application/json" },
      body: JSON.stringify(body),
      ...(signal && { signal }),
    });
  } catch (error) {
    if (signal?.aborted) throw error;
    throw new Unreachable(new URL(url).origin);
  }
  if (!response.ok) throw await errorOf(response);
  return response;
}

async function freshToken(api: WorkspaceApi): Promise<ConsoleToken> {
  const known = tokens.get(api);
  if (known && new Date(known.expires_at).getTime() - Date.now() > RENEW_BEFORE_MS) return known;
  const token = await api.consoleToken();
  tokens.set(api, token);
  return token;
}

/** `worker;dur=3.2, gateway;dur=4.1` */
export function workerTime(header: string | null): number | null {
  const found = header?.match(/(?:^|,)\s*worker\s*;[^,]*?dur=([\d.]+)/);
  return found ? Number(found[1]) : null;
}

function jsonOrText(text: string): Json {
  try {
    return JSON.parse(text) as Json;
  } catch {
    return text;
  }
}
