/** A model's page: traffic, canaries, what differs between versions. */

import { screen, within } from "@testing-library/react";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { connection } from "../api/connection";
import type { Comparison, Deployment, ModelMetrics, TrafficTotals } from "../api/types";
import { openConsole } from "../testing/open";
import { page, session, TestServer } from "../testing/server";
import { model, replica, version } from "../testing/world";

vi.setConfig({ testTimeout: 60_000 });

let server: TestServer;

beforeEach(() => {
  vi.stubGlobal("scrollTo", () => {});
  server = new TestServer()
    .on("GET /auth/session", session())
    .on("GET /models", page(model()))
    .on("GET /models/iris", model())
    .on("GET /models/iris/versions", page(version(2), version(1)))
    .install();
});

afterEach(() => {
  connection.report("up");
  vi.unstubAllGlobals();
});

function totals(change: Partial<TrafficTotals> = {}): TrafficTotals {
  return {
    requests: 0,
    refused: 0,
    failed: 0,
    mean_seconds: null,
    p50_seconds: null,
    p95_seconds: null,
    p99_seconds: null,
    ...change,
  };
}

const busy = totals({
  requests: 1200,
  refused: 10,
  failed: 2,
  p50_seconds: 0.004,
  p95_seconds: 0.011,
  p99_seconds: 0.05,
});

function metrics(change: Partial<ModelMetrics> = {}): ModelMetrics {
  return {
    since: "2026-01-02T03:00:00Z",
    until: "2026-01-02T03:02:00Z",
    step_minutes: 1,
    totals: busy,
    points: [
      { at: "2026-01-02T03:00:00Z", ...totals() },
      { at: "2026-01-02T03:01:00Z", ...busy },
    ],
    versions: [
      {
        version: 2,
        totals: busy,
        points: [],
        replicas: 1,
        memory_bytes: 150 * 1024 * 1024,
        peak_memory_bytes: 200 * 1024 * 1024,
        cold_start_seconds: 1.4,
      },
    ],
    ...change,
  };
}

describe("metrics", () => {
  it("shows calls, errors and durations, of the model and of each version", async () => {
    server.on("GET /models/iris/metrics", metrics());
    openConsole("/w/default/models/iris/metrics");

    expect(await screen.findByText("1,200", { selector: "dd" })).toBeVisible();
    expect(screen.getByText("1.0 %")).toBeVisible();
    const row = within(screen.getByText("v2").closest("tr") as HTMLElement);
    expect(row.getByText("at most 200 MiB")).toBeVisible();
    expect(row.getByText("1.40 s")).toBeVisible();
  });

  it("can be read by keyboard, a moment at a time", async () => {
    server.on("GET /models/iris/metrics", metrics());
    const at = openConsole("/w/default/models/iris/metrics");

    const chart = await screen.findByRole("slider", { name: "Calls a minute" });
    expect(chart).toHaveAttribute("aria-valuetext", expect.stringContaining("answered 1,188"));
    chart.focus();
    await at.user.keyboard("{ArrowLeft}");
    expect(chart).toHaveAttribute("aria-valuetext", expect.stringContaining("answered 0"));
  });

  it("sets two versions side by side while both are called", async () => {
    const one = metrics();
    const [line] = one.versions as [ModelMetrics["versions"][number]];
    const slow = totals({ requests: 40, p95_seconds: 0.5 });
    server.on(
      "GET /models/iris/metrics",
      metrics({
        versions: [
          {
            ...line,
            version: 3,
            totals: slow,
            points: [one.points[0], { ...one.points[1], ...slow }] as never,
          },
          { ...line, points: one.points },
        ],
      }),
    );
    openConsole("/w/default/models/iris/metrics");

    const calls = await screen.findByRole("slider", { name: "Calls by version" });
    expect(calls).toHaveAttribute("aria-valuetext", expect.stringMatching(/v3 40, v2 1,200$/));
    const slowest = screen.getByRole("slider", { name: "95th percentile by version" });
    expect(slowest).toHaveAttribute("aria-valuetext", expect.stringMatching(/v3 500 ms, v2 11 ms$/));
  });

  it("says so when nobody has called", async () => {
    const quiet = metrics({ totals: totals(), points: [], versions: [] });
    server.on("GET /models/iris/metrics", quiet);
    openConsole("/w/default/models/iris/metrics");

    expect(await screen.findAllByText("Nobody has called it in this time.")).toHaveLength(2);
    expect(screen.getByText("none")).toBeVisible();
  });
});

describe("the replicas", () => {
  it("of a packed version say with how many they share their worker, or why with none", async () => {
    const reason = "It has modules of its own beside its model folder.";
    const packed = version(2);
    packed.deployment = {
      ...(packed.deployment as Deployment),
      replicas: [
        replica({ id: "a", shares_worker_with: 3 }),
        replica({ id: "b", shares_worker_with: 1 }),
        replica({ id: "c", shares_worker_with: 0 }),
        replica({ id: "d", alone_because: reason }),
        replica({ id: "e" }),
      ],
    };
    server.on("GET /models/iris/versions/2", packed);
    openConsole("/w/default/models/iris/versions/2");

    expect(await screen.findByText("Shares its worker with 3 other models")).toBeVisible();
    expect(screen.getByText("Shares its worker with 1 other model")).toBeVisible();
    expect(screen.getByText("Packed: nobody else is in its worker yet")).toBeVisible();
    expect(screen.getByText(`Packed, but in a worker of its own: ${reason}`)).toBeVisible();
    expect(screen.getAllByText("Strict")).toHaveLength(5);
  });

  it("are said in words, and changed to none while nobody calls", async () => {
    server.on("PATCH /models/iris", model({ scaling: { min: 0, max: 1, idle_seconds: 600 } }));
    const at = openConsole("/w/default/models/iris");

    await at.user.click(await screen.findByRole("button", { name: "Change how many replicas it has" }));
    const dialog = within(await screen.findByRole("dialog"));
    await at.user.click(dialog.getByLabelText(/Sleep when nobody calls it/));
    const minutes = dialog.getByRole("textbox", { name: "After minutes without a call" });
    await at.user.clear(minutes);
    await at.user.type(minutes, "10");
    await at.user.click(dialog.getByRole("button", { name: "Save" }));

    expect(await screen.findByText("Replicas saved")).toBeVisible();
    expect(server.last("PATCH /models/iris")?.body).toEqual({
      replicas: { min: 0, max: 1 },
      idle_seconds: 600,
    });
  });
});

