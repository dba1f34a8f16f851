/** The zoo: found, read, deployed with one click. */

import { screen, waitFor, within } from "@testing-library/react";
import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { connection } from "../api/connection";
import type { ZooEntry, ZooEntryDetail } from "../api/types";
import { openConsole } from "../testing/open";
import { failure, page, session, TestServer } from "../testing/server";
import { irisSchema, model, version } from "../testing/world";

vi.setConfig({ testTimeout: 60_000 });

let server: TestServer;

function entry(change: Partial<ZooEntry> = {}): ZooEntry {
  return {
    name: "ocr",
    title: "Read text in images",
    summary: "Finds lines of text in a picture and reads them.",
    task: "ocr",
    framework: "onnx",
    tags: ["image", "text"],
    license: "Apache-2.0",
    needs_network: false,
    download_mb: 60,
    deployed_as: [],
    ...change,
  };
}

const hub = entry({ name: "sentiment", title: "Sentiment", summary: "From a hub.", needs_network: true });

beforeEach(() => {
  vi.stubGlobal("scrollTo", () => {});
  server = new TestServer()
    .on("GET /auth/session", session())
    .on("GET /models", page(model()))
    .on("GET /zoo", page(entry(), hub))
    .install();
});

afterEach(() => {
  connection.report("up");
  vi.unstubAllGlobals();
});

it("is searched, and narrowed to what needs no network", async () => {
  const at = openConsole("/w/default/zoo");
  await screen.findByText("Sentiment");

  await at.user.click(screen.getByRole("checkbox", { name: "Without a network" }));
  await waitFor(() => expect(screen.queryByText("Sentiment")).toBeNull());
  await at.user.type(screen.getByRole("textbox", { name: "Search the zoo" }), "nothing like it");
  expect(await screen.findByRole("heading", { name: "Nothing found" })).toBeVisible();
});

it("deploys with one click and shows the version come to life", async () => {
  server
    .on("POST /zoo/ocr/deploy", version(1))
    .on("GET /models/ocr", model({ name: "ocr" }))
    .on("GET /models/ocr/versions/1", version(1));
  const at = openConsole("/w/default/zoo");

  await at.user.click(await screen.findByRole("button", { name: "Deploy ocr" }));
  await waitFor(() => expect(at.path()).toBe("/w/default/models/ocr/versions/1"));
  expect(server.last("POST /zoo/ocr/deploy")?.body).toEqual({ name: null });
});

it("asks for another name where the entry's own is somebody's model", async () => {
  server
    .on(
      "POST /zoo/ocr/deploy",
      failure(409, "name_taken", "There is a model ocr that was not made from this entry."),
    )
    .on("GET /models/ocr-zoo", model({ name: "ocr-zoo" }))
    .on("GET /models/ocr-zoo/versions/1", version(1));
  const at = openConsole("/w/default/zoo");
  await at.user.click(await screen.findByRole("button", { name: "Deploy ocr" }));
  const dialog = await screen.findByRole("dialog", { name: "That name is in use" });

  const name = within(dialog).getByRole("textbox", { name: "Name of the new model" });
  await at.user.clear(name);
  await at.user.type(name, "iris");
  expect(within(dialog).getByText("This becomes a new version of iris.")).toBeVisible();
  await at.user.clear(name);
  await at.user.type(name, "ocr-zoo");
  server.on("POST /zoo/ocr/deploy", version(1));
  await at.user.click(within(dialog).getByRole("button", { name: "Deploy" }));

  await waitFor(() => expect(at.path()).toBe("/w/default/models/ocr-zoo/versions/1"));
  expect(server.last("POST /zoo/ocr/deploy")?.body).toEqual({ name: "ocr-zoo" });
});

it("says why a deploy was refused, and stays", async () => {
  server.on("POST /zoo/ocr/deploy", failure(409, "conflict", "The disk is full."));
  const at = openConsole("/w/default/zoo");

  await at.user.click(await screen.findByRole("button", { name: "Deploy ocr" }));
  expect(await screen.findByText(/The disk is full./)).toBeVisible();
  expect(at.path()).toBe("/w/default/zoo");
});

it("tells of an entry what it does, needs and is made of", async () => {
  const detail: ZooEntryDetail = {
    ...entry({ deployed_as: ["receipts"] }),
    description: "Reads **printed** text.\n\nNot handwriting.",
    example_note: "a photo of a receipt",
    python_version: null,
    requirements: ["onnxruntime>=1.20"],
    schema: irisSchema,
    example: {},
    files: [{ path: "model/model.py", size: 2048 }],
    source: "class Model: ...",
  };
  server.on("GET /zoo/ocr", detail);
  openConsole("/w/default/zoo/ocr");

  await screen.findByRole("heading", { level: 1, name: "Read text in images" });
  expect(await screen.findByText("printed", { selector: "strong" })).toBeVisible();
  expect(screen.getByText("Not handwriting.")).toBeVisible();
  expect(screen.getByText("onnxruntime>=1.20")).toBeVisible();
  expect(screen.getByRole("link", { name: "receipts" })).toHaveAttribute(
    "href",
    "/w/default/models/receipts",
  );
  expect(
    within(screen.getByText("Licence").parentElement as HTMLElement).getByText("Apache-2.0"),
  ).toBeVisible();
});
