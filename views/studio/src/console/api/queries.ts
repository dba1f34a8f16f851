/** Server state: one hook a question. Keys begin with the workspace, so that leaving one forgets nothing of another. */

import {
  keepPreviousData,
  type QueryClient,
  queryOptions,
  useInfiniteQuery,
  useMutation,
  useQuery,
  useQueryClient,
} from "@tanstack/react-query";
import { createContext, useContext, useMemo } from "react";
import { toastDone, toastError } from "../ui/toast";
import { api, type RunFilter, type WorkspaceApi, workspaceApi } from "./client";
import { ApiError, isMissing, isTemporary } from "./errors";
import type { Page, Role, Session, WorkspaceMembership } from "./types";

const SLOW = 15_000;
const FAST = 2_000;

export interface Place {
  session: Session;
  workspace: WorkspaceMembership;
  api: WorkspaceApi;
}

const PlaceContext = createContext<Place | null>(null);
export const PlaceProvider = PlaceContext.Provider;

/** The signed-in user and the workspace of the address. Only below the shell. */
export function usePlace(): Place {
  const place = useContext(PlaceContext);
  if (!place) throw new Error("usePlace needs a workspace page around it");
  return place;
}

export function placeOf(session: Session, workspace: WorkspaceMembership): Place {
  return { session, workspace, api: workspaceApi(workspace.name) };
}

const WRITERS: readonly Role[] = ["admin", "editor"];
const OPERATORS: readonly Role[] = ["admin", "editor", "operator"];

/** What the page offers. The server decides; this only spares people buttons that would answer 403. */
export function useRights() {
  const { session, workspace } = usePlace();
  const { role } = workspace;
  const { is_operator } = session.user;
  return useMemo(
    () => ({
      write: WRITERS.includes(role),
      operate: OPERATORS.includes(role),
      manage: role === "admin",
      system: is_operator,
    }),
    [role, is_operator],
  );
}

export const sessionQuery = queryOptions({
  queryKey: ["session"],
  queryFn: async ({ signal }): Promise<Session | null> => {
    try {
      return await api.session(signal);
    } catch (error) {
      if (error instanceof ApiError && error.status === 401) return null;
      throw error;
    }
  },
  staleTime: 60_000,
});

export function useSession() {
  return useQuery(sessionQuery);
}

export function useModels() {
  const { api, workspace } = usePlace();
  return useQuery({
    queryKey: [workspace.name, "models"],
    queryFn: ({ signal }) => everyPage((cursor) => api.models(cursor, signal)),
    refetchInterval: ({ state }) =>
      state.data?.some(({ status }) => status === "building" || status === "starting") ? FAST : SLOW,
  });
}

export function useModel(name: string) {
  const { api, workspace } = usePlace();
  return useQuery({
    queryKey: [workspace.name, "model", name],
    queryFn: ({ signal }) => api.model(name, signal),
    refetchInterval: ({ state }) =>
      state.data && ["building", "starting"].includes(state.data.status) ? FAST : SLOW,
  });
}

export function useVersions(model: string) {
  const { api, workspace } = usePlace();
  return useQuery({
    queryKey: [workspace.name, "model", model, "versions"],
    queryFn: ({ signal }) => everyPage((cursor) => api.versions(model, cursor, signal)),
    refetchInterval: ({ state }) =>
      state.data?.some(({ state }) => state !== "ready" && state !== "failed") ? FAST : SLOW,
  });
}

export const versionKey = (workspace: string, model: string, number: number) => [
  workspace,
  "model",
  model,
  "version",
  number,
];

export function useVersion(model: string, number: number | null) {
  const { api, workspace } = usePlace();
  return useQuery({
    queryKey: versionKey(workspace.name, model, number ?? 0),
    queryFn: ({ signal }) => api.version(model, number ?? 0, signal),
    enabled: number !== null,
    refetchInterval: SLOW,
  });
}

export function useVersionFile(model: string, number: number, path: string | null) {
  const { api, workspace } = usePlace();
  return useQuery({
    queryKey: [...versionKey(workspace.name, model, number), "file", path],
    queryFn: ({ signal }) => api.versionFile(model, number, path ?? "", signal),
    enabled: path !== null,
    staleTime: Number.POSITIVE_INFINITY,
  });
}

export function useModelMetrics(model: string, minutes: number) {
  const { api, workspace } = usePlace();
  return useQuery({
    queryKey: [workspace.name, "model", model, "metrics", minutes],
    queryFn: ({ signal }) => api.modelMetrics(model, minutes, signal),
    placeholderData: keepPreviousData,
    refetchInterval: 10_000,
  });
}

