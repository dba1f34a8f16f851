/** What the models have to do: the list, its order, nothing at all, and what goes wrong. */

import { screen, within } from "@testing-library/react";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { connection } from "../api/connection";
import type { Load, LoadLine } from "../api/types";
import { openConsole } from "../testing/open";
import { failure, session, TestServer } from "../testing/server";

vi.setConfig({ testTimeout: 60_000 });

let server: TestServer;

beforeEach(() => {
  vi.stubGlobal("scrollTo", () => {});
  server = new TestServer().on("GET /auth/session", session()).install();
});

afterEach(() => {
  connection.report("up");
  vi.unstubAllGlobals();
});

function line(change: Partial<LoadLine> = {}): LoadLine {
  return {
    model: "iris",
    version: 2,
    status: "running",
    requests_per_second: 0,
    p95_seconds: null,
    failed: 0,
    refused: 0,
    waiting: 0,
    in_flight: 0,
    desired_replicas: 1,
    ready_replicas: 1,
    memory_bytes: 64 * 1024 ** 2,
    peak_memory_bytes: 96 * 1024 ** 2,
    memory_limit_bytes: 2 * 1024 ** 3,
    cold_start_seconds: 0.84,
    shadow_of: [],
    ...change,
  };
}

const load = (...lines: LoadLine[]): Load => ({ window_seconds: 330, queue_length: 100, lines });
const busy = line({
  model: "busy",
  requests_per_second: 12.345,
  p95_seconds: 0.25,
  waiting: 80,
  in_flight: 4,
  failed: 3,
});
const asleep = line({
  model: "asleep",
  status: "asleep",
  desired_replicas: 0,
  ready_replicas: 0,
  memory_bytes: null,
  peak_memory_bytes: null,
});

const rows = () => screen.getAllByRole("row").slice(1);
const names = () => rows().map((row) => within(row).getByRole("link").textContent);

describe("the load page", () => {
  it("lists what runs, the busiest first", async () => {
    server.on("GET /load", load(asleep, line(), busy));
    openConsole("/w/default/load");
    await screen.findByRole("table", { name: "Load" });
    expect(names()[0]).toBe("busy");
    const cells = within(rows()[0] as HTMLElement);
    for (const text of ["12.3", "250 ms", "80", "4", "1 of 1", "64 MiB", "840 ms", "3"])
      expect(cells.getByText(text)).toBeInTheDocument();
    expect(cells.getByText("peak 96 MiB of 2.0 GiB")).toBeInTheDocument();
    expect(screen.getByText("Asleep")).toBeInTheDocument();
  });

  it("is put in another order", async () => {
    server.on("GET /load", load(line(), busy, asleep));
    const { user } = openConsole("/w/default/load");
    await user.click(await screen.findByRole("button", { name: "Model" }));
    expect(names()).toEqual(["asleep", "busy", "iris"]);
  });

  it("says which version only gets copies of calls", async () => {
    server.on("GET /load", load(line(), line({ version: 3, shadow_of: ["production"] })));
    openConsole("/w/default/load");
    const badge = await screen.findByText("shadow of production");
    expect(within(badge.closest("tr") as HTMLElement).getByText("v3")).toBeInTheDocument();
  });

  it("leads to the version", async () => {
    server.on("GET /load", load(line()));
    const { user, path } = openConsole("/w/default/load");
    await user.click(await screen.findByText("0", { selector: "td[data-align=right]:nth-child(3)" }));
    await vi.waitFor(() => expect(path()).toBe("/w/default/models/iris/versions/2"));
  });

  it("says so when nothing runs, and when it cannot be had", async () => {
    server.on("GET /load", load());
    openConsole("/w/default/load");
    expect(await screen.findByText("Nothing runs")).toBeInTheDocument();
  });

  it("says why it could not be loaded", async () => {
    server.on("GET /load", failure(503, "unavailable", "PostgreSQL is away."));
    openConsole("/w/default/load");
    expect(await screen.findByText("PostgreSQL is away.")).toBeInTheDocument();
  });
});
