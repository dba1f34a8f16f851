import { afterEach, describe, expect, it, vi } from "vitest";
import { workspaceApi } from "../api/client";
import { ApiError } from "../api/errors";
import { failure, json, TestServer } from "../testing/server";
import { call, workerTime } from "./predict";

const ADDRESS = "POST http://gateway.test/v1/default/models/iris@2/predict";
const PATH = "/v1/default/models/iris@2/predict";

afterEach(() => vi.unstubAllGlobals());

function tokens(...values: string[]) {
  let at = 0;
  return () => ({
    token: values[at++] ?? "none",
    expires_at: new Date(Date.now() + 600_000).toISOString(),
    gateway_url: "http://gateway.test",
  });
}

describe("a call of the data plane", () => {
  it("carries a console token, asked for once", async () => {
    const headers = { "x-tenfold-version": "2", "server-timing": "worker;dur=1.5, gateway;dur=2" };
    const server = new TestServer()
      .on("POST /console-token", tokens("one", "two"))
      .on(ADDRESS, json([1], { headers }))
      .install();
    const api = workspaceApi("default");

    const outcome = await call(api, PATH, { inputs: [] });
    await call(api, PATH, { inputs: [] });

    expect(outcome).toMatchObject({ value: [1], version: "2", workerMs: 1.5 });
    expect(server.asked.filter(({ path }) => path === "/console-token")).toHaveLength(1);
    expect(server.last(ADDRESS)?.headers.get("authorization")).toBe("Bearer one");
  });

  it("gets a new token when the old one is refused", async () => {
    const server = new TestServer()
      .on("POST /console-token", tokens("old", "new"))
      .on(ADDRESS, ({ headers }) =>
        headers.get("authorization") === "Bearer new" ? json("fine") : failure(401, "unauthenticated", "No."),
      )
      .install();

    expect((await call(workspaceApi("default"), PATH, null)).value).toBe("fine");
    expect(server.asked.map(({ path }) => path)).toHaveLength(4);
  });

  it("fails as the gateway said", async () => {
    new TestServer()
      .on("POST /console-token", tokens("one"))
      .on(ADDRESS, failure(500, "user_error", "ValueError: no"))
      .install();

    await expect(call(workspaceApi("default"), PATH, null)).rejects.toEqual(
      new ApiError(500, "user_error", "ValueError: no", "", [], "req-1"),
    );
  });
});

it.each([
  ["worker;dur=3.25", 3.25],
  ["gateway;dur=9, worker;desc=x;dur=4", 4],
  ["gateway;dur=9", null],
  [null, null],
])("the model's share of %j is %j", (header, expected) => {
  expect(workerTime(header)).toBe(expected);
});
