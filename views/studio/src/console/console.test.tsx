/** What people do in the console, from the address they open to what the server is asked. */

import { screen, waitFor, within } from "@testing-library/react";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { connection } from "./api/connection";
import { openConsole } from "./testing/open";
import { failure, json, page, session, TestServer } from "./testing/server";
import { app, key, model, run, version } from "./testing/world";

vi.setConfig({ testTimeout: 60_000 });

let server: TestServer;

beforeEach(() => {
  localStorage.clear();
  vi.stubGlobal("scrollTo", () => {});
  server = new TestServer()
    .on("GET /auth/session", session())
    .on("GET /models", page(model()))
    .on("GET /apps", page(app()))
    .install();
});

afterEach(() => {
  connection.report("up");
  vi.unstubAllGlobals();
});

const heading = (name: string | RegExp) => screen.findByRole("heading", { level: 1, name });

describe("signing in", () => {
  it("spends the one-time link once, keeps it out of the address, and welcomes", async () => {
    const user = { ...session().user, has_password: false };
    server.on("POST /auth/redeem", { user }).on("PUT /auth/profile", { user });
    const at = openConsole("/sign-in?next=/w/default/apps#one-time");

    await heading("Welcome to Tenfold");
    expect(at.path()).toBe("/sign-in?next=/w/default/apps");
    expect(server.asked.filter(({ path }) => path === "/auth/redeem").map(({ body }) => body)).toEqual([
      { token: "one-time" },
    ]);

    await at.user.type(screen.getByLabelText("Password"), "short");
    expect(screen.getByText("5 more to go.")).toBeVisible();
    await at.user.type(screen.getByLabelText("Password"), " no longer");
    await at.user.click(screen.getByRole("button", { name: "Save and continue" }));

    await heading("Apps");
    expect(server.last("PUT /auth/profile")?.body).toEqual({ password: "short no longer" });
  });

  it("says how to get a new link when this one is spent", async () => {
    server.on("POST /auth/redeem", failure(401, "bad_link", "This link was used."));
    openConsole("/sign-in#spent");

    await heading("This link no longer works");
    expect(screen.getByText("tenfold sign-in-link")).toBeVisible();
  });

  it("is asked for by every page, which is then opened", async () => {
    let isIn = false;
    server
      .on("GET /auth/session", () => (isIn ? session() : failure(401, "unauthenticated", "Sign in.")))
      .on("POST /auth/sign-in", ({ body }) => {
        isIn = (body as { password: string }).password === "right";
        return isIn ? { user: session().user } : failure(401, "bad_password", "Wrong.");
      });
    const at = openConsole("/w/default/models?q=iris");

    await heading("Sign in");
    await at.user.type(screen.getByLabelText(/E-mail/), "dana@example.com");
    await at.user.type(screen.getByLabelText(/Password/), "wrong");
    await at.user.click(screen.getByRole("button", { name: "Sign in" }));
    expect(await screen.findByText("E-mail and password do not match.")).toBeVisible();

    await at.user.clear(screen.getByLabelText(/Password/));
    await at.user.type(screen.getByLabelText(/Password/), "right{Enter}");
    await heading("Models");
    expect(at.path()).toBe("/w/default/models?q=iris");
  });

  it("is asked for again when the session ends meanwhile", async () => {
    server.on("GET /keys", failure(401, "unauthenticated", "Sign in."));
    const at = openConsole("/w/default/keys");

    await heading("Sign in");
    expect(at.path()).toBe("/sign-in?next=%2Fw%2Fdefault%2Fkeys");
  });
});

