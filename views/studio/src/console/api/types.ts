/**
 * What the management API says, as the console reads it.
 *
 * The shapes are generated (`schema.d.ts`, from platform/openapi.json). Where the server's own description is loose
 * (a state is a string, a stage an object), `Narrow` says what it holds; it accepts only names that the server has, so
 * that a field renamed there stops the build here.
 */

import type { components } from "./schema";

type Schemas = components["schemas"];
type Narrow<
  Base,
  Fields extends { [Name in keyof Fields]: Name extends keyof Base ? unknown : never },
> = Omit<Base, keyof Fields> & Fields;

export type Json = null | boolean | number | string | Json[] | { [key: string]: Json };

export interface Page<Item> {
  items: Item[];
  next_cursor: string | null;
}

export type Role = Schemas["Role"];
export type Scope = Schemas["Scope"];
export type Access = Schemas["Access"];
export type RunState = Schemas["RunState"];
export type StageState = "waiting" | "running" | "done" | "reused" | "skipped" | "failed";
export type VersionState = "pending" | "building" | "starting" | "ready" | "failed";
export type ModelStatus = "stopped" | "asleep" | "starting" | "running" | "unhealthy" | "failed" | "building";
export type DeploymentStatus = "stopped" | "asleep" | "starting" | "running" | "unhealthy";
export type ReplicaState = "pending" | "starting" | "loading" | "ready" | "draining" | "stopped" | "failed";
export type EnvironmentState = "pending" | "resolving" | "building" | "ready" | "failed";
export type ReleaseState = "preparing" | "ready" | "failed";
export type StepState = "succeeded" | "failed" | "skipped" | "cancelled";

export type User = Schemas["User"];
export type Session = Schemas["SessionInfo"];
export type WorkspaceMembership = Schemas["SessionWorkspace"];
export type Member = Schemas["Member"];
/** `sign_in_url` is null for somebody who has an account here already. */
export type Invitation = Schemas["AddedMember"];
export type Key = Narrow<Schemas["Key"], { scopes: Scope[] }>;
export type CreatedKey = Narrow<Schemas["CreatedKey"], { scopes: Scope[] }>;
export type ConsoleToken = Schemas["ConsoleToken"];

/** What is not said may be absent or null: both mean the same. */
export interface SchemaField {
  name: string;
  type: Schemas["SchemaField"]["type"];
  title?: string | null;
  description?: string | null;
  nullable?: boolean | null;
  choices?: Json[] | null;
  minimum?: number | null;
  maximum?: number | null;
  step?: number | null;
  default?: Json;
  dtype?: string | null;
  /** Of a tensor; null is any size. */
  shape?: (number | null)[] | null;
}

export interface OutputSchema {
  kind: Schemas["SchemaOutput"]["kind"];
  name?: string | null;
  classes?: Json[] | null;
  probabilities?: boolean | null;
}

export interface ModelSchema {
  version?: number;
  form?: Schemas["ModelSchema"]["form"];
  fields?: SchemaField[];
  output?: OutputSchema;
}

export type ModelSummary = Narrow<Schemas["ModelSummary"], { status: ModelStatus }>;
export type Model = Narrow<
  Schemas["Model"],
  { status: ModelStatus; schema: ModelSchema | null; example: Json }
>;

export interface Stage {
  name: string;
  state: StageState;
  started_at?: string | null;
  seconds: number | null;
  detail: string | null;
}

export interface InstalledPackage {
  name: string;
  version: string;
}

export interface ReplicaExit {
  code?: number | null;
  signal?: number | string | null;
  reason?: string | null;
}

export type Replica = Narrow<Schemas["Replica"], { state: ReplicaState; exit: ReplicaExit | null }>;
export type Deployment = Narrow<Schemas["Deployment"], { status: DeploymentStatus; replicas: Replica[] }>;

/** An environment as lists and versions name it. */
export type EnvironmentSummary = Narrow<
  Schemas["EnvironmentSummary"],
  { state: EnvironmentState; packages: InstalledPackage[] }
>;
export type EnvironmentItem = Narrow<
  Schemas["EnvironmentItem"],
  { state: EnvironmentState; packages: InstalledPackage[] }
>;
export type Environment = Narrow<
  Schemas["Environment"],
  { state: EnvironmentState; packages: InstalledPackage[] }
