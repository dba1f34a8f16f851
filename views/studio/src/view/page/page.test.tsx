import { act, fireEvent, render, screen, waitFor } from "@testing-library/react";
import userEvent from "@testing-library/user-event";
import { beforeEach, describe, expect, it, vi } from "vitest";
import { KitProvider } from "../../kit/KitProvider";
import type { ViewDocument } from "../engine/document";
import { App } from "./App";
import { ApiError, type Grant, type GrantShelf, ViewApi } from "./api";
import { grantIn, whereOf } from "./grant";

type Answer = [status: number, body: unknown];
type Handler = (path: string, body: Record<string, unknown>, headers: Record<string, string>) => Answer;

/** A fetch that answers from a function, and remembers what it was asked. */
function answering(handler: Handler) {
  const asked: { path: string; body: Record<string, unknown>; headers: Record<string, string> }[] = [];
  const fetcher = vi.fn(async (input: RequestInfo | URL, init?: RequestInit) => {
    const call = {
      path: String(input),
      body: init?.body ? JSON.parse(String(init.body)) : {},
      headers: (init?.headers ?? {}) as Record<string, string>,
    };
    asked.push(call);
    const [status, body] = handler(call.path, call.body, call.headers);
    return new Response(JSON.stringify(body), { status });
  });
  return { fetcher, asked };
}

const HOUR = 3_600_000;
const session = (token: string, now = 0) => ({
  token,
  expires_at: new Date(now + HOUR).toISOString(),
  viewer: { name: "visitor", role: null },
  app: { name: "demo", title: "Demo" },
  views: [
    { name: "main", title: "Main" },
    { name: "other", title: "Other" },
  ],
  home: "main",
});

function shelfWith(grant: Grant): GrantShelf & { kept: Grant } {
  return {
    kept: grant,
    read() {
      return this.kept;
    },
    write(next) {
      this.kept = next;
    },
  };
}

describe("addresses", () => {
  it("say which app and view, or nothing", () => {
    expect(whereOf("/acme/iris/main")).toEqual({ workspace: "acme", app: "iris", view: "main" });
    expect(whereOf("/acme/iris")).toEqual({ workspace: "acme", app: "iris", view: "" });
    expect([whereOf("/"), whereOf("/a/b/c/d"), whereOf("/Acme/iris/main"), whereOf("/acme/../x")]).toEqual([
      null,
      null,
      null,
      null,
    ]);
  });

  it("carry the grant in the fragment only", () => {
    expect(grantIn("#k=abc")).toEqual({ kind: "key", value: "abc" });
    expect(grantIn("#t=tft.x.y")).toEqual({ kind: "open", value: "tft.x.y" });
    expect(grantIn("#content")).toBeNull();
  });
});

describe("the session", () => {
  it("is made once for many calls, and renewed before it ends", async () => {
    let now = 0;
    const { fetcher, asked } = answering((path) =>
      path.endsWith("/session") ? [200, session(`t${now}`, now)] : [200, {}],
    );
    const api = new ViewApi(
      { workspace: "w", app: "a" },
      shelfWith({ kind: "key", value: "k" }),
      fetcher,
      () => now,
    );
    await Promise.all([api.view("main"), api.view("main")]);
    expect(asked.filter(({ path }) => path.endsWith("/session")).map(({ body }) => body)).toEqual([
      { workspace: "w", app: "a", key: "k" },
    ]);
    now = HOUR - 60_000;
    await api.view("main");
    expect(asked.at(-1)?.headers.Authorization).toBe(`Bearer t${now}`);
  });

  it("made from a token of the studio goes on with the view token, since the other works once", async () => {
    const shelf = shelfWith({ kind: "open", value: "once" });
    let now = 0;
    const { fetcher, asked } = answering(() => [200, session(`t${now}`, now)]);
    const api = new ViewApi({ workspace: "w", app: "a" }, shelf, fetcher, () => now);
    await api.open();
    expect(shelf.kept).toEqual({ kind: "view", value: "t0" });
    now = HOUR - 1;
    await api.open();
    expect(asked.map(({ body, headers }) => [body.open, headers.Authorization])).toEqual([
      ["once", undefined],
      [undefined, "Bearer t0"],
    ]);
  });

  it("that the server refuses is made again once", async () => {
    let refusals = 1;
    const { fetcher, asked } = answering((path) => {
      if (path.endsWith("/session")) return [200, session("t", Date.now())];
      if (refusals-- > 0) return [401, { error: { code: "expired", message: "Expired." } }];
      return [200, { data: 7 }];
    });
    const api = new ViewApi({ workspace: "w", app: "a" }, shelfWith({ kind: "none" }), fetcher);
    expect(await api.query("main", "q", {}, new AbortController().signal)).toEqual({
      data: 7,
      run: null,
      seconds: null,
    });
    expect(asked).toHaveLength(4);
  });

  it("turns errors into words", async () => {
    const { fetcher } = answering(() => [
      404,
      { error: { code: "not_found", message: "Not here.", hint: "Ask." } },
    ]);
    const api = new ViewApi({ workspace: "w", app: "a" }, shelfWith({ kind: "none" }), fetcher);
    await expect(api.open()).rejects.toEqual(new ApiError(404, "not_found", "Not here.", "Ask."));
    const offline = new ViewApi({ workspace: "w", app: "a" }, shelfWith({ kind: "none" }), () =>
      Promise.reject(new TypeError()),
    );
    await expect(offline.open()).rejects.toMatchObject({ status: 0, message: /could not be reached/ });
  });
});