describe("finding the way", () => {
  it("short addresses lead to the workspace that was open last", async () => {
    const workspaces = ["first", "default"].map((name) => ({ name, title: name, role: "admin" as const }));
    server.on("GET /auth/session", session({ workspaces }));
    localStorage.setItem("tenfold-workspace", "default");
    const at = openConsole("/models?q=iris");

    await heading("Models");
    expect(at.path()).toBe("/w/default/models?q=iris");
    expect(document.title).toBe("Models · Tenfold");
  });

  it("by keyboard: two letters, the palette, the help", async () => {
    const at = openConsole("/w/default/models");
    await heading("Models");

    await at.user.keyboard("ga");
    const title = await heading("Apps");
    await waitFor(() => expect(title).toHaveFocus());

    await at.user.keyboard("{Control>}k{/Control}");
    await at.user.type(await screen.findByRole("combobox", { name: "Find anything" }), "iris{Enter}");
    await waitFor(() => expect(at.path()).toBe("/w/default/models/iris"));

    await at.user.keyboard("?");
    expect(await screen.findByText("Go to runs")).toBeVisible();
  });

  it("rooms that a role may not enter are not offered", async () => {
    server.on(
      "GET /auth/session",
      session({
        user: { ...session().user, is_operator: false },
        workspaces: [{ name: "default", title: "", role: "viewer" }],
      }),
    );
    openConsole("/w/default/models");

    const navigation = within(await screen.findByRole("navigation", { name: "Main" }));
    expect(navigation.getAllByRole("link").map(({ textContent }) => textContent)).toEqual([
      "Models",
      "Apps",
      "Members",
    ]);
  });

  it("another workspace looks like a missing one", async () => {
    openConsole("/w/other/models");
    expect(await screen.findByText("There is no page at this address")).toBeVisible();
  });

  it("says when the server is away, and comes back by itself", async () => {
    const at = openConsole("/w/default/models");
    await heading("Models");
    server.isDown = true;
    await at.user.keyboard("ga");
    expect(await screen.findByText(/Tenfold does not answer/)).toBeVisible();

    server.isDown = false;
    server.on("GET /healthz", {});
    await at.user.click(screen.getByRole("button", { name: "Try now" }));
    await waitFor(() => expect(screen.queryByText(/Tenfold does not answer/)).toBeNull());
    expect(await screen.findByText("Support desk")).toBeVisible();
  });
});

describe("models", () => {
  it("none yet: three lines with a key in them at one click", async () => {
    server.on("GET /models", page()).on("POST /keys", { ...key(), key: "tf_abc_secret" });
    const at = openConsole("/w/default/models");

    await at.user.click(await screen.findByRole("button", { name: "Put a new key in it" }));

    expect(await screen.findByText(/not shown again/)).toBeVisible();
    const code = document.querySelector("pre")?.textContent;
    expect(code).toContain('client = tenfold.connect("http://console.test", key="tf_abc_secret")');
    expect(server.last("POST /keys")?.body).toEqual({
      name: "notebook",
      scopes: ["deploy"],
      expires_in_days: 90,
    });
  });

  it("the list is searched, by name, words and tags", async () => {
    server.on("GET /models", page(model(), model({ name: "churn", tags: ["sales"] })));
    const at = openConsole("/w/default/models");

    await at.user.type(await screen.findByLabelText("Search models"), "sales");

    expect(screen.getByRole("link", { name: "churn" })).toBeVisible();
    expect(screen.queryByRole("link", { name: "iris" })).toBeNull();
    expect(at.path()).toBe("/w/default/models?q=sales");
  });

  it("the description is edited where it is read", async () => {
    server.on("GET /models/iris", model()).on("PATCH /models/iris", model({ description: "New words" }));
    const at = openConsole("/w/default/models/iris");

    await at.user.click(await screen.findByRole("button", { name: "Edit the description" }));
    await at.user.type(screen.getByLabelText("Description"), "New words{Control>}{Enter}{/Control}");

    await waitFor(() =>
      expect(server.last("PATCH /models/iris")?.body).toEqual({ description: "New words" }),
    );
  });

  it("a failed page says why, with the request, and tries again", async () => {
    let attempts = 0;
    server.on("GET /models/iris", () =>
      attempts++ === 0 ? failure(500, "internal", "Something broke.") : model(),
    );
    const at = openConsole("/w/default/models/iris");

    expect(await screen.findByText("Something broke.")).toBeVisible();
    expect(screen.getByText("req-1")).toBeVisible();
    await at.user.click(screen.getByRole("button", { name: "Try again" }));
    await heading("iris");
  });

  it("rolling back asks, then moves the alias", async () => {
    server
      .on("GET /models/iris", model())
      .on("GET /models/iris/versions", page(version(2), version(1)))
      .on("PUT /models/iris/aliases/production", model({ production_version: 1 }));
    const at = openConsole("/w/default/models/iris/versions");

    await at.user.click(await screen.findByRole("button", { name: "Actions of version 1" }));
    // jsdom gives every box no size, so that Mantine may take the menu's button for scrolled away and hide the menu.
    const item = await screen.findByRole("menuitem", { name: "Roll back to this", hidden: true });
    await at.user.click(item);
    const dialog = within(await screen.findByRole("dialog", { name: "Roll back to version 1?" }));
    expect(dialog.getByText(/get version 1 instead of version 2/)).toBeVisible();
    expect(server.last("PUT /models/iris/aliases/production")).toBeUndefined();

    await at.user.click(dialog.getByRole("button", { name: "Roll back" }));
    expect(await screen.findByText("production is now version 1")).toBeVisible();
    expect(server.last("PUT /models/iris/aliases/production")?.body).toEqual({ version: 1 });
  });
});

