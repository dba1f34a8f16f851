/** The management API, one function an endpoint. Pure transport: caching is in `queries.ts`. */

import { connection } from "./connection";
import { errorOf, Unreachable } from "./errors";
import type {
  Access,
  App,
  AppSummary,
  Collected,
  Comparison,
  ConsoleToken,
  CreatedKey,
  Draft,
  Environment,
  EnvironmentItem,
  Invitation,
  Key,
  Load,
  LogPage,
  Member,
  Model,
  ModelMetrics,
  ModelSummary,
  NamedEnvironment,
  Page,
  PrunedWheelCache,
  PythonVersion,
  Release,
  ReleaseDiff,
  Role,
  Run,
  RunSummary,
  Scope,
  Secret,
  Session,
  ShadowDifference,
  ShadowReport,
  SystemStatus,
  User,
  Version,
  WheelCache,
  ZooEntry,
  ZooEntryDetail,
} from "./types";

const PREFIX = "/api/v1";

type Method = "GET" | "POST" | "PUT" | "PATCH" | "DELETE";
type QueryValue = string | number | boolean | null | undefined;

interface Options {
  body?: unknown;
  query?: Record<string, QueryValue>;
  signal?: AbortSignal | undefined;
}

export interface RunFilter {
  app?: string | null;
  worklet?: string | null;
  state?: string | null;
}

export interface NewKey {
  name: string;
  scopes: Scope[];
  expires_in_days?: number;
}

export interface ProfileChange {
  name?: string;
  email?: string;
  password?: string;
  current_password?: string;
}

