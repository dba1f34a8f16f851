/** Things as the API shows them, with only what a test cares about said. */

import type { App, Key, Model, ModelSchema, Replica, Run, Version } from "../api/types";

const AT = "2026-01-02T03:04:05Z";

export const irisSchema: ModelSchema = {
  version: 1,
  form: "table",
  fields: [
    { name: "length", type: "float", minimum: 0, maximum: 10 },
    { name: "kind", type: "str", choices: ["wild", "garden"] },
  ],
  output: { kind: "classification", classes: ["setosa", "virginica"], probabilities: true },
};

export function model(change: Partial<Model> = {}): Model {
  return {
    name: "iris",
    description: "",
    tags: [],
    framework: "sklearn",
    status: "running",
    latest_version: 2,
    production_version: 2,
    aliases: { production: 2 },
    canaries: {},
    shadows: {},
    updated_at: AT,
    created_at: AT,
    scaling: { min: 1, max: 1, idle_seconds: 300 },
    app: null,
    endpoint: "http://gateway.test/v1/default/models/iris/predict",
    schema: irisSchema,
    example: { inputs: [{ length: 5.1, kind: "garden" }] },
    ...change,
  };
}

export function version(number: number, change: Partial<Version> = {}): Version {
  return {
    id: `v${number}`,
    number,
    state: "ready",
    reason: "",
    hint: "",
    stages: [
      { name: "upload", state: "done", seconds: 0.2, detail: "" },
      { name: "environment", state: "reused", seconds: 0, detail: "" },
    ],
    framework: "sklearn",
    schema: irisSchema,
    example: { inputs: [{ length: 5.1, kind: "garden" }] },
    warnings: [],
    package_digest: "d".repeat(64),
    size_bytes: 2048,
    files: [],
    config: {},
    environment: null,
    environment_name: null,
    fetched: [],
    aliases: number === 2 ? ["production"] : [],
    compiled: null,
    deployment: {
      status: "running",
      desired_replicas: 1,
      asleep_since: null,
      replicas: [],
      failures: 0,
      unhealthy_reason: "",
      retry_at: null,
    },
    created_at: AT,
    created_by: "dana@example.com",
    ready_at: AT,
    endpoint: `http://gateway.test/v1/default/models/iris@${number}/predict`,
    app: null,
    ...change,
  };
}

export function replica(change: Partial<Replica> = {}): Replica {
  return {
    id: "r1",
    state: "ready",
    reason: "",
    started_at: AT,
    ready_at: AT,
    ended_at: null,
    load_seconds: 0.01,
    cold_start_seconds: 0.1,
    memory_bytes: 20 * 1024 * 1024,
    peak_memory_bytes: 24 * 1024 * 1024,
    isolation: { level: "strict", network: "none", missing: [] },
    forked: false,
    shares_worker_with: null,
    alone_because: null,
    exit: null,
    ...change,
  };
}

export function key(change: Partial<Key> = {}): Key {
  return {
    id: "k1",
    key_id: "abcdefghijkl",
    name: "checkout",
    scopes: ["predict"],
    created_at: AT,
    created_by: "dana@example.com",
    expires_at: null,
    last_used_at: null,
    revoked_at: null,
    ...change,
  };
}

export function app(change: Partial<App> = {}): App {
  return {
    name: "support",
    title: "Support desk",
    description: "",
    access: "workspace",
    live_release: 1,
    draft_revision: 1,
    draft_changed: false,
    created_at: AT,
    updated_at: AT,
    worklets: [],
    views: [{ name: "main", title: "Inbox", url: "http://gateway.test/default/support/main" }],
    models: [],
    releases: [],
    made_for_model: null,
    url: "http://gateway.test/default/support/main",
    ...change,
  };
}

export function run(change: Partial<Run> = {}): Run {
  return {
    id: "r1",
    app: "support",
    worklet: "triage",
    release: 1,
    state: "failed",
    trigger: "http",
    caller: "key:abcdefghijkl",
    started_at: AT,
    finished_at: AT,
    duration_ms: 20,
    error: { code: "user_error", message: "KeyError: 'customer'" },
    input: { text: "late" },
    output: null,
    request_id: "req-9",
    graph: {
      nodes: [
        { id: "clean", kind: "pre", title: "clean", target: "code/a.py:clean", column: 0, row: 0, ports: [] },
        { id: "look", kind: "logic", title: "look", target: "code/a.py:look", column: 1, row: 0, ports: [] },
      ],
      edges: [{ source: "clean", target: "look", port: "text", kind: "data" }],
    },
    steps: [
      {
        path: "clean",
        kind: "pre",
        attempt: 1,
        state: "succeeded",
        input: { text: "late" },
        output: { text: "late!" },
        error: null,
        logs: "",
        started_at: AT,
        duration_ms: 5,
        offset_ms: 0,
      },
      {
        path: "look",
        kind: "logic",
        attempt: 1,
        state: "failed",
        input: { text: "late!" },
        output: null,
        error: { code: "user_error", message: "KeyError: 'customer'", traceback: "Traceback: line 3" },
        logs: "asking the CRM",
        started_at: AT,
        duration_ms: 15,
        offset_ms: 5,
      },
    ],
    ...change,
  };
}