const shadowKey = (workspace: string, model: string, alias: string) => [
  workspace,
  "model",
  model,
  "shadow",
  alias,
];

export function useShadowReport(model: string, alias: string) {
  const { api, workspace } = usePlace();
  return useQuery({
    queryKey: shadowKey(workspace.name, model, alias),
    queryFn: ({ signal }) => api.shadowReport(model, alias, signal),
    refetchInterval: 5_000,
  });
}

export function useShadowDifferences(model: string, alias: string) {
  const { api, workspace } = usePlace();
  return useQuery({
    queryKey: [...shadowKey(workspace.name, model, alias), "differences"],
    queryFn: async ({ signal }) => (await api.shadowDifferences(model, alias, signal)).items,
    refetchInterval: 5_000,
  });
}

export function useLoad() {
  const { api, workspace } = usePlace();
  return useQuery({
    queryKey: [workspace.name, "load"],
    queryFn: ({ signal }) => api.load(signal),
    refetchInterval: 3_000,
  });
}

export function useComparison(model: string, from: number | null, to: number | null) {
  const { api, workspace } = usePlace();
  return useQuery({
    queryKey: [workspace.name, "model", model, "compare", from, to],
    queryFn: ({ signal }) => api.compareVersions(model, from ?? 0, to ?? 0, signal),
    enabled: from !== null && to !== null,
    placeholderData: keepPreviousData,
  });
}

export function useZoo() {
  const { api, workspace } = usePlace();
  return useQuery({
    queryKey: [workspace.name, "zoo"],
    queryFn: async ({ signal }) => (await api.zoo(signal)).items,
  });
}

export function useZooEntry(name: string) {
  const { api, workspace } = usePlace();
  return useQuery({
    queryKey: [workspace.name, "zoo", name],
    queryFn: ({ signal }) => api.zooEntry(name, signal),
  });
}

export function useEnvironments() {
  const { api, workspace } = usePlace();
  return useQuery({
    queryKey: [workspace.name, "environments"],
    queryFn: ({ signal }) => everyPage((cursor) => api.environments(cursor, signal)),
    refetchInterval: SLOW,
  });
}

export function useNamedEnvironments() {
  const { api, workspace } = usePlace();
  return useQuery({
    queryKey: [workspace.name, "named-environments"],
    queryFn: ({ signal }) => everyPage((cursor) => api.namedEnvironments(cursor, signal)),
    refetchInterval: ({ state }) =>
      state.data?.some(({ environment, coming }) => isEnvironmentBusy((coming ?? environment).state))
        ? FAST
        : SLOW,
  });
}

export function usePythonVersions() {
  const { api, workspace } = usePlace();
  return useQuery({
    queryKey: [workspace.name, "python-versions"],
    queryFn: ({ signal }) => api.pythonVersions(signal),
    staleTime: 60_000,
  });
}

export function useWheelCache() {
  return useQuery({ queryKey: ["wheel-cache"], queryFn: ({ signal }) => api.wheelCache(signal) });
}

export function useEnvironment(id: string) {
  const { api, workspace } = usePlace();
  return useQuery({
    queryKey: [workspace.name, "environment", id],
    queryFn: ({ signal }) => api.environment(id, signal),
    refetchInterval: ({ state }) => (isEnvironmentBusy(state.data?.state) ? FAST : SLOW),
  });
}

export function isEnvironmentBusy(state: string | undefined): boolean {
  return state === "pending" || state === "resolving" || state === "building";
}

export function useApps() {
  const { api, workspace } = usePlace();
  return useQuery({
    queryKey: [workspace.name, "apps"],
    queryFn: ({ signal }) => everyPage((cursor) => api.apps(cursor, signal)),
    refetchInterval: SLOW,
  });
}

export function useApp(name: string) {
  const { api, workspace } = usePlace();
  return useQuery({
    queryKey: [workspace.name, "app", name],
    queryFn: ({ signal }) => api.app(name, signal),
    refetchInterval: SLOW,
  });
}

export function useDraft(app: string) {
  const { api, workspace } = usePlace();
  return useQuery({
    queryKey: [workspace.name, "app", app, "draft"],
    queryFn: ({ signal }) => api.draft(app, signal),
  });
}

