import { afterEach, describe, expect, it, vi } from "vitest";
import { failure, TestServer } from "../testing/server";
import { api, workspaceApi } from "./client";
import { connection } from "./connection";
import { ApiError, Unreachable } from "./errors";

const workspace = workspaceApi("default");

afterEach(() => {
  connection.report("up");
  vi.unstubAllGlobals();
});

async function errorFrom(promise: Promise<unknown>): Promise<unknown> {
  return promise.then(
    () => {
      throw new Error("it did not fail");
    },
    (error: unknown) => error,
  );
}

describe("what the server says no to", () => {
  it("keeps code, hint, details and request id", async () => {
    const details = [{ path: "fields.age", message: "must be a number" }];
    new TestServer()
      .on("GET /models/iris", failure(400, "invalid_input", "A field is wrong.", details, "Look."))
      .install();

    const error = await errorFrom(workspace.model("iris"));

    expect(error).toEqual(new ApiError(400, "invalid_input", "A field is wrong.", "Look.", details, "req-1"));
  });

  it("turns a proxy's page into a sentence", async () => {
    const html = new Response("<html>oops</html>", { status: 502, headers: { "x-request-id": "abc" } });
    new TestServer().on("GET /models/iris", html).install();

    const error = await errorFrom(workspace.model("iris"));

    expect(error).toEqual(
      new ApiError(502, "http_502", "The server cannot answer right now.", "", [], "abc"),
    );
    expect(connection.get()).toBe("down");
  });

  it("reads how long to wait", async () => {
    const busy = new Response("{}", { status: 429, headers: { "retry-after": "30" } });
    new TestServer().on("POST /auth/sign-in", busy).install();

    const error = (await errorFrom(api.signIn("a@b.c", "x"))) as ApiError;

    expect(error.retryAfterSeconds).toBe(30);
  });
});

describe("the connection", () => {
  it("is down when nothing answers, and up again at the next answer", async () => {
    const server = new TestServer().on("GET /auth/session", { user: {} }).install();
    server.isDown = true;

    expect(await errorFrom(api.session())).toBeInstanceOf(Unreachable);
    expect(connection.get()).toBe("down");

    server.isDown = false;
    await api.session();
    expect(connection.get()).toBe("up");
  });

  it("is not down because somebody left the page", async () => {
    const abort = new AbortController();
    vi.stubGlobal("fetch", () => {
      abort.abort();
      return Promise.reject(new DOMException("aborted", "AbortError"));
    });

    await errorFrom(api.session(abort.signal));

    expect(connection.get()).toBe("up");
  });
});

describe("requests", () => {
  it("name a create, so that a repeated one makes nothing twice", async () => {
    const server = new TestServer().on("POST /keys", { key: "tf_x" }).install();

    await workspace.createKey({ name: "n", scopes: ["read"] });
    await workspace.createKey({ name: "n", scopes: ["read"] });

    const keys = server.asked.map(({ headers }) => headers.get("idempotency-key"));
    expect(keys[0]).toMatch(/^[0-9a-f]{32}$/);
    expect(keys[1]).not.toBe(keys[0]);
  });

  it("send JSON with every unsafe method, with or without a body", async () => {
    const server = new TestServer().on("DELETE /keys/k1", null).install();

    await workspace.revokeKey("k1");

    expect(server.asked[0]?.headers.get("content-type")).toBe("application/json");
  });

  it("leave out filters that are not set", async () => {
    const server = new TestServer().on("GET /runs", { items: [], next_cursor: null }).install();

    await workspace.runs({ app: "support", worklet: null, state: null }, null);

    expect(server.asked[0]?.query.toString()).toBe("app=support&limit=50");
  });

  it("escape each part of a file's path", async () => {
    const server = new TestServer()
      .on("GET /models/iris/versions/2/files/data/a%20b%3F.txt", new Response("text"))
      .install();

    expect(await workspace.versionFile("iris", 2, "data/a b?.txt")).toBe("text");
    expect(server.asked).toHaveLength(1);
  });
});
