/** Environments: what uses them, names for them, and tidying up. */

import { screen, within } from "@testing-library/react";
import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { connection } from "../api/connection";
import type { EnvironmentItem, NamedEnvironment } from "../api/types";
import { openConsole } from "../testing/open";
import { failure, page, session, TestServer } from "../testing/server";

vi.setConfig({ testTimeout: 60_000 });

const AT = "2026-01-02T03:04:05Z";

let server: TestServer;

function environment(change: Partial<EnvironmentItem> = {}): EnvironmentItem {
  return {
    id: "e1",
    state: "ready",
    python_version: "3.11",
    requirements: ["pandas>=2.2"],
    lock_digest: "c0ffee".repeat(10),
    packages: [{ name: "pandas", version: "2.2.3" }],
    build_seconds: 2,
    reason: "",
    hint: "",
    created_at: AT,
    names: [],
    used_by: { models: 2, apps: 1 },
    size_bytes: 300 * 1024 * 1024,
    built_at: AT,
    wanted_at: AT,
    ...change,
  };
}

function named(change: Partial<NamedEnvironment> = {}): NamedEnvironment {
  return {
    name: "nlp",
    description: "",
    python_version: "3.11",
    requirements: ["pandas>=2.2"],
    environment: environment({ names: ["nlp"] }),
    coming: null,
    updated_at: AT,
    updated_by: "dana@example.com",
    ...change,
  };
}

beforeEach(() => {
  vi.stubGlobal("scrollTo", () => {});
  server = new TestServer()
    .on("GET /auth/session", session())
    .on("GET /environments", page(environment()))
    .on("GET /named-environments", page(named()))
    .on("GET /python-versions", [
      { version: "3.11", full: "3.11.9", source: "machine", is_default: true },
      { version: "3.13", full: "3.13.1", source: "download", is_default: false },
    ])
    .install();
});

afterEach(() => {
  connection.report("up");
  vi.unstubAllGlobals();
});

it("shows what uses each", async () => {
  openConsole("/w/default/environments");
  expect(await screen.findByText("2 versions, 1 release")).toBeVisible();
  expect(screen.getByText("300 MiB")).toBeVisible();
});

it("edits a named one as a list of requirements, and says what is wrong with a line", async () => {
  server.on(
    "PUT /named-environments/nlp",
    failure(422, "bad_requirement", "A requirement cannot be taken.", [
      { path: "requirements[1]", message: "'spacy@@' is not a requirement" },
    ]),
  );
  const at = openConsole("/w/default/environments");

  await at.user.click(await screen.findByRole("button", { name: "Actions of nlp" }));
  await at.user.click(await screen.findByRole("menuitem", { name: "Edit the requirements", hidden: true }));
  const dialog = within(await screen.findByRole("dialog", { name: "Edit nlp" }));
  await at.user.type(dialog.getByLabelText("Requirements"), "{End}{Enter}spacy@@");
  await at.user.click(dialog.getByRole("button", { name: "Save and build" }));
  expect(await dialog.findByText(/is not a requirement/)).toBeVisible();

  server.on("PUT /named-environments/nlp", named({ coming: environment({ id: "e2", state: "building" }) }));
  await at.user.clear(dialog.getByLabelText("Requirements"));
  await at.user.type(dialog.getByLabelText("Requirements"), "spacy>=3.8{Enter}{Enter}pandas");
  await at.user.click(dialog.getByRole("button", { name: "Save and build" }));

  expect(await screen.findByText("Building nlp")).toBeVisible();
  expect(server.last("PUT /named-environments/nlp")?.body).toEqual({
    python_version: "3.11",
    requirements: ["spacy>=3.8", "pandas"],
    description: "",
  });
});

it("says of the last edit whether it is being built or failed", async () => {
  server.on("GET /named-environments", page(named({ coming: environment({ id: "e2", state: "failed" }) })));
  openConsole("/w/default/environments");
  const link = await screen.findByRole("link", { name: "the last edit could not be built" });
  expect(link).toHaveAttribute("href", "/w/default/environments/e2");
});

it("deletes what nothing uses, after showing it", async () => {
  const unused = environment({ id: "e9", requirements: ["torch"], used_by: { models: 0, apps: 0 } });
  server.on("POST /environments/collect", ({ body }) => {
    const { dry_run } = body as { dry_run: boolean };
    return { dry_run, items: [unused], size_bytes: unused.size_bytes };
  });
  const at = openConsole("/w/default/environments");

  await at.user.click(await screen.findByRole("button", { name: "Delete unused" }));
  const dialog = within(await screen.findByRole("dialog", { name: "Delete unused environments" }));
  expect(dialog.getByText("Python 3.11 with torch, 300 MiB")).toBeVisible();
  expect(server.last("POST /environments/collect")?.body).toEqual({ dry_run: true });
  await at.user.click(dialog.getByRole("button", { name: "Delete 1 environment" }));

  expect(await screen.findByText("Deleted 1 environment, 300 MiB")).toBeVisible();
  expect(server.last("POST /environments/collect")?.body).toEqual({ dry_run: false });
});
