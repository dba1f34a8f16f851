/** A shadow on the model's page: beginning, figures, what it answered otherwise, promoting and ending it. */

import { screen, within } from "@testing-library/react";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { connection } from "../api/connection";
import type { ShadowDifference, ShadowReport } from "../api/types";
import { openConsole } from "../testing/open";
import { failure, page, session, TestServer } from "../testing/server";
import { model, version } from "../testing/world";

vi.setConfig({ testTimeout: 60_000 });

const SHADOW = { version: 3, percent: 25, tolerance: 1e-6, since: "2026-01-02T03:00:00Z" };
const AT = "/models/iris/aliases/production/shadow";
const shadowed = model({ latest_version: 3, shadows: { production: SHADOW } });

let server: TestServer;

beforeEach(() => {
  vi.stubGlobal("scrollTo", () => {});
  server = new TestServer()
    .on("GET /auth/session", session())
    .on("GET /models", page(model()))
    .on("GET /models/iris", shadowed)
    .on("GET /models/iris/versions", page(version(3), version(2), version(1)))
    .on(`GET ${AT}`, report())
    .on(`GET ${AT}/differences`, { items: [difference()] })
    .install();
});

afterEach(() => {
  connection.report("up");
  vi.unstubAllGlobals();
});

function report(change: Partial<ShadowReport> = {}): ShadowReport {
  const durations = (p50_seconds: number) => ({
    mean_seconds: p50_seconds,
    p50_seconds,
    p95_seconds: 2 * p50_seconds,
    p99_seconds: 3 * p50_seconds,
  });
  return {
    ...SHADOW,
    alias: "production",
    versions: [
      {
        version: 2,
        compared: 1234,
        equal: 1230,
        different: 4,
        primary_failed: 5,
        shadow_failed: 6,
        dropped: 7,
        primary: durations(0.02),
        shadow: durations(0.05),
      },
    ],
    ...change,
  };
}

function difference(change: Partial<ShadowDifference> = {}): ShadowDifference {
  return {
    id: "d1",
    at: "2026-01-02T03:04:05Z",
    outcome: "different",
    request_id: "request-17",
    version: 2,
    path: "predictions[3].label",
    request: '{"inputs":[1,2]}',
    primary_status: 200,
    primary_answer: '{"label":"rose"}',
    shadow_status: 200,
    shadow_answer: '{"label":"tulip"',
    ...change,
  };
}

describe("starting", () => {
  it("takes a version, a share and a tolerance, by keyboard", async () => {
    server.on("GET /models/iris", model()).on(`PUT ${AT}`, shadowed);
    const at = openConsole("/w/default/models/iris");

    (await screen.findByRole("button", { name: "Actions of production" })).focus();
    await at.user.keyboard("{Enter}");
    const item = await screen.findByRole("menuitem", {
      name: "Compare another version on its calls",
      hidden: true,
    });
    item.focus();
    await at.user.keyboard("{Enter}");
    const dialog = within(await screen.findByRole("dialog"));
    const share = await dialog.findByRole("textbox", { name: "Share of the calls" });
    await at.user.clear(share);
    await at.user.type(share, "0");
    expect(dialog.getByRole("button", { name: "Start the shadow" })).toBeDisabled();
    await at.user.clear(share);
    await at.user.type(share, "25{Enter}");

    expect(await screen.findByText("25 % of production goes to version 3 as well")).toBeVisible();
    expect(server.last(`PUT ${AT}`)?.body).toEqual({ version: 3, percent: 25, tolerance: 1e-6 });
  });

  it("says that another version begins a new comparison", async () => {
    const at = openConsole("/w/default/models/iris");

    await at.user.click(await screen.findByRole("button", { name: "Actions of production" }));
    await at.user.click(await screen.findByRole("menuitem", { name: "Change the shadow", hidden: true }));
    const dialog = within(await screen.findByRole("dialog"));
    expect(dialog.queryByText(/begins a new comparison/)).toBeNull();
    await at.user.click(await dialog.findByRole("combobox", { name: "Version" }));
    await at.user.click(await screen.findByRole("option", { name: /version 1/, hidden: true }));
    expect(dialog.getByText(/what was found about version 3 so far is deleted/)).toBeVisible();
  });
});

