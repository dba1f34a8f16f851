/**
 * What can go wrong with a call.
 *
 *   ApiError      the server answered, and said no
 *   Unreachable   nothing answered: no network, or no server
 */

import type { Json } from "./types";

export interface ErrorDetail {
  path?: string;
  message?: string;
  hint?: string;
  [key: string]: Json | undefined;
}

export class ApiError extends Error {
  override name = "ApiError";

  constructor(
    readonly status: number,
    readonly code: string,
    message: string,
    readonly hint: string = "",
    readonly details: ErrorDetail[] = [],
    readonly requestId: string | null = null,
    readonly retryAfterSeconds: number | null = null,
  ) {
    super(message);
  }
}

export class Unreachable extends Error {
  override name = "Unreachable";

  constructor(readonly address: string) {
    super(`Nothing answers at ${address}.`);
  }
}

/** Reads an error answer. A proxy's HTML page becomes a plain sentence instead of markup on screen. */
export async function errorOf(response: Response): Promise<ApiError> {
  const requestId = response.headers.get("x-request-id");
  const retryAfter = secondsOf(response.headers.get("retry-after"));
  const body = await jsonOf(response);
  const error = isRecord(body) ? body.error : undefined;
  if (isRecord(error)) {
    return new ApiError(
      response.status,
      textOf(error.code) || `http_${response.status}`,
      textOf(error.message) || sentenceFor(response.status),
      textOf(error.hint),
      detailsOf(error.details),
      textOf(error.request_id) || requestId,
      retryAfter,
    );
  }
  const message = typeof error === "string" ? error : sentenceFor(response.status);
  return new ApiError(response.status, `http_${response.status}`, message, "", [], requestId, retryAfter);
}

/** True for answers that another attempt may change. */
export function isTemporary(error: unknown): boolean {
  return (
    error instanceof Unreachable || (error instanceof ApiError && [502, 503, 504].includes(error.status))
  );
}

export function isMissing(error: unknown): boolean {
  return error instanceof ApiError && error.status === 404;
}

/** Details as lines for a form or a list: `fields.age: must be a number`. */
export function detailLines(error: unknown): string[] {
  if (!(error instanceof ApiError)) return [];
  return error.details.flatMap(({ path, message, hint }) => {
    if (!message) return [];
    const said = path ? `${path}: ${message}` : message;
    return [hint ? `${said} (${hint})` : said];
  });
}

export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

async function jsonOf(response: Response): Promise<unknown> {
  try {
    return await response.json();
  } catch {
    return null;
  }
}

function detailsOf(value: unknown): ErrorDetail[] {
  if (Array.isArray(value)) return value.filter(isRecord) as ErrorDetail[];
  return isRecord(value) ? [value as ErrorDetail] : [];
}

function sentenceFor(status: number): string {
  if (status === 401) return "You are signed out.";
  if (status === 403) return "Your role does not allow this.";
  if (status === 404) return "This does not exist, or you have no access to it.";
  if (status === 413) return "This is larger than the server accepts.";
  if (status === 429) return "Too many requests. Wait a moment and try again.";
  if (status === 502 || status === 503 || status === 504) return "The server cannot answer right now.";
  return `The server answered with status ${status}.`;
}

function secondsOf(header: string | null): number | null {
  const seconds = Number(header);
  return header !== null && Number.isFinite(seconds) ? seconds : null;
}

function textOf(value: unknown): string {
  return typeof value === "string" ? value : "";
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