describe("a canary", () => {
  it("is started with a version and a share", async () => {
    server.on("PUT /models/iris/aliases/production/canary", model());
    const at = openConsole("/w/default/models/iris");

    await at.user.click(await screen.findByRole("button", { name: "Actions of production" }));
    await at.user.click(
      await screen.findByRole("menuitem", { name: "Try another version on part of it", hidden: true }),
    );
    const dialog = within(await screen.findByRole("dialog"));
    const share = dialog.getByRole("textbox", { name: "Share of the calls" });
    await at.user.clear(share);
    await at.user.type(share, "5");
    await at.user.click(dialog.getByRole("button", { name: "Start the canary" }));

    expect(await screen.findByText("5 % of production goes to version 1")).toBeVisible();
    expect(server.last("PUT /models/iris/aliases/production/canary")?.body).toEqual({
      version: 1,
      percent: 5,
    });
  });

  it("is shown with its share, and can be promoted or ended", async () => {
    server
      .on("GET /models/iris", model({ canaries: { production: { version: 3, percent: 12.5 } } }))
      .on("DELETE /models/iris/aliases/production/canary", model())
      .on("PUT /models/iris/aliases/production", model({ aliases: { production: 3 } }));
    const at = openConsole("/w/default/models/iris");

    expect(await screen.findByText(/12.5 % to/)).toBeVisible();
    await at.user.click(screen.getByRole("button", { name: "Actions of production" }));
    await at.user.click(await screen.findByRole("menuitem", { name: "Promote version 3", hidden: true }));
    await at.user.click(within(await screen.findByRole("dialog")).getByRole("button", { name: "Promote" }));
    expect(await screen.findByText("production is now version 3")).toBeVisible();
    expect(server.last("PUT /models/iris/aliases/production")?.body).toEqual({ version: 3 });

    await at.user.click(screen.getByRole("button", { name: "Actions of production" }));
    await at.user.click(await screen.findByRole("menuitem", { name: "End the canary", hidden: true }));
    expect(await screen.findByText("All of production goes to version 2")).toBeVisible();
  });
});

describe("comparing versions", () => {
  const comparison: Comparison = {
    from: 1,
    to: 2,
    config: [],
    environment: [{ path: "numpy", kind: "changed", before: "1.26.4", after: "2.4.6" }],
    schema: [
      { path: "fields.kind", kind: "added", before: null, after: { type: "str" } },
      { path: "fields.length.maximum", kind: "changed", before: 8, after: 10 },
    ],
    files: [
      {
        path: "data/model.skops",
        kind: "changed",
        before_digest: "a",
        after_digest: "b",
        before_size: 1024,
        after_size: 2048,
      },
    ],
  };

  it("shows what differs, and leaves the two in the address", async () => {
    server.on("GET /models/iris/compare", comparison);
    const at = openConsole("/w/default/models/iris/compare?from=1&to=2");

    expect(await screen.findByText("1.26.4")).toBeVisible();
    expect(screen.getByText("2.4.6")).toBeVisible();
    expect(screen.getByText("data/model.skops")).toBeVisible();
    expect(screen.getByText("The same settings.")).toBeVisible();
    expect(screen.getByText("fields.length.maximum")).toBeVisible();

    await at.user.click(screen.getByRole("button", { name: "Swap the two" }));
    expect(at.path()).toBe("/w/default/models/iris/compare?from=2&to=1");
    await screen.findByText("2.4.6");
    expect(server.last("GET /models/iris/compare")?.query.get("from")).toBe("2");
  });
});

describe("a version that has a compiled form", () => {
  const serving = { state: "serving", reason: "", says: "Yes: equal on 500 rows (float64).", report: {} };
  const refused = { ...serving, state: "refused", says: "No. ada asked for the original." };

  it("says so, and can be served as it was deployed", async () => {
    server
      .on("GET /models/iris/versions/2", { ...version(2), compiled: serving })
      .on("POST /models/iris/versions/2/serve-original", { ...version(2), compiled: refused });
    const { user } = openConsole("/w/default/models/iris/versions/2");

    expect(await screen.findByText("Yes: equal on 500 rows (float64).")).toBeVisible();
    await user.click(screen.getByRole("button", { name: "Serve the original" }));
    const asked = await screen.findByRole("dialog");
    await user.click(within(asked).getByRole("button", { name: "Serve the original" }));
    await vi.waitFor(() => expect(server.last("POST /models/iris/versions/2/serve-original")).toBeDefined());
  });

  it("offers nothing where the original is served", async () => {
    server.on("GET /models/iris/versions/2", { ...version(2), compiled: refused });
    openConsole("/w/default/models/iris/versions/2");

    expect(await screen.findByText("No. ada asked for the original.")).toBeVisible();
    expect(screen.queryByRole("button", { name: "Serve the original" })).toBeNull();
  });
});
