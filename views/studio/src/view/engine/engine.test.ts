import { describe, expect, it } from "vitest";
import { settle, start } from "../testing/engine";
import type { ActionSpec, NodeSpec, ViewDocument } from "./document";

function button(actions: ActionSpec[], order = "z0"): NodeSpec {
  return { type: "button", at: ["page", "body", order], props: { label: "Go" }, on: { click: actions } };
}

const nameField: NodeSpec = { type: "text-input", at: ["page", "body", "a0"], props: { label: "Name" } };

describe("props and outputs", () => {
  it("follow what a person enters, and keep the snapshot while nothing changed", async () => {
    const { engine } = start({
      nodes: {
        name: nameField,
        hello: { type: "markdown", at: ["page", "body", "a1"], props: { text: "=`Hello ${name.value}`" } },
      },
    });
    const before = engine.snapshot("hello");
    expect(before.props.text).toBe("Hello ");
    let woken = 0;
    engine.subscribe("hello", () => {
      woken += 1;
    });
    engine.setLocal("name", { touched: true });
    await settle();
    expect([woken, engine.snapshot("hello") === before]).toEqual([0, true]);
    engine.setLocal("name", { value: "Ada" });
    await settle();
    expect([woken, engine.snapshot("hello").props.text]).toEqual([1, "Hello Ada"]);
  });

  it("take the manifest's default where nothing is given or nothing comes out", () => {
    const { engine } = start({
      nodes: {
        show: { type: "json", at: ["page", "body", "a0"], props: { value: 1, depth: "=params.none" } },
      },
    });
    expect(engine.snapshot("show").props).toMatchObject({ value: 1, depth: 2, label: "Value" });
  });

  it("say what could not be computed instead of failing", () => {
    const { engine } = start({
      nodes: { bad: { type: "markdown", at: ["page", "body", "a0"], props: { text: "=[1] - 2" } } },
    });
    const { props, problems } = engine.snapshot("bad");
    expect(props.text).toBeNull();
    expect(problems).toHaveLength(1);
  });

  it("of an input are there although another prop of it waits for somebody else's", async () => {
    const { engine } = start({
      nodes: {
        address: {
          type: "text-input",
          at: ["page", "body", "a0"],
          props: { label: "Address", disabled: "=file.value != ''" },
        },
        file: { type: "text-input", at: ["page", "body", "a1"], props: { label: "File" } },
      },
    });
    expect(engine.snapshot("address").props.disabled).toBe(false);
    expect(engine.snapshot("address").outputs).toEqual({ value: "", valid: true });
    engine.setLocal("file", { value: "a.png" });
    await settle();
    expect(engine.snapshot("address").props.disabled).toBe(true);
  });

  it("of a form are those of the inputs inside it that show", async () => {
    const { engine } = start({
      nodes: {
        form: { type: "form", at: ["page", "body", "a0"] },
        box: { type: "card", at: ["form", "body", "a0"] },
        name: { type: "text-input", at: ["box", "body", "a0"], props: { label: "Name", required: true } },
        more: { type: "switch", at: ["box", "body", "a1"], props: { label: "More" } },
        why: {
          type: "text-input",
          at: ["box", "body", "a2"],
          when: "=more.value",
          props: { label: "Why", required: true },
        },
      },
    });
    expect(engine.snapshot("form").outputs).toEqual({ value: { name: "", more: false }, valid: false });
    engine.setLocal("name", { value: "Ada" });
    await settle();
    expect(engine.snapshot("form").outputs.valid).toBe(true);
    engine.setLocal("more", { value: true });
    await settle();
    expect(engine.snapshot("form").outputs).toEqual({
      value: { name: "Ada", more: true, why: "" },
      valid: false,
    });
  });

  it("refuse a view that depends on itself", () => {
    const nodes = {
      a: { ...nameField, props: { label: "A", default: "=b.value" } },
      b: { ...nameField, props: { label: "B", default: "=a.value" } },
    };
    expect(() => start({ nodes })).toThrowError(/depends on itself/);
  });
});