/** Everything below a workspace. */
export function workspaceApi(workspace: string) {
  const root = `/workspaces/${segment(workspace)}`;
  const model = (name: string) => `${root}/models/${segment(name)}`;
  const version = (name: string, number: number) => `${model(name)}/versions/${number}`;
  const app = (name: string) => `${root}/apps/${segment(name)}`;

  return {
    models: (cursor?: string | null, signal?: AbortSignal) =>
      send<Page<ModelSummary>>("GET", `${root}/models`, { query: { cursor, limit: 200 }, signal }),
    model: (name: string, signal?: AbortSignal) => send<Model>("GET", model(name), { signal }),
    changeModel: (
      name: string,
      change: {
        description?: string;
        tags?: string[];
        replicas?: { min?: number; max?: number };
        idle_seconds?: number;
      },
    ) => send<Model>("PATCH", model(name), { body: change }),
    deleteModel: (name: string) => send<void>("DELETE", model(name)),
    versions: (name: string, cursor?: string | null, signal?: AbortSignal) =>
      send<Page<Version>>("GET", `${model(name)}/versions`, { query: { cursor, limit: 100 }, signal }),
    version: (name: string, number: number, signal?: AbortSignal) =>
      send<Version>("GET", version(name, number), { signal }),
    startVersion: (name: string, number: number) => send<Version>("POST", `${version(name, number)}/start`),
    stopVersion: (name: string, number: number) => send<Version>("POST", `${version(name, number)}/stop`),
    setAlias: (name: string, alias: string, number: number) =>
      send<Model>("PUT", `${model(name)}/aliases/${segment(alias)}`, { body: { version: number } }),
    deleteAlias: (name: string, alias: string) =>
      send<Model>("DELETE", `${model(name)}/aliases/${segment(alias)}`),
    restartVersion: (name: string, number: number) =>
      send<Version>("POST", `${version(name, number)}/restart`),
    serveOriginal: (name: string, number: number) =>
      send<Version>("POST", `${version(name, number)}/serve-original`),
    setCanary: (name: string, alias: string, number: number, percent: number) =>
      send<Model>("PUT", `${model(name)}/aliases/${segment(alias)}/canary`, {
        body: { version: number, percent },
      }),
    deleteCanary: (name: string, alias: string) =>
      send<Model>("DELETE", `${model(name)}/aliases/${segment(alias)}/canary`),
    shadowReport: (name: string, alias: string, signal?: AbortSignal) =>
      send<ShadowReport>("GET", `${model(name)}/aliases/${segment(alias)}/shadow`, { signal }),
    shadowDifferences: (name: string, alias: string, signal?: AbortSignal) =>
      send<{ items: ShadowDifference[] }>(
        "GET",
        `${model(name)}/aliases/${segment(alias)}/shadow/differences`,
        { signal },
      ),
    setShadow: (
      name: string,
      alias: string,
      shadow: { version: number; percent: number; tolerance: number },
    ) => send<Model>("PUT", `${model(name)}/aliases/${segment(alias)}/shadow`, { body: shadow }),
    deleteShadow: (name: string, alias: string) =>
      send<Model>("DELETE", `${model(name)}/aliases/${segment(alias)}/shadow`),
    modelMetrics: (name: string, minutes: number, signal?: AbortSignal) =>
      send<ModelMetrics>("GET", `${model(name)}/metrics`, { query: { minutes }, signal }),
    load: (signal?: AbortSignal) => send<Load>("GET", `${root}/load`, { signal }),
    compareVersions: (name: string, from: number, to: number, signal?: AbortSignal) =>
      send<Comparison>("GET", `${model(name)}/compare`, { query: { from, to }, signal }),
    versionPackageUrl: (name: string, number: number) => `${PREFIX}${version(name, number)}/package`,
    versionFile: (name: string, number: number, path: string, signal?: AbortSignal) =>
      sendForText(`${version(name, number)}/files/${path.split("/").map(segment).join("/")}`, signal),
    versionEventsUrl: (name: string, number: number, after: number) =>
      `${PREFIX}${version(name, number)}/events?after=${after}&follow=true`,

    environments: (cursor?: string | null, signal?: AbortSignal) =>
      send<Page<EnvironmentItem>>("GET", `${root}/environments`, {
        query: { cursor, limit: 100 },
        signal,
      }),
    environment: (id: string, signal?: AbortSignal) =>
      send<Environment>("GET", `${root}/environments/${segment(id)}`, { signal }),
    rebuildEnvironment: (id: string, upgrade = false) =>
      send<Environment>("POST", `${root}/environments/${segment(id)}/rebuild`, { body: { upgrade } }),
    deleteEnvironment: (id: string) => send<void>("DELETE", `${root}/environments/${segment(id)}`),
    collectEnvironments: (dryRun: boolean) =>
      send<Collected>("POST", `${root}/environments/collect`, { body: { dry_run: dryRun } }),
    namedEnvironments: (cursor?: string | null, signal?: AbortSignal) =>
      send<Page<NamedEnvironment>>("GET", `${root}/named-environments`, {
        query: { cursor, limit: 100 },
        signal,
      }),
    setNamedEnvironment: (
      name: string,
      change: { python_version: string | null; requirements: string[]; description: string },
    ) => send<NamedEnvironment>("PUT", `${root}/named-environments/${segment(name)}`, { body: change }),
    deleteNamedEnvironment: (name: string) =>
      send<void>("DELETE", `${root}/named-environments/${segment(name)}`),
    pythonVersions: (signal?: AbortSignal) =>
      send<PythonVersion[]>("GET", `${root}/python-versions`, { signal }),
    environmentLogs: (id: string, after: number, signal?: AbortSignal) =>
      send<LogPage>("GET", `${root}/environments/${segment(id)}/logs`, {
        query: { after, limit: 200 },
        signal,
      }),

    zoo: (signal?: AbortSignal) => send<Page<ZooEntry>>("GET", `${root}/zoo`, { signal }),
    zooEntry: (name: string, signal?: AbortSignal) =>
      send<ZooEntryDetail>("GET", `${root}/zoo/${segment(name)}`, { signal }),
    deployZooEntry: (entry: string, name: string | null) =>
      send<Version>("POST", `${root}/zoo/${segment(entry)}/deploy`, { body: { name } }),

    apps: (cursor?: string | null, signal?: AbortSignal) =>
      send<Page<AppSummary>>("GET", `${root}/apps`, { query: { cursor, limit: 200 }, signal }),
    app: (name: string, signal?: AbortSignal) => send<App>("GET", app(name), { signal }),
    deleteApp: (name: string) => send<void>("DELETE", app(name)),
    draft: (name: string, signal?: AbortSignal) => send<Draft>("GET", `${app(name)}/draft`, { signal }),
    releases: (name: string, cursor?: string | null, signal?: AbortSignal) =>
      send<Page<Release>>("GET", `${app(name)}/releases`, { query: { cursor, limit: 100 }, signal }),
    release: (name: string, number: number, signal?: AbortSignal) =>
      send<Release>("GET", `${app(name)}/releases/${number}`, { signal }),
    releaseDiff: (name: string, number: number, against: number | null, signal?: AbortSignal) =>
      send<ReleaseDiff>("GET", `${app(name)}/releases/${number}/diff`, { query: { against }, signal }),
    createRelease: (name: string, note: string) =>
      send<Release>("POST", `${app(name)}/releases`, { body: { note, go_live: true } }),
    setLive: (name: string, release: number) => send<App>("PUT", `${app(name)}/live`, { body: { release } }),
    setAccess: (name: string, access: Access) =>
      send<App>("PUT", `${app(name)}/access`, { body: { access } }),
    rotateLink: (name: string) => send<App>("POST", `${app(name)}/link/rotate`),
    openView: (name: string, view: string) =>
      send<{ url: string }>("POST", `${app(name)}/views/${segment(view)}/open`),

    runs: (filter: RunFilter, cursor?: string | null, signal?: AbortSignal) =>
      send<Page<RunSummary>>("GET", `${root}/runs`, { query: { ...filter, cursor, limit: 50 }, signal }),
    run: (id: string, signal?: AbortSignal) => send<Run>("GET", `${root}/runs/${segment(id)}`, { signal }),

    keys: (cursor?: string | null, signal?: AbortSignal) =>
      send<Page<Key>>("GET", `${root}/keys`, { query: { cursor, limit: 200 }, signal }),
    createKey: (key: NewKey) => send<CreatedKey>("POST", `${root}/keys`, { body: key }),
    revokeKey: (id: string) => send<void>("DELETE", `${root}/keys/${segment(id)}`),

    secrets: (cursor?: string | null, signal?: AbortSignal) =>
      send<Page<Secret>>("GET", `${root}/secrets`, { query: { cursor, limit: 200 }, signal }),
    setSecret: (name: string, value: string, description: string) =>
      send<Secret>("PUT", `${root}/secrets/${segment(name)}`, { body: { value, description } }),
    deleteSecret: (name: string) => send<void>("DELETE", `${root}/secrets/${segment(name)}`),

    members: (cursor?: string | null, signal?: AbortSignal) =>
      send<Page<Member>>("GET", `${root}/members`, { query: { cursor, limit: 200 }, signal }),
    invite: (email: string, role: Role) =>
      send<Invitation>("POST", `${root}/members`, { body: { email, role } }),
    changeRole: (userId: string, role: Role) =>
      send<Member>("PATCH", `${root}/members/${segment(userId)}`, { body: { role } }),
    removeMember: (userId: string) => send<void>("DELETE", `${root}/members/${segment(userId)}`),

    consoleToken: () => send<ConsoleToken>("POST", `${root}/console-token`),
  };
}