describe("the playground", () => {
  const PREDICT = "POST http://gateway.test/v1/default/models/iris@2/predict";

  beforeEach(() => {
    server
      .on("GET /models/iris", model())
      .on("GET /models/iris/versions", page(version(2)))
      .on("GET /models/iris/versions/2", version(2))
      .on("POST /console-token", {
        token: "tft.x",
        expires_at: "2999-01-01T00:00:00Z",
        gateway_url: "http://gateway.test",
      });
  });

  it("sends the form, and draws classes as scores", async () => {
    const answer = { predictions: ["setosa"], probabilities: [[0.9, 0.1]], classes: ["setosa", "virginica"] };
    server.on(PREDICT, json(answer, { headers: { "x-tenfold-version": "2" } }));
    const at = openConsole("/w/default/models/iris/playground");

    const length = await screen.findByLabelText(/length/);
    await at.user.clear(length);
    await at.user.type(length, "4.5");
    await at.user.click(screen.getByRole("button", { name: "Predict" }));

    const scores = within(await screen.findByRole("list", { name: "Class scores" }));
    expect(scores.getAllByRole("listitem").map(({ textContent }) => textContent)).toEqual([
      "setosa90.0 %",
      "virginica10.0 %",
    ]);
    expect(server.last(PREDICT)?.body).toEqual({ inputs: [{ length: 4.5, kind: "garden" }] });
    expect(server.last(PREDICT)?.headers.get("authorization")).toBe("Bearer tft.x");
  });

  it("says what is wrong with the form before anything is sent", async () => {
    const at = openConsole("/w/default/models/iris/playground");

    await at.user.clear(await screen.findByLabelText(/length/));
    await at.user.click(screen.getByRole("button", { name: "Predict" }));

    expect(await screen.findByText("This is needed.")).toBeVisible();
    expect(server.last(PREDICT)).toBeUndefined();
  });

  it("shows the model's own error, its traceback folded away", async () => {
    server.on(
      PREDICT,
      failure(500, "user_error", "ValueError: too long", [{ traceback: "line 16, in predict" }]),
    );
    const at = openConsole("/w/default/models/iris/playground");

    await at.user.click(await screen.findByRole("button", { name: "Predict" }));

    expect(await screen.findByText("The model's code raised an error")).toBeVisible();
    const fold = screen.getByRole("button", { name: "Traceback" });
    expect(fold).toHaveAttribute("aria-expanded", "false");
    await at.user.click(fold);
    expect(fold).toHaveAttribute("aria-expanded", "true");
    expect(screen.getByText("line 16, in predict")).toBeInTheDocument();
  });
});

describe("apps", () => {
  it("making one public asks first, and then shows its address", async () => {
    let current = app();
    server
      .on("GET /apps/support", () => current)
      .on("PUT /apps/support/access", () => {
        current = app({ access: "public" });
        return current;
      });
    const at = openConsole("/w/default/apps/support");

    await at.user.click(await screen.findByRole("radio", { name: "Public" }));
    await at.user.click(await screen.findByRole("button", { name: "Make it public" }));

    expect(await screen.findByText("http://gateway.test/default/support/main")).toBeVisible();
    expect(server.last("PUT /apps/support/access")?.body).toEqual({ access: "public" });
  });

  it("open in a new tab by an address of the console's own", async () => {
    server.on("GET /apps/support", app());
    openConsole("/w/default/apps/support");

    const link = await screen.findByRole("link", { name: "Open Inbox in a new tab" });
    expect(link).toHaveAttribute("href", "/w/default/apps/support/open/main");
    expect(link).toHaveAttribute("rel", "noopener");
  });

  it("show how a worklet is called where it has an HTTP trigger", async () => {
    const graph = { nodes: [], edges: [] };
    const worklet = { name: "sort", title: "Sort", description: "", input: [], output: [], graph };
    const endpoint = "http://gateway.test/v1/default/apps/support/worklets/sort";
    server.on(
      "GET /apps/support",
      app({
        worklets: [
          { ...worklet, endpoint },
          { ...worklet, name: "inner", title: "Inner", endpoint: null },
        ],
      }),
    );
    openConsole("/w/default/apps/support/worklets");

    expect(await screen.findByText("It has no HTTP trigger, and so no endpoint.")).toBeVisible();
    expect(screen.getAllByText("Its endpoint")).toHaveLength(1);
  });
});