describe("its figures", () => {
  it("count what came of the calls, and how long both took", async () => {
    openConsole("/w/default/models/iris");

    const table = within(await screen.findByRole("table", { name: "What the comparisons came to" }));
    const cells = table.getAllByRole("cell").map(({ textContent }) => textContent);
    expect(cells).toEqual([
      "version 2",
      "1,234",
      "1,230",
      "4",
      "5",
      "6",
      "7",
      "20 ms, 50 ms",
      "40 ms, 100 ms",
    ]);
    expect(screen.getByText(/25 % also to/)).toBeVisible();
  });

  it("say so while there are none", async () => {
    server.on(`GET ${AT}`, report({ versions: [] })).on(`GET ${AT}/differences`, { items: [] });
    openConsole("/w/default/models/iris");

    expect(await screen.findByText(/Nobody has called production since/)).toBeVisible();
    expect(await screen.findByText("No difference so far.")).toBeVisible();
  });

  it("say why they cannot be shown", async () => {
    server.on(`GET ${AT}`, () => failure(500, "internal", "Something went wrong."));
    openConsole("/w/default/models/iris");

    expect(await screen.findByText("Could not load what the shadow came to")).toBeVisible();
    expect(await screen.findByText("predictions[3].label")).toBeVisible();
  });
});

describe("a difference", () => {
  it("shows both answers side by side, opened by keyboard", async () => {
    const at = openConsole("/w/default/models/iris");

    const control = await screen.findByRole("button", { name: /predictions\[3\]\.label/ });
    control.focus();
    await at.user.keyboard("{Enter}");
    expect(await screen.findByText("Version 2 answered 200")).toBeVisible();
    expect(screen.getByText("Version 3 answered 200")).toBeVisible();
    expect(screen.getByText("Request request-17")).toBeVisible();
    expect(screen.getByText(/"rose"/)).toBeVisible();
    expect(screen.getByText(/"tulip"/)).toBeVisible();
  });

  it("is not asked for by those who may not see what callers send", async () => {
    server.on(
      "GET /auth/session",
      session({ workspaces: [{ name: "default", title: "Default", role: "viewer" }] }),
    );
    openConsole("/w/default/models/iris");

    expect(await screen.findByRole("table", { name: "What the comparisons came to" })).toBeVisible();
    expect(screen.queryByRole("button", { name: "End" })).toBeNull();
    expect(server.last(`GET ${AT}/differences`)).toBeUndefined();
  });
});

describe("the shadow", () => {
  it("is promoted from there", async () => {
    server.on("PUT /models/iris/aliases/production", model({ aliases: { production: 3 } }));
    const at = openConsole("/w/default/models/iris");

    await at.user.click(await screen.findByRole("button", { name: "Promote version 3" }));
    await at.user.click(within(await screen.findByRole("dialog")).getByRole("button", { name: "Promote" }));
    expect(await screen.findByText("production is now version 3")).toBeVisible();
    expect(server.last("PUT /models/iris/aliases/production")?.body).toEqual({ version: 3 });
  });

  it("is ended after a question, and gone when the server says so", async () => {
    server.on(`DELETE ${AT}`, () => {
      server
        .on("GET /models/iris", model())
        .on(`GET ${AT}`, () => failure(404, "not_found", "The alias has no shadow."))
        .on(`GET ${AT}/differences`, () => failure(404, "not_found", "The alias has no shadow."));
      return model();
    });
    const at = openConsole("/w/default/models/iris");

    await at.user.click(await screen.findByRole("button", { name: "End" }));
    await at.user.click(within(await screen.findByRole("dialog")).getByRole("button", { name: "End" }));
    expect(await screen.findByText("production has no shadow any more")).toBeVisible();
    await vi.waitFor(() => expect(screen.queryByText("Shadow of production")).toBeNull());
  });
});