const MAIN: ViewDocument = {
  view: 1,
  name: "main",
  title: "Main view",
  queries: {},
  nodes: {
    say: { type: "heading", at: ["page", "body", "a0"], props: { text: "=`For ${params.who ?? 'all'}`" } },
    go: {
      type: "button",
      at: ["page", "body", "a1"],
      props: { label: "Go" },
      on: { click: [{ navigate: { view: "other", params: { who: "Ada" } } }] },
    },
  },
};
const OTHER: ViewDocument = { ...MAIN, name: "other", title: "Other view", params: { who: { type: "str" } } };

function app(path: string, handler?: Handler) {
  window.history.replaceState(null, "", path);
  const { fetcher, asked } = answering(
    handler ??
      ((url) => {
        if (url.endsWith("/session")) return [200, session("t", Date.now())];
        const view = url.endsWith("/other") ? "other" : "main";
        return [200, { view, release: 1, document: view === "main" ? MAIN : OTHER }];
      }),
  );
  vi.stubGlobal("fetch", fetcher);
  render(
    <KitProvider strict>
      <App />
    </KitProvider>,
  );
  return asked;
}

describe("the page", () => {
  beforeEach(() => {
    window.sessionStorage.clear();
    vi.stubGlobal("scrollTo", () => {});
    return () => vi.unstubAllGlobals();
  });

  it("takes the grant out of the address, keeps it for a reload, and shows the view", async () => {
    const asked = app("/acme/demo/main?x=1#k=secret");
    expect(await screen.findByRole("heading", { name: "Main view", level: 1 })).toBeInTheDocument();
    expect(window.location.href).toMatch(/\/acme\/demo\/main\?x=1$/);
    expect(asked[0]?.body).toEqual({ workspace: "acme", app: "demo", key: "secret" });
    expect(window.sessionStorage.getItem("tenfold-grant:acme/demo")).toContain("secret");
    expect(document.title).toBe("Main view · Demo");
  });

  it("goes to another view and back without loading the page", async () => {
    const asked = app("/acme/demo/main");
    await userEvent.click(await screen.findByRole("button", { name: "Go" }));
    expect(await screen.findByRole("heading", { name: "For Ada" })).toBeInTheDocument();
    expect(window.location.pathname + window.location.search).toBe("/acme/demo/other?who=Ada");
    expect(screen.getByRole("link", { name: "Other" })).toHaveAttribute("aria-current", "page");
    act(() => {
      window.history.replaceState(null, "", "/acme/demo/main");
      fireEvent.popState(window);
    });
    expect(await screen.findByRole("heading", { name: "Main view" })).toBeInTheDocument();
    expect(asked.filter(({ path }) => path.endsWith("/session"))).toHaveLength(1);
  });

  it("says the same for a missing app and a wrong link", async () => {
    app("/acme/demo/main#k=wrong", () => [404, { error: { code: "not_found", message: "No." } }]);
    expect(await screen.findByRole("heading", { name: "This app is not available" })).toBeInTheDocument();
    expect(screen.queryByRole("button", { name: "Try again" })).not.toBeInTheDocument();
  });

  it("lets one try again when the server did not answer", async () => {
    let broken = true;
    app("/acme/demo/main", (path) => {
      if (broken) return [502, null];
      return path.endsWith("/session")
        ? [200, session("t", Date.now())]
        : [200, { view: "main", release: 1, document: MAIN }];
    });
    broken = await screen.findByRole("button", { name: "Try again" }).then(() => false);
    await userEvent.click(screen.getByRole("button", { name: "Try again" }));
    await waitFor(() => expect(screen.getByRole("heading", { name: "Main view" })).toBeInTheDocument());
  });

  it("switches its colours", async () => {
    app("/acme/demo/main");
    await userEvent.click(await screen.findByRole("button", { name: /Colours: like the system/ }));
    expect(document.documentElement).toHaveAttribute("data-mantine-color-scheme", "light");
    await userEvent.click(screen.getByRole("button", { name: /Colours: light/ }));
    expect(document.documentElement).toHaveAttribute("data-mantine-color-scheme", "dark");
  });
});