>;
export type Collected = Narrow<Schemas["Collected"], { items: EnvironmentItem[] }>;
/** `coming` is the last edit, while it is built or after that failed. */
export type NamedEnvironment = Narrow<
  Schemas["NamedEnvironment"],
  { environment: EnvironmentItem; coming: EnvironmentItem | null }
>;
export type PythonVersion = Schemas["PythonVersion"];
export type WheelCache = Schemas["WheelCache"];
export type PrunedWheelCache = Schemas["PrunedWheelCache"];

export type PackageFile = Schemas["PackageFile"];
export type Warning = string | { path?: string; message: string; hint?: string };

/** `report` is of the proof: empty until there is one. */
export type Compiled = Narrow<
  Schemas["Compiled"],
  {
    report: {
      microseconds?: { original: number[]; compiled: number[] };
    };
  }
>;

export type Version = Narrow<
  Schemas["Version"],
  {
    state: VersionState;
    stages: Stage[];
    schema: ModelSchema | null;
    example: Json;
    warnings: Warning[];
    files: PackageFile[];
    environment: EnvironmentSummary | null;
    deployment: Deployment | null;
    compiled: Compiled | null;
  }
>;

export type ModelMetrics = Schemas["ModelMetrics"];
export type TrafficTotals = Schemas["TrafficTotals"];
export type TrafficPoint = Schemas["TrafficPoint"];
export type TrafficLine = Schemas["TrafficLine"];
export type Load = Schemas["Load"];
export type LoadLine = Schemas["LoadLine"];
export type Canary = Schemas["Canary"];
export type Shadow = Schemas["Shadow"];
export type ShadowReport = Schemas["ShadowReport"];
export type ShadowLine = Schemas["ShadowLine"];
export type ShadowDifference = Schemas["ShadowDifference"];
export type Change = Narrow<Schemas["Change"], { before?: Json; after?: Json }>;
export type PackageFileChange = Schemas["PackageFileChange"];
export type Comparison = Narrow<
  Schemas["Comparison"],
  { config: Change[]; environment: Change[]; schema: Change[] }
>;
export type ZooEntry = Schemas["ZooEntry"];
export type ZooEntryDetail = Narrow<Schemas["ZooEntryDetail"], { schema: ModelSchema | null; example: Json }>;

export type Secret = Schemas["Secret"];

export type LogLine = Narrow<Schemas["LogLine"], { source: "environment" | "worker" }>;
export type LogPage = Narrow<Schemas["LogPage"], { items: LogLine[] }>;

/** `url` is what to send to people: it has the share link's key where the access is by link. */
export type AppSummary = Narrow<Schemas["AppSummary"], { access: Access }>;

/** A node of a worklet as the compiler describes it for drawing. `column` and `row` are its place in the layout. */
export interface GraphNode {
  id: string;
  kind: string;
  title: string;
  target: string;
  column: number;
  row: number;
  ports: string[];
}

/** `port` is the input that a data edge fills, or the branch port that a control edge leaves by (may be empty). */
export interface GraphEdge {
  source: string;
  target: string;
  port: string;
  kind: "data" | "control";
}

export interface Graph {
  nodes: GraphNode[];
  edges: GraphEdge[];
}

export interface Port {
  name: string;
  type: string;
  required: boolean;
  title: string;
  description: string;
  example: Json;
}

export type Worklet = Narrow<Schemas["WorkletSummary"], { input: Port[]; output: Port[]; graph: Graph }>;
export type Release = Narrow<Schemas["Release"], { state: ReleaseState; stages: Stage[] }>;
export type App = Narrow<Schemas["App"], { access: Access; worklets: Worklet[]; releases: Release[] }>;
export type Draft = Schemas["Draft"];
/** `diff` is unified; empty for files that are not text. */
export type FileChange = Schemas["FileChange"];
export type ReleaseDiff = Schemas["ReleaseDiff"];

export interface RunError {
  code?: string;
  message: string;
  hint?: string | null;
  traceback?: string | null;
}

export type RunSummary = Narrow<Schemas["RunSummary"], { state: RunState; error: RunError | null }>;
export type Step = Narrow<
  Schemas["Step"],
  { state: StepState; input: Json; output: Json; error: RunError | null }
>;
export type Run = Narrow<
  Schemas["Run"],
  { state: RunState; error: RunError | null; input: Json; output: Json; graph: Graph; steps: Step[] }
>;

export type ProcessStatus = Schemas["Process"];
export type Isolation = Schemas["IsolationStatus"] | Schemas["ReplicaIsolation"];
export type SystemStatus = Schemas["SystemStatus"];