describe("runs", () => {
  it("are filtered in the address", async () => {
    server.on("GET /runs", page(run()));
    openConsole("/w/default/runs?state=failed&app=support");

    expect(await screen.findByText("KeyError: 'customer'")).toBeVisible();
    expect(server.last("GET /runs")?.query.toString()).toBe("app=support&state=failed&limit=50");
  });

  it("a failed one opens at the step that failed", async () => {
    server.on("GET /runs/r1", run());
    const at = openConsole("/w/default/runs/r1");

    await heading("triage");
    expect(screen.getByRole("heading", { level: 2, name: "look" })).toBeVisible();
    expect(screen.getByText("asking the CRM")).toBeVisible();

    await at.user.click(screen.getByRole("button", { name: "clean, succeeded, 5.0 ms" }));
    expect(screen.getByRole("heading", { level: 2, name: "clean" })).toBeVisible();
    const output = within(screen.getByRole("tree", { name: "Step output" }));
    expect(output.getByText('"late!"')).toBeVisible();
  });
});

describe("keys", () => {
  it("are shown once, with a call that uses them", async () => {
    server
      .on("GET /models/iris", model())
      .on("GET /keys", page(key()))
      .on("POST /keys", { ...key({ id: "k2", name: "shop" }), key: "tf_new_secret" });
    const at = openConsole("/w/default/keys?new=1");

    await at.user.type(await screen.findByLabelText(/Name/), "shop");
    await at.user.click(screen.getByRole("button", { name: "Create" }));

    const dialog = within(await screen.findByRole("dialog", { name: "Your new key" }));
    await waitFor(() => expect(dialog.getByText("tf_new_secret")).toBeVisible());
    expect((await dialog.findByText("curl")).closest("pre")).toHaveTextContent(
      "Authorization: Bearer tf_new_secret",
    );
    expect(server.last("POST /keys")?.body).toEqual({
      name: "shop",
      scopes: ["predict"],
      expires_in_days: 90,
    });

    await at.user.click(dialog.getByRole("button", { name: "I have copied it" }));
    await waitFor(() => expect(screen.queryByText("tf_new_secret")).toBeNull());
  });

  it("are revoked only after a question", async () => {
    server.on("GET /keys", page(key())).on("DELETE /keys/k1", null);
    const at = openConsole("/w/default/keys");

    await at.user.click(await screen.findByRole("button", { name: "Revoke checkout" }));
    const dialog = within(await screen.findByRole("dialog"));
    await at.user.click(dialog.getByRole("button", { name: "Cancel" }));
    expect(server.last("DELETE /keys/k1")).toBeUndefined();

    await at.user.click(screen.getByRole("button", { name: "Revoke checkout" }));
    await at.user.click(await screen.findByRole("button", { name: "Revoke" }));
    await waitFor(() => expect(server.last("DELETE /keys/k1")).toBeDefined());
  });
});

it("an invitation ends with a link to hand over", async () => {
  const member = {
    user_id: "u2",
    email: "lee@example.com",
    name: "",
    role: "editor" as const,
    created_at: "2026-01-01T00:00:00Z",
    pending: true,
  };
  server
    .on("GET /members", page(member))
    .on("POST /members", { member, sign_in_url: "http://console.test/sign-in#abc" });
  const at = openConsole("/w/default/members?invite=1");

  await at.user.type(await screen.findByLabelText(/E-mail/), "lee@example.com");
  await at.user.click(within(screen.getByRole("dialog")).getByRole("button", { name: "Invite" }));

  const link = await screen.findByText("http://console.test/sign-in#abc");
  await waitFor(() => expect(link).toBeVisible());
  expect(server.last("POST /members")?.body).toEqual({ email: "lee@example.com", role: "editor" });
});