export function useReleases(app: string) {
  const { api, workspace } = usePlace();
  return useQuery({
    queryKey: [workspace.name, "app", app, "releases"],
    queryFn: ({ signal }) => everyPage((cursor) => api.releases(app, cursor, signal)),
    refetchInterval: ({ state }) => (state.data?.some(({ state }) => state === "preparing") ? FAST : SLOW),
  });
}

export function useReleaseDiff(app: string, number: number, against: number | null) {
  const { api, workspace } = usePlace();
  return useQuery({
    queryKey: [workspace.name, "app", app, "diff", number, against],
    queryFn: ({ signal }) => api.releaseDiff(app, number, against, signal),
    staleTime: Number.POSITIVE_INFINITY,
  });
}

export function useRelease(app: string, number: number) {
  const { api, workspace } = usePlace();
  return useQuery({
    queryKey: [workspace.name, "app", app, "release", number],
    queryFn: ({ signal }) => api.release(app, number, signal),
    refetchInterval: ({ state }) => (state.data?.state === "preparing" ? FAST : SLOW),
  });
}

export function useRuns(filter: RunFilter, isLive: boolean) {
  const { api, workspace } = usePlace();
  return useInfiniteQuery({
    queryKey: [workspace.name, "runs", filter],
    queryFn: ({ pageParam, signal }) => api.runs(filter, pageParam, signal),
    initialPageParam: null as string | null,
    getNextPageParam: ({ next_cursor }) => next_cursor,
    placeholderData: keepPreviousData,
    refetchInterval: isLive ? 3_000 : false,
  });
}

export function useRun(id: string) {
  const { api, workspace } = usePlace();
  return useQuery({
    queryKey: [workspace.name, "run", id],
    queryFn: ({ signal }) => api.run(id, signal),
    staleTime: Number.POSITIVE_INFINITY,
    // A run is written just after its answer: a link followed at once may be earlier.
    retry: (failures, error) => (isMissing(error) || isTemporary(error)) && failures < 3,
  });
}

export function useKeys() {
  const { api, workspace } = usePlace();
  return useQuery({
    queryKey: [workspace.name, "keys"],
    queryFn: ({ signal }) => everyPage((cursor) => api.keys(cursor, signal)),
  });
}

export function useSecrets() {
  const { api, workspace } = usePlace();
  return useQuery({
    queryKey: [workspace.name, "secrets"],
    queryFn: ({ signal }) => everyPage((cursor) => api.secrets(cursor, signal)),
  });
}

export function useMembers() {
  const { api, workspace } = usePlace();
  return useQuery({
    queryKey: [workspace.name, "members"],
    queryFn: ({ signal }) => everyPage((cursor) => api.members(cursor, signal)),
  });
}

export function useSystemStatus() {
  return useQuery({
    queryKey: ["system"],
    queryFn: ({ signal }) => api.systemStatus(signal),
    refetchInterval: 5_000,
  });
}

interface Action<Input, Output> {
  run: (input: Input) => Promise<Output>;
  /** A toast once it is done; left out where the page itself shows it. */
  done?: string | ((output: Output, input: Input) => string);
  /** What the title of the toast says when it fails. */
  failed: string;
  /** Answers an error in another way than by that toast; false where it is none of its own. */
  refused?: (error: unknown) => boolean;
  after?: (client: QueryClient, output: Output, input: Input) => unknown;
}

/** A change: says what came of it, and refreshes what the workspace shows. */
export function useAction<Input = void, Output = unknown>({
  run,
  done,
  failed,
  refused,
  after,
}: Action<Input, Output>) {
  const client = useQueryClient();
  const place = useContext(PlaceContext);
  return useMutation({
    mutationFn: run,
    onSuccess: async (output, input) => {
      if (done) toastDone(typeof done === "string" ? done : done(output, input));
      await after?.(client, output, input);
      if (place) void client.invalidateQueries({ queryKey: [place.workspace.name] });
    },
    onError: (error) => {
      if (!refused?.(error)) toastError(failed, error);
    },
  });
}

const MOST_PAGES = 20;

/** Lists of things people made are short; the pages are there for the few workspaces where they are not. */
async function everyPage<Item>(load: (cursor: string | null) => Promise<Page<Item>>): Promise<Item[]> {
  const items: Item[] = [];
  let cursor: string | null = null;
  for (let page = 0; page < MOST_PAGES; page += 1) {
    const answer: Page<Item> = await load(cursor);
    items.push(...answer.items);
    cursor = answer.next_cursor;
    if (!cursor) break;
  }
  return items;
}