export type WorkspaceApi = ReturnType<typeof workspaceApi>;

export const api = {
  session: (signal?: AbortSignal) => send<Session>("GET", "/auth/session", { signal }),
  redeem: (token: string) => send<{ user: User }>("POST", "/auth/redeem", { body: { token } }),
  signIn: (email: string, password: string) =>
    send<{ user: User }>("POST", "/auth/sign-in", { body: { email, password } }),
  signOut: () => send<void>("POST", "/auth/sign-out"),
  changeProfile: (change: ProfileChange) => send<{ user: User }>("PUT", "/auth/profile", { body: change }),
  createWorkspace: (name: string, title: string) =>
    send<{ name: string; title: string }>("POST", "/workspaces", { body: { name, title } }),
  wheelCache: (signal?: AbortSignal) => send<WheelCache>("GET", "/system/wheel-cache", { signal }),
  pruneWheelCache: () => send<PrunedWheelCache>("POST", "/system/wheel-cache/prune", { body: {} }),
  systemStatus: (signal?: AbortSignal) => send<SystemStatus>("GET", "/system/status", { signal }),
};

/** True when the API process answers at all; used by the banner's retry. */
export async function isAlive(): Promise<boolean> {
  try {
    await fetchOrUnreachable("/healthz", { method: "GET", cache: "no-store" });
    return connection.get() === "up";
  } catch {
    return false;
  }
}

/** Opens a stream of server-sent events; the caller reads and aborts it. */
export async function openStream(url: string, signal: AbortSignal): Promise<Response> {
  const response = await fetchOrUnreachable(url, { headers: { accept: "text/event-stream" }, signal });
  if (!response.ok) throw await errorOf(response);
  return response;
}

async function send<Answer>(
  method: Method,
  path: string,
  { body, query, signal }: Options = {},
): Promise<Answer> {
  const headers: Record<string, string> = { accept: "application/json" };
  const init: RequestInit = { method, headers, credentials: "same-origin" };
  if (signal) init.signal = signal;
  if (method !== "GET") headers["content-type"] = "application/json";
  if (method === "POST") headers["idempotency-key"] = randomKey();
  if (body !== undefined) init.body = JSON.stringify(body);
  const response = await fetchOrUnreachable(`${PREFIX}${path}${queryString(query)}`, init);
  if (!response.ok) throw await errorOf(response);
  if (response.status === 204) return undefined as Answer;
  const text = await response.text();
  return (text ? JSON.parse(text) : undefined) as Answer;
}

async function sendForText(path: string, signal?: AbortSignal): Promise<string> {
  const response = await fetchOrUnreachable(`${PREFIX}${path}`, {
    credentials: "same-origin",
    ...(signal && { signal }),
  });
  if (!response.ok) throw await errorOf(response);
  return response.text();
}

async function fetchOrUnreachable(url: string, init: RequestInit): Promise<Response> {
  let response: Response;
  try {
    response = await fetch(url, init);
  } catch (error) {
    if (init.signal?.aborted) throw error;
    connection.report("down");
    throw new Unreachable(location.origin);
  }
  connection.report([502, 503, 504].includes(response.status) ? "down" : "up");
  return response;
}

function queryString(query: Record<string, QueryValue> | undefined): string {
  const parameters = new URLSearchParams();
  for (const [name, value] of Object.entries(query ?? {})) {
    if (value !== undefined && value !== null && value !== "") parameters.set(name, String(value));
  }
  const text = parameters.toString();
  return text && `?${text}`;
}

/** Not `crypto.randomUUID`: browsers leave it out on plain http, where a console inside a company may well live. */
function randomKey(): string {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) =>
    byte.toString(16).padStart(2, "0"),
  ).join("");
}

function segment(value: string): string {
  return encodeURIComponent(value);
}
