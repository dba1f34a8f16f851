/** Secrets: set, set anew, deleted; never shown. */

import { screen, within } from "@testing-library/react";
import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { connection } from "../api/connection";
import type { Secret } from "../api/types";
import { openConsole } from "../testing/open";
import { page, session, TestServer } from "../testing/server";

vi.setConfig({ testTimeout: 60_000 });

let server: TestServer;

function secret(change: Partial<Secret> = {}): Secret {
  return {
    name: "HF_TOKEN",
    description: "for the hub",
    created_at: "2026-01-02T03:04:05Z",
    updated_at: "2026-01-02T03:04:05Z",
    updated_by: "dana@example.com",
    used_by: [{ model: "sentiment", version: 3 }],
    ...change,
  };
}

beforeEach(() => {
  vi.stubGlobal("scrollTo", () => {});
  server = new TestServer().on("GET /auth/session", session()).on("GET /secrets", page(secret())).install();
});

afterEach(() => {
  connection.report("up");
  vi.unstubAllGlobals();
});

it("adds one; a name that cannot be one is refused while it is typed", async () => {
  server.on("GET /secrets", page()).on("PUT /secrets/API_KEY", secret({ name: "API_KEY" }));
  const at = openConsole("/w/default/secrets");

  await at.user.click(await screen.findByRole("button", { name: "Add a secret" }));
  const dialog = within(await screen.findByRole("dialog"));
  await at.user.type(dialog.getByLabelText("Name"), "API KEY");
  expect(dialog.getByText("Letters, digits, underscores, hyphens and dots.")).toBeVisible();
  expect(dialog.getByRole("button", { name: "Set it" })).toBeDisabled();
  await at.user.clear(dialog.getByLabelText("Name"));
  await at.user.type(dialog.getByLabelText("Name"), "API_KEY");
  await at.user.type(dialog.getByLabelText("Value"), "hunter2");
  await at.user.click(dialog.getByRole("button", { name: "Set it" }));

  expect(await screen.findByText("API_KEY is set")).toBeVisible();
  expect(server.last("PUT /secrets/API_KEY")?.body).toEqual({ value: "hunter2", description: "" });
});

it("sets a new value, without showing the old one", async () => {
  server.on("PUT /secrets/HF_TOKEN", secret());
  const at = openConsole("/w/default/secrets");

  await at.user.click(await screen.findByRole("button", { name: "Actions of HF_TOKEN" }));
  await at.user.click(await screen.findByRole("menuitem", { name: "Set a new value", hidden: true }));
  const dialog = within(await screen.findByRole("dialog", { name: "New value for HF_TOKEN" }));
  expect(dialog.getByLabelText("Value")).toHaveValue("");
  await at.user.type(dialog.getByLabelText("Value"), "newer");
  await at.user.click(dialog.getByRole("button", { name: "Set it" }));

  expect(await screen.findByText("HF_TOKEN is set")).toBeVisible();
  expect(server.last("PUT /secrets/HF_TOKEN")?.body).toEqual({ value: "newer", description: "for the hub" });
});

it("says who uses it before it goes", async () => {
  server.on("DELETE /secrets/HF_TOKEN", null);
  const at = openConsole("/w/default/secrets");

  await at.user.click(await screen.findByRole("button", { name: "Actions of HF_TOKEN" }));
  await at.user.click(await screen.findByRole("menuitem", { name: "Delete", hidden: true }));
  const dialog = within(await screen.findByRole("dialog", { name: "Delete HF_TOKEN?" }));
  expect(dialog.getByText(/sentiment version 3/)).toBeVisible();
  await at.user.click(dialog.getByRole("button", { name: "Delete" }));

  expect(await screen.findByText("Deleted HF_TOKEN")).toBeVisible();
});