describe("actions", () => {
  const state: ViewDocument["state"] = {
    count: { scope: "page", type: "int", default: 1 },
    filter: { scope: "url", type: "str", default: "" },
  };

  it("run in turn, each seeing what the one before did", async () => {
    const { engine, calls, toasts, went } = start({
      state,
      queries: { save: { run: "manual", in: { n: "=state.count" } } },
      nodes: {
        go: button([
          { set: { "state.count": "=state.count + 1" } },
          { run: "save" },
          { if: "=save.data.id == null", toast: "never" },
          { toast: { text: "=`Saved ${save.data.id}`", kind: "success" } },
          { navigate: { view: "list", params: { last: "=save.data.id" } } },
        ]),
      },
    });
    const done = engine.emit("go", "click");
    await settle();
    expect(engine.snapshot("go").busy).toBe(true);
    expect(calls[0]?.values).toEqual({ n: 2 });
    await calls[0]?.answer({ id: 7 });
    await done;
    expect(toasts).toEqual(["success: Saved 7"]);
    expect(went).toEqual([{ view: "list", params: { last: 7 } }]);
    expect(engine.snapshot("go").busy).toBe(false);
  });

  it("stop at the first that fails; an error that nothing shows becomes a message", async () => {
    const { engine, calls, toasts } = start({
      queries: { save: { run: "manual", in: {} } },
      nodes: { go: button([{ run: "save" }, { toast: "Saved" }]) },
    });
    const done = engine.emit("go", "click");
    await settle();
    await calls[0]?.fail("The disk is full.");
    await done;
    expect(toasts).toEqual(["error: The disk is full."]);
  });

  it("said once in its place is not said again when that place goes away", async () => {
    const { engine, calls, clock, toasts } = start({
      queries: { look: { run: "auto", when: "=word.value != ''", in: { word: "=word.value" } } },
      nodes: {
        word: { type: "text-input", at: ["page", "body", "a0"], props: { label: "Word" } },
        seen: {
          type: "markdown",
          at: ["page", "body", "a1"],
          when: "=word.value != ''",
          props: { text: "=look.data" },
        },
      },
    });
    engine.setLocal("word", { value: "x" });
    await settle();
    clock.pass(1);
    await settle();
    await calls[0]?.fail("There is no x.");
    await settle();
    expect(engine.snapshot("seen").status.error).toBe("There is no x.");
    engine.setLocal("word", { value: "" });
    await settle();
    expect(toasts).toEqual([]);
  });

  it("leave an error to the component that shows the query, if it is on the screen", async () => {
    const show = (when?: string): NodeSpec => ({
      type: "json",
      at: ["page", "body", "a0"],
      ...(when ? { when } : {}),
      props: { value: "=save.data" },
    });
    for (const [when, expected] of [
      [undefined, []],
      ["=save.ok", ["error: No."]],
    ] as const) {
      const { engine, calls, toasts } = start({
        queries: { save: { run: "manual", in: {} } },
        nodes: { show: show(when), go: button([{ run: "save" }]) },
      });
      void engine.emit("go", "click");
      await settle();
      await calls[0]?.fail("No.");
      expect(toasts).toEqual(expected);
      expect(engine.snapshot("show").status.error).toBe("No.");
    }
  });

  it.each([
    { props: { text: "=save.error" }, when: "=save.error" },
    { props: { text: "No." }, when: "=save.error" },
  ])("fail without a message where a view says it itself: $props.text", async (alert) => {
    const { engine, calls, toasts } = start({
      queries: { save: { run: "manual", in: {} } },
      nodes: {
        says: { type: "alert", at: ["page", "body", "a0"], ...alert },
        go: button([{ run: "save" }]),
      },
    });
    void engine.emit("go", "click");
    await settle();
    await calls[0]?.fail("No.");
    expect(engine.snapshot("says").shown).toBe(true);
    expect(toasts).toEqual([]);
  });

  it("do not start twice for two clicks", async () => {
    const { engine, calls } = start({
      queries: { q: { run: "manual", in: {} } },
      nodes: { go: button([{ run: "q" }]) },
    });
    void engine.emit("go", "click");
    void engine.emit("go", "click");
    await settle();
    expect(calls).toHaveLength(1);
  });

  it("ask first where the query says so, and stop at no", async () => {
    const { engine, calls, confirmations, toasts } = start({
      queries: { q: { run: "manual", in: {}, confirm: "Really?" } },
      nodes: { go: button([{ run: "q" }, { toast: "Done" }]) },
    });
    const done = engine.emit("go", "click");
    await settle();
    expect(confirmations[0]?.question).toBe("Really?");
    confirmations[0]?.answer(false);
    await done;
    expect([calls, toasts]).toEqual([[], []]);
  });

  it("open, close, reset, copy and download", async () => {
    const { engine, copied, files } = start({
      state,
      nodes: {
        name: nameField,
        box: { type: "modal", at: ["page", "body", "b0"], props: { title: "Box" } },
        go: button([
          { open: "box" },
          { set: { "name.value": "Ada", "state.count": 9 } },
          { copy: "=name.value" },
        ]),
        undo: button(
          [
            { close: "box" },
            { reset: ["name", "state.count"] },
            { download: { data: "=[state.count]", name: "x.json" } },
          ],
          "z1",
        ),
      },
    });
    await engine.emit("go", "click");
    expect([engine.snapshot("box").outputs.opened, engine.snapshot("name").outputs.value]).toEqual([
      true,
      "Ada",
    ]);
    expect(copied).toEqual(["Ada"]);
    await engine.emit("undo", "click");
    expect([engine.snapshot("box").outputs.opened, engine.snapshot("name").outputs.value]).toEqual([
      false,
      "",
    ]);
    expect(files).toEqual([{ name: "x.json", type: "application/json", data: "[\n  1\n]", encoded: false }]);
  });

  it("never follow an address that runs something", async () => {
    for (const url of [
      "javascript:alert(1)",
      " JaVaScRiPt:alert(1)",
      "data:text/html,x",
      "java\tscript:alert(1)",
      "vbscript:x",
    ]) {
      const { engine, went, toasts } = start({ nodes: { go: button([{ navigate: { url } }]) } });
      await engine.emit("go", "click");
      expect([url, went, toasts.length]).toEqual([url, [], 1]);
    }
  });
});

