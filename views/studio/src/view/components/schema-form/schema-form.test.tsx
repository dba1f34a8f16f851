import { screen } from "@testing-library/react";
import { describe, expect, it } from "vitest";
import type { Json, NodeSpec } from "../../engine/document";
import { draw, drawOne } from "../../testing/draw";
import { fieldsOf, formState, stepOf } from "./fields";

const IRIS: Json = {
  fields: [
    { name: "petal_length", type: "float", minimum: 1, maximum: 7 },
    { name: "count", type: "int", default: 2 },
    { name: "kind", type: "str", choices: ["a", "b"], nullable: true },
    { name: "fresh", type: "bool" },
  ],
};

describe("fields", () => {
  it("have titles that read well, and a step that suits their range", () => {
    expect(fieldsOf(IRIS).map(({ title }) => title)).toEqual(["Petal length", "Count", "Kind", "Fresh"]);
    expect(fieldsOf([{ name: "Petal Length (cm)", type: "float" }])[0]?.title).toBe("Petal Length (cm)");
    expect(fieldsOf(IRIS).slice(0, 2).map(stepOf)).toEqual([0.1, 1]);
  });

  it("that are wrong in the document are left out", () => {
    expect(
      fieldsOf([1, null, { type: "int" }, { name: "x", type: "tensor" }]).map(({ name, type }) => [
        name,
        type,
      ]),
    ).toEqual([["x", "json"]]);
  });

  it("begin with what is given, then the default, and say what is missing", () => {
    expect(formState({ schema: IRIS, initial: { count: 5 } }, {})).toEqual({
      value: { petal_length: null, count: 5, kind: null, fresh: false },
      errors: { petal_length: "This is needed." },
      texts: {},
    });
  });

  it("forget what was entered when they begin with something else", () => {
    const local = { base: { count: 5 }, values: { petal_length: 3 }, texts: {} };
    expect(formState({ schema: IRIS, initial: { count: 5 } }, local).value.petal_length).toBe(3);
    expect(formState({ schema: IRIS, initial: { count: 6 } }, local).value.petal_length).toBeNull();
  });
});

describe("the form", () => {
  it("gives values of the right types, and submits with Enter when all is well", async () => {
    const form: NodeSpec = {
      type: "schema-form",
      at: ["page", "body", "a0"],
      props: { schema: IRIS, submit_label: "Predict" },
      on: { submit: [{ toast: "=json(event.value)" }] },
    };
    const { user, outputs, toasts } = await draw({ nodes: { it: form } });
    await user.click(screen.getByRole("button", { name: "Predict" }));
    expect(screen.getByText("This is needed.")).toBeInTheDocument();
    expect(toasts).toEqual([]);
    await user.type(screen.getByLabelText(/Petal length/), "9");
    await user.tab();
    expect(screen.getByText("Not more than 7.")).toBeInTheDocument();
    await user.clear(screen.getByLabelText(/Petal length/));
    await user.type(screen.getByLabelText(/Petal length/), "4.5{Enter}");
    expect(outputs()).toEqual({
      value: { petal_length: 4.5, count: 2, kind: null, fresh: false },
      valid: true,
      errors: {},
    });
    expect(toasts).toEqual(['info: {"petal_length":4.5,"count":2,"kind":null,"fresh":false}']);
  });

  it("keeps JSON as it is typed until it is JSON", async () => {
    const { user, outputs } = await drawOne("schema-form", { schema: [{ name: "extra", type: "json" }] });
    await user.type(screen.getByLabelText(/Extra/), "[[1, 2");
    expect(outputs()).toMatchObject({ valid: false, errors: { extra: "This is not JSON." } });
    await user.type(screen.getByLabelText(/Extra/), "]");
    expect(outputs()).toMatchObject({ valid: true, value: { extra: [1, 2] } });
  });
});