describe("the address", () => {
  const document: Partial<ViewDocument> = {
    params: { doc: { type: "int" } },
    state: {
      page: { scope: "url", type: "int", default: 1 },
      open: { scope: "url", type: "bool", default: false },
    },
    nodes: {
      next: button([{ set: { "state.page": "=state.page + 1" } }]),
      show: {
        type: "json",
        at: ["page", "body", "a0"],
        props: { value: "=[params.doc, state.page, state.open]" },
      },
    },
  };

  it("gives params and state their values, by type", () => {
    const value = (search: string) => start(document, { search }).engine.snapshot("show").props.value;
    expect(value("?doc=17&page=3&open=true")).toEqual([17, 3, true]);
    expect(value("?doc=x&page=1.5&open=perhaps")).toEqual([null, 1, false]);
    expect(value("")).toEqual([null, 1, false]);
  });

  it("follows state, keeps what is not its own, and comes back with the back button", async () => {
    const { engine, address, clock } = start(document, { search: "?doc=1" });
    await engine.emit("next", "click");
    clock.pass(5000);
    await engine.emit("next", "click");
    expect(address.entries).toEqual(["?doc=1", "?doc=1&page=2", "?doc=1&page=3"]);
    address.back();
    await settle();
    expect(engine.snapshot("show").props.value).toEqual([1, 2, false]);
  });

  it("takes quick changes as one step back", async () => {
    const { engine, address } = start(document);
    for (let times = 0; times < 4; times++) await engine.emit("next", "click");
    expect(address.entries).toEqual(["", "?page=5"]);
  });
});
